"""A dry run on a real worker: what it promises is what the job then does."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api.app import create_app
from jobs import curves, presence, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from jobs.spec import LrFindSpec, ProbeSpec
from tests.api.conftest import TestClient
from tests.worker.conftest import TINY, fine_tune_spec, submit, wait_for
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]


def probed(database: Database, work: Work, dataset_id: str, spec: ProbeSpec) -> Job:
    job = submit(database, JobType.PROBE, spec, dataset_id)
    work("train")
    return wait_for(database, job.id, lambda job: job.is_terminal)


def test_a_probe_leaves_its_times_and_nothing_else(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    spec = ProbeSpec(fine_tune=fine_tune_spec(dataset_id, learning_rate="auto"))

    ended = probed(database, work, dataset_id, spec)

    assert ended.state == JobState.SUCCEEDED, ended.error
    found = ended.result["probe"]
    assert found["fits"]
    assert set(found["steps"]) == {"frozen", "unfrozen"}
    assert found["presized"] == {"train": False, "valid": False}
    assert found["weights_cached"] is None
    assert found["environment"]["batch_size"] == 4
    assert curves.read_points(database, ended.id) == []
    assert ended.model_id is None
    log = artifacts.log_file(ended.id, ended.fence)
    assert list(artifacts.attempt_folder(ended.id, ended.fence).iterdir()) == [log]


def test_a_probe_measures_what_it_is_asked_to(
    database: Database, work: Work, dataset_id: str
) -> None:
    find = LrFindSpec.model_validate({"dataset": dataset_id, **TINY, "batch_size": 64})
    spec = ProbeSpec(lr_find=find, phases=["frozen"])

    ended = probed(database, work, dataset_id, spec)

    assert set(ended.result["probe"]["steps"]) == {"frozen"}
    # three quarters of the 24 photos train, and a batch cannot be larger
    assert ended.result["probe"]["environment"]["batch_size"] == 18


@pytest.fixture
def client(quick: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(quick), base_url="http://127.0.0.1") as client:
        yield client


def planned(client: TestClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/fine-tunes?dry_run=true&max_points=10000", json=body)
    assert answer.status_code == 200, answer.text
    plan: dict[str, Any] = answer.json()
    return plan


@pytest.mark.slow
def test_the_job_does_what_the_plan_says(
    database: Database, work: Work, dataset_id: str, client: TestClient
) -> None:
    body = json.loads(fine_tune_spec(dataset_id).model_dump_json(exclude={"discriminative"}))
    presence.announce(database, worker_id="w", queue="train", device="cpu", hostname="box", pid=1)
    work("train")
    probing = client.post("/v1/fine-tunes?dry_run=true", json=body, headers={"Prefer": "wait=0"})
    work("train")
    wait_for(database, probing.json()["no_estimate"]["job_id"], lambda job: job.is_terminal)

    plan = planned(client, body)
    answer = client.post("/v1/fine-tunes", json=body)
    work("train")
    trained = wait_for(database, answer.json()["id"], lambda job: job.is_terminal)

    assert trained.state == JobState.SUCCEEDED, trained.error
    taken = [
        (point.phase, point.step, list(point.lrs), point.momentum)
        for point in curves.read_points(database, trained.id)
    ]
    promised = [
        (phase["name"], *row)
        for phase in plan["schedule"]
        for row in zip(phase["steps"], phase["lr"], phase["momentum"], strict=True)
    ]
    assert taken == promised
    used = {name: entry["value"] for name, entry in trained.resolved.items()}
    assert used == {name: plan["resolved"][name]["value"] for name in used}
    assert plan["estimate"]["low"] < plan["estimate"]["seconds"] < plan["estimate"]["high"]
    assert store.get(database, plan["estimate"]["measured"]["job_id"]).type == JobType.PROBE
