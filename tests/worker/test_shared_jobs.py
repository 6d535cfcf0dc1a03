"""Jobs that several trainers share, one for each device of their worker: here two CPU slots."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import active_children
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import curves, leases, models, store, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from jobs.spec import EvaluationSpec, LrFindSpec, PredictionSpec
from tests.worker.conftest import TINY, event_types, fine_tune_spec, submit, wait_for
from tests.worker.small_device import SIDE_PX
from worker.group import Group
from worker.standby import Standby
from worker.supervisor import Supervisor
from worker.trainer import Assignment

Work = Callable[[str], Supervisor]

# 18 photos train in three steps of two and three rows; of six that validate the last is alone
SHARED: dict[str, Any] = {"devices": 2, "batch_size": 5}
ALONE: dict[str, Any] = {"devices": 1, "batch_size": 5}


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings of a worker that owns two devices, with short leases."""
    changes = {"lease_s": 5.0, "renew_s": 0.5, "threads": 2, "checkpoint_s": 3600.0}
    return settings.model_copy(update={**changes, "devices": "0-1"})


@pytest.fixture
def train(database: Database, work: Work, dataset_id: str) -> Callable[..., Job]:
    """A fine-tune to its end, well or not."""

    def run(**changes: object) -> Job:
        job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, **changes), dataset_id)
        work("train")
        return wait_for(database, job.id, lambda job: job.is_terminal)

    return run


def test_two_trainers_learn_evaluate_and_predict_what_one_does(
    database: Database, work: Work, train: Callable[..., Job], artifacts: Artifacts
) -> None:
    # small steps: large ones would enlarge what the order of sums leaves, by a thousand in nine
    alone, shared = (train(learning_rate=1e-4, **devices) for devices in (ALONE, SHARED))

    assert shared.state == JobState.SUCCEEDED, shared.error
    assert shared.resolved["devices"] == {"value": 2, "origin": "request"}
    assert shared.resolved["torch_threads"]["value"] == 1
    first, second = (curves.read_points(database, job.id) for job in (alone, shared))
    assert [point.global_step for point in second] == list(range(9))
    assert _losses(second) == pytest.approx(_losses(first), rel=1e-3)
    for mine, theirs in zip(
        curves.read_epochs(database, shared.id), curves.read_epochs(database, alone.id), strict=True
    ):
        assert mine.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-2)
    told = [
        [name for name in event_types(database, job.id) if name != "job.progress"]
        for job in (shared, alone)
    ]
    assert told[0] == told[1]
    rows, theirs_rows = (_rows(artifacts, job) for job in (shared, alone))
    assert [row["item_id"] for row in rows] == [row["item_id"] for row in theirs_rows]
    assert len(rows) == 6
    for row, their_row in zip(rows, theirs_rows, strict=True):
        assert row["loss"] == pytest.approx(their_row["loss"], rel=5e-2, abs=1e-2)

    spec = EvaluationSpec(
        model=str(shared.model_id), dataset=str(shared.dataset_id), precision="fp32", **SHARED
    )
    again = submit(database, JobType.EVALUATION, spec, str(shared.dataset_id))
    work("train")
    evaluated = wait_for(database, again.id, lambda job: job.is_terminal)
    assert evaluated.state == JobState.SUCCEEDED, evaluated.error
    assert evaluated.resolved["devices"] == {"value": 2, "origin": "request"}
    repeated = [row["loss"] for row in _rows(artifacts, evaluated)]
    assert repeated == pytest.approx([row["loss"] for row in rows], abs=1e-4)

    whatever = PredictionSpec(
        model=str(shared.model_id),
        dataset=str(shared.dataset_id),
        split="valid",
        precision="fp32",
        **SHARED,
    )
    once_more = submit(database, JobType.PREDICTION, whatever, str(shared.dataset_id))
    work("train")
    predicted = wait_for(database, once_more.id, lambda job: job.is_terminal)
    assert predicted.state == JobState.SUCCEEDED, predicted.error
    assert predicted.resolved["devices"] == {"value": 2, "origin": "request"}
    table = pq.read_table(artifacts.absolute(predicted.result["predictions"]["path"]))
    surest = {row["item_id"]: row["p_predicted"] for row in table.to_pylist()}
    assert surest == pytest.approx({row["item_id"]: row["p_predicted"] for row in rows}, abs=1e-4)


def test_a_range_test_of_two_trainers_has_the_curve_of_one(
    database: Database, work: Work, dataset_id: str
) -> None:
    found = []
    for devices in (ALONE, SHARED):
        body = {"dataset": dataset_id, "num_steps": 20, **TINY, **devices}
        job = submit(database, JobType.LR_FIND, LrFindSpec.model_validate(body), dataset_id)
        work("train")
        found.append(wait_for(database, job.id, lambda job: job.is_terminal))

    one, two = (job.result["lr_curve"] for job in found)
    assert found[1].resolved["devices"]["value"] == 2
    assert len(two["losses"]) >= 10
    # where it diverges, what is left of rounding errors grows with the rate
    assert two["losses"][:10] == pytest.approx(one["losses"][:10], rel=1e-2)


