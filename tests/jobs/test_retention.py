import fcntl
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from jobs import curves, dependencies, events, presence, retention, store, tables, verbs
from jobs.artifacts import Artifacts
from jobs.curves import CurvePoint, ProgressUpdate
from jobs.database import Database, db_now_ms
from jobs.errors import NotFoundError
from jobs.job import FINAL_STATES, Job, JobState, JobType
from jobs.old_rows import DAY_MS, WORKER_SILENT_MS
from jobs.removals import Kind, Removal
from jobs.retention import Store
from jobs.retention_limits import RetentionLimits
from tests.jobs import given

LIMITS = RetentionLimits(progress_days=2, side_jobs_days=4, pixel_cache_bytes=15)
SIDE = [JobType.PROBE, JobType.EXPORT, JobType.MODEL_EXPORT, JobType.PREDICT]


@pytest.fixture
def kept(database: Database, artifacts: Artifacts) -> Store:
    """An installation that keeps progress for two days, and side jobs for four."""
    return Store(database, artifacts, LIMITS)


def now_ms(database: Database) -> int:
    with database.read() as connection:
        return db_now_ms(connection)


def ended(database: Database, job: Job, *, days_ago: float) -> None:
    """The job has ended so long ago."""
    finished_ms = now_ms(database) - round(days_ago * DAY_MS)
    given.set_columns(database, job.id, finished_ms=finished_ms)


def trained(database: Database) -> Job:
    """A running job with two steps on its curve, each told by an event."""
    given.a_job(database)
    job = given.running(database)
    for step in range(2):
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
        curves.record_progress(database, job.id, job.fence, new)
    return job


def cancelled(database: Database, job_type: JobType, *, days_ago: float) -> Job:
    """A job of this type that ended so long ago."""
    job = given.a_job(database, job_type)
    verbs.cancel(database, job.id)
    ended(database, job, days_ago=days_ago)
    return job


def planned(kept: Store, kind: Kind) -> list[Removal]:
    return [removal for removal in retention.plan(kept) if removal.kind == kind]


def collected(kept: Store) -> set[tuple[Kind, str]]:
    return {(removal.kind, removal.name) for removal in retention.collect(kept)}


def kinds_of_events(database: Database, job: Job) -> list[str]:
    return [event.type for event in events.read_after(database, job.id, 0)]


# --- progress -------------------------------------------------------------------------------


def test_the_progress_of_a_job_goes_days_after_its_end_and_all_else_stays(kept: Store) -> None:
    database, job = kept.database, trained(kept.database)
    verbs.cancel(database, job.id)
    given.set_columns(database, job.id, state="cancelled", lease_until_ms=None)
    ended(database, job, days_ago=1.9)
    before = kinds_of_events(database, job)
    assert collected(kept) == set()

    ended(database, job, days_ago=2.1)

    assert collected(kept) == {(Kind.PROGRESS, job.id)}
    assert before.count("job.progress") == 2
    left = [kind for kind in before if kind != "job.progress"]
    assert kinds_of_events(database, job) == left
    assert len(curves.read_points(database, job.id)) == 2


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
def test_the_progress_of_an_unfinished_job_stays_however_old_it_is(
    state: JobState, kept: Store
) -> None:
    job = trained(kept.database)
    given.set_columns(kept.database, job.id, state=state.value)
    ended(kept.database, job, days_ago=1000)

    assert collected(kept) == set()
    assert kinds_of_events(kept.database, job).count("job.progress") == 2


def test_what_was_planned_is_asked_again_when_it_is_removed(kept: Store) -> None:
    job = trained(kept.database)
    given.set_columns(kept.database, job.id, state="succeeded")
    ended(kept.database, job, days_ago=3)
    (removal,) = retention.plan(kept)

    given.set_columns(kept.database, job.id, state="running")

    assert not retention.remove(kept, removal)
    assert kinds_of_events(kept.database, job).count("job.progress") == 2


# --- side jobs ------------------------------------------------------------------------------


@pytest.mark.parametrize("job_type", SIDE)
def test_a_side_job_goes_with_its_files(job_type: JobType, kept: Store) -> None:
    young = cancelled(kept.database, job_type, days_ago=3.9)
    old = cancelled(kept.database, job_type, days_ago=4.1)
    for job in (young, old):
        log = kept.artifacts.log_file(job.id, 1)
        log.parent.mkdir(parents=True)
        log.write_text("four")

    (removal,) = planned(kept, Kind.SIDE_JOB)

    assert (removal.name, removal.size_bytes) == (old.id, 4)
    assert collected(kept) == {(Kind.SIDE_JOB, old.id)}
    assert store.get(kept.database, young.id)
    assert kept.artifacts.job_folder(young.id).exists()
    assert not kept.artifacts.job_folder(old.id).exists()
    with pytest.raises(NotFoundError):
        store.get(kept.database, old.id)


@pytest.mark.parametrize("job_type", sorted(set(JobType) - set(SIDE)))
def test_a_job_that_a_client_asked_for_is_never_removed(job_type: JobType, kept: Store) -> None:
    cancelled(kept.database, job_type, days_ago=10_000)

    assert planned(kept, Kind.SIDE_JOB) == []


