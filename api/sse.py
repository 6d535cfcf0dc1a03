"""The doorbell's other end: one Redis subscription per process, for all who wait for a job.

Redis only says "look"; the database is the truth. Who hears nothing looks every two seconds by
himself, and holds neither a thread nor a database connection while he waits.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import redis
import structlog
from starlette.concurrency import run_in_threadpool

from jobs import store
from jobs.database import Database
from jobs.job import Job
from jobs.queue import EVENTS_CHANNEL, async_redis_client

LOOK_S = 2.0

log = structlog.get_logger(__name__)


class Bell:
    """What one of them waits on; it rings for its job or when the process ends."""

    def __init__(self, feed: "Feed") -> None:
        self._feed = feed
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Who waits will look."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Something happened, or the time is over; either way it is worth a look."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), timeout_s)
        self._rung.clear()

    @property
    def is_over(self) -> bool:
        """Whether the process is ending and nobody should wait any longer."""
        return self._feed.is_ending


class Feed:
    """The subscription and the bells, by job."""

    def __init__(self, database: Database, redis_url: str) -> None:
        self._database = database
        self._redis_url = redis_url
        self._bells: defaultdict[str, set[Bell]] = defaultdict(set)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_ending = False
        self.is_connected = False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """The subscription is held, and found again whenever Redis comes back."""
        self._loop = asyncio.get_running_loop()
        task = asyncio.create_task(self._listen_for_ever(), name="event feed")
        try:
            yield
        finally:
            self.end()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def end(self) -> None:
        """All who wait leave at their next turn; safe to call from a signal handler."""
        self.is_ending = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring_all)

    def ring(self, job_id: str) -> None:
        """All who wait for the job look."""
        for bell in self._bells.get(job_id, ()):
            bell.ring()

    @contextmanager
    def bell(self, job_id: str) -> Iterator[Bell]:
        """A bell for this job, hung up for as long as the block lasts."""
        bell = Bell(self)
        self._bells[job_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[job_id].discard(bell)
            if not self._bells[job_id]:
                del self._bells[job_id]

    async def until_changed(self, job: Job, timeout_s: float) -> Job:
        """The job once its state is another, it is finished, or the time is over.

        Raises:
            NotFoundError: the job was deleted meanwhile.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        current = job
        with self.bell(job.id) as bell:
            while current.state == job.state and not current.is_terminal and not bell.is_over:
                left_s = deadline_s - loop.time()
                if left_s <= 0:
                    break
                await bell.wait(min(LOOK_S, left_s))
                current = await run_in_threadpool(store.get, self._database, job.id)
        return current

    def _ring_all(self) -> None:
        for bells in list(self._bells.values()):
            for bell in bells:
                bell.ring()

    async def _listen_for_ever(self) -> None:
        while True:
            try:
                await self._listen()
            except (redis.RedisError, OSError) as problem:
                if self.is_connected:
                    log.warning("event_feed_lost", error=str(problem))
            self.is_connected = False
            await asyncio.sleep(LOOK_S)

    async def _listen(self) -> None:
        async with async_redis_client(self._redis_url) as client, client.pubsub() as channel:
            await channel.subscribe(EVENTS_CHANNEL)
            self.is_connected = True
            self._ring_all()
            async for message in channel.listen():
                if message["type"] == "message":
                    self.ring(_text(message["data"]))


def _text(data: bytes | str) -> str:
    return data.decode() if isinstance(data, bytes) else data
