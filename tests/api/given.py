"""What workers leave behind, written by hand: ready datasets, models, finished jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import exp, log
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.testclient import TestClient

from api.schemas.models import ModelResource
from api.schemas.presizing_previews import PresizingPreview
from jobs import datasets, keys, leases, models, plots, presence, store
from jobs.artifacts import Artifacts, sha256_of
from jobs.curves import CurvePoint, ProgressUpdate, record_progress
from jobs.database import Database
from jobs.datasets import Dataset, ImportOutcome
from jobs.ids import DatasetId, item_id, new_model_id
from jobs.job import QUEUE_OF, Job, JobType
from jobs.keys import Scope
from jobs.models import Model
from jobs.spec import SPEC_OF, ExportSpec, JobSpec
from ml.theory.calibration import calibration
from tests.jobs.given import LEASE_MS, a_dataset

Headers = dict[str, str]

REGEX = {"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$"}
CATS: dict[str, Any] = {"name": "cats", "source": {"type": "sample"}, "labels": REGEX}
"""The body of a dataset that needs nothing but the service."""

LABELS = ("cat", "dog")
LOGITS = ((2.0, 0.0), (0.0, 1.0), (3.0, 0.0))
"""Three photos: a cat taken for a cat, a dog for a dog, and a dog taken for a cat."""
TARGETS = (0, 1, 1)
LOSSES = (log(1 + exp(-2.0)), log(1 + exp(-1.0)), log(1 + exp(3.0)))
MEAN_LOSS = sum(LOSSES) / 3

MODEL_CARD: Mapping[str, Any] = {
    "size": 224,
    "presize": 460,
    "presize_mode": "single",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
"""The card of a model that was made before cards knew more."""

_DOCUMENTED: Any = ModelResource.model_config["json_schema_extra"]
WHOLE_CARD: Mapping[str, Any] = {**MODEL_CARD, **_DOCUMENTED["example"]["card"]}
"""The card of a model in the documentation."""

_SHOWN: Any = PresizingPreview.model_config["json_schema_extra"]
COMPARED: Mapping[str, Any] = {
    name: value
    for name, value in _SHOWN["example"].items()
    if name not in {"object", "job_id", "dataset_id", "links"}
}
"""What a presizing preview finds in the documentation."""


NO_CHANGES: Mapping[str, Any] = {
    "relabelled": {"count": 0, "items": []},
    "excluded": {"count": 0, "items": []},
    "new_classes": [],
    "gone_classes": [],
}


def ready_dataset(
    database: Database,
    *,
    labels: Sequence[str] = LABELS,
    train: int = 8,
    valid: int = 3,
    changes: Mapping[str, Any] | None = None,
) -> Dataset:
    """A dataset whose import has succeeded; with changes its report is that of a version."""
    dataset = a_dataset(database)
    counts = {"files": train + valid, "usable": train + valid, "train": train, "valid": valid}
    outcome = ImportOutcome(
        digest="d1",
        counts={**counts, "test": 0, "classes": len(labels)},
        classes=[{"label": label, "count": 4} for label in labels],
        report={
            "files": train + valid,
            "usable": train + valid,
            "counts": counts,
            "changes": changes,
        },
    )
    job = leases.claim_next(database, "prepare", "worker-1", lease_ms=LEASE_MS)
    assert job is not None
    leases.succeed(
        database,
        job.id,
        job.fence,
        values={"result": {"digest": "d1"}},
        also=lambda connection: datasets.mark_ready(connection, job, outcome),
    )
    return datasets.get(database, dataset.id)


def a_model(
    database: Database,
    artifacts: Artifacts,
    dataset: Dataset,
    *,
    job_id: str | None = None,
    card: Mapping[str, Any] | None = None,
) -> Model:
    """A model of the two labels whose file has the bytes 0 to 99."""
    model_id = new_model_id()
    file = artifacts.model_file(model_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(range(100)))
    model = Model(
        id=model_id,
        name=None,
        owner="local",
        job_id=job_id or dataset.job_id,
        dataset_id=dataset.id,
        architecture="resnet18",
        classes=LABELS,
        card={**MODEL_CARD, **(card or {})},
        path=artifacts.relative(file),
        digest="ab" * 32,
        size_bytes=100,
        metadata={},
        version=1,
        created_ms=1_700_000_000_000,
    )
    with database.write() as connection:
        models.add(connection, model)
    return model


def queued(
    database: Database, job_type: JobType, dataset: Dataset, spec: Mapping[str, Any] | None = None
) -> Job:
    """A job on the dataset that waits for a worker."""
    needed = {"model": "mdl_1"} if job_type == JobType.EVALUATION else {}
    fields: dict[str, Any] = {"dataset": dataset.id, **needed, **(spec or {})}
    made: JobSpec = SPEC_OF[job_type](**fields)
    with database.write() as connection:
        return store.submit(connection, job_type, made, dataset_id=dataset.id)


def started(
    database: Database, job_type: JobType, dataset: Dataset, spec: Mapping[str, Any] | None = None
) -> Job:
    """A job on the dataset that is running."""
    queued(database, job_type, dataset, spec)
    job = leases.claim_next(database, QUEUE_OF[job_type], "worker-1", lease_ms=LEASE_MS)
    assert job is not None
    leases.enter_phase(database, job.id, job.fence, "frozen")
    return store.get(database, job.id)


def succeeded(
    database: Database, job_type: JobType, dataset: Dataset, result: Mapping[str, Any]
) -> Job:
    """A job on the dataset with this result."""
    job = started(database, job_type, dataset)
    leases.succeed(database, job.id, job.fence, values={"result": dict(result)})
    return store.get(database, job.id)


def take_step(database: Database, job: Job, step: int) -> None:
    """The training is further by one step."""
    point = CurvePoint(
        phase="frozen",
        step=step,
        global_step=step,
        epoch=0,
        loss=1.0,
        smoothed=1.0,
        lrs=(1e-3,),
        momentum=0.9,
    )
    new = ProgressUpdate(progress={}, latest={}, points=[point])
    record_progress(database, job.id, job.fence, new)


def previewed(database: Database, dataset: Dataset) -> Job:
    """A presizing preview that has found `COMPARED`."""
    result = {"presizing_preview": COMPARED}
    return succeeded(database, JobType.PRESIZING_PREVIEW, dataset, result)


def photo(dataset: Dataset, number: int) -> str:
    """The id of one of the dataset's photos."""
    return item_id(DatasetId(dataset.id), f"{number}.jpg")


