"""The same request gives the same bits: over HTTP, on photos that the service draws itself."""

from pathlib import Path

import pytest

from cli.stack import Stack
from tests.e2e.conftest import finished
from tunesmith_client import Client, Json

pytestmark = pytest.mark.e2e

CATS: Json = {
    "source": {"type": "sample", "photos_per_class": 8},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    "split": {"rule": "random", "valid_fraction": 0.25, "seed": 1},
}
SMALL: Json = {
    "architecture": "squeezenet1_1",
    "weights": "none",
    "size": 64,
    "presize": 80,
    "batch_size": 8,
}


def registered(client: Client, name: str) -> str:
    """The sample photos as a dataset of this name."""
    created = client.post("/v1/datasets", {"name": name, **CATS})
    finished(client, created["job_id"])
    dataset_id: str = created["id"]
    return dataset_id


@pytest.fixture(scope="module")
def dataset_id(client: Client) -> str:
    """48 cats in six classes."""
    return registered(client, "cats")


def trained(client: Client, dataset_id: str, **changes: object) -> Json:
    """A fine-tune of a frozen and an unfrozen epoch after it has succeeded."""
    body = {"dataset": dataset_id, "epochs": 1, **SMALL, **changes}
    job = finished(client, client.post("/v1/fine-tunes", body)["id"])
    assert job["state"] == "succeeded", job
    return job


def numbers_of(client: Client, job: Json) -> Json:
    """The curve without its times, and the digest of the model's file."""
    curve = client.get(f"/v1/jobs/{job['id']}/loss-curve")
    epochs = {name: column for name, column in curve["epochs"].items() if name != "seconds"}
    digest = client.get(f"/v1/models/{job['model_id']}")["digest"]
    return {"steps": curve["steps"], "epochs": epochs, "digest": digest}


def ledger_of(client: Client, job: Json) -> list[Json]:
    """Every row, but for the links and ids that name the job or its dataset."""
    page = client.get(
        f"/v1/jobs/{job['id']}/samples", sort="path", limit=200, expand="probabilities"
    )
    names = ("path", "label", "predicted", "loss", "probabilities", "breakdown", "loss_by_epoch")
    return [{name: row[name] for name in names} for row in page["data"]]


@pytest.fixture(scope="module")
def first(client: Client, dataset_id: str) -> Json:
    """The fine-tune that others are compared with."""
    return trained(client, dataset_id)


def test_the_same_fine_tune_again_has_the_same_losses_rows_and_weights(
    client: Client, dataset_id: str, first: Json
) -> None:
    second = trained(client, dataset_id)

    assert second["id"] != first["id"]
    assert len(numbers_of(client, first)["steps"]["loss"]) == 8
    assert numbers_of(client, second) == numbers_of(client, first)
    assert ledger_of(client, second) == ledger_of(client, first)
    assert second["resolved"] == first["resolved"]


def test_the_same_photos_registered_again_train_to_the_same_weights(
    client: Client, first: Json
) -> None:
    again = trained(client, registered(client, "the same cats"))

    assert numbers_of(client, again) == numbers_of(client, first)
    assert ledger_of(client, again) == ledger_of(client, first)


def test_the_seed_is_recorded_and_another_one_trains_otherwise(
    client: Client, dataset_id: str, first: Json
) -> None:
    other = trained(client, dataset_id, seed=7)

    assert (first["hyperparameters"]["seed"], other["hyperparameters"]["seed"]) == (42, 7)
    assert numbers_of(client, other)["digest"] != numbers_of(client, first)["digest"]
    assert numbers_of(client, other)["steps"]["loss"][0] != pytest.approx(
        numbers_of(client, first)["steps"]["loss"][0]
    )


def test_the_same_find_again_has_the_same_curve_and_says_the_same(
    client: Client, dataset_id: str
) -> None:
    curves = []
    for _ in range(2):
        body = {"dataset": dataset_id, "num_steps": 30, "repeats": 2, **SMALL}
        job = finished(client, client.post("/v1/lr-finds", body)["id"])
        assert job["state"] == "succeeded", job
        curves.append(client.get(f"/v1/jobs/{job['id']}/lr-curve"))

    first, second = ({**curve, "job_id": None} for curve in curves)
    assert first == second


def test_no_kernel_of_these_trainings_has_been_told_to_give_other_bits(
    client: Client, first: Json
) -> None:
    events = client.jobs.events(first["id"])
    codes = [event.data["code"] for event in events if event.type == "job.warning"]

    assert codes == ["frozen_random_body"]


def test_trainers_begin_with_the_workspace_that_repeatable_products_need_on_cuda(
    stack: Stack, first: Json
) -> None:
    own = f"TUNESMITH_ARTIFACTS={stack.settings.artifacts}".encode()
    templates = [_environment_of(process) for process in Path("/proc").glob("[0-9]*")]

    ours = [environment for environment in templates if own in environment]
    assert ours
    assert all(b"CUBLAS_WORKSPACE_CONFIG=:4096:8" in environment for environment in ours)


def _environment_of(process: Path) -> list[bytes]:
    """What a process that trainers are forked from was started with; nothing of any other."""
    try:
        is_template = b"forkserver" in (process / "cmdline").read_bytes()
        return (process / "environ").read_bytes().split(b"\0") if is_template else []
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return []
