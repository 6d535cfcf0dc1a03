from base64 import urlsafe_b64encode
from math import exp, log, nan
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ledger_sql import Order
from jobs import curves
from jobs.artifacts import Artifacts
from jobs.curves import CurvePoint, EpochRow, ProgressUpdate
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from tests.api.given import (
    LOSSES,
    MEAN_LOSS,
    a_ledger,
    evaluated,
    field,
    get,
    items,
    photo,
    problem,
    queued,
    ready_dataset,
    started,
    succeeded,
)
from tests.api.test_submission import CURVE
from tests.jobs.given import job_in


@pytest.fixture
def job(database: Database, artifacts: Artifacts) -> Job:
    """A fine-tune with a ledger of three photos."""
    return evaluated(database, artifacts, ready_dataset(database))


def numbers(page: dict[str, Any]) -> list[int]:
    """The photos' numbers in the order of the page."""
    return [int(row["path"].removesuffix(".jpg")) for row in page["data"]]


def test_samples_come_worst_first_and_their_mean_is_the_reported_loss(
    client: TestClient, job: Job
) -> None:
    page = get(client, f"/v1/jobs/{job.id}/samples")

    assert numbers(page) == [2, 1, 0]
    assert page["aggregate"]["count"] == 3
    assert page["aggregate"]["mean_loss"] == pytest.approx(MEAN_LOSS)
    assert page["aggregate"]["reported_valid_loss"] == pytest.approx(MEAN_LOSS)
    assert page["aggregate"]["chance_loss"] == pytest.approx(log(2))


def test_a_loss_is_broken_down(client: TestClient, job: Job) -> None:
    worst = get(client, f"/v1/jobs/{job.id}/samples?limit=1")["data"][0]

    parts = worst["breakdown"]
    assert parts["logsumexp"] - parts["logit_label"] == pytest.approx(worst["loss"])
    assert [score["label"] for score in parts["top"]] == ["cat", "dog"]
    assert parts["top"][0]["p"] == pytest.approx(1 / (1 + exp(-3.0)))
    assert worst["p_label"] == pytest.approx(exp(-worst["loss"]))
    assert worst["probabilities"] is None


def test_probabilities_of_all_classes_are_shown_when_asked_for(
    client: TestClient, job: Job
) -> None:
    page = get(client, f"/v1/jobs/{job.id}/samples?expand=probabilities&limit=1")

    assert sum(page["data"][0]["probabilities"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sort=loss", [0, 1, 2]),
        ("sort=-p_label", [0, 1, 2]),
        ("sort=path", [0, 1, 2]),
        ("sort=-rank", [0, 1, 2]),
        ("label=dog", [2, 1]),
        ("predicted=cat", [2, 0]),
        ("correct=false", [2]),
        ("min_loss=0.2", [2, 1]),
        ("max_loss=0.2", [0]),
        ("label=dog&correct=true", [1]),
        ("split=valid", [2, 1, 0]),
        ("label=emu", []),
    ],
)
def test_samples_are_sorted_and_filtered(
    client: TestClient, job: Job, query: str, expected: list[int]
) -> None:
    page = get(client, f"/v1/jobs/{job.id}/samples?{query}")

    assert numbers(page) == expected
    assert page["aggregate"]["count"] == len(expected)


@pytest.mark.parametrize("sort", ["loss", "-loss", "label", "-label", "correct", "-path"])
def test_pages_together_are_the_whole_list(client: TestClient, job: Job, sort: str) -> None:
    path = f"/v1/jobs/{job.id}/samples?sort={sort}"
    whole = numbers(get(client, path))
    seen: list[int] = []
    page = get(client, f"{path}&limit=1")
    while page["has_more"]:
        seen += numbers(page)
        page = get(client, f"{path}&limit=1&after={page['next_cursor']}")

    assert [*seen, *numbers(page)] == whole


@pytest.mark.parametrize(("sort", "expected"), [("-loss", [2, 0, 1]), ("loss", [0, 2, 1])])
@pytest.mark.parametrize("broken", [nan, float("inf"), None])
def test_a_loss_that_is_not_finite_is_last_in_both_directions_and_null(
    client: TestClient,
    database: Database,
    artifacts: Artifacts,
    sort: str,
    expected: list[int],
    broken: float | None,
) -> None:
    losses = [LOSSES[0], broken, LOSSES[2]]
    job = evaluated(database, artifacts, ready_dataset(database), {"loss": losses})
    path = f"/v1/jobs/{job.id}/samples?sort={sort}"

    page = get(client, path)

    assert numbers(page) == expected
    assert page["data"][-1]["loss"] is None
    two = get(client, f"{path}&limit=2")
    assert numbers(get(client, f"{path}&limit=2&after={two['next_cursor']}")) == [1]


