"""The database away for a while, for less than a lease: no job is lost, none begins again."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.conftest import Scale, Start
from tests.faults.given import dataset, ended, fine_tune, job_when, trains
from tests.faults.installation import Frozen, Installation, locked, tree_of
from tests.faults.laws import assert_ended
from tests.jobs import postgresql

pytestmark = pytest.mark.e2e

LEASE_S = 30.0
QUEUED = 2


def test_no_job_is_lost_or_restarted_while_another_process_keeps_the_sqlite_file(
    start: Start, scale: Scale
) -> None:
    installation = start(lease_s=LEASE_S)
    file = installation.folder / "tunesmith.db"

    def away(seconds: float) -> None:
        with locked(file):
            time.sleep(seconds)

    # longer than any writer waits for the file, so that each of them is refused
    _assert_nobody_minds(installation, away, float(scale.of(12, 15)))


@pytest.mark.faults
@pytest.mark.postgres
def test_no_job_is_lost_or_restarted_while_postgresql_is_frozen(
    start: Start, scale: Scale, server: postgresql.Server
) -> None:
    installation = start(lease_s=LEASE_S, database_url=server.migrated_database())

    def away(seconds: float) -> None:
        with Frozen([server.pid, *sorted(tree_of(server.pid) - {server.pid})]):
            time.sleep(seconds)

    _assert_nobody_minds(installation, away, float(scale.of(7, 15)))


@pytest.mark.faults
@pytest.mark.postgres
def test_no_job_is_lost_or_restarted_while_postgresql_crashes_and_recovers(
    start: Start, scale: Scale, server: postgresql.Server
) -> None:
    installation = start(lease_s=LEASE_S, database_url=server.migrated_database())

    def away(seconds: float) -> None:
        server.crash()
        time.sleep(seconds)
        server.start()

    _assert_nobody_minds(installation, away, float(scale.of(4, 15)))


@pytest.fixture
def server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server of the test's own."""
    programs = postgresql.binaries()
    if programs is None:
        pytest.skip("no PostgreSQL programs: apt-get install postgresql")
    with postgresql.server(programs) as server:
        yield server


def _assert_nobody_minds(
    installation: Installation, away: Callable[[float], None], seconds: float
) -> None:
    database = installation.database()
    dataset_id = dataset(installation)
    running = fine_tune(installation, dataset_id, epochs=40)
    queued = [fine_tune(installation, dataset_id) for _ in range(QUEUED)]
    job_when(database, running, trains, "trains")

    with ThreadPoolExecutor(1) as clients:
        late = clients.submit(fine_tune, installation, dataset_id)
        away(seconds)
        queued.append(late.result())
    ended(database, running, *queued)

    for job_id in (running, *queued):
        assert assert_ended(database, job_id).attempt == 1
    database.close()
