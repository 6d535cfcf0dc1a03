"""Trainings and evaluations on a device that holds two photos of a certain size at once."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs import curves, events, models, store
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.spec import EvaluationSpec, LrFindSpec
from tests.worker.conftest import TINY, event_types, fine_tune_spec, submit, wait_for
from tests.worker.small_device import FIT_AT_ONCE, MESSAGE, SIDE_PX
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]

LARGE = {"size": SIDE_PX, "presize": SIDE_PX}


@pytest.fixture
def train(database: Database, work: Work, dataset_id: str) -> Callable[..., Job]:
    """A fine-tune of large photos, to its end."""

    def run(**changes: object) -> Job:
        spec = fine_tune_spec(dataset_id, **{"epochs": 1, **LARGE, **changes})
        job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
        work("train")
        return wait_for(database, job.id, lambda job: job.is_terminal)

    return run


def halvings(database: Database, job: Job) -> list[Any]:
    told = [event.data for event in events.read_after(database, job.id, 0)]
    return [data["detail"] for data in told if data.get("code") == "batch_size_halved"]


def test_a_batch_that_does_not_fit_goes_through_in_halves_and_is_still_one_step(
    database: Database, train: Callable[..., Job]
) -> None:
    ended = train(batch_size=8)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.resolved["batch_size"] == {
        "value": FIT_AT_ONCE,
        "origin": "out_of_memory",
        "pieces": 4,
    }
    assert ended.resolved["accumulate"] == {"value": 4, "origin": "out_of_memory"}
    # 18 photos are two steps of 8 in each of two epochs
    steps = [point.global_step for point in curves.read_points(database, ended.id)]
    assert steps == [0, 1, 2, 3]
    assert models.get(database, str(ended.model_id)).job_id == ended.id


def test_each_halving_is_told_and_counts_as_no_attempt(
    database: Database, train: Callable[..., Job]
) -> None:
    ended = train(batch_size=8)

    assert (ended.attempt, ended.fence, ended.lost) == (1, 3, 0)
    assert halvings(database, ended) == [
        "memory is too small for more: batches of 8 go through in pieces of 4 photos; "
        "each step still learns from as many photos",
        "memory is too small for more: batches of 8 go through in pieces of 2 photos; "
        "each step still learns from as many photos",
    ]
    assert event_types(database, ended.id).count("job.requeued") == 2


def test_no_piece_is_smaller_than_two_photos(train: Callable[..., Job]) -> None:
    """Five photos are three and two; in more pieces one photo would be left alone."""
    ended = train(batch_size=5, accumulate=2)

    assert ended.error is not None
    assert ended.error["message"] == f"not even 3 photos fit at once: {MESSAGE}"


def test_a_batch_whose_smallest_pieces_do_not_fit_fails_the_job(train: Callable[..., Job]) -> None:
    ended = train(batch_size=3)

    assert ended.error is not None
    assert ended.error["code"] == "out_of_memory"
    assert ended.error["message"] == f"not even 3 photos fit at once: {MESSAGE}"
    assert "size" in ended.error["hint"]


def test_who_would_rather_fail_fails_at_once(train: Callable[..., Job]) -> None:
    ended = train(batch_size=8, on_out_of_memory="fail")

    assert ended.error is not None
    assert (ended.error["code"], ended.error["message"]) == ("out_of_memory", MESSAGE)
    assert ended.fence == 1


def test_a_range_test_is_halved_as_well(database: Database, work: Work, dataset_id: str) -> None:
    wish = {**TINY, **LARGE, "batch_size": 4, "num_steps": 20}
    spec = LrFindSpec.model_validate({"dataset": dataset_id, **wish})
    job = submit(database, JobType.LR_FIND, spec, dataset_id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.resolved["batch_size"]["value"] == FIT_AT_ONCE
    curve = ended.result["lr_curve"]
    assert len(curves.read_points(database, job.id)) == len(curve["lrs"])


def test_what_fits_is_not_divided(database: Database, train: Callable[..., Job]) -> None:
    ended = train(batch_size=FIT_AT_ONCE)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.resolved["batch_size"] == {"value": FIT_AT_ONCE, "origin": "request"}
    assert store.get(database, ended.id).fence == 1


@pytest.fixture
def evaluate(database: Database, train: Callable[..., Job], work: Work) -> Callable[..., Job]:
    """Evaluates a model of large photos on all of them."""
    model = str(train(batch_size=FIT_AT_ONCE, freeze_epochs=0).model_id)

    def run(**changes: object) -> Job:
        dataset_id = models.get(database, model).dataset_id
        body = {"model": model, "dataset": dataset_id, "split": "all", "precision": "fp32"}
        spec = EvaluationSpec.model_validate(body | changes)
        job = submit(database, JobType.EVALUATION, spec, str(dataset_id))
        work("train")
        return wait_for(database, job.id, lambda job: job.is_terminal)

    return run


def test_an_evaluation_is_halved_as_well_and_says_the_same(
    database: Database, evaluate: Callable[..., Job]
) -> None:
    fitting = evaluate(batch_size=FIT_AT_ONCE)
    halved = evaluate(batch_size=8)

    assert halved.state == JobState.SUCCEEDED, halved.error
    assert halved.resolved["batch_size"] == {
        "value": FIT_AT_ONCE,
        "origin": "out_of_memory",
        "pieces": 4,
    }
    assert "accumulate" not in halved.resolved
    assert (halved.attempt, halved.fence) == (1, 3)
    assert halvings(database, halved) == [
        "memory is too small for more: batches of 8 go through in pieces of 4 photos",
        "memory is too small for more: batches of 8 go through in pieces of 2 photos",
    ]
    # both took their photos through two by two
    assert halved.result["reported_loss"] == fitting.result["reported_loss"]


def test_an_evaluation_that_would_rather_fail_fails_at_once(evaluate: Callable[..., Job]) -> None:
    ended = evaluate(batch_size=8, on_out_of_memory="fail")

    assert ended.error is not None
    assert (ended.error["code"], ended.error["message"]) == ("out_of_memory", MESSAGE)
