from sqlalchemy import update

from jobs import presence, tables
from jobs.database import Database


def announce(database: Database, worker_id: str, queue: str = "train") -> None:
    presence.announce(
        database, worker_id=worker_id, queue=queue, device="cpu", hostname="here", pid=7
    )


def present(database: Database) -> list[str]:
    return [worker.id for worker in presence.present(database)]


def test_workers_that_said_so_are_there_by_queue_and_id(database: Database) -> None:
    for worker_id, queue in (("w2", "train"), ("w1", "train"), ("w3", "prepare")):
        announce(database, worker_id, queue)

    assert present(database) == ["w3", "w1", "w2"]


def test_a_worker_that_says_so_again_is_there_once(database: Database) -> None:
    announce(database, "w1")
    (first,) = presence.present(database)
    announce(database, "w1")
    (second,) = presence.present(database)

    assert second.started_ms == first.started_ms
    assert second.seen_ms >= first.seen_ms
    assert (second.device, second.hostname, second.pid) == ("cpu", "here", 7)


def test_a_worker_owns_the_devices_in_its_name(database: Database) -> None:
    presence.announce(
        database, worker_id="w1", queue="train", device="cuda:0-3", hostname="here", pid=7
    )

    assert [worker.devices for worker in presence.present(database)] == [4]


def test_a_worker_that_withdrew_is_gone(database: Database) -> None:
    announce(database, "w1")

    presence.withdraw(database, "w1")
    presence.withdraw(database, "w1")

    assert present(database) == []


def test_a_silent_worker_is_gone_until_it_speaks_again(database: Database) -> None:
    announce(database, "w1")
    with database.write() as connection:
        seen = tables.workers.c.seen_ms
        connection.execute(
            update(tables.workers).values(seen_ms=seen - presence.GONE_AFTER_MS - 1000)
        )
    assert present(database) == []

    announce(database, "w1")

    assert present(database) == ["w1"]
