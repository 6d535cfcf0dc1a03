"""Jobs on a real worker: forked trainers, killed, drained and cancelled."""

import dataclasses
import json
import math
import os
import signal
from collections.abc import Callable
from multiprocessing.process import active_children
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import curves, datasets, events, models, store, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.spec import EvaluationSpec, LrFindSpec
from ml import checkpoint
from tests.worker.conftest import TINY, event_types, fine_tune_spec, submit, wait_for
from tests.worker.graphing_device import NAME, SIDE_PX
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]

LONG = {"epochs": 40}


def test_a_range_test_ends_with_a_curve_and_an_answer_of_every_rule(
    database: Database, work: Work, dataset_id: str
) -> None:
    spec = LrFindSpec.model_validate({"dataset": dataset_id, "num_steps": 25, **TINY})
    job = submit(database, JobType.LR_FIND, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    curve = ended.result["lr_curve"]
    assert len(curve["lrs"]) == len(curve["losses"]) == len(curve["smoothed"])
    assert set(curve["suggestions"]) >= {"minimum_over_10", "last_clear_descent", "valley"}
    assert len(curves.read_points(database, job.id)) == len(curve["lrs"])


def test_every_layer_group_is_swept_as_often_as_asked(
    database: Database, work: Work, dataset_id: str
) -> None:
    wish = {"sweep": "each", "repeats": 2, "num_steps": 20, "seed": 5}
    spec = LrFindSpec.model_validate({"dataset": dataset_id, **TINY, **wish})
    job = submit(database, JobType.LR_FIND, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    curve = ended.result["lr_curve"]
    assert [group["name"] for group in curve["groups"]] == ["body_0", "body_1", "head"]
    for group in curve["groups"]:
        assert [repeat["seed"] for repeat in group["repeats"]] == [5, 6]
    head = curve["groups"][-1]
    for name in ("recommended", "suggestions", "spread", "repeats"):
        assert curve[name] == head[name]
    assert ended.progress is not None
    assert ended.progress["steps"] == 6 * 20
    points = curves.read_points(database, job.id)
    assert [point.loss for point in points[: len(curve["lrs"])]] == curve["losses"]
    assert {point.global_step // 20 for point in points} == set(range(6))


def test_the_rows_of_the_ledger_average_to_the_reported_loss(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id), dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    rows = _rows(ended, artifacts)
    reported = ended.result["reported_valid_loss"]
    assert sum(row["loss"] for row in rows) / len(rows) == pytest.approx(reported, abs=1e-9)
    assert curves.read_epochs(database, job.id)[-1].valid_loss == pytest.approx(reported, abs=1e-6)
    for row in rows:
        assert row["loss"] == pytest.approx(row["logsumexp"] - row["logit_label"], abs=1e-9)
        assert math.exp(-row["loss"]) == pytest.approx(row["p_label"], abs=1e-9)
        assert len(row["loss_by_epoch"]) == 3


def test_the_card_of_a_model_is_complete_without_its_job_and_its_dataset(
    database: Database, work: Work, dataset_id: str
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, epochs=1), dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    card = models.get(database, str(ended.model_id)).card
    assert card["dataset_digest"] == datasets.get(database, dataset_id).digest
    assert card["hyperparameters"] == ended.spec
    assert card["resolved"] == ended.resolved
    assert card["versions"]["torch"] == ended.resolved["torch"]["value"]
    assert card["metrics"]["valid_loss"] == ended.result["reported_valid_loss"]
    assert (card["presize"], card["size"]) == (64, 64)


def test_layer_decay_trains_every_block_at_its_own_rate(
    database: Database, work: Work, dataset_id: str
) -> None:
    spec = fine_tune_spec(
        dataset_id, epochs=1, learning_rate=0.002, discriminative={"layer_decay": 0.5}
    )
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    peaks = ended.resolved["unfrozen_peaks"]["value"]
    assert peaks == pytest.approx([0.001 * 0.5**above for above in range(9, -1, -1)])
    assert {len(point.lrs) for point in curves.read_points(database, job.id)} == {10}


@pytest.mark.parametrize(
    ("asked", "peaks"),
    [
        ({"lowest": 1e-5, "highest": 1e-3}, (1e-5, 1e-4, 1e-3)),
        ({"per_group": [1e-5, 5e-5, 1e-3]}, (1e-5, 5e-5, 1e-3)),
    ],
)
def test_rates_given_for_the_groups_are_those_of_the_steps(
    database: Database,
    work: Work,
    dataset_id: str,
    asked: dict[str, Any],
    peaks: tuple[float, ...],
) -> None:
    # without a rise the first step has the highest rate
    spec = fine_tune_spec(
        dataset_id, epochs=1, freeze_epochs=0, learning_rate=asked, schedule={"pct_start": 0.0}
    )
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert curves.read_points(database, job.id)[0].lrs == pytest.approx(peaks)
    assert ended.resolved["unfrozen_peaks"] == {"value": pytest.approx(peaks), "origin": "request"}


def test_the_ledger_and_the_reported_loss_are_those_of_the_best_epoch(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    spec = fine_tune_spec(
        dataset_id,
        epochs=30,
        learning_rate=0.1,
        checkpoint={"keep_best": True},
        early_stopping={"patience": 2},
    )
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.stop_reason == "early_stopping"
    best = ended.best["valid_loss"]
    assert best["epoch"] < len(curves.read_epochs(database, job.id)) - 1
    assert ended.resolved["kept_epoch"] == {"value": best["epoch"], "origin": "checkpoint"}
    assert ended.result["reported_valid_loss"] == pytest.approx(best["value"], abs=1e-6)
    for row in _rows(ended, artifacts):
        assert row["loss_by_epoch"][best["epoch"]] == pytest.approx(row["loss"], abs=1e-6)


def test_a_job_whose_time_is_over_succeeds_with_what_it_has_learned(
    database: Database, work: Work, dataset_id: str
) -> None:
    spec = fine_tune_spec(dataset_id, max_duration_s=1e-3, **LONG)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert (ended.state, ended.stop_reason) == (JobState.SUCCEEDED, "max_duration"), ended.error
    assert models.get(database, str(ended.model_id)).job_id == job.id
    assert len(curves.read_points(database, job.id)) == 1


def test_accumulated_batches_are_one_step_of_the_curve(
    database: Database, work: Work, dataset_id: str
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, accumulate=2), dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    # 18 photos are two steps of two batches of four, in three epochs
    assert len(curves.read_points(database, job.id)) == 3 * 2
    assert (ended.progress or {})["steps"] == 3 * 2
    assert ended.resolved["accumulate"] == {"value": 2, "origin": "request"}


@pytest.mark.parametrize("asked", ["auto", "off"])
def test_what_steps_took_is_kept_for_later_jobs_unless_none_is_to_be_compiled(
    asked: str, database: Database, artifacts: Artifacts, work: Work, dataset_id: str
) -> None:
    spec = fine_tune_spec(dataset_id, compile=asked, size=SIDE_PX, presize=SIDE_PX)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    times = [json.loads(file.read_text()) for file in artifacts.step_times_folder().glob("*.json")]
    phases = 2 if asked == "auto" else 0
    assert [found["kind"]["gpu"] for found in times] == [NAME] * phases
    assert all(found["forms"]["eager"]["step_s"] > 0 for found in times)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weighted_rows_of_the_ledger_average_to_the_reported_loss(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts, smoothing: float
) -> None:
    labels = [str(entry["label"]) for entry in datasets.get(database, dataset_id).classes]
    spec = fine_tune_spec(
        dataset_id, epochs=1, class_weights={labels[0]: 3.0}, label_smoothing=smoothing
    )
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    rows, reported = _rows(ended, artifacts), ended.result["reported_valid_loss"]
    total = sum(row["weight"] * row["loss"] for row in rows)
    assert {row["weight"] for row in rows} == {1.0, 3.0}
    assert total / sum(row["weight"] for row in rows) == pytest.approx(reported, abs=1e-9)
    assert curves.read_epochs(database, job.id)[-1].valid_loss == pytest.approx(reported, abs=1e-6)
    for row in rows:
        assert row["plain_loss"] == pytest.approx(row["logsumexp"] - row["logit_label"], abs=1e-9)
        share = row["weight"] * row["loss"] / total
        assert row["share_of_total_loss"] == pytest.approx(share)
    assert ended.resolved["class_weights"]["value"] == {labels[0]: 3.0, labels[1]: 1.0}


def test_class_weights_of_an_unknown_label_fail_the_job(
    database: Database, work: Work, dataset_id: str
) -> None:
    spec = fine_tune_spec(dataset_id, class_weights={"unicorn": 2.0})
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.error is not None
    assert ended.error["code"] == "labels_mismatch"
    assert "'unicorn'" in ended.error["message"]


def test_an_evaluation_of_the_same_photos_repeats_the_ledger(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id), dataset_id)
    work("train")
    trained = wait_for(database, job.id, lambda job: job.is_terminal)
    spec = EvaluationSpec(model=str(trained.model_id), dataset=dataset_id, precision="fp32")
    again = submit(database, JobType.EVALUATION, spec, dataset_id)

    work("train")
    evaluated = wait_for(database, again.id, lambda job: job.is_terminal)

    assert evaluated.state == JobState.SUCCEEDED, evaluated.error
    assert evaluated.result["reported_loss"] == pytest.approx(
        trained.result["reported_valid_loss"], abs=1e-5
    )


def test_a_drained_job_goes_on_to_the_bit_where_it_was(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=20)
    undisturbed, drained = (submit(database, JobType.FINE_TUNE, spec, dataset_id) for _ in range(2))

    supervisor = work("train")
    wait_for(database, drained.id, lambda job: _steps(job) >= 3)
    supervisor.drain()
    waiting = wait_for(database, drained.id, lambda job: job.state == JobState.QUEUED)
    kept = _checkpoints(artifacts, drained.id)
    supervisor = work("train")
    ended = wait_for(database, drained.id, lambda job: job.is_terminal)
    supervisor.close()

    assert waiting.checkpoint is not None
    assert waiting.attempt == 0
    assert kept == [artifacts.absolute(waiting.checkpoint)]
    assert ended.state == JobState.SUCCEEDED, ended.error
    _assert_equal_runs(database, artifacts, undisturbed.id, drained.id)
    assert _checkpoints(artifacts, drained.id) == []


def test_a_job_whose_trainer_is_killed_ends_as_if_nothing_had_happened(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=4)
    undisturbed = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    work("train")
    wait_for(database, undisturbed.id, lambda job: job.is_terminal)
    killed = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    wait_for(database, killed.id, lambda job: _steps(job) >= 3)
    os.kill(_trainer_of(killed.id), signal.SIGKILL)
    ended = wait_for(database, killed.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.attempt == 2
    assert event_types(database, killed.id).count("job.started") == 2
    _assert_equal_runs(database, artifacts, undisturbed.id, killed.id)


def test_a_trainer_that_dies_twice_without_progress_fails_its_job(
    database: Database, work: Work, dataset_id: str
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, **LONG), dataset_id)

    work("train")
    for attempt in (1, 2):
        _kill_attempt(database, job.id, attempt)
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "worker_lost"
    assert "SIGKILL" in ended.error["message"]


def test_a_cancelled_job_ends_cancelled_and_keeps_no_model(
    database: Database, work: Work, dataset_id: str
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, **LONG), dataset_id)

    work("train")
    wait_for(database, job.id, lambda job: _steps(job) >= 1)
    verbs.cancel(database, job.id)
    ended = wait_for(database, job.id, lambda job: job.is_terminal, within_s=10)

    assert ended.state == JobState.CANCELLED
    assert ended.model_id is None
    assert event_types(database, job.id)[-1] == "job.cancelled"


def test_a_stopped_job_succeeds_with_what_it_has_learned(
    database: Database, work: Work, dataset_id: str
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, **LONG), dataset_id)

    work("train")
    wait_for(database, job.id, lambda job: _steps(job) >= 1)
    verbs.stop(database, job.id)
    ended = wait_for(database, job.id, lambda job: job.is_terminal, within_s=20)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.stop_reason == "user"
    assert models.get(database, str(ended.model_id)).job_id == job.id


def test_a_paused_job_waits_and_resumes(database: Database, work: Work, dataset_id: str) -> None:
    spec = fine_tune_spec(dataset_id, epochs=6)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)

    work("train")
    wait_for(database, job.id, lambda job: _steps(job) >= 1)
    verbs.pause(database, job.id)
    paused = wait_for(database, job.id, lambda job: job.state == JobState.PAUSED)
    verbs.resume(database, job.id)
    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert paused.checkpoint is not None
    assert ended.state == JobState.SUCCEEDED, ended.error
    steps = [point.global_step for point in curves.read_points(database, job.id)]
    assert steps == list(range(len(steps)))


