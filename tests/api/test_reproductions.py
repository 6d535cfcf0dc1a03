"""What a reproduction says of each kind of job; that it is true is in `tests/worker`."""

import json
import shlex
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.job import JobType
from jobs.keys import Scope
from tests.api.given import (
    a_model,
    bearer,
    evaluated,
    get,
    problem,
    queued,
    ready_dataset,
    started,
    succeeded,
)
from tests.jobs.given import set_columns

RESOLVED: dict[str, Any] = {
    "learning_rate": {"value": 0.0014, "origin": "lr_find", "job_id": "job_1", "rule": "valley"},
    "precision": {"value": "bf16", "origin": "hardware"},
    "batch_size": {"value": 8, "origin": "dataset"},
    "device": {"value": "cpu", "origin": "environment"},
    "torch": {"value": "2.11.0", "origin": "environment"},
}


@pytest.fixture
def dataset(database: Database) -> Dataset:
    """A ready dataset."""
    return ready_dataset(database)


def test_what_a_job_found_out_is_written_out(
    client: TestClient, dataset: Dataset, database: Database
) -> None:
    rate = {"from_job": "job_1", "rule": "valley"}
    queued(database, JobType.FINE_TUNE, dataset, {"learning_rate": rate, "depends_on": ["job_2"]})
    job = succeeded(database, JobType.FINE_TUNE, dataset, {"reported_valid_loss": 0.25})
    set_columns(database, job.id, resolved=RESOLVED)
    spec = {**store.get(database, job.id).spec, "learning_rate": rate, "depends_on": ["job_2"]}
    set_columns(database, job.id, spec=spec)

    shown = get(client, f"/v1/jobs/{job.id}/reproduce")

    body = shown["request"]["body"]
    assert (body["learning_rate"], body["precision"], body["batch_size"]) == (0.0014, "bf16", 8)
    assert (body["dataset"], body["depends_on"]) == (dataset.id, [])
    assert (shown["expected"], shown["notes"]) == ({"loss": 0.25}, [])
    assert shown["same_when"] == {"device": "cpu", "torch": "2.11.0"}
    words = shlex.split(shown["curl"])
    assert words[2] == "http://127.0.0.1/v1/fine-tunes"
    assert json.loads(words[words.index("-d") + 1]) == body
    assert get(client, f"/v1/jobs/{job.id}")["links"]["reproduce"].endswith("/reproduce")


def test_what_cannot_be_the_same_is_said(
    client: TestClient, dataset: Dataset, database: Database
) -> None:
    job = succeeded(database, JobType.FINE_TUNE, dataset, {"reported_valid_loss": None})
    halved = {"value": 4, "origin": "out_of_memory", "pieces": 2}
    on_gpu = {"value": "cuda", "origin": "environment"}
    resolved = {**RESOLVED, "batch_size": halved, "device": on_gpu}
    set_columns(database, job.id, resolved=resolved, stop_reason="user")

    shown = get(client, f"/v1/jobs/{job.id}/reproduce")

    assert [note.split(" ")[0:2] for note in shown["notes"]] == [
        *(["the", "training"], ["a", "batch"], ["not", "every"])
    ]
    assert shown["request"]["body"]["batch_size"] == 64


@pytest.mark.parametrize(
    ("job_type", "path"),
    [(JobType.LR_FIND, "/v1/lr-finds"), (JobType.EVALUATION, "/v1/evaluations")],
)
def test_finds_and_evaluations_are_repeated_too(
    client: TestClient, dataset: Dataset, database: Database, job_type: JobType, path: str
) -> None:
    job = succeeded(database, job_type, dataset, {})

    shown = get(client, f"/v1/jobs/{job.id}/reproduce")

    assert shown["request"]["path"] == path
    assert ("script" in shown["links"]) == (job_type == JobType.EVALUATION)


def test_what_has_not_ended_or_computes_nothing_is_not_repeated(
    client: TestClient, dataset: Dataset, database: Database
) -> None:
    running = started(database, JobType.FINE_TUNE, dataset)
    find = succeeded(database, JobType.LR_FIND, dataset, {})

    own = "/v1/jobs/{}/reproduce"
    problem(client.get(own.format(running.id)), 409, "result_not_ready")
    problem(client.get(own.format(dataset.job_id)), 404, "not_found")
    problem(client.get(f"{own.format(find.id)}?format=script"), 404, "not_found")
    pictures = {"Accept": "image/png"}
    problem(client.get(own.format(find.id), headers=pictures), 406, "not_acceptable")


def test_the_script_has_the_rows_of_the_ledger_and_needs_the_model(
    client: TestClient, dataset: Dataset, database: Database, artifacts: Artifacts
) -> None:
    job = evaluated(database, artifacts, dataset)
    set_columns(database, job.id, resolved=RESOLVED, model_id="mdl_gone")
    path = f"/v1/jobs/{job.id}/reproduce?format=script"

    gone = problem(client.get(path), 404, "not_found")
    model = a_model(database, artifacts, dataset, job_id=job.id)
    set_columns(database, job.id, model_id=model.id)
    answer = client.get(path)

    assert "mdl_gone" in gone["detail"]
    assert answer.headers["content-type"].startswith("text/x-python")
    facts = json.loads(answer.text.split('r"""')[1].split('"""')[0])
    # worst first
    assert [row["path"] for row in facts["rows"]] == ["2.jpg", "1.jpg", "0.jpg"]
    assert (facts["architecture"], facts["precision"], facts["size"]) == ("resnet18", "bf16", 224)


def test_where_keys_are_needed_the_command_sends_one(
    locked: TestClient, database: Database
) -> None:
    job = succeeded(database, JobType.LR_FIND, ready_dataset(database), {})
    mine = bearer(database, Scope.READ, owner="local")

    shown = get(locked, f"/v1/jobs/{job.id}/reproduce", **mine)

    assert '-H "Authorization: Bearer $TUNESMITH_API_KEY"' in shown["curl"]
