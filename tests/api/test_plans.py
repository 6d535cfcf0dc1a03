"""A dry run answers with all that the job would do, and leaves nothing behind but a probe."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.planning.rates import evenly
from jobs import datasets, leases, presence, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.hyperparameters import Augment, Schedule
from jobs.job import Job, JobType
from jobs.keys import Scope
from jobs.spec import FineTuneSpec, LrFindSpec
from ml.theory.layer_rates import fine_tune_peaks
from ml.theory.schedules import (
    SWEEP_MOMENTUM,
    FineTunePlan,
    exponential_sweep,
    fine_tune_phases,
)
from tests.api.given import (
    Headers,
    a_model,
    bearer,
    get,
    problem,
    queued,
    ready_dataset,
    succeeded,
)
from tests.api.test_submission import CURVE
from tests.jobs.given import DATASET, FAILURE, LEASE_MS, claimed, set_columns

LR_FINDS, FINE_TUNES = "/v1/lr-finds", "/v1/fine-tunes"
MIB = 1 << 20
PACE = {"first_s": 2.0, "each_s": 0.5, "fastest_s": 0.4, "slowest_s": 0.6, "count": 4}
PROBE: dict[str, Any] = {
    "fits": True,
    "start_s": 0.1,
    "build_s": 0.25,
    "weights_cached": True,
    "presized": {"train": True, "valid": False},
    "presize_photo_s": 0.5,
    "photo_bytes": 1000,
    "steps": {"frozen": PACE, "unfrozen": PACE},
    "evaluation": PACE,
    "checkpoint_s": 0.2,
    "memory": {"kind": "resident", "peak_bytes": 900 * MIB, "total_bytes": 8000 * MIB},
    "environment": {"device": "cpu", "precision": "bf16", "batch_size": 4, "threads": 2},
    "device_name": "cpu",
}


@pytest.fixture
def dataset(database: Database) -> Dataset:
    """Eight photos to train with and three to validate, of two classes."""
    return ready_dataset(database)


@pytest.fixture
def worker(database: Database) -> None:
    """A train worker is there, which claims nothing by itself."""
    presence.announce(database, worker_id="w", queue="train", device="cpu", hostname="box", pid=1)


def planned(
    client: TestClient,
    path: str,
    body: dict[str, Any],
    max_points: int = 200,
    headers: Headers | None = None,
) -> dict[str, Any]:
    """The plan, without a wait for its probe."""
    response = client.post(
        path,
        params={"dry_run": True, "max_points": max_points},
        json=body,
        headers={"Prefer": "wait=0", **(headers or {})},
    )
    assert response.status_code == 200, response.text
    plan: dict[str, Any] = response.json()
    return plan


def measured(database: Database, **changes: Any) -> Job:  # noqa: ANN401  (any part of the result)
    """The queued probe as a worker would leave it."""
    probe = claimed(database)
    leases.succeed(database, probe.id, probe.fence, values={"result": {"probe": PROBE | changes}})
    return store.get(database, probe.id)


@contextmanager
def _working(database: Database, end: Callable[[Job], None]) -> Iterator[None]:
    """A worker beside the block takes the first job that is queued, and ends it so."""

    def work() -> None:
        while not jobs_of(database):
            time.sleep(0.01)
        end(claimed(database))

    worker = threading.Thread(target=work)
    worker.start()
    yield
    worker.join()


def jobs_of(database: Database, *without: JobType) -> list[Job]:
    """All jobs but those of these types, and the import that made the dataset."""
    found = store.list_jobs(database, store.JobFilter(), after=None, limit=100)
    return [job for job in found if job.type not in {JobType.DATASET_IMPORT, *without}]


# --- values ---------------------------------------------------------------------------------


def _names(spec: type[LrFindSpec] | type[FineTuneSpec]) -> Iterator[str]:
    nested: dict[str, type[Augment] | type[Schedule]] = {"augment": Augment, "schedule": Schedule}
    for name in spec.model_fields:
        if name in nested:
            yield from (f"{name}.{field}" for field in nested[name].model_fields)
        else:
            yield name


@pytest.mark.parametrize(("path", "spec"), [(LR_FINDS, LrFindSpec), (FINE_TUNES, FineTuneSpec)])
def test_every_field_is_there_with_who_decided_it(
    client: TestClient, dataset: Dataset, path: str, spec: type[LrFindSpec] | type[FineTuneSpec]
) -> None:
    body = {"dataset": dataset.id, "seed": 7, "augment": {"flip": False}, "batch_size": 4}

    resolved = planned(client, path, body)["resolved"]

    assert set(_names(spec)) <= set(resolved)
    sent = {"dataset": dataset.id, "seed": 7, "augment.flip": False, "batch_size": 4}
    assert {name: resolved[name]["value"] for name in sent} == sent
    assert {resolved[name]["origin"] for name in sent} == {"request"}
    defaults = {name: resolved[name] for name in ("presize", "size", "augment.max_warp", "name")}
    assert {name: entry["value"] for name, entry in defaults.items()} == {
        "presize": 460,
        "size": 224,
        "augment.max_warp": 0.2,
        "name": None,
    }
    assert {entry["origin"] for entry in defaults.values()} == {"default"}


def test_what_the_dataset_and_the_architecture_decide_says_so(
    client: TestClient, dataset: Dataset
) -> None:
    resolved = planned(client, FINE_TUNES, {"dataset": dataset.id})["resolved"]

    known = {name: (entry["value"], entry["origin"]) for name, entry in resolved.items()}
    assert known["num_classes"] == (2, "dataset")
    assert known["photos"] == ({"train": 8, "valid": 3, "test": 0}, "dataset")
    assert known["num_layer_groups"] == (3, "architecture")
    assert known["weights_name"] == ("IMAGENET1K_V1", "architecture")
    assert known["device"] == (None, "hardware")
    assert known["precision"] == (None, "hardware")


@pytest.mark.parametrize("path", [LR_FINDS, FINE_TUNES])
def test_the_slow_way_of_presizing_is_called_slow(
    client: TestClient, dataset: Dataset, path: str
) -> None:
    body = {"dataset": dataset.id, "presize_mode": "fastai"}

    slow, usual = (
        planned(client, path, asked)["resolved"]["presize_mode"]
        for asked in (body, {"dataset": dataset.id})
    )

    assert (slow["value"], slow["origin"], usual["note"]) == ("fastai", "request", None)
    assert "slow: every photo is decoded at full size in every epoch" in slow["note"]


def test_layer_decay_gives_each_block_its_rate(client: TestClient, dataset: Dataset) -> None:
    body = {"dataset": dataset.id, "architecture": "resnet18", "batch_size": 4}
    spread = {"discriminative": {"layer_decay": 0.5}, "learning_rate": 0.2}

    plan = planned(client, FINE_TUNES, {**body, **spread})

    expected = [0.1 * 0.5**above for above in range(9, -1, -1)]
    assert plan["resolved"]["unfrozen_peaks"]["value"] == pytest.approx(expected)
    assert {len(rates) for phase in plan["schedule"] for rates in phase["lr"]} == {10}


def test_accumulated_batches_shrink_to_the_photos_there_are(
    client: TestClient, dataset: Dataset
) -> None:
    plan = planned(client, FINE_TUNES, {"dataset": dataset.id, "batch_size": 3, "accumulate": 5})

    assert plan["resolved"]["accumulate"] == {
        **plan["resolved"]["batch_size"], "value": 2, "origin": "dataset"
    }  # fmt: skip
    assert {phase["steps_per_epoch"] for phase in plan["phases"]} == {1}


def test_a_batch_shrinks_to_the_photos_there_are(client: TestClient, dataset: Dataset) -> None:
    plan = planned(client, FINE_TUNES, {"dataset": dataset.id, "batch_size": 64})

    assert plan["resolved"]["batch_size"]["value"] == 8
    assert plan["resolved"]["batch_size"]["origin"] == "dataset"
    assert {phase["steps_per_epoch"] for phase in plan["phases"]} == {1}


@pytest.mark.parametrize(
    ("asked", "frozen", "unfrozen", "origin"),
    [
        ({"learning_rate": 0.2}, [0.02, 0.02, 0.2], [0.001, 0.01, 0.1], "learning_rate"),
        (
            {"learning_rate": 0.2, "discriminative": {"lr_mult": 4}},
            [0.02, 0.02, 0.2],
            [0.025, 0.05, 0.1],
            "learning_rate",
        ),
        (
            {"learning_rate": 0.2, "discriminative": "off"},
            [0.2, 0.2, 0.2],
            [0.1, 0.1, 0.1],
            "learning_rate",
        ),
        (
            {"learning_rate": {"lowest": 0.01, "highest": 0.04}},
            [0.004, 0.004, 0.04],
            [0.01, 0.02, 0.04],
            "request",
        ),
        (
            {"learning_rate": {"per_group": [0.3, 0.2, 0.1]}},
            [0.03, 0.03, 0.3],
            [0.3, 0.2, 0.1],
            "request",
        ),
    ],
)
def test_every_layer_group_has_its_peaks(
    client: TestClient,
    dataset: Dataset,
    *,
    asked: dict[str, Any],
    frozen: list[float],
    unfrozen: list[float],
    origin: str,
) -> None:
    resolved = planned(client, FINE_TUNES, {"dataset": dataset.id, **asked})["resolved"]

    assert resolved["frozen_peaks"]["value"] == pytest.approx(frozen)
    assert resolved["unfrozen_peaks"]["value"] == pytest.approx(unfrozen)
    assert resolved["unfrozen_peaks"]["origin"] == origin
    assert resolved["learning_rate"]["value"] == pytest.approx(frozen[-1])
    assert resolved["learning_rate"]["origin"] == "request"


def test_who_names_no_rate_gets_the_default_one(client: TestClient, dataset: Dataset) -> None:
    resolved = planned(client, FINE_TUNES, {"dataset": dataset.id})["resolved"]

    rate, spread = resolved["learning_rate"], resolved["discriminative"]
    assert (rate["value"], rate["origin"]) == (2e-3, "default")
    assert (spread["value"], spread["origin"]) == ({"lr_mult": 100.0}, "default")


# --- steps and rates ------------------------------------------------------------------------


def test_phases_have_the_steps_of_their_epochs(client: TestClient, dataset: Dataset) -> None:
    body = {"dataset": dataset.id, "batch_size": 3, "freeze_epochs": 2, "epochs": 5}

    phases = planned(client, FINE_TUNES, body)["phases"]

    # of eight photos two full batches of three are taken in every epoch
    expected = [("frozen", "fine_tune", 2, 2, 4), ("unfrozen", "fine_tune", 5, 2, 10)]
    assert [tuple(phase.values()) for phase in phases] == expected


def test_a_phase_without_epochs_is_not_there(client: TestClient, dataset: Dataset) -> None:
    plan = planned(client, FINE_TUNES, {"dataset": dataset.id, "freeze_epochs": 0})

    assert [phase["name"] for phase in plan["phases"]] == ["unfrozen"]
    assert [phase["name"] for phase in plan["schedule"]] == ["unfrozen"]


@pytest.mark.parametrize("max_points", [3, 7, 200])
def test_the_schedule_is_that_of_the_training_at_the_listed_steps(
    client: TestClient, dataset: Dataset, max_points: int
) -> None:
    body = {"dataset": dataset.id, "batch_size": 4, "epochs": 30, "learning_rate": 0.01}
    body |= {"schedule": {"pct_start": 0.4, "div": 8.0}}
    peaks = fine_tune_peaks(0.01)
    plan = FineTunePlan(epochs=30, freeze_epochs=1, steps_per_epoch=2, pct_start=0.4, div=8.0,
                        frozen_peaks=peaks.frozen, unfrozen_peaks=peaks.unfrozen)  # fmt: skip

    schedule = planned(client, FINE_TUNES, body, max_points)["schedule"]

    for listed, phase in zip(schedule, fine_tune_phases(plan), strict=True):
        steps = listed["steps"]
        assert min(max_points, len(phase.lr)) - 1 <= len(steps) <= max_points
        assert listed["lr"] == [list(phase.lr[step]) for step in steps]
        assert listed["momentum"] == [phase.momentum[step] for step in steps]
        highest = max(range(len(phase.lr)), key=lambda step: phase.lr[step][-1])
        assert {0, highest, len(phase.lr) - 1} <= set(steps)


def test_a_sweep_rises_from_step_to_step(client: TestClient, dataset: Dataset) -> None:
    body = {"dataset": dataset.id, "start_lr": 1e-6, "end_lr": 1.0, "num_steps": 60}

    plan = planned(client, LR_FINDS, body, max_points=7)

    (phase,), (listed,) = plan["phases"], plan["schedule"]
    rates = exponential_sweep(1e-6, 1.0, 60)
    assert (phase["name"], phase["job"], phase["steps"]) == ("sweeping", "lr_find", 60)
    assert (listed["steps"][0], listed["steps"][-1]) == (0, 59)
    assert listed["lr"] == [[rates[step]] * 3 for step in listed["steps"]]
    assert set(listed["momentum"]) == {SWEEP_MOMENTUM}


def test_every_sweep_of_a_find_is_counted(client: TestClient, dataset: Dataset) -> None:
    body = {"dataset": dataset.id, "num_steps": 20, "repeats": 2, "sweep": "each"}

    plan = planned(client, LR_FINDS, body, max_points=200)

    (phase,), (listed,) = plan["phases"], plan["schedule"]
    assert phase["steps"] == 2 * 3 * 20
    assert listed["steps"] == list(range(120))
    moving = [[group for group, lr in enumerate(lrs) if lr] for lrs in listed["lr"]]
    assert moving == ([[2]] * 20 + [[1]] * 20 + [[0]] * 20) * 2
    assert listed["lr"][20][1] == listed["lr"][0][2] == pytest.approx(1e-7)


@pytest.mark.parametrize(
    ("count", "most", "keep", "chosen"),
    [
        (0, 3, 0, []),
        (3, 3, 1, [0, 1, 2]),
        (11, 3, 4, [0, 4, 10]),
        (11, 4, 4, [0, 4, 5, 10]),
        (11, 4, 5, [0, 5, 10]),
    ],
)
def test_listed_steps_are_spread_evenly(
    count: int, most: int, keep: int, chosen: list[int]
) -> None:
    assert evenly(count, most, keep) == chosen


def test_steps_that_nobody_wants_to_see_cannot_be_asked_for(
    client: TestClient, dataset: Dataset
) -> None:
    response = client.post(f"{LR_FINDS}?dry_run=true&max_points=2", json={"dataset": dataset.id})

    problem(response, 422, "validation_failed")


# --- rates that others find -----------------------------------------------------------------


@pytest.mark.usefixtures("worker")
def test_auto_lists_the_find_that_would_come_first(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    body = {"dataset": dataset.id, "batch_size": 4, "learning_rate": "auto"}

    plan = planned(client, FINE_TUNES, body)

    jobs = [(phase["job"], phase["name"], phase["steps"]) for phase in plan["phases"]]
    assert jobs == [
        ("lr_find", "sweeping", 100),
        ("fine_tune", "frozen", 2),
        ("fine_tune", "unfrozen", 6),
    ]
    rate = plan["resolved"]["learning_rate"]
    assert (rate["value"], rate["origin"], rate["rule"]) == (None, "lr_find", "recommended")
    assert plan["resolved"]["unfrozen_peaks"]["value"] is None
    assert [phase["lr"] is None for phase in plan["schedule"]] == [False, True, True]
    assert [job.type for job in jobs_of(database)] == [JobType.PROBE]


def test_the_rate_of_an_unfinished_find_is_not_known_yet(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    find = queued(database, JobType.LR_FIND, dataset)
    body = {"dataset": dataset.id, "learning_rate": {"from_job": find.id, "rule": "valley"}}

    plan = planned(client, FINE_TUNES, body)

    rate = plan["resolved"]["learning_rate"]
    said = {"value": None, "origin": "lr_find", "job_id": find.id, "rule": "valley", "note": None}
    assert rate == said
    assert plan["resolved"]["frozen_peaks"]["value"] is None
    assert {phase["job"] for phase in plan["phases"]} == {"fine_tune"}
    assert [phase["lr"] for phase in plan["schedule"]] == [None, None]


@pytest.mark.parametrize("rule", ["recommended", "valley"])
def test_the_rate_of_a_finished_find_is_used(
    client: TestClient, database: Database, dataset: Dataset, rule: str
) -> None:
    find = succeeded(database, JobType.LR_FIND, dataset, {"lr_curve": CURVE})
    body = {"dataset": dataset.id, "learning_rate": {"from_job": find.id, "rule": rule}}

    plan = planned(client, FINE_TUNES, body)

    rate = plan["resolved"]["learning_rate"]
    said = {"value": 0.002, "origin": "lr_find", "job_id": find.id, "rule": rule, "note": None}
    assert rate == said
    assert plan["resolved"]["frozen_peaks"]["value"] == [0.0002, 0.0002, 0.002]
    assert plan["schedule"][0]["lr"][0] == pytest.approx([8e-6, 8e-6, 8e-5])


def test_weights_of_another_job_are_named(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    first = queued(database, JobType.FINE_TUNE, dataset)
    body = {"dataset": dataset.id, "weights": {"from_job": first.id}}

    weights = planned(client, FINE_TUNES, body)["resolved"]["weights"]

    assert (weights["origin"], weights["job_id"]) == ("fine_tune", first.id)


def test_weights_of_a_model_are_named_by_its_id_where_an_alias_was_sent(
    client: TestClient, database: Database, dataset: Dataset, artifacts: Artifacts
) -> None:
    model = a_model(database, artifacts, dataset)
    client.patch(f"/v1/models/{model.id}", json={"aliases": ["best"]})
    body = {"dataset": dataset.id, "architecture": model.architecture}

    weights = planned(client, FINE_TUNES, {**body, "weights": {"model": "best"}})["resolved"]

    assert weights["weights"]["value"] == {"model": model.id}


# --- datasets that are not there yet --------------------------------------------------------


@pytest.mark.usefixtures("worker")
def test_a_dataset_that_is_only_described_is_counted_but_not_registered(
    client: TestClient, database: Database, photos: Path
) -> None:
    for label in ("ant", "bee"):
        (photos / label).mkdir()
        for number in range(10):
            (photos / label / f"{number}.jpg").touch()
    source = {"type": "path", "path": str(photos)}
    described = {**DATASET.model_dump(mode="json"), "source": source}

    plan = planned(client, FINE_TUNES, {"dataset": described, "batch_size": 4})

    assert plan["estimate"] is None
    assert plan["no_estimate"]["code"] == "dataset_not_imported"
    assert plan["resolved"]["photos"]["value"] == {"train": 16, "valid": 4, "test": 0}
    assert plan["resolved"]["num_classes"]["value"] == 2
    assert [phase["steps"] for phase in plan["phases"]] == [4, 12]
    assert datasets.list_datasets(database, after=None, limit=5) == []
    assert jobs_of(database) == []
    assert plan["links"] == {}


def test_photos_that_take_too_long_to_list_are_not_counted(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"}
    described = {**DATASET.model_dump(mode="json"), "labels": labels}
    monkeypatch.setattr("api.planning.premises.foreseen_counts", lambda *_: None)

    plan = planned(client, FINE_TUNES, {"dataset": described, "batch_size": 4})

    assert plan["resolved"]["photos"]["value"] is None
    assert plan["resolved"]["batch_size"]["value"] == 4
    assert [phase["steps"] for phase in plan["phases"]] == [None, None]


# --- the estimate ---------------------------------------------------------------------------


def test_without_a_worker_everything_else_is_answered(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    plan = planned(client, FINE_TUNES, {"dataset": dataset.id})

    assert plan["estimate"] is None
    assert plan["no_estimate"]["code"] == "no_workers"
    assert plan["no_estimate"]["job_id"] is None
    assert plan["resolved"]["epochs"]["value"] == 3
    assert len(plan["schedule"]) == 2
    assert jobs_of(database) == []


@pytest.mark.usefixtures("worker")
def test_a_busy_worker_is_not_waited_for(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    queued(database, JobType.FINE_TUNE, dataset)
    leases.claim_next(database, "train", "w", lease_ms=LEASE_MS)

    response = client.post(f"{FINE_TUNES}?dry_run=true", json={"dataset": dataset.id})

    plan = response.json()
    (probe,) = jobs_of(database, JobType.FINE_TUNE)
    assert plan["no_estimate"]["code"] == "workers_busy"
    assert plan["no_estimate"]["job_id"] == probe.id
    assert plan["links"]["probe"] == f"/v1/jobs/{probe.id}"
    assert get(client, f"/v1/jobs/{probe.id}")["queue"]["position"] == 1


@pytest.mark.usefixtures("worker")
def test_whoever_does_not_want_to_wait_is_answered_at_once(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    body = {"dataset": dataset.id}

    first, second = (planned(client, FINE_TUNES, body)["no_estimate"] for _ in range(2))

    (probe,) = jobs_of(database)
    assert (first["code"], first["job_id"]) == ("probe_pending", probe.id)
    assert second == first


@pytest.mark.usefixtures("worker")
def test_an_answer_waits_for_its_probe(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    def succeed(probe: Job) -> None:
        leases.succeed(database, probe.id, probe.fence, values={"result": {"probe": PROBE}})

    with _working(database, succeed):
        response = client.post(f"{FINE_TUNES}?dry_run=true", json={"dataset": dataset.id})

    assert response.json()["no_estimate"] is None
    assert response.json()["estimate"]["measured"]["is_reused"] is False


@pytest.mark.usefixtures("worker")
def test_a_finished_probe_gives_the_estimate_to_all_that_cost_the_same(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    body = {"dataset": dataset.id, "batch_size": 4}
    planned(client, FINE_TUNES, body)
    probe = measured(database)

    plan = planned(client, FINE_TUNES, {**body, "epochs": 9, "learning_rate": 0.1, "seed": 1})

    assert plan["estimate"]["measured"] == {
        "job_id": probe.id,
        "at": get(client, f"/v1/jobs/{probe.id}")["finished_at"],
        "device": "cpu",
        "is_reused": True,
        "steps": {"frozen": 4, "unfrozen": 4},
    }
    assert plan["links"]["probe"] == f"/v1/jobs/{probe.id}"
    assert jobs_of(database, JobType.PROBE) == []
    resolved = {name: (entry["value"], entry["origin"]) for name, entry in plan["resolved"].items()}
    assert resolved["device"] == ("cpu", "hardware")
    assert resolved["precision"] == ("bf16", "hardware")
    assert resolved["threads"] == (2, "environment")
    assert resolved["weights_cached"] == (True, "hardware")
    assert resolved["batch_size"] == (4, "request")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    "change",
    [
        {"size": 96},
        {"presize_mode": "fastai"},
        {"batch_size": 2},
        {"architecture": "resnet18"},
        {"weights": "none"},
    ],
)
def test_what_costs_something_else_is_measured_anew(
    client: TestClient, database: Database, dataset: Dataset, change: dict[str, Any]
) -> None:
    body = {"dataset": dataset.id, "batch_size": 4}
    planned(client, FINE_TUNES, body)
    measured(database)

    plan = planned(client, FINE_TUNES, {**body, **change})

    assert plan["no_estimate"]["code"] == "probe_pending"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("hours", [23, 25])
def test_a_measurement_is_good_for_a_day(
    client: TestClient, database: Database, dataset: Dataset, hours: int
) -> None:
    body = {"dataset": dataset.id}
    planned(client, FINE_TUNES, body)
    probe = measured(database)
    set_columns(database, probe.id, created_ms=probe.created_ms - hours * 3_600_000)

    plan = planned(client, FINE_TUNES, body)

    assert (plan["estimate"] is None) == (hours > 24)


@pytest.mark.usefixtures("worker")
def test_a_measurement_on_a_device_that_is_gone_is_made_anew(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    body = {"dataset": dataset.id}
    planned(client, FINE_TUNES, body)
    measured(database, environment={"device": "cuda", "precision": "bf16", "batch_size": 8})

    assert planned(client, FINE_TUNES, body)["no_estimate"]["code"] == "probe_pending"


@pytest.mark.usefixtures("worker")
def test_a_training_that_could_not_begin_says_why(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    def fail(probe: Job) -> None:
        leases.fail(database, probe.id, probe.fence, FAILURE)

    with _working(database, fail):
        response = client.post(f"{FINE_TUNES}?dry_run=true", json={"dataset": dataset.id})

    missing = response.json()["no_estimate"]
    assert missing["code"] == "probe_failed"
    assert missing["detail"].endswith("loss_diverged: the loss is not finite")


@pytest.mark.usefixtures("worker")
def test_a_lack_of_memory_is_an_estimate_without_seconds(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    body = {"dataset": dataset.id}
    planned(client, FINE_TUNES, body)
    measured(database, fits=False, steps={}, evaluation=None, checkpoint_s=None, environment={})

    estimate = planned(client, FINE_TUNES, body)["estimate"]

    assert (estimate["fits"], estimate["seconds"], estimate["parts"]) == (False, None, [])
    assert estimate["memory"]["peak_bytes"] == 900 * MIB


# --- whose it is ----------------------------------------------------------------------------


def test_a_probe_belongs_to_who_asked_for_the_plan(
    locked: TestClient, database: Database, dataset: Dataset
) -> None:
    presence.announce(database, worker_id="w", queue="train", device="cpu", hostname="box", pid=1)
    ana = bearer(database, Scope.JOBS_WRITE, owner="local")
    boss = bearer(database, Scope.ADMIN, owner="boss")
    body = {"dataset": dataset.id}
    planned(locked, FINE_TUNES, body, headers=ana)
    probe = measured(database)

    hers, theirs = (planned(locked, FINE_TUNES, body, headers=key) for key in (ana, boss))

    assert hers["links"]["probe"] == f"/v1/jobs/{probe.id}"
    assert theirs["no_estimate"]["code"] == "probe_pending"
    assert probe.id not in json.dumps(theirs)


def test_who_may_only_read_plans_nothing(
    locked: TestClient, database: Database, dataset: Dataset
) -> None:
    reader = bearer(database, Scope.READ, owner="local")

    response = locked.post(
        f"{FINE_TUNES}?dry_run=true", json={"dataset": dataset.id}, headers=reader
    )

    problem(response, 403, "forbidden")


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset": "ds_nobody"},
        {"architecture": "resnet43"},
        {"weights": "IMAGENET1K_V7"},
        {"weights": {"path": "/etc/passwd"}},
        {"learning_rate": {"from_job": "job_nobody"}},
        {"learning_rate": {"per_group": [1e-4, 1e-3]}},
        {"depends_on": ["job_nobody"]},
        {"presize": 96},
        {"epoch": 3},
        {"dataset": {"name": "cats", "source": {"type": "path", "path": "/etc"},
                     "labels": {"rule": "parent_folder"}}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_plan_is_refused_as_the_job_would_be(
    client: TestClient, database: Database, dataset: Dataset, wrong: dict[str, Any]
) -> None:
    body = {"dataset": dataset.id, **wrong}

    plan, job = (client.post(f"{FINE_TUNES}{query}", json=body) for query in ("?dry_run=1", ""))

    assert plan.status_code == job.status_code == 422
    refusals = [
        {name: value for name, value in each.json().items() if name not in {"request_id"}}
        for each in (plan, job)
    ]
    assert refusals[0] == refusals[1]
    assert jobs_of(database) == []
