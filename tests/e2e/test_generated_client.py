"""A client that openapi-python-client makes of the document does the main job."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.receiving import FORMAT_OF_TYPE
from cli.stack import Stack
from tests.e2e.conftest import TINY, dataset_body, finished
from tunesmith_client import Client

pytestmark = pytest.mark.e2e

NAME = "generated_tunesmith"
BYTES = "application/octet-stream"


@pytest.fixture(scope="module")
def package(stack: Stack, folder: Path) -> Iterator[str]:
    """The name of the generated package, which can be imported."""
    document, config = folder / "openapi.json", folder / "config.json"
    document.write_bytes(httpx.get(f"{stack.url}/openapi.json", timeout=60).content)
    binary = [*FORMAT_OF_TYPE, "image/jpeg"]
    config.write_text(json.dumps({"content_type_overrides": dict.fromkeys(binary, BYTES)}))
    # it tidies up with the ruff beside it
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # noqa: TID251 - not a setting
    made = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"),
            *("--path", document, "--config", config, "--meta", "none"),
            *("--output-path", folder / "generated" / NAME),
        ],
        env={"PATH": programs},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    with pytest.MonkeyPatch.context() as path:
        path.syspath_prepend(str(folder / "generated"))
        yield NAME


class Generated:
    """The generated package's operations and models, found by their names."""

    def __init__(self, package: str, client: Any) -> None:  # noqa: ANN401 - of its own type
        self._package = package
        self._client = client

    def ask(self, operation: str, *ids: str, **arguments: Any) -> Any:  # noqa: ANN401 - its model
        """What the operation answers, of the model that the document gives it."""
        module = importlib.import_module(f"{self._package}.api.{operation}")
        return module.sync(*ids, client=self._client, **arguments)

    def model(self, name: str, body: Any) -> Any:  # noqa: ANN401 - its model
        """A body of the package's own type."""
        models = importlib.import_module(f"{self._package}.models")
        return getattr(models, name).from_dict(body)


@pytest.fixture(scope="module")
def generated(package: str, stack: Stack) -> Iterator[Generated]:
    """The generated client of the running stack."""
    client = importlib.import_module(package).Client(
        base_url=stack.url, raise_on_unexpected_status=True, timeout=httpx.Timeout(60)
    )
    with client:
        yield Generated(package, client)


def test_the_main_job_by_a_generated_client(
    generated: Generated, client: Client, photos: Path
) -> None:
    asked = generated.model("DatasetSpec", dataset_body(photos))
    dataset = generated.ask("datasets.create_dataset", body=asked)
    finished(client, dataset.job_id)
    assert generated.ask("datasets.get_dataset", dataset.id).counts.train == 18
    assert len(generated.ask("datasets.list_dataset_items", dataset.id).data) == 20

    tiny = {"dataset": dataset.id, **TINY}
    asked = generated.model("LrFindSpec", {**tiny, "num_steps": 25})
    find = generated.ask("training.create_lr_find", body=asked)
    finished(client, find.id)
    curve = generated.ask("results.get_lr_curve", find.id)
    assert curve.recommended.lr > 0

    rate = {"from_job": find.id, "rule": "recommended"}
    asked = generated.model(
        "FineTuneSpec", {**tiny, "epochs": 1, "freeze_epochs": 0, "learning_rate": rate}
    )
    tuned = generated.ask("training.create_fine_tune", body=asked)
    finished(client, tuned.id)
    job = generated.ask("jobs.get_job", tuned.id)
    assert job.state == "succeeded"

    samples = generated.ask("results.list_samples", job.id, sort="-loss")
    assert samples.aggregate.count == len(samples.data) == 6
    assert samples.data[0].breakdown.logsumexp - samples.data[0].breakdown.logit_label == (
        pytest.approx(samples.data[0].loss)
    )

    model = generated.ask("models.get_model", job.model_id)
    assert model.classes == ["blue", "red"]
    weights = generated.ask("models.download_model", model.id)
    assert len(weights.payload.read()) == model.size_bytes


def test_a_generated_client_knows_problems(generated: Generated) -> None:
    problem = generated.ask("jobs.get_job", "job_1")

    assert problem.code == "not_found"
    assert problem.detail == "no job has the id 'job_1'"
