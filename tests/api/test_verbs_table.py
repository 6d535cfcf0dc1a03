"""Every verb in every state, over HTTP: what moves, what may be repeated, what is refused."""

import pytest
from starlette.testclient import TestClient

from jobs import leases, store, verbs
from jobs.database import Database
from jobs.job import FINAL_STATES, Job, JobState, JobType
from tests.api.given import get, problem, queued, ready_dataset, started
from tests.jobs.given import bring, job_in, snapshot

VERBS = ("cancel", "stop", "pause", "resume", "retry")
REFUSED = "409"

FINE_TUNE = {
    # state         cancel        stop       pause      resume       retry
    "queued":     ("cancelled",  REFUSED,   "paused",  "queued",    REFUSED),
    "preparing":  ("cancelling", REFUSED,   "pausing", "preparing", REFUSED),
    "running":    ("cancelling", "running", "pausing", "running",   REFUSED),
    "pausing":    ("cancelling", REFUSED,   "pausing", REFUSED,     REFUSED),
    "paused":     ("cancelled",  REFUSED,   "paused",  "queued",    REFUSED),
    "cancelling": ("cancelling", REFUSED,   REFUSED,   REFUSED,     REFUSED),
    "succeeded":  (REFUSED,      REFUSED,   REFUSED,   REFUSED,     "new"),
    "failed":     (REFUSED,      REFUSED,   REFUSED,   REFUSED,     "new"),
    "cancelled":  ("cancelled",  REFUSED,   REFUSED,   REFUSED,     "new"),
}  # fmt: skip
"""State -> the state that each verb leads to; a retry leads to a new job."""

SHOWN = {
    "queued": ["cancel", "pause"],
    "preparing": ["cancel", "pause"],
    "running": ["cancel", "stop", "pause"],
    "pausing": ["cancel"],
    "paused": ["cancel", "resume"],
    "cancelling": ["cancel"],
    "succeeded": ["retry"],
    "failed": ["retry"],
    "cancelled": ["retry"],
}
"""What a fine-tune's `allowed_actions` say in each state."""


CELLS = [
    (state, verb, leads_to)
    for state, row in FINE_TUNE.items()
    for verb, leads_to in zip(VERBS, row, strict=True)
]
MOVES = [cell for cell in CELLS if cell[2] not in {REFUSED, "new"}]
REFUSALS = [cell[:2] for cell in CELLS if cell[2] == REFUSED]
RETRIES = [cell[0] for cell in CELLS if cell[2] == "new"]


def fine_tune_in(database: Database, state: str) -> Job:
    """A fine-tune of a ready dataset, in the state."""
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    bring[JobState(state)](database, JobType.FINE_TUNE)
    return store.get(database, job.id)


def test_the_table_has_every_state_and_every_verb() -> None:
    assert set(FINE_TUNE) == set(SHOWN) == set(JobState)
    assert {verb for actions in SHOWN.values() for verb in actions} == set(VERBS)


@pytest.mark.parametrize("state", FINE_TUNE)
def test_a_job_shows_what_can_be_done_with_it(
    client: TestClient, database: Database, state: str
) -> None:
    job = fine_tune_in(database, state)

    shown = get(client, f"/v1/jobs/{job.id}")

    assert (shown["state"], shown["allowed_actions"]) == (state, SHOWN[state])
    for verb in VERBS:
        assert shown["links"].get(verb) == (
            f"/v1/jobs/{job.id}/{verb}" if verb in SHOWN[state] else None
        )


@pytest.mark.parametrize(("state", "verb", "leads_to"), MOVES)
def test_a_verb_leads_on_and_its_repetition_changes_nothing(
    client: TestClient, database: Database, state: str, verb: str, leads_to: str
) -> None:
    job = fine_tune_in(database, state)

    first = client.post(f"/v1/jobs/{job.id}/{verb}")
    seen = snapshot(database, job.id)
    second = client.post(f"/v1/jobs/{job.id}/{verb}")

    assert (first.status_code, first.json()["state"]) == (200, leads_to)
    assert (second.status_code, second.content) == (200, first.content)
    assert snapshot(database, job.id) == seen


