"""Which plots lie where, and who draws them: on every database there is one export of a plot."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs import leases, plots, store, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import NotFoundError
from jobs.job import Job, JobState, JobType
from jobs.spec import ExportSpec, Plot
from tests.jobs import given


def asked(
    job: Job, content: str = "c1", *, plot: Plot = "loss-curve", split: str | None = None
) -> ExportSpec:
    """A plot of the job."""
    return ExportSpec(job=job.id, plot=plot, content=content, split=split)


def drawing(database: Database, artifacts: Artifacts, spec: ExportSpec) -> Job | None:
    """The job that draws the plot."""
    with database.write() as connection:
        return plots.drawing_job(connection, artifacts, spec)


def draw(artifacts: Artifacts, spec: ExportSpec, *formats: str) -> None:
    """The plot's files are there, in these formats or in all."""
    for each in formats or plots.FORMATS:
        file = plots.plot_file(artifacts, spec, each)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"drawn")


def exports(database: Database) -> list[str]:
    """The ids of all export jobs, oldest first."""
    chosen = store.JobFilter(type=JobType.EXPORT)
    return [job.id for job in store.list_jobs(database, chosen, after=None, limit=100)][::-1]


def ended(database: Database, spec: ExportSpec) -> Job:
    """An export of the plot that has succeeded."""
    with database.write() as connection:
        store.submit(connection, JobType.EXPORT, spec, dataset_id=None)
    job = given.running(database, JobType.EXPORT)
    leases.succeed(database, job.id, job.fence, values={})
    return job


@pytest.fixture
def finished(database: Database) -> Job:
    """A job whose results do not change any more."""
    return given.job_in(database, JobState.SUCCEEDED)


@pytest.fixture
def moving(database: Database) -> Job:
    """A job that runs."""
    return given.job_in(database, JobState.RUNNING)


def test_the_files_of_a_plot_lie_with_the_job_that_it_shows(
    finished: Job, artifacts: Artifacts
) -> None:
    folder = artifacts.job_folder(finished.id) / "plots"

    whole = plots.plot_file(artifacts, asked(finished), "svg")
    part = plots.plot_file(artifacts, asked(finished, plot="confusion", split="valid"), "png")

    assert whole == folder / "loss-curve-c1.svg"
    assert part == folder / "confusion-valid-c1.png"


def test_a_plot_is_drawn_when_it_is_there_in_every_format(
    finished: Job, artifacts: Artifacts
) -> None:
    draw(artifacts, asked(finished), "svg", "png")
    assert not plots.is_drawn(artifacts, asked(finished))

    draw(artifacts, asked(finished), "json")
    assert plots.is_drawn(artifacts, asked(finished))
    assert not plots.is_drawn(artifacts, asked(finished, "c2"))


def test_older_files_are_those_of_the_same_plot_and_part(
    finished: Job, artifacts: Artifacts
) -> None:
    valid, train, newer = (
        asked(finished, content, plot="confusion", split=split)
        for content, split in (("c1", "valid"), ("c1", "train"), ("c2", "valid"))
    )
    for spec in (valid, train, newer):
        draw(artifacts, spec, "svg")

    assert plots.older_files(artifacts, newer) == [plots.plot_file(artifacts, valid, "svg")]


def test_who_asks_first_has_it_drawn_and_the_others_wait_for_that(
    database: Database, artifacts: Artifacts, finished: Job
) -> None:
    first = drawing(database, artifacts, asked(finished))
    second = drawing(database, artifacts, asked(finished))

    assert first is not None
    assert second is not None
    assert first.id == second.id
    assert (first.type, first.state) == (JobType.EXPORT, JobState.QUEUED)
    assert ExportSpec.model_validate(first.spec) == asked(finished)


def test_rivals_have_a_plot_drawn_once(
    database: Database, artifacts: Artifacts, finished: Job
) -> None:
    def ask(_: int) -> str | None:
        job = drawing(database, artifacts, asked(finished))
        return None if job is None else job.id

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(ask, range(16)))

    assert found == set(exports(database))
    assert len(found) == 1


def test_another_plot_or_part_has_a_drawing_of_its_own(
    database: Database, artifacts: Artifacts, finished: Job
) -> None:
    for spec in (
        asked(finished),
        asked(finished, plot="lr-schedule"),
        asked(finished, plot="confusion", split="valid"),
        asked(finished, plot="confusion", split="train"),
    ):
        drawing(database, artifacts, spec)

    assert len(exports(database)) == 4


def test_what_is_drawn_is_not_drawn_again(
    database: Database, artifacts: Artifacts, finished: Job
) -> None:
    draw(artifacts, asked(finished))

    assert drawing(database, artifacts, asked(finished)) is None
    assert exports(database) == []


def test_of_a_running_job_the_unfinished_drawing_will_do(
    database: Database, artifacts: Artifacts, moving: Job
) -> None:
    drawing(database, artifacts, asked(moving, "c1"))
    drawing(database, artifacts, asked(moving, "c2"))

    assert len(exports(database)) == 1


def test_of_a_finished_job_only_a_drawing_of_the_same_content_will_do(
    database: Database, artifacts: Artifacts, finished: Job
) -> None:
    drawing(database, artifacts, asked(finished, "c1"))
    drawing(database, artifacts, asked(finished, "c2"))

    assert len(exports(database)) == 2


@pytest.mark.parametrize("end", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
def test_a_drawing_that_has_ended_without_files_is_begun_again(
    database: Database, artifacts: Artifacts, finished: Job, end: JobState
) -> None:
    drawing(database, artifacts, asked(finished))
    given.bring[end](database, JobType.EXPORT)

    drawing(database, artifacts, asked(finished))

    assert len(exports(database)) == 2


def test_a_drawing_that_is_being_cancelled_is_not_waited_for(
    database: Database, artifacts: Artifacts, finished: Job
) -> None:
    drawing(database, artifacts, asked(finished))
    verbs.cancel(database, given.running(database, JobType.EXPORT).id)

    drawing(database, artifacts, asked(finished))

    assert len(exports(database)) == 2


def test_a_drawing_belongs_to_the_owner_of_the_job(
    database: Database, artifacts: Artifacts
) -> None:
    of_ana = given.a_job(database, owner="ana")

    job = drawing(database, artifacts, asked(of_ana))

    assert job is not None
    assert job.owner == "ana"


def test_nothing_is_drawn_of_a_job_that_does_not_exist(
    database: Database, artifacts: Artifacts
) -> None:
    nobody = ExportSpec(job="job_nobody", plot="loss-curve", content="c1")

    with pytest.raises(NotFoundError, match="job_nobody"):
        drawing(database, artifacts, nobody)


def test_only_succeeded_exports_of_the_same_plot_are_deleted(
    database: Database, moving: Job
) -> None:
    old, older = (ended(database, asked(moving, content)).id for content in ("c1", "c2"))
    other = ended(database, asked(moving, plot="lr-schedule")).id
    with database.write() as connection:
        queued = store.submit(connection, JobType.EXPORT, asked(moving), dataset_id=None).id

        deleted = plots.delete_older_exports(connection, asked(moving, "c3"))

    assert sorted(deleted) == sorted([old, older])
    assert sorted(exports(database)) == sorted([other, queued])


def test_every_type_of_job_with_plots_has_known_ones() -> None:
    assert {name for names in plots.PLOTS_OF.values() for name in names} == {
        *("lr-curve", "loss-curve", "lr-schedule", "confusion", "top-losses"),
        *("calibration", "presizing-preview"),
    }
