import pytest

from jobs.job import (
    FINAL_STATES,
    LEASED_STATES,
    NEXT_STATES,
    QUEUE_OF,
    JobState,
    JobType,
    allowed_actions,
)

LIFE_CYCLE = {
    "queued": "preparing paused cancelled failed",
    "preparing": "running queued pausing cancelling failed succeeded",
    "running": "queued pausing cancelling failed succeeded",
    "pausing": "paused queued cancelling failed succeeded",
    "paused": "queued cancelled failed",
    "cancelling": "cancelled",
    "succeeded": "",
    "failed": "",
    "cancelled": "",
}


@pytest.mark.parametrize("state", JobState)
def test_a_state_leads_only_where_the_life_cycle_says(state: JobState) -> None:
    assert NEXT_STATES[state] == set(LIFE_CYCLE[state].split())


def test_the_final_states_are_those_that_lead_nowhere() -> None:
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == FINAL_STATES


def test_a_cancelling_job_can_only_become_cancelled() -> None:
    assert NEXT_STATES[JobState.CANCELLING] == {JobState.CANCELLED}


def test_a_worker_holds_a_job_from_its_claim_to_its_end() -> None:
    assert {
        JobState.PREPARING,
        JobState.RUNNING,
        JobState.PAUSING,
        JobState.CANCELLING,
    } == LEASED_STATES


def test_what_needs_no_training_device_has_a_queue_of_its_own() -> None:
    assert {kind.value: QUEUE_OF[kind] for kind in JobType} == {
        "dataset_import": "prepare",
        "lr_find": "train",
        "fine_tune": "train",
        "evaluation": "train",
        "presizing_preview": "prepare",
        "export": "prepare",
        "probe": "train",
        "model_export": "prepare",
        "predict": "predict",
        "prediction": "train",
    }


@pytest.mark.parametrize(
    ("state", "actions"),
    [
        (JobState.QUEUED, ("cancel", "pause")),
        (JobState.PREPARING, ("cancel", "pause")),
        (JobState.RUNNING, ("cancel", "stop", "pause")),
        (JobState.PAUSING, ("cancel",)),
        (JobState.PAUSED, ("cancel", "resume")),
        (JobState.CANCELLING, ("cancel",)),
        (JobState.SUCCEEDED, ("retry",)),
        (JobState.FAILED, ("retry",)),
        (JobState.CANCELLED, ("retry",)),
    ],
)
def test_a_fine_tune_allows_what_its_state_allows(
    state: JobState, actions: tuple[str, ...]
) -> None:
    assert allowed_actions(JobType.FINE_TUNE, state) == actions


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
@pytest.mark.parametrize("job_type", sorted(set(JobType) - {JobType.FINE_TUNE}))
def test_a_job_without_checkpoints_can_only_be_cancelled(
    job_type: JobType, state: JobState
) -> None:
    assert allowed_actions(job_type, state) == ("cancel",)


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_what_a_client_asked_for_can_be_asked_for_again_once_it_has_ended(state: JobState) -> None:
    failed = state != JobState.SUCCEEDED
    again: dict[JobType, tuple[str, ...]] = {
        JobType.LR_FIND: ("retry",),
        JobType.FINE_TUNE: ("retry",),
        JobType.EVALUATION: ("retry",),
        JobType.PRESIZING_PREVIEW: ("retry",),
        JobType.DATASET_IMPORT: ("retry",) if failed else (),
        JobType.EXPORT: (),
        JobType.PROBE: (),
        JobType.MODEL_EXPORT: (),
        JobType.PREDICT: (),
        JobType.PREDICTION: ("retry",),
    }

    assert set(again) == set(JobType)
    for job_type, actions in again.items():
        assert allowed_actions(job_type, state) == actions
