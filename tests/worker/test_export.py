"""Plots of real jobs, drawn by a real worker."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobs import leases, plots, store
from jobs.artifacts import Artifacts
from jobs.curves import CurvePoint, ProgressUpdate, count_points, record_progress
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.queue import Doorbell
from jobs.settings import Settings
from jobs.spec import ExportSpec
from tests.jobs.given import a_dataset, a_job, claimed, running
from tests.worker.conftest import fine_tune_spec, submit, wait_for
from tests.worker.test_plots import texts_of
from worker.context import Context
from worker.control import Control
from worker.failures import JobFailedError
from worker.plots import rendering
from worker.plots.headings import heading_of
from worker.runners import export
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]


def asked(job: Job, plot: str, *, content: str = "c1", split: str | None = None) -> ExportSpec:
    """A plot of the job."""
    fields = {"job": job.id, "plot": plot, "content": content, "split": split}
    return ExportSpec.model_validate(fields)


def queued(database: Database, spec: ExportSpec) -> Job:
    """The job that draws the plot."""
    with database.write() as connection:
        return store.submit(connection, JobType.EXPORT, spec, dataset_id=None)


def drawn(
    database: Database, work: Work, artifacts: Artifacts, spec: ExportSpec
) -> dict[str, bytes]:
    """The plot in each format, once a worker has drawn it."""
    job = queued(database, spec)
    work("prepare")
    job = wait_for(database, job.id, lambda job: job.is_terminal)
    assert job.state == JobState.SUCCEEDED, job.error
    return {each: plots.plot_file(artifacts, spec, each).read_bytes() for each in plots.FORMATS}


def rows_of(specification: bytes, column: str) -> list[dict[str, Any]]:
    """The largest table with this column that the specification carries with it."""
    tables = json.loads(specification)["datasets"].values()
    found: list[dict[str, Any]] = max((t for t in tables if column in t[0]), key=len)
    return found


def test_a_fine_tune_is_drawn_in_every_format(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    spec = fine_tune_spec(dataset_id, name="red & blue", epochs=1)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    work("train")
    trained = wait_for(database, job.id, lambda job: job.is_terminal)

    curve = drawn(database, work, artifacts, asked(trained, "loss-curve"))
    schedule = drawn(database, work, artifacts, asked(trained, "lr-schedule"))
    confusion = drawn(database, work, artifacts, asked(trained, "confusion", split="valid"))
    worst = drawn(database, work, artifacts, asked(trained, "top-losses", split="valid"))
    sureness = drawn(database, work, artifacts, asked(trained, "calibration", split="valid"))

    steps = count_points(database, job.id)
    assert [row["step"] for row in rows_of(curve["json"], "raw")] == list(range(1, steps + 1))
    assert len(rows_of(schedule["json"], "momentum")) == steps
    assert sum(row["count"] for row in rows_of(confusion["json"], "count")) == 6
    assert sum(row["count"] for row in rows_of(sureness["json"], "middle")) == 6
    error = trained.result["samples"]["valid"]["calibration"]["valid"]["expected_error"]
    line = f"valid part: expected calibration error {error:.3f}"
    assert any(line in text for text in texts_of(sureness["svg"]))
    photos = rows_of(worst["json"], "url")
    assert len(photos) == 6
    assert all(photo["url"].startswith("data:image/jpeg;base64,") for photo in photos)
    for picture in (curve, schedule, confusion, worst, sureness):
        texts = texts_of(picture["svg"])
        assert any("red & blue" in text for text in texts)
        assert any("squeezenet1_1 · dataset tiny (2 classes)" in text for text in texts)
        signature, width_px, height_px = struct.unpack(">8s8x2L", picture["png"][:24])
        assert signature == b"\x89PNG\r\n\x1a\n"
        assert 600 < width_px < 4000
        assert 300 < height_px < 4000


@pytest.fixture
def moving(database: Database) -> Job:
    """A fine-tune that has taken two steps."""
    a_job(database, name="on its way")
    job = running(database)
    points = [
        CurvePoint(
            phase="frozen",
            step=step,
            global_step=step,
            epoch=0,
            loss=2.0 - step,
            smoothed=2.0,
            lrs=(1e-3,),
            momentum=0.9,
        )
        for step in range(2)
    ]
    update = ProgressUpdate(progress={"step": 2, "steps": 8}, latest={}, points=points)
    record_progress(database, job.id, job.fence, update)
    return store.get(database, job.id)


def test_a_running_job_is_drawn_as_far_as_it_is(
    database: Database, work: Work, artifacts: Artifacts, moving: Job
) -> None:
    picture = drawn(database, work, artifacts, asked(moving, "loss-curve"))

    assert [row["raw"] for row in rows_of(picture["json"], "raw")] == [2.0, 1.0]
    assert b"running, step 2 of 8" in picture["svg"]


def test_only_the_newest_content_is_kept(
    database: Database, work: Work, artifacts: Artifacts, moving: Job
) -> None:
    first, second, other = (
        *(asked(moving, "loss-curve", content=content) for content in ("c1", "c2")),
        asked(moving, "lr-schedule"),
    )

    for spec in (other, first, second):
        drawn(database, work, artifacts, spec)

    folder = artifacts.job_folder(moving.id) / "plots"
    assert sorted(file.name for file in folder.iterdir()) == [
        *("loss-curve-c2.json", "loss-curve-c2.png", "loss-curve-c2.svg"),
        *("lr-schedule-c1.json", "lr-schedule-c1.png", "lr-schedule-c1.svg"),
    ]


def test_a_job_that_was_deleted_cannot_be_drawn(
    database: Database, work: Work, moving: Job
) -> None:
    export_job = queued(database, asked(moving, "loss-curve"))
    leases.succeed(database, moving.id, moving.fence, values={})
    store.delete_job(database, moving.id)
    work("prepare")

    ended = wait_for(database, export_job.id, lambda job: job.is_terminal)

    assert ended.error is not None
    assert ended.error["code"] == "not_found"
    assert ended.error["message"] == f"the job of loss-curve of job {moving.id} was deleted"


@pytest.fixture
def context(
    settings: Settings, database: Database, artifacts: Artifacts, moving: Job
) -> Iterator[Context]:
    """A claimed export of the moving job, in this process."""
    queued(database, asked(moving, "loss-curve"))
    doorbell = Doorbell(settings.redis_url)
    yield Context(
        settings=settings,
        database=database,
        artifacts=artifacts,
        doorbell=doorbell,
        job=claimed(database, "prepare"),
        control=Control.__new__(Control),  # a watched one ends its process with its pipe
    )
    doorbell.close()


def test_a_job_that_is_deleted_while_it_is_drawn_leaves_nothing_behind(
    context: Context, moving: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(chart: object) -> dict[str, bytes]:
        leases.succeed(context.database, moving.id, moving.fence, values={})
        store.delete_job(context.database, moving.id)
        return {"json": b"{}", "svg": b"<svg/>", "png": b"\x89PNG"}

    monkeypatch.setattr(rendering, "render", render)

    with pytest.raises(JobFailedError, match="was deleted"):
        export.run(context)

    assert not context.artifacts.job_folder(moving.id).exists()


def test_a_heading_names_what_is_still_there(database: Database, moving: Job) -> None:
    known = a_dataset(database, name="pets")
    with_dataset = submit(database, JobType.FINE_TUNE, fine_tune_spec(known.id), known.id)
    spec = asked(with_dataset, "loss-curve")

    before = heading_of(database, with_dataset, spec)
    datasets_gone = heading_of(database, moving, spec)

    assert before.title == "Loss curve"
    assert before.lines == ("squeezenet1_1 · dataset pets · queued",)
    assert datasets_gone.title == "Loss curve · on its way"
    assert datasets_gone.lines == ("resnet34 · running, step 2 of 8",)


def test_the_heading_of_an_evaluation_survives_its_model(database: Database) -> None:
    job = a_job(database, JobType.EVALUATION)

    assert heading_of(database, job, asked(job, "confusion", split="valid")).lines == ("queued",)
