"""The main job over HTTP alone: dataset, range test, fine-tune, ledger, evaluation."""

from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, dataset_body, finished
from tunesmith_client import Client, Json

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def dataset(client: Client, photos: Path) -> Json:
    """A ready dataset."""
    created = client.post("/v1/datasets", dataset_body(photos))
    finished(client, created["job_id"])
    return client.get(f"/v1/datasets/{created['id']}")


@pytest.fixture(scope="module")
def found(client: Client, dataset: Json) -> Json:
    """A finished range test."""
    job = client.post("/v1/lr-finds", {"dataset": dataset["id"], "num_steps": 25, **TINY})
    return finished(client, job["id"])


@pytest.fixture(scope="module")
def trained(client: Client, dataset: Json, found: Json) -> Json:
    """A finished fine-tune at the recommended rate."""
    body = {
        "dataset": dataset["id"],
        "epochs": 2,
        "freeze_epochs": 1,
        "learning_rate": {"from_job": found["id"], "rule": "recommended"},
        **TINY,
    }
    return finished(client, client.post("/v1/fine-tunes", body)["id"])


def test_a_dataset_is_labelled_by_its_pattern(dataset: Json) -> None:
    assert dataset["state"] == "ready", dataset
    assert dataset["counts"] == {
        "files": 24,
        "usable": 24,
        "train": 18,
        "valid": 6,
        "test": 0,
        "classes": 2,
    }
    assert [entry["label"] for entry in dataset["classes"]] == ["blue", "red"]


def test_a_range_test_recommends_a_rate(client: Client, found: Json) -> None:
    assert found["state"] == "succeeded", found
    curve = client.get(f"/v1/jobs/{found['id']}/lr-curve")
    assert curve["recommended"]["lr"] > 0
    assert {"minimum_over_10", "last_clear_descent", "steepest", "valley", "slide"} <= set(
        curve["suggestions"]
    )


def test_a_fine_tune_trains_at_the_rate_that_was_found(
    client: Client, found: Json, trained: Json
) -> None:
    assert trained["state"] == "succeeded", trained
    recommended = client.get(f"/v1/jobs/{found['id']}/lr-curve")["recommended"]["lr"]
    rate = trained["resolved"]["learning_rate"]
    assert rate["value"] == pytest.approx(recommended)
    assert rate["origin"] == "lr_find"
    assert rate["job_id"] == found["id"]


def test_the_loss_curve_has_every_step_with_the_rate_of_each_group(
    client: Client, trained: Json
) -> None:
    curve = client.get(f"/v1/jobs/{trained['id']}/loss-curve")

    # 18 photos in batches of 4 make 4 steps, in 1 frozen and 2 unfrozen epochs
    assert len(curve["steps"]["loss"]) == 12
    assert all(len(rates) == 12 for rates in curve["steps"]["lr"])
    assert len(curve["steps"]["lr"]) == 3
    assert len(curve["epochs"]["valid_loss"]) == 3


def test_the_rows_average_to_the_reported_loss(client: Client, trained: Json) -> None:
    page = client.get(f"/v1/jobs/{trained['id']}/samples", sort="-loss", limit=200)

    losses = [row["loss"] for row in page["data"]]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == page["aggregate"]["count"] == 6
    reported = page["aggregate"]["reported_valid_loss"]
    assert sum(losses) / len(losses) == pytest.approx(reported, abs=1e-5)
    for row in page["data"]:
        breakdown = row["breakdown"]
        assert breakdown["logsumexp"] - breakdown["logit_label"] == pytest.approx(row["loss"])


def test_pages_of_samples_hold_every_row_once(client: Client, trained: Json) -> None:
    seen: list[str] = []
    query: Json = {"sort": "p_label", "limit": 4}
    while True:
        page = client.get(f"/v1/jobs/{trained['id']}/samples", **query)
        seen += [row["item_id"] for row in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]

    assert len(seen) == len(set(seen)) == 6


def test_the_confusion_counts_are_those_of_the_rows(client: Client, trained: Json) -> None:
    confusion = client.get(f"/v1/jobs/{trained['id']}/confusion")
    rows = client.get(f"/v1/jobs/{trained['id']}/samples", limit=200)["data"]

    for actual, counts in zip(confusion["labels"], confusion["matrix"], strict=True):
        for predicted, count in zip(confusion["labels"], counts, strict=True):
            pairs = [(row["label"], row["predicted"]) for row in rows]
            assert pairs.count((actual, predicted)) == count


def test_an_evaluation_of_the_training_part_has_a_row_for_each_photo(
    client: Client, dataset: Json, trained: Json
) -> None:
    body = {"model": trained["model_id"], "dataset": dataset["id"], "split": "train"}
    job = finished(client, client.post("/v1/evaluations", body)["id"])

    assert job["state"] == "succeeded", job
    page = client.get(f"/v1/jobs/{job['id']}/samples", split="train", limit=200)
    assert page["aggregate"]["count"] == 18


def test_equal_requests_with_one_key_make_one_job(client: Client, photos: Path) -> None:
    body = dataset_body(photos) | {"name": "twice"}

    first, second = (
        client.post("/v1/datasets", body, idempotency_key="test-equal-requests") for _ in range(2)
    )

    assert first["id"] == second["id"]


def test_a_job_starts_with_its_first_event_and_ends_with_its_last(
    client: Client, trained: Json
) -> None:
    kinds = [event.type for event in client.jobs.events(trained["id"])]

    assert kinds[0] == "job.queued"
    assert kinds.count("job.started") == 1
    assert kinds.count("job.epoch_completed") == 3
    assert kinds[-1] == "job.succeeded"


def test_every_photo_of_the_ledger_can_be_seen(client: Client, trained: Json) -> None:
    row = client.get(f"/v1/jobs/{trained['id']}/samples", limit=1)["data"][0]

    picture = client.download(row["image"])

    # JPEG: start of image, and its end
    assert picture.startswith(b"\xff\xd8")
    assert picture.endswith(b"\xff\xd9")


def test_presizing_is_compared_on_the_datasets_own_photos(client: Client, dataset: Json) -> None:
    body = {
        "dataset": dataset["id"],
        "images": 2,
        **{name: TINY[name] for name in ("presize", "size")},
        "draws": {"rotate_deg": 30, "zoom": 1.2, "warp": [-0.2, 0.2]},
    }
    job = finished(client, client.post("/v1/presizing-previews", body)["id"])

    assert job["state"] == "succeeded", job
    preview = client.get(job["links"]["presizing_preview"])
    means = preview["means"]
    assert means["single"]["psnr_db"] > means["step_by_step"]["psnr_db"]
    assert means["single"]["energy_kept"] > means["step_by_step"]["energy_kept"]
    assert len(preview["images"]) == 2
    assert client.download(preview["links"]["png"]).startswith(b"\x89PNG")