@pytest.fixture
def pause(database: Database, work: Work, dataset_id: str) -> Callable[..., Job]:
    """A fine-tune that waits at a checkpoint; its worker is gone."""

    def paused(**changes: object) -> Job:
        spec = fine_tune_spec(dataset_id, epochs=6, **changes)
        job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
        supervisor = work("train")
        wait_for(database, job.id, lambda job: _steps(job) >= 1)
        verbs.pause(database, job.id)
        waiting = wait_for(database, job.id, lambda job: job.state == JobState.PAUSED)
        supervisor.drain()
        return waiting

    return paused


def _take_up_elsewhere(
    database: Database, artifacts: Artifacts, work: Work, waiting: Job, **environment: str | int
) -> Job:
    """The job to its end, as if it had been paused in this environment."""
    assert waiting.checkpoint is not None
    file = artifacts.absolute(waiting.checkpoint)
    state = checkpoint.load(file)
    checkpoint.save(
        file, dataclasses.replace(state, environment={**state.environment, **environment})
    )
    verbs.resume(database, waiting.id)
    work("train")
    return wait_for(database, waiting.id, lambda job: job.is_terminal)


def test_what_decides_bits_is_known_from_the_first_attempt_on(pause: Callable[..., Job]) -> None:
    waiting = pause()

    names = {"precision", "batch_size", "device", "cpu", "torch_threads", "torch", "decoder"}
    assert waiting.resolved.keys() >= {*names, "torchvision", "learning_rate"}
    assert waiting.resolved["torch_threads"] == {"value": 1, "origin": "environment"}