def a_ledger(
    dataset: Dataset, file: Path, columns: Mapping[str, Sequence[Any]] | None = None
) -> None:
    """A ledger of the three photos; ``columns`` replace its own."""
    order = sorted(range(3), key=lambda place: -LOSSES[place])
    sums = [log(sum(map(exp, row))) for row in LOGITS]
    chosen = [max((0, 1), key=row.__getitem__) for row in LOGITS]
    table: dict[str, Any] = {
        "item_id": [photo(dataset, place) for place in range(3)],
        "path": [f"{place}.jpg" for place in range(3)],
        "split": ["valid"] * 3,
        "label": [LABELS[target] for target in TARGETS],
        "predicted": [LABELS[place] for place in chosen],
        "correct": [place == target for place, target in zip(chosen, TARGETS, strict=True)],
        "rank": [order.index(place) + 1 for place in range(3)],
        "loss": list(LOSSES),
        "p_label": [exp(-loss) for loss in LOSSES],
        "p_predicted": [exp(max(row) - total) for row, total in zip(LOGITS, sums, strict=True)],
        "margin": [2.0, 1.0, -3.0],
        "share_of_total_loss": [loss / sum(LOSSES) for loss in LOSSES],
        "logit_label": [row[target] for row, target in zip(LOGITS, TARGETS, strict=True)],
        "logsumexp": sums,
        "logits": pa.array([list(row) for row in LOGITS], pa.list_(pa.float32())),
        "loss_by_epoch": pa.array([[1.0, 0.5]] * 3, pa.list_(pa.float64())),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**table, **(columns or {})}), file)


