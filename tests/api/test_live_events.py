"""Many readers of one job: what is shared, what a slow one costs, and what is left when they go."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, event
from starlette.types import Message

from api import live_events
from api.app import create_app
from api.live_events import Frame, LiveEvents, Window, frames_after
from api.services import Services
from jobs import curves, leases
from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.job import Job, JobType
from jobs.settings import Settings
from tests.api.given import ready_dataset, started
from tests.api.test_stream import blocks

MANY = 200


@pytest.fixture
def job(database: Database) -> Job:
    """A running job, of which nothing but the tests tells."""
    return started(database, JobType.FINE_TUNE, ready_dataset(database))


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks before it rings, nor pings, within a test's time."""
    monkeypatch.setattr(live_events, "LOOK_S", 60.0)
    monkeypatch.setattr(live_events, "PING_S", 60.0)


class Reader:
    """A client without a network between: it takes what is sent as long as it is let."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.is_held = False
        self._gone = asyncio.Event()

    @property
    def seqs(self) -> list[int]:
        """The sequence numbers of all events that were received."""
        found = blocks(b"".join(self.chunks).decode())
        return [int(each["id"]) for each in found if "id" in each]

    def go(self) -> None:
        """The connection breaks."""
        self._gone.set()

    async def read(self, app: FastAPI, job_id: str) -> None:
        """The stream is read until it ends, or until the reader goes."""
        headers = [(b"host", b"127.0.0.1"), (b"accept-encoding", b"gzip")]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": f"/v1/jobs/{job_id}/stream",
            "query_string": b"",
            "headers": headers,
        }
        asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Message:
            for message in asked:
                return message
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.is_held = not self.takes.is_set()
            await self.takes.wait()
            if body := message.get("body"):
                self.chunks.append(body)

        await app(scope, receive, send)


class Watched:
    """An application and the readers of one job of it."""

    def __init__(self, app: FastAPI, job: Job) -> None:
        self.services: Services = app.state.services
        self.readers: list[Reader] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._app = app
        self._job = job

    @property
    def live(self) -> LiveEvents:
        """Who watches."""
        return self.services.live_events

    @property
    def window(self) -> Window:
        """What the readers of the job share."""
        return self.live._followers[self._job.id].window

    async def join(self, count: int) -> list[Reader]:
        """So many more readers watch, and have received all there is."""
        new = [Reader() for _ in range(count)]
        self.readers += new
        self.tasks += [asyncio.create_task(each.read(self._app, self._job.id)) for each in new]
        await until(lambda: all(reader.seqs for reader in new))
        return new

    async def tell(self, detail: str) -> None:
        """An event is written, and the doorbell rings."""
        curves.record_warning(self.services.database, self._job.id, self._job.fence, "test", detail)
        self.services.feed.ring(self._job.id)

    async def end(self) -> None:
        """The job has succeeded, and all readers have come to its last event."""
        leases.succeed(self.services.database, self._job.id, self._job.fence, values={})
        self.services.feed.ring(self._job.id)
        await asyncio.gather(*self.tasks)


@asynccontextmanager
async def watched(settings: Settings, job: Job) -> AsyncIterator[Watched]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield Watched(app, job)


def run(settings: Settings, job: Job, act: Callable[[Watched], Awaitable[None]]) -> None:
    """What a test does, within an application."""

    async def main() -> None:
        async with watched(settings, job) as watching:
            await act(watching)

    asyncio.run(main())


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.005)


async def have_all(readers: list[Reader], newest: int) -> None:
    """The readers have come to the newest event."""
    await until(lambda: all(reader.seqs[-1] == newest for reader in readers))


def reads_of_events(engine: Engine) -> list[str]:
    """Grows with every look at the event table."""
    found: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(*arguments: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
        if "FROM events" in arguments[2]:
            found.append(arguments[2])

    return found


@pytest.mark.usefixtures("deaf")
def test_many_readers_get_every_event_of_one_read_and_one_encoding(
    settings: Settings, job: Job
) -> None:
    async def act(watching: Watched) -> None:
        readers = await watching.join(MANY)
        assert len(watching.live) == MANY
        reads = reads_of_events(watching.services.database.engine)

        for number in range(5):
            await watching.tell(str(number))
            await have_all(readers, job.event_seq + number + 1)

        assert len(reads) == 5
        assert len({id(reader.chunks[-1]) for reader in readers}) == 1
        await watching.end()
        assert all(r.seqs == list(range(1, job.event_seq + 7)) for r in readers)

    run(settings, job, act)


@pytest.mark.usefixtures("deaf")
def test_slow_readers_lose_nothing_hold_nothing_and_keep_nobody_waiting(
    settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_events, "WINDOW_BYTES", 4096)
    told = 30

    async def act(watching: Watched) -> None:
        quick, *slow = await watching.join(20)
        for reader in slow:
            reader.takes.clear()

        await watching.tell("x" * 1000)
        # one that woke up late would stand at several events
        await until(lambda: all(reader.is_held for reader in slow))
        for number in range(1, told):
            await watching.tell("x" * 1000)
            await have_all([quick], job.event_seq + number + 1)

        assert all(reader.is_held for reader in slow)
        assert watching.window.size_bytes <= 4096
        gc.collect()
        alive = {frame.seq for frame in gc.get_objects() if type(frame) is Frame}
        # the window's, and the one that all slow readers stand at
        assert alive <= {
            job.event_seq + 1,
            *range(watching.window.begins_behind, quick.seqs[-1] + 1),
        }
        for reader in slow:
            reader.takes.set()
        await watching.end()
        everything = list(range(1, job.event_seq + told + 2))
        assert all(reader.seqs == everything for reader in watching.readers)

    run(settings, job, act)


@pytest.mark.usefixtures("deaf")
def test_the_last_readers_going_ends_the_follower(settings: Settings, job: Job) -> None:
    def follower_count() -> int:
        return sum(task.get_name().startswith("events of") for task in asyncio.all_tasks())

    async def act(watching: Watched) -> None:
        stays, goes, sticks = await watching.join(3)
        sticks.takes.clear()
        await watching.tell("first")
        await until(lambda: stays.seqs[-1] == job.event_seq + 1 and sticks.is_held)

        goes.go()
        sticks.go()
        await until(lambda: len(watching.live) == 1)
        await watching.tell("second")
        await until(lambda: stays.seqs[-1] == job.event_seq + 2)
        assert (goes.seqs[-1], follower_count()) == (job.event_seq + 1, 1)

        stays.go()
        await until(lambda: len(watching.live) == 0 and follower_count() == 0)
        await asyncio.gather(*watching.tasks)
        (again,) = await watching.join(1)
        assert again.seqs == list(range(1, job.event_seq + 3))
        await watching.end()

    run(settings, job, act)


def test_silence_is_broken_by_a_comment(
    settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_events, "PING_S", 0.01)

    async def act(watching: Watched) -> None:
        (reader,) = await watching.join(1)
        await until(lambda: reader.chunks.count(b": ping\n\n") > 2)
        await watching.end()

    run(settings, job, act)


def test_readers_stay_while_the_database_is_away(
    settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_events, "LOOK_S", 0.01)
    looks: list[int] = []

    def away(*_: object) -> list[Frame]:
        looks.append(len(looks))
        raise StoreUnavailableError("the database does not answer")

    async def act(watching: Watched) -> None:
        (reader,) = await watching.join(1)
        with monkeypatch.context() as patch:
            patch.setattr(live_events, "frames_after", away)
            await until(lambda: len(looks) > 2)
        await watching.tell("it is back")
        await until(lambda: reader.seqs[-1] == job.event_seq + 1)
        await watching.end()

    run(settings, job, act)


@pytest.mark.usefixtures("deaf")
def test_an_unexpected_error_breaks_the_stream_and_the_next_one_begins_anew(
    settings: Settings, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[Frame]:
        raise ZeroDivisionError

    async def act(watching: Watched) -> None:
        await watching.join(1)
        with monkeypatch.context() as patch:
            patch.setattr(live_events, "frames_after", broken)
            watching.services.feed.ring(job.id)
            with pytest.raises(ZeroDivisionError):
                await watching.tasks.pop()

        assert len(watching.live) == 0
        (reader,) = await watching.join(1)
        await watching.end()
        assert reader.seqs == list(range(1, job.event_seq + 2))

    run(settings, job, act)


def test_a_window_has_no_gap_and_a_limit(
    database: Database, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = frames_after(database, job.id, 0)
    monkeypatch.setattr(live_events, "WINDOW_BYTES", len(frames[-1].content) + 1)
    window = Window(0)

    for frame in frames:
        window.add(frame)

    newest = frames[-1]
    assert (window.begins_behind, window.newest) == (newest.seq - 1, newest.seq)
    assert window.after(newest.seq - 1) == [newest]
    assert window.after(newest.seq) == []
    assert window.after(newest.seq - 2) is None