@pytest.mark.parametrize("member", ["", ".1"])
def test_a_job_one_of_whose_trainers_is_killed_ends_as_if_nothing_had_happened(
    database: Database, work: Work, dataset_id: str, train: Callable[..., Job], member: str
) -> None:
    undisturbed = train(epochs=4, **SHARED)
    spec = fine_tune_spec(dataset_id, epochs=4, **SHARED)
    killed = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    wait_for(database, killed.id, lambda job: _steps(job) >= 3)
    os.kill(_pid_of(f"{killed.id}{member}"), signal.SIGKILL)
    ended = wait_for(database, killed.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.attempt == 2
    types = event_types(database, killed.id)
    assert (types.count("job.started"), types.count("job.succeeded")) == (2, 1)
    first, second = (curves.read_points(database, job.id) for job in (undisturbed, killed))
    assert _losses(second) == _losses(first)
    made = [models.get(database, str(job.model_id)).digest for job in (undisturbed, ended)]
    assert made[0] == made[1]


@pytest.mark.slow
def test_two_trainers_are_drained_and_go_on_to_the_bit_where_they_were(
    database: Database, work: Work, dataset_id: str
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=20, **SHARED)
    # one worker does both, so that it is the one which is drained
    undisturbed, drained = (submit(database, JobType.FINE_TUNE, spec, dataset_id) for _ in range(2))

    supervisor = work("train")
    wait_for(database, drained.id, lambda job: _steps(job) >= 3)
    supervisor.drain()
    waiting = wait_for(database, drained.id, lambda job: job.state == JobState.QUEUED)
    work("train")
    ended = wait_for(database, drained.id, lambda job: job.is_terminal)

    assert waiting.checkpoint is not None
    assert waiting.attempt == 0
    assert ended.state == JobState.SUCCEEDED, ended.error
    first, second = (curves.read_points(database, job.id) for job in (undisturbed, drained))
    assert _losses(second) == _losses(first)


def test_two_trainers_of_a_cancelled_job_are_gone(
    database: Database, work: Work, dataset_id: str
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=40, **SHARED)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    supervisor = work("train")
    wait_for(database, job.id, lambda job: _steps(job) >= 1)
    verbs.cancel(database, job.id)
    ended = wait_for(database, job.id, lambda job: job.is_terminal, within_s=10)
    supervisor.close()

    assert ended.state == JobState.CANCELLED
    assert [child.name for child in active_children() if job.id in child.name] == []


def test_no_trainer_outlives_the_worker_that_holds_their_lifelines(
    quick: Settings, database: Database, standby: Standby, dataset_id: str
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=500, **SHARED)
    submitted = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    job = leases.claim_next(database, "train", "mortal", lease_ms=600_000, devices=2)
    assert job is not None
    now_s = time.monotonic()
    assignment = Assignment(
        settings=quick, job_id=job.id, fence=job.fence, lease_until_s=now_s + 600
    )
    group = Group(standby, assignment, count=2, asked_at_s=now_s)
    wait_for(database, submitted.id, lambda job: _steps(job) >= 1)
    left = [child for child in active_children() if job.id in child.name]

    # what the kernel does for a worker that was killed
    group.close()

    assert len(left) == 2
    for trainer in left:
        trainer.join(timeout=10)
        assert trainer.exitcode is not None


def test_a_batch_that_fits_on_no_device_goes_through_in_halves_once(
    database: Database, train: Callable[..., Job]
) -> None:
    """Each of the devices holds two photos; both run out of memory in the same moment."""
    ended = train(epochs=1, devices=2, batch_size=8, size=SIDE_PX, presize=SIDE_PX)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.resolved["batch_size"] == {"value": 4, "origin": "out_of_memory", "pieces": 2}
    assert (ended.attempt, ended.fence, ended.lost) == (1, 2, 0)
    assert event_types(database, ended.id).count("job.requeued") == 1


def test_what_one_trainer_alone_meets_fails_the_job_by_its_name(
    quick: Settings, train: Callable[..., Job], database: Database
) -> None:
    # each trainer reads the originals of its own rows, and one of them meets the photo first
    (quick.dataset_roots[0] / "tiny" / "red_3.jpg").write_bytes(b"no photo any more")
    split: dict[str, Any] = {"presize_mode": "fastai", "presize": 72, "epochs": 3}

    ended = train(**split, **SHARED)

    assert ended.state == JobState.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "unreadable_images"
    assert "red_3.jpg" in ended.error["message"]
    assert event_types(database, ended.id).count("job.failed") == 1


def test_a_worker_with_one_device_leaves_a_job_for_two_to_others(
    settings: Settings, database: Database, standby: Standby, dataset_id: str
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=1, **SHARED)
    large = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    small = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, epochs=1), dataset_id)
    alone = Supervisor(settings, database, queue="train", worker_id="alone", standby=standby)

    alone.work()
    alone.close()

    assert store.get(database, large.id).state == JobState.QUEUED
    assert store.get(database, small.id).state == JobState.SUCCEEDED


def _losses(points: list[curves.CurvePoint]) -> list[float | None]:
    return [point.loss for point in points]


def _rows(artifacts: Artifacts, job: Job) -> list[dict[str, Any]]:
    path: Path = artifacts.absolute(job.result["samples"]["valid"]["path"])
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _steps(job: Job) -> int:
    return int((job.progress or {}).get("step") or 0) if job.state == JobState.RUNNING else 0


def _pid_of(name: str) -> int:
    (pid,) = (child.pid for child in active_children() if child.name == name)
    assert pid is not None
    return pid