def test_a_side_job_that_another_job_has_come_to_wait_for_stays(kept: Store) -> None:
    probe = cancelled(kept.database, JobType.PROBE, days_ago=5)
    (removal,) = planned(kept, Kind.SIDE_JOB)
    waiting = given.a_job(kept.database)
    with kept.database.write() as connection:
        dependencies.add(connection, waiting.id, [probe.id])

    assert not retention.remove(kept, removal)
    assert planned(kept, Kind.SIDE_JOB) == []

    verbs.cancel(kept.database, waiting.id)
    assert retention.remove(kept, removal)


# --- workers and answers --------------------------------------------------------------------


def announce(database: Database) -> None:
    presence.announce(
        database, worker_id="train@a:1", queue="train", device="cpu", hostname="a", pid=1
    )


def silent(database: Database, for_ms: int) -> None:
    seen_ms = now_ms(database) - for_ms
    with database.write() as connection:
        connection.execute(update(tables.workers).values(seen_ms=seen_ms))


def test_a_worker_not_heard_of_for_a_day_is_off_the_list(kept: Store) -> None:
    announce(kept.database)
    silent(kept.database, WORKER_SILENT_MS - 60_000)
    assert collected(kept) == set()

    silent(kept.database, WORKER_SILENT_MS + 60_000)

    assert collected(kept) == {(Kind.WORKER, "train@a:1")}


def test_a_worker_that_came_back_since_it_was_planned_stays(kept: Store) -> None:
    announce(kept.database)
    silent(kept.database, 2 * WORKER_SILENT_MS)
    (removal,) = retention.plan(kept)

    announce(kept.database)

    assert not retention.remove(kept, removal)
    assert len(presence.present(kept.database)) == 1


def test_answers_to_repeated_requests_are_kept_for_a_day(kept: Store) -> None:
    for name, days_ago in {"young": 0.9, "old": 1.1}.items():
        created_ms = now_ms(kept.database) - round(days_ago * DAY_MS)
        with kept.database.write() as connection:
            connection.execute(
                insert(tables.idempotency).values(
                    scope="s", key=name, fingerprint="f", body="{}", created_ms=created_ms
                )
            )

    (removal,) = planned(kept, Kind.ANSWERS)

    assert (removal.size_bytes, removal.why.split()[0]) == (2, "1")
    assert collected(kept) == {(Kind.ANSWERS, "idempotency")}
    with kept.database.read() as connection:
        assert connection.scalars(select(tables.idempotency.c.key)).all() == ["young"]


# --- pixels, and all of it ------------------------------------------------------------------


@pytest.fixture
def pixels(artifacts: Artifacts) -> list[Path]:
    """Two entries of ten bytes; the older one was used an hour ago."""
    folders = [artifacts.pixels_folder() / key for key in "ab"]
    for hours_ago, folder in zip((1, 0), folders, strict=True):
        folder.mkdir(parents=True)
        (folder / "pixels.bin").write_bytes(b"0123456789")
        os.utime(folder, (time.time() - 3600 * hours_ago,) * 2)
    return folders


def test_pixels_over_the_limit_go_unless_they_have_come_into_use(
    kept: Store, pixels: list[Path]
) -> None:
    (removal,) = retention.plan(kept)
    assert (removal.kind, removal.name, removal.size_bytes) == (Kind.PIXELS, "pixels/a", 10)

    with (kept.artifacts.pixels_folder() / "a.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert not retention.remove(kept, removal)
    assert retention.remove(kept, removal)

    assert [folder.exists() for folder in pixels] == [False, True]


def test_pixels_that_somebody_builds_are_left_to_him(kept: Store) -> None:
    partial = kept.pixels / "abc.partial"
    partial.mkdir(parents=True)
    (partial / "pixels.bin").write_bytes(b"0123456789")
    assert retention.plan(kept) == []

    for path in (partial / "pixels.bin", partial):
        os.utime(path, (time.time() - kept.limits.orphan_grace_s - 1,) * 2)
    with partial.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert list(retention.collect(kept)) == []

    assert [each.kind for each in retention.collect(kept)] == [Kind.PIXELS]
    assert not partial.exists()


def test_pixels_on_a_disk_of_their_own_are_looked_after_there(
    kept: Store, pixels: list[Path], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    local = replace(kept, limits=kept.limits.model_copy(update={"pixels": own}))
    own.mkdir()
    for folder in pixels:
        folder.rename(own / folder.name)

    assert [each.name for each in retention.collect_pixels(kept)] == []
    assert [each.name for each in retention.collect_pixels(local)] == ["pixels/a"]
    assert [each.name for each in own.iterdir() if each.is_dir()] == ["b"]


def test_a_plan_changes_nothing(kept: Store, pixels: list[Path]) -> None:
    cancelled(kept.database, JobType.PROBE, days_ago=9)

    first, second = retention.plan(kept), retention.plan(kept)

    assert [removal.name for removal in first] == [removal.name for removal in second]
    assert len(first) == 2
    assert pixels[0].exists()
    with kept.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.jobs)) == 1


def test_what_has_gone_meanwhile_is_no_error(kept: Store, pixels: list[Path]) -> None:
    cancelled(kept.database, JobType.PROBE, days_ago=9)
    plan = retention.plan(kept)

    assert [retention.remove(kept, removal) for removal in plan] == [True, True]
    assert [retention.remove(kept, removal) for removal in plan] == [True, False]
    assert list(retention.collect(kept)) == []
