"""A model trained on, its job done again, and the model judged by other names, over HTTP alone."""

from math import log
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, dataset_body, finished
from tunesmith_client import Client, Json, ProblemError

pytestmark = pytest.mark.e2e

CHANCE = log(2)
INITIALS = {"rule": "regex", "pattern": r"^(.).+_\d+\.jpg$"}


@pytest.fixture(scope="module")
def trained(client: Client, photos: Path) -> Json:
    """A fine-tune that tells blue from red."""
    body = {
        **TINY,
        "dataset": dataset_body(photos),
        "architecture": "resnet18",
        "batch_size": 8,
        "freeze_epochs": 0,
        "epochs": 20,
        "learning_rate": 0.002,
    }
    return succeeded(client, client.post("/v1/fine-tunes", body))


def succeeded(client: Client, job: Json) -> Json:
    """The job after it has ended well."""
    ended = finished(client, job["id"])
    assert ended["state"] == "succeeded", ended["error"]
    return ended


def train_losses(client: Client, job: Json) -> list[float]:
    """The mean training loss of each epoch."""
    losses: list[float] = client.get(f"/v1/jobs/{job['id']}/loss-curve")["epochs"]["train_loss"]
    return losses


def test_training_on_starts_where_the_first_training_ended(client: Client, trained: Json) -> None:
    # a rate that changes little shows what was begun with
    body = {"continue_epochs": 2, "overrides": {"learning_rate": 1e-5}}
    ended = succeeded(client, client.post(f"/v1/jobs/{trained['id']}/retry", body))

    first, second = train_losses(client, trained), train_losses(client, ended)
    assert first[-1] < CHANCE / 2
    assert len(second) == 2
    assert second[0] < (first[-1] + CHANCE) / 2
    assert ended["resolved"]["weights"]["value"] == {"from_job": trained["id"], "head": "kept"}
    model = client.get(f"/v1/models/{ended['model_id']}")
    assert model["parent_id"] == trained["model_id"]


def test_a_job_done_again_ends_as_the_first_did(client: Client, trained: Json) -> None:
    again = succeeded(client, client.post(f"/v1/jobs/{trained['id']}/retry", {}))

    assert again["retry_of"] == trained["id"]
    assert again["dataset_id"] == trained["dataset_id"]
    assert train_losses(client, again) == pytest.approx(train_losses(client, trained))


def test_a_model_is_judged_by_other_names_once_they_are_mapped(
    client: Client, photos: Path, trained: Json
) -> None:
    dataset = client.post("/v1/datasets", {**dataset_body(photos), "labels": INITIALS})
    finished(client, dataset["job_id"])
    body = {"model": trained["model_id"], "dataset": dataset["id"], "split": "all"}
    with pytest.raises(ProblemError, match=r"does not know 'b' \(12 photos\), 'r' \(12 photos\)"):
        client.post("/v1/evaluations", body)

    mapping = {"b": "blue", "r": None}
    job = succeeded(client, client.post("/v1/evaluations", {**body, "label_mapping": mapping}))

    page = client.get(f"/v1/jobs/{job['id']}/samples", limit=200)
    rows = page["data"]
    assert {(row["dataset_label"], row["label"]) for row in rows} == {("b", "blue")}
    mean = sum(row["loss"] for row in rows) / len(rows)
    assert mean == pytest.approx(page["aggregate"]["reported_valid_loss"], abs=1e-5)
    summary = client.get(f"/v1/jobs/{job['id']}/samples/summary")
    assert (summary["count"], summary["left_out"]["count"]) == (12, 12)
    confusion = client.get(f"/v1/jobs/{job['id']}/confusion")
    assert [sum(counts) for counts in confusion["matrix"]] == [12, 0]
