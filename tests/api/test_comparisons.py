"""Jobs side by side. The photos are three: a cat seen as a cat, a dog as a dog, a dog as a cat."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import leases, store
from jobs.artifacts import Artifacts
from jobs.curves import EpochRow, record_epoch
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.job import Job, JobType
from tests.api.given import (
    LOSSES,
    MEAN_LOSS,
    a_ledger,
    bearer,
    evaluated,
    field,
    get,
    photo,
    problem,
    queued,
    ready_dataset,
    started,
    succeeded,
    take_step,
)

BETTER: dict[str, Any] = {
    "predicted": ["dog", "dog", "dog"],
    "correct": [False, True, True],
    "loss": [1.0, LOSSES[1], 0.1],
}
"""The first photo is broken, the last is fixed."""


@pytest.fixture
def dataset(database: Database) -> Dataset:
    return ready_dataset(database)


@pytest.fixture
def job(database: Database, artifacts: Artifacts, dataset: Dataset) -> Job:
    """A fine-tune of the seed 1 with a ledger of the three photos."""
    return evaluated(database, artifacts, dataset, spec={"seed": 1})


def compared(client: TestClient, *jobs: Job, **query: object) -> dict[str, Any]:
    ids = ",".join(job.id for job in jobs)
    more = "".join(f"&{name}={value}" for name, value in query.items())
    body: dict[str, Any] = get(client, f"/v1/jobs/compare?ids={ids}{more}")
    return body


def test_photos_that_were_fixed_and_broken_are_named(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset, job: Job
) -> None:
    other = evaluated(database, artifacts, dataset, BETTER)

    samples = compared(client, job, other)["samples"]

    assert (samples["split"], samples["baseline"]) == ("valid", job.id)
    (change,) = samples["changes"]
    assert change["job_id"] == other.id
    counts = ("count", "only_before", "only_after", "both_right", "both_wrong", "fixed", "broken")
    assert [change[name] for name in counts] == [3, 0, 0, 1, 0, 1, 1]
    assert change["mean_loss_before"] == pytest.approx(MEAN_LOSS)
    assert change["mean_loss_after"] == pytest.approx((1.0 + LOSSES[1] + 0.1) / 3)
    (fixed,), (broken,) = change["fixed_samples"], change["broken_samples"]
    assert fixed["item_id"] == photo(dataset, 2)
    assert (fixed["before"]["predicted"], fixed["after"]["predicted"]) == ("cat", "dog")
    assert fixed["loss_change"] == pytest.approx(0.1 - LOSSES[2])
    assert broken["item_id"] == photo(dataset, 0)
    assert [row["path"] for row in change["most_changed"]] == ["2.jpg", "0.jpg", "1.jpg"]


def test_as_many_photos_as_wanted_are_named(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset, job: Job
) -> None:
    other = evaluated(database, artifacts, dataset, BETTER)

    (change,) = compared(client, job, other, limit=1)["samples"]["changes"]

    assert [row["path"] for row in change["most_changed"]] == ["2.jpg"]


def test_photos_that_only_one_job_has_are_counted(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset, job: Job
) -> None:
    strangers = {"item_id": [photo(dataset, number) for number in (0, 8, 9)]}
    other = evaluated(database, artifacts, dataset, strangers)

    (change,) = compared(client, job, other)["samples"]["changes"]

    assert [change[name] for name in ("count", "only_before", "only_after")] == [1, 2, 2]
    assert change["fixed"] == change["broken"] == 0


def test_losses_are_compared_without_smoothing_and_weights(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset, job: Job
) -> None:
    columns = {"loss": [loss + 5 for loss in LOSSES], "plain_loss": list(LOSSES)}
    other = evaluated(database, artifacts, dataset, columns)

    (change,) = compared(client, job, other)["samples"]["changes"]

    assert [row["loss_change"] for row in change["most_changed"]] == [0.0, 0.0, 0.0]


def test_only_what_differs_of_the_requests_is_shown(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset, job: Job
) -> None:
    spec = {"seed": 1, "epochs": 7, "augment": {"flip": False}, "name": "other", "priority": 9}
    other = evaluated(database, artifacts, dataset, spec=spec)

    body = compared(client, job, other)

    assert {entry["pointer"]: entry["values"] for entry in body["hyperparameters"]} == {
        "/epochs": [job.spec["epochs"], 7],
        "/augment/flip": [True, False],
    }
    assert [entry["name"] for entry in body["jobs"]] == [None, "other"]


def test_resolved_values_that_differ_are_shown(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset, job: Job
) -> None:
    other = started(database, JobType.FINE_TUNE, dataset)
    resolved = {"precision": {"value": "bf16", "origin": "hardware"}}
    leases.succeed(database, other.id, other.fence, values={"resolved": resolved, "result": {}})

    body = compared(client, job, other)

    assert body["resolved"] == [{"pointer": "precision", "values": [None, "bf16"]}]


def test_jobs_that_differ_by_their_seed_alone_say_how_much_that_changes(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset, job: Job
) -> None:
    same = evaluated(database, artifacts, dataset, spec={"seed": 2, "name": "again"})
    other = evaluated(database, artifacts, dataset, spec={"seed": 2, "epochs": 9})

    first, last = compared(client, job, other)["jobs"]

    assert first["seeds"]["job_ids"] == [same.id, job.id]
    assert first["seeds"]["valid_loss"]["count"] == 2
    assert first["seeds"]["valid_loss"]["mean"] == pytest.approx(MEAN_LOSS)
    assert first["seeds"]["valid_loss"]["std"] == 0.0
    assert first["seeds"]["accuracy"]["mean"] == pytest.approx(2 / 3)
    assert last["seeds"] is None
    assert first["valid_loss"] == pytest.approx(MEAN_LOSS)


def an_epoch(database: Database, job: Job, number: int, loss: float) -> None:
    row = EpochRow(
        epoch=number,
        phase="frozen",
        global_step=number + 1,
        train_loss=None,
        valid_loss=loss,
        accuracy=0.5,
        error_rate=0.5,
        seconds=1.0,
    )
    record_epoch(database, job.id, job.fence, row)


def test_curves_lie_on_common_axes(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    short, long = (started(database, JobType.FINE_TUNE, dataset) for _ in range(2))
    for job, steps in ((short, 2), (long, 5)):
        for step in range(steps):
            take_step(database, job, step)
        an_epoch(database, job, 0, 2.0)
    an_epoch(database, long, 1, 1.0)

    curves = compared(client, short, long, max_points=3)["curves"]

    assert curves["epochs"]["epoch"] == [0, 1]
    assert curves["epochs"]["valid_loss"] == [[2.0, None], [2.0, 1.0]]
    # every second step of both, and the last of each
    assert curves["steps"]["step"] == [0, 1, 2, 4]
    assert curves["steps"]["smoothed"] == [[1.0, 1.0, None, None], [1.0, None, 1.0, 1.0]]


def test_a_job_without_a_ledger_has_no_photos_and_says_so(
    client: TestClient, database: Database, dataset: Dataset, job: Job
) -> None:
    running = started(database, JobType.FINE_TUNE, dataset)

    body = compared(client, job, running)

    assert body["samples"] is None
    assert body["without_samples"].endswith("have a loss ledger of one part")
    assert running.id in body["without_samples"]


def test_a_ledger_of_all_parts_is_compared_by_part(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset, job: Job
) -> None:
    file = artifacts.root / "jobs" / "all.parquet"
    a_ledger(dataset, file, {"split": ["train", "valid", "valid"]})
    entry = {"path": artifacts.relative(file), "digest": "l2", "count": 3}
    result = {"classes": ["cat", "dog"], "samples": {"all": entry}, "reported_loss": MEAN_LOSS}
    other = succeeded(database, JobType.EVALUATION, dataset, result)

    (change,) = compared(client, job, other)["samples"]["changes"]

    assert [change[name] for name in ("count", "only_before", "only_after")] == [2, 1, 0]


@pytest.mark.parametrize("count", [0, 1, 11])
def test_two_to_ten_jobs_can_be_compared(client: TestClient, job: Job, count: int) -> None:
    ids = ",".join(f"{job.id}{number}" for number in range(count))

    response = client.get(f"/v1/jobs/compare?ids={ids}")

    body = problem(response, 422, "validation_failed", "/query/ids")
    assert f"names {count} jobs; name 2 to 10 different ones" in body["detail"]


def test_a_job_is_not_compared_with_itself_nor_with_an_import_or_nobody(
    client: TestClient, dataset: Dataset, job: Job
) -> None:
    for other, detail in (
        (job.id, "different ones"),
        (dataset.job_id, "is a dataset_import; compare evaluation, fine_tune, lr_find"),
        ("job_nobody", "job_nobody"),
    ):
        response = client.get(f"/v1/jobs/compare?ids={job.id},{other}")

        body = problem(response, 422, "validation_failed", "/query/ids")
        assert detail in field(body, "/query/ids")["detail"]


def test_jobs_of_other_owners_do_not_exist(
    locked: TestClient, database: Database, dataset: Dataset
) -> None:
    mine = [queued(database, JobType.FINE_TUNE, dataset) for _ in range(2)]
    ids = ",".join(job.id for job in mine)

    response = locked.get(f"/v1/jobs/compare?ids={ids}", headers=bearer(database, owner="bob"))

    problem(response, 422, "validation_failed", "/query/ids")
    assert store.get(database, mine[0].id).owner != "bob"