def evaluated(
    database: Database,
    artifacts: Artifacts,
    dataset: Dataset,
    columns: Mapping[str, Sequence[Any]] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Job:
    """A fine-tune of one step with a ledger of three photos and the mean of their losses."""
    job = started(database, JobType.FINE_TUNE, dataset, spec)
    take_step(database, job, 0)
    file = artifacts.attempt_folder(job.id, job.fence) / "samples-valid.parquet"
    a_ledger(dataset, file, columns)
    named = {"path": artifacts.relative(file), "digest": sha256_of(file)}
    entry = {**named, "count": 3, "mean_loss": MEAN_LOSS}
    result = {
        "classes": list(LABELS),
        "samples": {"valid": {**entry, "accuracy": 2 / 3}},
        "reported_valid_loss": MEAN_LOSS,
    }
    leases.succeed(database, job.id, job.fence, values={"result": result})
    return store.get(database, job.id)


EVERY_COLUMN: Mapping[str, Any] = {
    "predicted_by_epoch": pa.array([[1, 0], [1, 1], [1, 0]], pa.list_(pa.int64())),
    "learning": ["learned", "learned", "forgotten"],
    "forgetting_events": [0, 0, 1],
    "label_issue_score": [0.1, 0.2, 0.9],
    "is_label_issue": [False, False, True],
}
"""What earlier versions have not written, of the three photos."""


def evaluated_fully(
    database: Database,
    artifacts: Artifacts,
    dataset: Dataset,
    split: str = "valid",
    model: Model | None = None,
) -> Job:
    """A fine-tune, or a model's evaluation, whose ledger has every column."""
    if model is None:
        job = started(database, JobType.FINE_TUNE, dataset)
        take_step(database, job, 0)
    else:
        asked = {"model": model.id, "split": split}
        job = started(database, JobType.EVALUATION, dataset, asked)
    file = artifacts.attempt_folder(job.id, job.fence) / f"samples-{split}.parquet"
    a_ledger(dataset, file, EVERY_COLUMN)
    found = calibration(LOGITS, TARGETS)
    assert found is not None
    named = {"path": artifacts.relative(file), "digest": sha256_of(file)}
    entry = {**named, "count": 3, "mean_loss": MEAN_LOSS}
    entry |= {"accuracy": 2 / 3, "calibration": {split: asdict(found)}}
    result = {
        "classes": list(LABELS),
        "samples": {split: entry},
        "reported_valid_loss": MEAN_LOSS,
    }
    leases.succeed(database, job.id, job.fence, values={"result": result})
    return store.get(database, job.id)


def items(dataset: Dataset, artifacts: Artifacts) -> None:
    """The dataset's items file: two photos and a file that is none; a thumbnail of the first."""
    folder = artifacts.dataset_folder(dataset.id)
    thumbnail = folder / "thumbs" / f"{photo(dataset, 0)}-256.jpg"
    thumbnail.parent.mkdir(parents=True)
    thumbnail.write_bytes(b"\xff\xd8 a thumbnail")
    rows = {
        "item_id": [photo(dataset, place) for place in range(3)],
        "path": ["0.jpg", "1.jpg", "2.jpg"],
        "label": ["cat", "dog", None],
        "split": ["train", "valid", None],
        "width": [8, 8, None],
        "height": [6, 6, None],
        "format": ["JPEG", "JPEG", None],
        "mode": ["RGB", "RGB", None],
        "size_bytes": [100, 100, 3],
        "digest": ["a", "b", None],
        "usable": [True, True, False],
        "reason": [None, None, "truncated"],
    }
    pq.write_table(pa.table(rows), folder / "items.parquet")


def bearer(database: Database, *scopes: Scope, owner: str = "ana") -> Headers:
    """The header of a fresh key."""
    with database.write() as connection:
        new = keys.create(connection, name="test", scopes=scopes, owner=owner)
    return {"Authorization": f"Bearer {new.secret}"}


def admin(database: Database) -> Headers:
    """The header of a key that may do everything."""
    return bearer(database, Scope.ADMIN, owner="local")


def problem(response: Any, status: int, code: str, pointer: str | None = None) -> dict[str, Any]:  # noqa: ANN401
    """The body of an answer, which is this problem with the given field."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert body["type"] == f"/problems/{code}"
    assert body["request_id"] == response.headers["x-request-id"]
    if pointer is not None:
        assert pointer in [field["pointer"] for field in body["errors"]], body
    return body


def field(body: Mapping[str, Any], pointer: str) -> dict[str, Any]:
    """The first entry of a problem's errors with this pointer."""
    found: dict[str, Any] = next(e for e in body["errors"] if e["pointer"] == pointer)
    return found


def get(client: TestClient, path: str, **headers: str) -> Any:  # noqa: ANN401  (any JSON)
    """The JSON of a successful GET."""
    response = client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def a_drawer(database: Database) -> None:
    """A worker that draws plots is there."""
    presence.announce(
        database, worker_id="drawer", queue="prepare", device="cpu", hostname="here", pid=1
    )


def draw(database: Database, artifacts: Artifacts) -> ExportSpec:
    """The next plot that was asked for is drawn; each file holds the name of its format."""
    job = leases.claim_next(database, "prepare", "drawer", lease_ms=LEASE_MS)
    assert job is not None
    spec = ExportSpec.model_validate(job.spec)
    for file_format in plots.FORMATS:
        file = plots.plot_file(artifacts, spec, file_format)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file_format)
    leases.succeed(database, job.id, job.fence, values={})
    return spec


def of_folder(folder: Path, **changes: object) -> dict[str, Any]:
    """The body of a dataset whose photos lie in the folder."""
    return {**CATS, "source": {"type": "path", "path": str(folder)}, **changes}


def files(folder: Path, *names: str) -> None:
    """Empty files of these names, which no listing opens, lie below the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
