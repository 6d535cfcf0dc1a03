"""Many small jobs while everything is killed, frozen and wiped at random: each ends once.

The harms lead and the jobs follow: jobs are sent as long as there is a harm to come, so that each
of them finds work to disturb, however fast the machine is.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import select

from jobs import store, tables
from jobs.database import Database
from jobs.job import JobType
from jobs.store import JobFilter
from tests.faults.conftest import Scale, Start
from tests.faults.given import (
    Json,
    Patient,
    dataset,
    dataset_body,
    ended,
    fine_tune,
    fine_tune_body,
)
from tests.faults.installation import Installation, Roster, send, wait_until
from tests.faults.laws import assert_ended

pytestmark = pytest.mark.e2e

BACKLOG = 6
"""Jobs that have not ended; a further one is sent when there are fewer."""
LONGEST_CALM_S = 1.0
HARM_WITHIN_S = 240.0
ENDS_WITHIN_S = 1800.0


def test_every_job_of_many_ends_once_whatever_happens_to_the_processes(
    start: Start, scale: Scale, chance: random.Random
) -> None:
    installation = start(Roster(trains=2))
    database, count = installation.database(), scale.of(12, 200)
    dataset_id = dataset(installation)
    (trained,) = ended(database, fine_tune(installation, dataset_id))
    chaos = Chaos(installation, chance, rounds=scale.of(1, 10))

    with chaos:
        made: list[str] = []
        while len(made) < count or chaos.goes_on:
            request = _request(len(made), dataset_id, str(trained.model_id))
            made.append(_sent(installation, request))
            wait_until(lambda: len(_unfinished(database)) < BACKLOG, "some have ended")
    ended(database, *made, within_s=ENDS_WITHIN_S)
    print(dict(chaos.done), f"{len(made)} jobs")  # noqa: T201 - for people

    assert chaos.done == chaos.planned
    assert len(set(made)) == len(made)
    for job_id in made:
        assert_ended(database, job_id)
    assert _all_jobs(database) == {*made, *_of_before(database, dataset_id, trained.id)}
    database.close()


class Chaos:
    """A thread that does each kind of harm so many times, in an order drawn by chance."""

    def __init__(self, installation: Installation, chance: random.Random, *, rounds: int) -> None:
        self.done: Counter[str] = Counter()
        self._installation = installation
        self._chance = chance
        self._harmed: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos")
        self._harms: dict[str, Callable[[], bool]] = {
            "trainer killed": self._kill_a_trainer,
            "worker killed": self._kill_a_worker,
            "API killed": lambda: self._kill("api"),
            "Redis killed": lambda: self._kill("redis"),
            "Redis wiped": self._wipe,
            "worker frozen": self._freeze_a_worker,
        }
        self.planned = Counter(dict.fromkeys(self._harms, rounds))

    def __enter__(self) -> "Chaos":
        """It has begun."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing happens any more."""
        self._over.set()
        self._thread.join()

    @property
    def goes_on(self) -> bool:
        """Whether a harm is still to come."""
        return self._thread.is_alive()

    def _run(self) -> None:
        order = sorted(self.planned.elements())
        self._chance.shuffle(order)
        for name in order:
            self._over.wait(self._chance.uniform(0, LONGEST_CALM_S))
            until_s = time.monotonic() + HARM_WITHIN_S
            while not self._harms[name]():
                if self._over.wait(0.02) or time.monotonic() > until_s:
                    return
            self.done[name] += 1

    def _kill(self, name: str) -> bool:
        self._installation.kill(name)
        return True

    def _kill_a_worker(self) -> bool:
        return self._kill(self._a_worker())

    def _kill_a_trainer(self) -> bool:
        # a job whose trainer dies twice at the same point is at fault itself
        fresh = [each for each in self._installation.trainers() if each.job_id not in self._harmed]
        if not fresh:
            return False
        victim = self._chance.choice(sorted(fresh, key=lambda each: each.job_id))
        self._harmed.add(victim.job_id)
        send(victim.pid, signal.SIGKILL)
        return True

    def _wipe(self) -> bool:
        self._installation.flush()
        return True

    def _freeze_a_worker(self) -> bool:
        with self._installation.frozen(self._a_worker()):
            # for less or for more than its lease
            self._over.wait(self._chance.uniform(0, 2 * self._installation.settings.lease_s))
        return True

    def _a_worker(self) -> str:
        return self._chance.choice(
            sorted(name for name in self._installation.members if name[-1].isdigit())
        )


def _request(number: int, dataset_id: str, model_id: str) -> tuple[str, Json]:
    """One of several kinds of small jobs."""
    body: Json
    match number % 4:
        case 0:
            body = fine_tune_body(dataset_id, seed=number)
            return "/v1/fine-tunes", body
        case 1:
            return "/v1/datasets", {"number": number}
        case _:
            return "/v1/evaluations", {"model": model_id, "dataset": dataset_id}


def _sent(installation: Installation, request: tuple[str, Json]) -> str:
    path, body = request
    if path == "/v1/datasets":
        (folder,) = installation.settings.dataset_roots[0].iterdir()
        body = dataset_body(str(folder), seed=body["number"])
    with Patient(installation) as client:
        made = client.post(path, body)
        return str(made.get("job_id") or made["id"])


def _all_jobs(database: Database) -> set[str]:
    return {job.id for job in store.list_jobs(database, JobFilter(), after=None, limit=100_000)}


def _unfinished(database: Database) -> list[str]:
    """Jobs that have not ended."""
    query = select(tables.jobs.c.id).where(tables.jobs.c.finished_ms.is_(None))
    with database.read() as connection:
        return list(connection.scalars(query))


def _of_before(database: Database, dataset_id: str, trained_id: str) -> set[str]:
    """The jobs that were there before the chaos."""
    first = JobFilter(type=JobType.DATASET_IMPORT, dataset_id=dataset_id)
    (imported,) = store.list_jobs(database, first, after=None, limit=10)
    return {imported.id, trained_id}