@pytest.mark.slow
def test_an_attempt_computes_with_as_many_threads_as_the_one_before(
    database: Database, artifacts: Artifacts, work: Work, pause: Callable[..., Job]
) -> None:
    """The worker's setting is one thread."""
    ended = _take_up_elsewhere(database, artifacts, work, pause(), torch_threads=2)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.resolved["torch_threads"]["value"] == 2


def test_a_training_fails_rather_than_end_with_other_bits_on_another_kind_of_cpu(
    database: Database, artifacts: Artifacts, work: Work, pause: Callable[..., Job]
) -> None:
    ended = _take_up_elsewhere(database, artifacts, work, pause(), cpu="another CPU")

    assert ended.error is not None
    assert ended.error["code"] == "environment_changed"
    assert "cpu was 'another CPU' when the run began" in ended.error["message"]
    assert "on_environment_change" in ended.error["hint"]


def test_a_training_that_may_go_on_anywhere_says_that_its_bits_may_be_others(
    database: Database, artifacts: Artifacts, work: Work, pause: Callable[..., Job]
) -> None:
    waiting = pause(on_environment_change="continue")

    ended = _take_up_elsewhere(database, artifacts, work, waiting, cpu="another CPU")

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert "environment_changed" in _warnings(database, ended.id)
    assert ended.resolved["cpu"] == waiting.resolved["cpu"]
    steps = [point.global_step for point in curves.read_points(database, ended.id)]
    assert steps == list(range(len(steps)))


