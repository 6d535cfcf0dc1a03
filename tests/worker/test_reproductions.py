"""What a job's reproduction promises, kept: the same bits again, and the same logits elsewhere."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from api.app import create_app
from jobs import curves, models, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from tests.api.conftest import TestClient
from tests.worker.conftest import fine_tune_spec, import_folder, submit, wait_for
from tests.worker.photos import write_photos
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]

_LOADED = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='x'); "
_OURS = ("ml", "api", "jobs", "worker", "pydantic", "pyarrow", "fastapi")


@pytest.fixture
def client(quick: Settings) -> Iterator[TestClient]:
    """A client of the service whose workers run here."""
    with TestClient(create_app(quick), base_url="http://127.0.0.1") as client:
        yield client


def finished(database: Database, job_id: str) -> Job:
    """The job after its success."""
    job = wait_for(database, job_id, lambda job: job.is_terminal)
    assert job.state == JobState.SUCCEEDED, job.error
    return job


def test_the_command_trains_again_to_the_same_bits(
    client: TestClient, trained: Job, database: Database, work: Work
) -> None:
    shown = client.get(f"/v1/jobs/{trained.id}/reproduce").json()
    command = shlex.split(shown["curl"])
    body = command[command.index("-d") + 1]

    again = client.post(command[2].removeprefix("http://127.0.0.1"), content=body,
                        headers={"Content-Type": "application/json"}).json()  # fmt: skip
    work("train")
    second = finished(database, again["id"])

    points = [
        [point.loss for point in curves.read_points(database, job.id)] for job in (trained, second)
    ]
    assert points[0] == points[1]
    assert second.result["reported_valid_loss"] == shown["expected"]["loss"]
    assert models.get(database, str(second.model_id)).digest == shown["digests"]["model"]
    assert json.loads(body) == shown["request"]["body"]
    assert shown["same_when"]["torch_threads"] == 1


def test_a_rate_that_was_found_and_a_batch_that_was_shrunk_are_written_out(
    client: TestClient, dataset_id: str, database: Database, work: Work
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=1, freeze_epochs=0, batch_size=64, precision="auto")
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    work("train")
    finished(database, job.id)

    body = client.get(f"/v1/jobs/{job.id}/reproduce").json()["request"]["body"]

    # three quarters of 24 photos are trained on
    assert body["batch_size"] == 18
    assert body["precision"] == store.get(database, job.id).resolved["precision"]["value"]


@pytest.mark.parametrize("mode", ["single", "fastai"])
def test_the_script_repeats_the_logits_of_the_ledger_without_the_service(
    client: TestClient, database: Database, work: Work, quick: Settings, artifacts: Artifacts,
    tmp_path: Path, mode: str,
) -> None:  # fmt: skip
    # large enough to be reduced twice: once as stored, once as seen
    folder = quick.dataset_roots[0] / "large"
    write_photos(folder, per_class=6, side_px=300)
    dataset = import_folder(database, work, folder)
    sizes = {"presize": 200, "size": 64, "presize_mode": mode}
    spec = fine_tune_spec(dataset.id, epochs=1, freeze_epochs=0, **sizes)
    job = submit(database, JobType.FINE_TUNE, spec, dataset.id)
    work("train")
    ended = finished(database, job.id)
    script = tmp_path / "evaluate.py"
    response = client.get(f"/v1/jobs/{job.id}/reproduce", headers={"Accept": "text/x-python"})
    script.write_text(response.text)
    model = artifacts.model_file(str(ended.model_id))

    told = run(script, "--model", model, "--logits", tmp_path / "logits.jsonl", cwd=tmp_path)

    assert "the logits of the labels differ by" in told
    found = [json.loads(line) for line in (tmp_path / "logits.jsonl").read_text().splitlines()]
    ledger = artifacts.absolute(ended.result["samples"]["valid"]["path"])
    recorded = {row["path"]: row["logits"] for row in pq.read_table(ledger).to_pylist()}
    assert {row["path"] for row in found} == set(recorded)
    for row in found:
        assert row["logits"] == pytest.approx(recorded[row["path"]], abs=1e-4)


@pytest.mark.slow
def test_the_script_knows_nothing_of_the_service(
    client: TestClient, trained: Job, tmp_path: Path
) -> None:
    script = tmp_path / "evaluate.py"
    script.write_text(client.get(f"/v1/jobs/{trained.id}/reproduce?format=script").text)
    code = f"{_LOADED}print(*sorted({{m.split('.')[0] for m in sys.modules}} & set({_OURS!r})))"

    loaded = subprocess.run(
        [sys.executable, "-c", code, str(script)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip

    assert loaded.stdout.split() == []


@pytest.mark.slow
def test_a_script_with_another_model_says_that_it_is_another(
    client: TestClient, trained: Job, artifacts: Artifacts, tmp_path: Path
) -> None:
    script = tmp_path / "evaluate.py"
    script.write_text(client.get(f"/v1/jobs/{trained.id}/reproduce?format=script").text)
    text = script.read_text()
    digest = hashlib.sha256(artifacts.model_file(str(trained.model_id)).read_bytes()).hexdigest()
    assert digest in text
    first = json.loads(text.split('r"""')[1].split('"""')[0])["rows"][0]["logit_label"]
    script.write_text(text.replace(str(first), str(first + 1)))

    done = subprocess.run(
        [sys.executable, str(script), "--model", str(artifacts.model_file(str(trained.model_id)))],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert "differ by 1 at most" in done.stdout


def run(*words: Any, cwd: Path) -> str:  # noqa: ANN401  (paths and texts)
    """What the script says, started as by a stranger."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, words)],
        capture_output=True, text=True, check=False, cwd=cwd, env={"PATH": os.environ["PATH"]},  # noqa: TID251
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
