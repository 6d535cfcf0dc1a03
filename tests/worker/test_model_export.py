"""A trained model as an ONNX file, made by a real worker."""

from collections.abc import Callable

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # no stubs
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import model_exports, models
from jobs.artifacts import Artifacts, sha256_of
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from jobs.spec import ModelExportSpec
from ml.onnx_file import INPUT
from ml.sampling import draw
from ml.theory.presize_geometry import centre_matrix
from tests.worker.conftest import wait_for
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]


@pytest.fixture
def exported(database: Database, work: Work, trained: Job, artifacts: Artifacts) -> Job:
    """The export of the trained model, after its end."""
    with database.write() as connection:
        job = model_exports.exporting_job(connection, artifacts, str(trained.model_id))
        same = model_exports.exporting_job(connection, artifacts, str(trained.model_id))
    assert job is not None
    assert same == job
    work("prepare")
    return wait_for(database, job.id, lambda job: job.is_terminal)


def test_an_exported_model_gives_the_logits_of_the_ledger(
    exported: Job, trained: Job, artifacts: Artifacts, settings: Settings
) -> None:
    assert exported.state == JobState.SUCCEEDED, exported.error
    file = model_exports.onnx_file(artifacts, str(trained.model_id))
    assert file is not None
    assert model_exports.digest_of(file) == sha256_of(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    ledger = artifacts.absolute(trained.result["samples"]["valid"]["path"])

    for row in pq.read_table(ledger).to_pylist():
        stored = Image.open(settings.dataset_roots[0] / "tiny" / row["path"])
        photo = stored.resize((round(80 * 64 / 72), 64), Image.Resampling.BILINEAR)
        pixels = draw(np.asarray(photo), centre_matrix(photo.size, 64), 64) / np.float32(255)
        (logits,) = session.run(None, {INPUT: pixels[None].astype(np.float32)})
        assert logits[0] == pytest.approx(row["logits"], abs=1e-4)


def test_there_is_nothing_to_do_once_the_file_is_there(
    exported: Job, trained: Job, database: Database, artifacts: Artifacts
) -> None:
    assert exported.result["size_bytes"] > 1_000_000
    with database.write() as connection:
        again = model_exports.exporting_job(connection, artifacts, str(trained.model_id))

    assert again is None


def test_the_export_of_a_model_that_was_deleted_fails_and_leaves_nothing(
    database: Database, work: Work, trained: Job, artifacts: Artifacts
) -> None:
    model_id = str(trained.model_id)
    with database.write() as connection:
        job = model_exports.exporting_job(connection, artifacts, model_id)
    models.delete_model(database, model_id)
    assert job is not None
    assert job.spec == ModelExportSpec(model=model_id, priority=9).model_dump(mode="json")

    work("prepare")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert (ended.type, ended.state) == (JobType.MODEL_EXPORT, JobState.FAILED)
    assert ended.error is not None
    assert ended.error["code"] == "not_found"
    assert model_exports.onnx_files(artifacts, model_id) == []