def _warnings(database: Database, job_id: str) -> list[str]:
    history = events.read_after(database, job_id, 0, limit=10_000)
    return [event.data["code"] for event in history if event.type == "job.warning"]


def test_a_job_that_is_deleted_as_soon_as_it_has_ended_does_not_stop_its_worker(
    database: Database, work: Work, dataset_id: str
) -> None:
    first, second = (
        submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id), dataset_id)
        for _ in range(2)
    )

    work("train")
    # without a pause between two looks: the trainer needs a moment to leave
    while not store.get(database, first.id).is_terminal:
        continue
    store.delete_job(database, first.id)

    ended = wait_for(database, second.id, lambda job: job.is_terminal)
    assert ended.state == JobState.SUCCEEDED, ended.error


def _checkpoints(artifacts: Artifacts, job_id: str) -> list[Path]:
    return sorted(artifacts.job_folder(job_id).glob("*/checkpoint-*"))


def _kill_attempt(database: Database, job_id: str, attempt: int) -> None:
    wait_for(database, job_id, lambda job: job.attempt == attempt and _steps(job) >= 1)
    os.kill(_trainer_of(job_id), signal.SIGKILL)
    wait_for(database, job_id, lambda job: job.attempt > attempt or job.is_terminal)


def _steps(job: Job) -> int:
    return int((job.progress or {}).get("step") or 0) if job.state == JobState.RUNNING else 0


def _trainer_of(job_id: str) -> int:
    (pid,) = (child.pid for child in active_children() if child.name == job_id)
    assert pid is not None
    return pid


def _rows(job: Job, artifacts: Artifacts) -> list[dict[str, Any]]:
    path = artifacts.absolute(job.result["samples"]["valid"]["path"])
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _assert_equal_runs(
    database: Database, artifacts: Artifacts, first_id: str, second_id: str
) -> None:
    first, second = (curves.read_points(database, job_id) for job_id in (first_id, second_id))
    assert [point.loss for point in first] == [point.loss for point in second]
    weights = [
        artifacts.absolute(model.path).read_bytes()
        for model in models.list_models(database, models.ModelFilter(), after=None, limit=10)
        if model.job_id in {first_id, second_id}
    ]
    assert len(weights) == 2
    assert weights[0] == weights[1]
