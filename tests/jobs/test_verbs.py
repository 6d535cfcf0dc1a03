from collections.abc import Callable

import pytest

from jobs import store, verbs
from jobs.database import Database
from jobs.errors import InvalidTransitionError, NotFoundError
from jobs.job import FINAL_STATES, Job, JobState, JobType
from tests.jobs import given

Verb = Callable[[Database, str], Job]
VERBS: dict[str, Verb] = {
    "cancel": verbs.cancel,
    "stop": verbs.stop,
    "pause": verbs.pause,
    "resume": verbs.resume,
}
LEADS_TO = {
    "queued": {"cancel": "cancelled", "pause": "paused", "resume": "queued"},
    "preparing": {"cancel": "cancelling", "pause": "pausing", "resume": "preparing"},
    "running": {
        "cancel": "cancelling",
        "stop": "running",
        "pause": "pausing",
        "resume": "running",
    },
    "pausing": {"cancel": "cancelling", "pause": "pausing"},
    "paused": {"cancel": "cancelled", "pause": "paused", "resume": "queued"},
    "cancelling": {"cancel": "cancelling"},
    "succeeded": {},
    "failed": {},
    "cancelled": {"cancel": "cancelled"},
}
"""State -> verb -> state; a verb that is missing is refused."""

ALLOWED = [(state, verb) for state, leads in LEADS_TO.items() for verb in leads]
REFUSED = [(state, verb) for state in LEADS_TO for verb in VERBS if verb not in LEADS_TO[state]]


@pytest.mark.parametrize(("state", "verb"), ALLOWED)
def test_a_verb_leads_where_the_table_says_and_may_be_repeated(
    state: str, verb: str, database: Database
) -> None:
    job = given.job_in(database, JobState(state))

    once = VERBS[verb](database, job.id)
    seen = given.snapshot(database, job.id)

    assert once.state == LEADS_TO[state][verb]
    assert VERBS[verb](database, job.id) == once
    assert given.snapshot(database, job.id) == seen


@pytest.mark.parametrize(("state", "verb"), REFUSED)
def test_a_verb_that_the_state_forbids_changes_nothing(
    state: str, verb: str, database: Database
) -> None:
    job = given.job_in(database, JobState(state))
    seen = given.snapshot(database, job.id)

    with pytest.raises(InvalidTransitionError, match=f"is {state}: it cannot {verb}") as caught:
        VERBS[verb](database, job.id)

    assert given.snapshot(database, job.id) == seen
    assert caught.value.state == state
    assert verb not in caught.value.allowed_actions


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
@pytest.mark.parametrize("verb", VERBS)
def test_a_final_state_never_changes(state: JobState, verb: str, database: Database) -> None:
    job = given.job_in(database, state)
    seen = given.snapshot(database, job.id)

    try:
        VERBS[verb](database, job.id)
    except InvalidTransitionError:
        assert (state, verb) != (JobState.CANCELLED, "cancel")

    assert given.snapshot(database, job.id) == seen


@pytest.mark.parametrize("verb", ["stop", "pause"])
@pytest.mark.parametrize("job_type", [JobType.DATASET_IMPORT, JobType.LR_FIND, JobType.EVALUATION])
def test_a_job_without_checkpoints_is_neither_stopped_nor_paused(
    job_type: JobType, verb: str, database: Database
) -> None:
    job = given.job_in(database, JobState.RUNNING, job_type)

    with pytest.raises(InvalidTransitionError, match="it allows cancel"):
        VERBS[verb](database, job.id)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_needs_a_job(verb: str, database: Database) -> None:
    with pytest.raises(NotFoundError, match="no job has the id 'job_0'"):
        VERBS[verb](database, "job_0")


def test_a_cancelled_queued_job_has_ended(database: Database) -> None:
    job = verbs.cancel(database, given.a_job(database).id)

    assert job.finished_ms is not None
    assert given.history(database, job.id) == ["job.queued", "job.cancelled"]


def test_a_wish_to_stop_survives_a_pause(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    verbs.stop(database, job.id)
    verbs.pause(database, job.id)

    assert store.get(database, job.id).stop_requested
    assert given.history(database, job.id)[-2:] == ["job.stop_requested", "job.pausing"]


def test_pausing_and_resuming_a_queued_job_is_told_to_its_readers(database: Database) -> None:
    job = given.a_job(database)

    verbs.pause(database, job.id)
    verbs.resume(database, job.id)

    assert given.history(database, job.id) == ["job.queued", "job.paused", "job.resumed"]
