"""Lines about jobs: one for each move, with what caused it, and none of what was rolled back."""

import pytest
import structlog
from structlog.testing import capture_logs

from jobs import leases, moves, store
from jobs.database import Database
from jobs.job import JobState
from tests.jobs.given import FAILURE, a_job, claimed, running


def test_every_move_is_told_with_the_request_that_caused_the_job(database: Database) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        job = a_job(database)

    with capture_logs() as lines:
        held = running(database)
        leases.fail(database, job.id, held.fence, FAILURE)

    moved = [line for line in lines if line["event"] == "job_moved"]
    assert [(line["was"], line["state"]) for line in moved] == [
        ("queued", "preparing"),
        ("preparing", "running"),
        ("running", "failed"),
    ]
    assert {line["job"] for line in moved} == {job.id}
    assert {line["caused_by"] for line in moved} == {"req_1"}
    assert {line["attempt"] for line in moved} == {1}
    assert moved[0]["worker"] == "worker-1"
    assert moved[-1]["error"] == "loss_diverged"


def test_what_was_rolled_back_is_not_told(database: Database) -> None:
    a_job(database)
    job = claimed(database)

    def end_and_break_off() -> None:
        with database.write() as connection:
            moves.end(connection, job, JobState.FAILED, values={})
            raise ZeroDivisionError

    with capture_logs() as lines, pytest.raises(ZeroDivisionError):
        end_and_break_off()

    assert [line for line in lines if line["event"] == "job_moved"] == []
    assert store.get(database, job.id).state == JobState.PREPARING