def test_a_cursor_belongs_to_its_sort_and_filters(client: TestClient, job: Job) -> None:
    path = f"/v1/jobs/{job.id}/samples"
    cursor = get(client, f"{path}?limit=1")["next_cursor"]

    for query in ("sort=loss", "label=dog"):
        response = client.get(f"{path}?{query}&after={cursor}")

        problem(response, 422, "validation_failed", "/query/after")


@pytest.mark.parametrize("cursor", ["x", "!!!", "eyJhIjoxfQ", "bnVsbA", "W10"])
def test_something_that_is_no_cursor_is_refused(client: TestClient, job: Job, cursor: str) -> None:
    response = client.get(f"/v1/jobs/{job.id}/samples?after={cursor}")

    body = problem(response, 422, "validation_failed", "/query/after")
    assert cursor in body["detail"]


@pytest.mark.parametrize("sort", ["logits", "loss;drop", "", "--loss", "plain_loss"])
def test_only_columns_of_the_ledger_can_be_sorted_by(
    client: TestClient, job: Job, sort: str
) -> None:
    response = client.get(f"/v1/jobs/{job.id}/samples", params={"sort": sort})

    wrong = field(problem(response, 422, "validation_failed", "/query/sort"), "/query/sort")
    assert "loss" in wrong["allowed"]


def test_values_of_a_filter_are_never_sql(client: TestClient, job: Job) -> None:
    page = get(client, f"/v1/jobs/{job.id}/samples?label=dog' OR '1'='1")

    assert page["data"] == []


def test_a_part_without_a_ledger_names_those_with_one(client: TestClient, job: Job) -> None:
    response = client.get(f"/v1/jobs/{job.id}/samples?split=train")

    wrong = field(problem(response, 422, "validation_failed"), "/query/split")
    assert wrong["allowed"] == ["valid"]


