"""Workers on hosts of their own; the network of one is gone for longer than its lease."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.redis_server import free_port, redis_command
from jobs import leases, store
from jobs.errors import LeaseLostError
from jobs.settings import load_settings
from tests.faults.conftest import artifacts_of
from tests.faults.given import dataset, ended, fine_tune, job_when, trains
from tests.faults.hosts import SERVED_AT, Host, hosts
from tests.faults.installation import QUICK, Installation, Roster, running, wait_until
from tests.faults.laws import assert_ended, assert_equal_runs, assert_one_model, history_of
from tests.jobs import postgresql

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.postgres]

EPOCHS = 12
LEASE_S = 4.0
ENDS_BY_ITSELF_S = 3 * LEASE_S
"""A lease, and what a busy machine adds."""


@pytest.fixture
def cluster() -> Iterator[list[Host]]:
    """Two hosts, and this machine, which has no train worker."""
    with hosts(2) as made:
        yield made


@pytest.fixture(params=["pixels are shared", "pixels are each host's own"])
def installation(
    request: pytest.FixtureRequest, folder: Path, cluster: list[Host]
) -> Iterator[Installation]:
    """API, PostgreSQL and Redis here, a train worker on each host; artifacts are shared."""
    programs = postgresql.binaries()
    if programs is None:
        pytest.skip("no PostgreSQL programs: apt-get install postgresql")
    (folder / "photos").mkdir()
    port = str(free_port())
    binary = redis_command(folder / "run").arguments[0]
    named = {f"train-{number}": host for number, host in enumerate(cluster)}
    own = {name: {"pixels": folder / name} for name in named} if "own" in request.param else {}
    roster = Roster(trains=2, own=own, through={name: each.enter for name, each in named.items()})
    with postgresql.server(programs, listens_at=SERVED_AT) as server:
        name = server.migrated_database().partition("?")[0].rpartition("/")[2]
        settings = load_settings(
            **{**QUICK, "lease_s": LEASE_S},
            database_url=f"postgresql://tunesmith@{SERVED_AT}/{name}",
            redis_url=f"redis://{SERVED_AT}:{port}/0",
            artifacts=folder / "artifacts",
            dataset_roots=(folder / "photos",),
            port=free_port(),
            device="cpu",
            threads=1,
        )
        redis = (binary, "--bind", SERVED_AT, "--port", port, "--protected-mode", "no")
        with Installation(folder, settings, (*redis, "--save", ""), roster) as made:
            yield made


def test_a_host_without_a_network_is_fenced_and_works_again_when_it_is_back(
    installation: Installation, cluster: list[Host]
) -> None:
    database = installation.database()
    dataset_id = dataset(installation)
    undisturbed = fine_tune(installation, dataset_id, epochs=EPOCHS)
    ended(database, undisturbed)

    disturbed = fine_tune(installation, dataset_id, epochs=EPOCHS)
    held = job_when(
        database, disturbed, lambda job: trains(job) and job.checkpoint_step > 0, "trains"
    )
    name = str(installation.name_of_worker(held.worker_id))
    other = "train-1" if name == "train-0" else "train-0"
    (trainer,) = (each for each in installation.trainers() if each.fence == held.fence)
    with cluster[int(name[-1])].unplugged():
        # nobody can tell it
        wait_until(
            lambda: trainer.pid not in running(),
            "the trainer ends itself by its lease",
            within_s=ENDS_BY_ITSELF_S,
        )
        ended(database, disturbed)
        result, last = store.get(database, disturbed), history_of(database, disturbed)[-1].seq
        finisher = _workers(installation, disturbed)[-1]
    assert finisher == other

    # the host that is back takes no part in what went on without it, and claims what is new
    with pytest.raises(LeaseLostError):
        leases.renew(database, disturbed, held.fence, lease_ms=60_000)
    installation.away(other)
    after = fine_tune(installation, dataset_id)
    ended(database, after)

    assert installation.members[name].lives == 1
    assert set(_workers(installation, after)) == {name}
    job = assert_ended(database, disturbed)
    assert (job.fence, job.event_seq, job.result) == (result.fence, last, result.result)
    assert _resumed_from(installation, disturbed) > 0
    assert_one_model(database, disturbed)
    assert_equal_runs(database, artifacts_of(installation), undisturbed, disturbed)
    _assert_pixels(installation)
    database.close()


def _workers(installation: Installation, job_id: str) -> list[str | None]:
    """Who has had the job, by the names of the installation, attempt after attempt."""
    database = installation.database()
    history = history_of(database, job_id)
    database.close()
    began = [event.data["worker"] for event in history if event.type == "job.started"]
    return [installation.name_of_worker(worker) for worker in began]


def _resumed_from(installation: Installation, job_id: str) -> int:
    """The step of the checkpoint that the last attempt went on from."""
    database = installation.database()
    history = history_of(database, job_id)
    database.close()
    steps = [event.data["checkpoint_step"] for event in history if event.type == "job.requeued"]
    return int(steps[-1])


def _assert_pixels(installation: Installation) -> None:
    """Both hosts have what they needed, in one folder that they share or each in its own."""
    places = [Path(str(each["pixels"])) for each in installation.roster.own.values()]
    shared = artifacts_of(installation).pixels_folder()
    entries = [{each.name for each in place.glob("*/")} for place in places or [shared]]
    assert entries[0]
    assert entries == [entries[0]] * len(entries)
    assert shared.exists() != bool(places)
