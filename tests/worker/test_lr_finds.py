"""Learning-rate finds at the edges, on a real worker and as a client sees them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchvision

import tests.api.conftest  # noqa: F401  (silences the test client, so it comes first)
from api.app import create_app
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from jobs.spec import LrFindSpec
from ml.theory.lr_suggestions import RULES
from tests.api.conftest import TestClient
from tests.worker.conftest import TINY, import_folder, submit, wait_for
from tests.worker.photos import write_photos
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]

QUICK = {**TINY, "size": 32, "presize": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A find that has ended."""

    job: Job
    curve: dict[str, Any]
    """As the client gets it."""
    warned: list[str]
    """The codes of the job's warnings."""


Find = Callable[..., Found]


@pytest.fixture
def client(quick: Settings) -> Iterator[TestClient]:
    """A client of the service whose worker runs the finds."""
    with TestClient(create_app(quick), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def find(database: Database, work: Work, client: TestClient) -> Find:
    """Runs a find to its end."""

    def run(dataset_id: str, **wishes: object) -> Found:
        spec = LrFindSpec.model_validate({"dataset": dataset_id, **QUICK, **wishes})
        job = submit(database, JobType.LR_FIND, spec, dataset_id)
        work("train")
        ended = wait_for(database, job.id, lambda job: job.is_terminal)
        assert ended.state == JobState.SUCCEEDED, ended.error
        events = client.get(f"/v1/jobs/{job.id}/events?limit=100").json()["data"]
        return Found(
            job=ended,
            curve=client.get(f"/v1/jobs/{job.id}/lr-curve").raise_for_status().json(),
            warned=[event["data"]["code"] for event in events if event["type"] == "job.warning"],
        )

    return run


@pytest.fixture
def overflowing(quick: Settings) -> str:
    """A file of weights that are numbers and make none of the first loss."""
    path = quick.dataset_roots[0] / "overflowing.pth"
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save({name: 1e30 * tensor for name, tensor in state.items()}, path)
    return str(path)


def reasons(told: dict[str, Any]) -> dict[str, set[str]]:
    """Why which rules have no answer, from the warnings beside them."""
    found: dict[str, set[str]] = {}
    for warning in told["warnings"]:
        assert told["suggestions"][warning["rule"]] is None
        assert warning["code"] == f"{warning['rule']}_unavailable"
        found.setdefault(warning["reason"], set()).add(warning["rule"])
    return found


@pytest.mark.parametrize("sweep", ["frozen_body", "all"])
@pytest.mark.slow
def test_a_first_loss_that_is_not_a_number_is_a_curve_of_one_point_and_no_answer(
    find: Find, dataset_id: str, overflowing: str, sweep: str
) -> None:
    curve = find(dataset_id, weights={"path": overflowing}, sweep=sweep).curve

    assert (curve["losses"], curve["smoothed"], curve["zero_lag"]) == ([None], [None], [None])
    assert curve["lrs"] == [1e-7]
    assert (curve["stopped"], curve["diverged_at_step"]) == ("diverged", 0)
    assert reasons(curve) == {"no_finite_loss": set(RULES)}
    assert (curve["recommended"], curve["spread"]) == (None, None)


@pytest.mark.slow
def test_every_sweep_of_every_group_may_begin_with_no_number(
    find: Find, dataset_id: str, overflowing: str
) -> None:
    found = find(dataset_id, weights={"path": overflowing}, sweep="each", repeats=2)

    assert [group["name"] for group in found.curve["groups"]] == ["body_0", "body_1", "head"]
    for group in found.curve["groups"]:
        assert (group["recommended"], group["spread"]) == (None, None)
        assert [repeat["diverged_at_step"] for repeat in group["repeats"]] == [0, 0]
        assert all(reasons(repeat) == {"no_finite_loss": set(RULES)} for repeat in group["repeats"])


def test_a_sweep_that_diverges_at_once_ends_with_an_answer_of_no_rule(
    find: Find, dataset_id: str
) -> None:
    curve = find(dataset_id, sweep="all", start_lr=50, end_lr=100, num_steps=200).curve

    assert curve["stopped"] == "diverged"
    assert len(curve["lrs"]) == curve["diverged_at_step"] + 1 < 16
    assert {name for names in reasons(curve).values() for name in names} == set(RULES)
    assert set(reasons(curve)) <= {"diverged_at_once", "no_finite_loss"}
    assert curve["recommended"] is None


def test_twenty_steps_leave_too_few_points_for_slide_alone(find: Find, dataset_id: str) -> None:
    curve = find(dataset_id, num_steps=20, end_lr=1e-6, batch_size=18).curve

    assert (curve["stopped"], len(curve["lrs"])) == ("completed", 20)
    assert curve["suggestions"]["slide"] is None
    told = {warning["rule"]: warning["reason"] for warning in curve["warnings"] if warning["rule"]}
    assert told["slide"] == "too_few_points"
    assert curve["suggestions"]["valley"] is not None
    assert curve["recommended"] is not None


@pytest.mark.parametrize("sweep", ["frozen_body", "all"])
@pytest.mark.slow
def test_a_batch_larger_than_the_dataset_is_all_of_it_and_the_client_is_told(
    find: Find, dataset_id: str, sweep: str
) -> None:
    found = find(dataset_id, batch_size=512, sweep=sweep, num_steps=20)

    assert found.warned == ["batch_size_reduced"]
    assert found.job.resolved["batch_size"] == {"value": 18, "origin": "dataset"}
    assert len(found.curve["lrs"]) == 20


@pytest.mark.slow
def test_a_dataset_of_two_photos_is_walked_through_at_every_step(
    find: Find, database: Database, work: Work, quick: Settings
) -> None:
    folder = quick.dataset_roots[0] / "two"
    write_photos(folder / "train", per_class=1)
    dataset = import_folder(database, work, folder, split={"rule": "folders"})
    found = find(dataset.id, num_steps=20, end_lr=1e-6)

    assert found.warned == ["batch_size_reduced"]
    assert found.job.resolved["batch_size"]["value"] == 2
    assert len(set(found.curve["losses"])) > 1
    assert found.job.progress is not None
    assert found.job.progress["epoch"] == 19