def test_a_smoothed_loss_is_shown_beside_the_plain_one(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    job = evaluated(
        database,
        artifacts,
        ready_dataset(database),
        {"loss": [loss + 0.1 for loss in LOSSES], "plain_loss": list(LOSSES)},
    )

    worst = get(client, f"/v1/jobs/{job.id}/samples?sort=-plain_loss&limit=1")["data"][0]

    assert worst["loss"] == pytest.approx(LOSSES[2] + 0.1)
    assert worst["plain_loss"] == pytest.approx(LOSSES[2])
    assert worst["breakdown"]["loss"] == pytest.approx(LOSSES[2])


def test_rows_with_weights_average_by_them(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    weights = [1.0, 3.0, 4.0]
    columns = {"weight": weights, "plain_loss": list(LOSSES)}
    job = evaluated(database, artifacts, ready_dataset(database), columns)
    expected = sum(w * loss for w, loss in zip(weights, LOSSES, strict=True)) / 8

    listed = get(client, f"/v1/jobs/{job.id}/samples?sort=-loss&limit=1")
    summary = get(client, f"/v1/jobs/{job.id}/samples/summary")

    assert listed["data"][0]["weight"] == 4.0
    assert listed["aggregate"]["mean_loss"] == pytest.approx(expected)
    assert summary["mean_loss"] == pytest.approx(expected)
    assert summary["share_of_loss_in_worst_tenth"] == pytest.approx(4 * LOSSES[2] / (8 * expected))


def test_one_sample_is_read_by_its_photo(client: TestClient, database: Database, job: Job) -> None:
    listed = get(client, f"/v1/jobs/{job.id}/samples?limit=1")["data"][0]

    assert get(client, f"/v1/jobs/{job.id}/samples/{listed['item_id']}") == listed
    problem(client.get(f"/v1/jobs/{job.id}/samples/itm_nobody"), 404, "not_found")


def test_a_sample_shows_its_photo(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    items(dataset, artifacts)
    job = evaluated(database, artifacts, dataset)

    row = get(client, f"/v1/jobs/{job.id}/samples/{photo(dataset, 0)}")

    assert client.get(row["image"]).content == b"\xff\xd8 a thumbnail"


def test_the_summary_reconciles_with_the_rows(client: TestClient, job: Job) -> None:
    summary = get(client, f"/v1/jobs/{job.id}/samples/summary")

    assert (summary["count"], summary["correct"], summary["not_finite"]) == (3, 2, 0)
    assert summary["mean_loss"] == pytest.approx(MEAN_LOSS)
    assert summary["loss"]["p50"] == pytest.approx(LOSSES[1])
    assert summary["loss"]["max"] == pytest.approx(LOSSES[2])
    assert summary["share_of_loss_in_worst_tenth"] == pytest.approx(LOSSES[2] / sum(LOSSES))


def test_the_confusion_matrix_reconciles_with_the_rows(client: TestClient, job: Job) -> None:
    confusion = get(client, f"/v1/jobs/{job.id}/confusion")

    assert confusion["labels"] == ["cat", "dog"]
    assert confusion["matrix"] == [[1, 0], [1, 1]]
    assert confusion["most_confused"] == [{"label": "dog", "predicted": "cat", "count": 1}]
    assert (confusion["count"], confusion["correct"]) == (3, 2)
    assert confusion["accuracy"] == pytest.approx(2 / 3)


def test_scores_of_each_class(client: TestClient, job: Job) -> None:
    report = get(client, f"/v1/jobs/{job.id}/classes")

    cat, dog = report["data"]
    assert (cat["precision"], cat["recall"], cat["support"]) == (0.5, 1.0, 1)
    assert (dog["precision"], dog["recall"], dog["support"]) == (1.0, 0.5, 2)
    assert cat["f1"] == pytest.approx(2 / 3)
    assert dog["mean_loss"] == pytest.approx((LOSSES[1] + LOSSES[2]) / 2)
    assert report["macro_f1"] == pytest.approx(2 / 3)


def test_an_evaluation_of_everything_can_be_read_by_part(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    file = artifacts.root / "jobs" / "all.parquet"
    a_ledger(dataset, file, {"split": ["train", "valid", "valid"]})
    entry = {"path": artifacts.relative(file), "digest": "l2", "count": 3}
    result = {"classes": ["cat", "dog"], "samples": {"all": entry}, "reported_loss": MEAN_LOSS}
    job = succeeded(database, JobType.EVALUATION, dataset, result)

    assert numbers(get(client, f"/v1/jobs/{job.id}/samples")) == [2, 1, 0]
    assert numbers(get(client, f"/v1/jobs/{job.id}/samples?split=train")) == [0]
    assert get(client, f"/v1/jobs/{job.id}/confusion?split=train")["count"] == 1


RESULTS = ("samples", "samples/summary", "confusion", "classes")


@pytest.mark.parametrize("path", RESULTS)
def test_results_of_a_running_job_are_not_ready(
    client: TestClient, database: Database, path: str
) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))

    response = client.get(f"/v1/jobs/{job.id}/{path}")

    problem(response, 409, "result_not_ready")
    assert response.headers["retry-after"] == "2"


@pytest.mark.parametrize("path", RESULTS)
def test_results_of_a_failed_job_will_never_be_ready(
    client: TestClient, database: Database, path: str
) -> None:
    job = job_in(database, JobState.FAILED)

    response = client.get(f"/v1/jobs/{job.id}/{path}")

    problem(response, 409, "result_not_ready")
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("path", [*RESULTS, "loss-curve", "lr-curve"])
def test_an_import_has_no_results_of_training(
    client: TestClient, database: Database, path: str
) -> None:
    dataset = ready_dataset(database)

    body = problem(client.get(f"/v1/jobs/{dataset.job_id}/{path}"), 404, "not_found")

    assert "is a dataset_import" in body["detail"]


def test_a_fine_tune_without_a_valid_part_has_no_samples(
    client: TestClient, database: Database
) -> None:
    result: dict[str, Any] = {"classes": ["cat", "dog"], "samples": {}}
    job = succeeded(database, JobType.FINE_TUNE, ready_dataset(database), result)

    body = problem(client.get(f"/v1/jobs/{job.id}/samples"), 404, "not_found")

    assert "no valid part" in body["detail"]


def test_the_lr_curve_is_shown_with_every_rule(client: TestClient, database: Database) -> None:
    job = succeeded(database, JobType.LR_FIND, ready_dataset(database), {"lr_curve": CURVE})

    curve = get(client, f"/v1/jobs/{job.id}/lr-curve")

    assert curve["losses"] == [2.0, None]
    assert curve["diverged_at_step"] == 1
    assert curve["suggestions"]["slide"] is None
    assert curve["recommended"]["range"] == [0.001, 0.004]


def test_the_lr_curve_of_a_find_that_waits_is_not_ready(
    client: TestClient, database: Database
) -> None:
    job = queued(database, JobType.LR_FIND, ready_dataset(database))

    problem(client.get(f"/v1/jobs/{job.id}/lr-curve"), 409, "result_not_ready")


@pytest.fixture
def trained(database: Database) -> Job:
    """A running fine-tune with ten steps and one epoch."""
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    points = [
        CurvePoint(
            phase="frozen",
            step=step,
            global_step=step,
            epoch=0,
            loss=None if step == 3 else float(step),
            smoothed=float(step),
            lrs=(1e-5, 1e-4, 1e-3),
            momentum=0.9,
        )
        for step in range(10)
    ]
    update = ProgressUpdate(progress={"fraction": 0.5}, latest={}, points=points)
    curves.record_progress(database, job.id, job.fence, update)
    row = EpochRow(
        epoch=0,
        phase="frozen",
        global_step=10,
        train_loss=1.0,
        valid_loss=0.5,
        accuracy=0.75,
        error_rate=0.25,
        seconds=2.0,
    )
    curves.record_epoch(database, job.id, job.fence, row)
    return job


def test_the_loss_curve_has_a_column_for_everything(client: TestClient, trained: Job) -> None:
    curve = get(client, f"/v1/jobs/{trained.id}/loss-curve")

    assert (curve["count"], curve["is_thinned"]) == (10, False)
    assert curve["steps"]["step"] == list(range(10))
    assert curve["steps"]["loss"][3] is None
    assert [rates[0] for rates in curve["steps"]["lr"]] == [1e-5, 1e-4, 1e-3]
    assert curve["epochs"]["accuracy"] == [0.75]


def test_a_thinned_curve_keeps_both_ends(client: TestClient, trained: Job) -> None:
    curve = get(client, f"/v1/jobs/{trained.id}/loss-curve?max_points=4")

    assert curve["steps"]["step"] == [0, 3, 6, 9]
    assert (curve["count"], curve["is_thinned"]) == (10, True)


def test_the_loss_curve_comes_as_a_table_when_asked_for(client: TestClient, trained: Job) -> None:
    response = client.get(f"/v1/jobs/{trained.id}/loss-curve", headers={"Accept": "text/csv"})

    lines = response.text.splitlines()
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert lines[0] == "step,epoch,phase,loss,smoothed,momentum,lr_0,lr_1,lr_2"
    assert lines[4] == "3,0,frozen,,3.0,0.9,1e-05,0.0001,0.001"
    assert len(lines) == 11


def test_a_type_that_is_not_made_is_refused(client: TestClient, trained: Job) -> None:
    response = client.get(f"/v1/jobs/{trained.id}/loss-curve", headers={"Accept": "image/png"})

    body = problem(response, 406, "not_acceptable")
    assert "application/json or text/csv" in body["detail"]


def test_a_job_that_waits_has_an_empty_curve(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))

    curve = get(client, f"/v1/jobs/{job.id}/loss-curve")

    assert (curve["count"], curve["steps"]["lr"]) == (0, [])


@pytest.mark.parametrize(
    "position",
    [
        [],
        [False, 1.0],
        [False, "1.0", "itm_1"],
        [False, None, "itm_1"],
        [False, 10**400, "itm_1"],
        [False, True, "itm_1"],
        [False, 1.0, 5],
        [False, 1.0, "\ud800"],
        [0, 1.0, "itm_1"],
        [True, 1.0, "itm_1"],
        [{}, [], "itm_1"],
    ],
)
def test_a_place_that_is_none_fits_no_order(position: list[object]) -> None:
    assert not Order.parse("-loss").fits(position)


def test_a_cursor_that_nests_without_end_is_refused(client: TestClient, job: Job) -> None:
    cursor = urlsafe_b64encode(b"[" * 1400).decode().rstrip("=") + ".eHg"

    response = client.get(f"/v1/jobs/{job.id}/samples?after={cursor}")

    problem(response, 422, "validation_failed", "/query/after")


@pytest.mark.parametrize("query", ["min_loss=nan", "min_loss=inf", "max_loss=-inf"])
def test_a_bound_of_the_loss_is_finite(client: TestClient, job: Job, query: str) -> None:
    response = client.get(f"/v1/jobs/{job.id}/samples?{query}")

    problem(response, 422, "validation_failed", f"/query/{query.split('=')[0]}")