@pytest.mark.parametrize(("state", "verb"), REFUSALS)
def test_a_verb_that_is_impossible_says_what_is_possible_and_changes_nothing(
    client: TestClient, database: Database, state: str, verb: str
) -> None:
    job = fine_tune_in(database, state)
    seen = snapshot(database, job.id)

    body = problem(client.post(f"/v1/jobs/{job.id}/{verb}"), 409, "invalid_state_transition")

    assert (body["state"], body["allowed_actions"]) == (state, SHOWN[state])
    assert verb not in body["allowed_actions"]
    assert snapshot(database, job.id) == seen


@pytest.mark.parametrize("state", RETRIES)
def test_a_retry_is_another_job_each_time_and_the_first_stays_as_it_was(
    client: TestClient, database: Database, state: str
) -> None:
    job = fine_tune_in(database, state)
    seen = snapshot(database, job.id)

    answers = [client.post(f"/v1/jobs/{job.id}/retry") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({job.id, *(answer.json()["id"] for answer in answers)}) == 3
    assert {answer.json()["state"] for answer in answers} == {"queued"}
    assert snapshot(database, job.id) == seen


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_changes_a_final_state(
    client: TestClient, database: Database, state: JobState, verb: str
) -> None:
    job = fine_tune_in(database, state)
    seen = snapshot(database, job.id)

    client.post(f"/v1/jobs/{job.id}/{verb}")

    assert snapshot(database, job.id) == seen


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PREPARING, JobState.RUNNING])
@pytest.mark.parametrize("verb", ["stop", "pause", "resume", "retry"])
@pytest.mark.parametrize("job_type", sorted(set(JobType) - {JobType.FINE_TUNE}))
def test_a_job_without_checkpoints_can_only_be_cancelled(
    client: TestClient, database: Database, job_type: JobType, verb: str, state: JobState
) -> None:
    job = job_in(database, state, job_type)
    seen = snapshot(database, job.id)

    body = problem(client.post(f"/v1/jobs/{job.id}/{verb}"), 409, "invalid_state_transition")

    assert (body["state"], body["allowed_actions"]) == (state, ["cancel"])
    assert snapshot(database, job.id) == seen


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
@pytest.mark.parametrize("job_type", [JobType.EXPORT, JobType.PROBE])
def test_plots_and_probes_are_never_done_again(
    client: TestClient, database: Database, job_type: JobType, state: JobState
) -> None:
    job = job_in(database, state, job_type)

    body = problem(client.post(f"/v1/jobs/{job.id}/retry"), 409, "invalid_state_transition")

    assert (body["state"], body["allowed_actions"]) == (state, [])


def test_a_stop_may_be_repeated_after_it_has_worked(client: TestClient, database: Database) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    client.post(f"/v1/jobs/{job.id}/stop")
    leases.succeed(database, job.id, job.fence, values={"stop_reason": "user"})
    seen = snapshot(database, job.id)

    again = client.post(f"/v1/jobs/{job.id}/stop")

    assert (again.status_code, again.json()["stop_reason"]) == (200, "user")
    assert snapshot(database, job.id) == seen


def test_a_stop_that_came_to_nothing_is_not_repeated(
    client: TestClient, database: Database
) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    verbs.stop(database, job.id)
    verbs.cancel(database, job.id)
    leases.release(database, job.id, job.fence)

    body = problem(client.post(f"/v1/jobs/{job.id}/stop"), 409, "invalid_state_transition")

    assert body["state"] == "cancelled"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_needs_a_job(client: TestClient, verb: str) -> None:
    problem(client.post(f"/v1/jobs/job_nobody/{verb}"), 404, "not_found")
