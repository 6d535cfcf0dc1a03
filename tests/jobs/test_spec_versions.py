"""Specs that an earlier version of the service has stored."""

from collections.abc import Mapping
from typing import Any

from jobs import spec_versions, store
from jobs.database import Database
from jobs.job import JobType
from jobs.spec import SPEC_VERSION, FineTuneSpec
from tests.jobs import given

FIRST = {
    "dataset": "ds_1",
    "architecture": "resnet34",
    "weights": "DEFAULT",
    "presize": 460,
    "size": 224,
    "batch_size": 64,
    "weight_decay": 0.01,
    "augment": {
        "min_scale": 0.75,
        "max_rotate": 10.0,
        "max_zoom": 1.1,
        "max_lighting": 0.2,
        "max_warp": 0.2,
        "flip": True,
    },
    "train_norm_layers": True,
    "precision": "auto",
    "seed": 42,
    "priority": 5,
    "name": None,
    "metadata": {},
    "epochs": 3,
    "freeze_epochs": 1,
    "learning_rate": 0.002,
    "discriminative": None,
    "schedule": {"pct_start": 0.3, "div": 5.0},
    "label_smoothing": 0.0,
}
"""A fine-tune as the very first version stored it, version 1."""


def test_a_fine_tune_of_the_first_version_still_means_the_same(database: Database) -> None:
    job = given.a_job(database)
    given.set_columns(database, job.id, spec=FIRST, spec_version=1)

    spec = FineTuneSpec.model_validate(store.get(database, job.id).spec)

    read = spec.model_dump(mode="json")
    assert {name: read[name] for name in FIRST if name != "augment"} == {
        name: value for name, value in FIRST.items() if name != "augment"
    }
    assert spec.augment.max_rotate == 10.0


def test_each_step_is_taken_in_its_order() -> None:
    def renamed(_: JobType, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"size": spec["px"]}

    def doubled(_: JobType, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"size": spec["size"] * 2}

    steps = {1: renamed, 2: doubled}

    def read(spec: Mapping[str, Any], version: int) -> Mapping[str, Any]:
        return spec_versions.upgraded(JobType.FINE_TUNE, spec, version, to=3, upgraders=steps)

    assert read({"px": 8}, 1) == {"size": 16}
    assert read({"size": 8}, 2) == {"size": 16}
    assert read({"size": 8}, 3) == {"size": 8}


def test_every_version_before_this_one_has_its_step() -> None:
    assert sorted(spec_versions.UPGRADERS) == list(range(1, SPEC_VERSION))


def test_a_job_of_a_newer_version_can_be_read_and_is_refused(database: Database) -> None:
    job = given.a_job(database)
    given.set_columns(database, job.id, spec={"later": 1}, spec_version=SPEC_VERSION + 1)

    found = store.get(database, job.id)

    assert found.spec == {"later": 1}
    refusal = spec_versions.refusal(found.spec_version)
    assert refusal is not None
    assert refusal.code == "spec_too_new"
    assert f"version {SPEC_VERSION + 1}" in refusal.message
    assert spec_versions.refusal(SPEC_VERSION) is None
