"""Live events: what happens to a job is read once, and encoded once, for all who watch it here.

A reader is a place in the job's history. Those who keep up share one window of its newest events;
who begins before it, or falls behind it, reads the event table alone until the window has what
comes next. So a slow reader loses nothing, holds up nobody, and nothing is kept for it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from contextvars import Context
from dataclasses import dataclass
from itertools import takewhile
from typing import Self

import structlog
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Send

from api.schemas.events import EventResource
from api.sse import Bell, Feed
from jobs import events, store
from jobs.database import Database
from jobs.errors import NotFoundError, StoreUnavailableError
from jobs.events import Event
from jobs.job import Job

LOOK_S = 2.0
PING_S = 15.0
RETRY_MS = 3000
WINDOW_BYTES = 128 * 1024
REPLAYED_AT_ONCE = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An event as readers get it."""

    seq: int
    content: bytes
    is_final: bool

    @classmethod
    def of(cls, event: Event) -> Self:
        """The event in the format of a stream."""
        data = EventResource.of(event).model_dump_json()
        content = format_sse_event(id=str(event.seq), event=event.type, data_str=data)
        return cls(seq=event.seq, content=content, is_final=event.is_final)


def frames_after(database: Database, job_id: str, seq: int) -> list[Frame]:
    """Up to ``REPLAYED_AT_ONCE`` frames of the job behind this place, from the event table."""
    found = events.read_after(database, job_id, seq, limit=REPLAYED_AT_ONCE)
    return [Frame.of(event) for event in found]


class Window:
    """A job's newest frames without a gap, ``WINDOW_BYTES`` of them or a single larger one."""

    def __init__(self, begins_behind: int) -> None:
        self.begins_behind = begins_behind
        self.newest = begins_behind
        self.size_bytes = 0
        self._frames: deque[Frame] = deque()

    def add(self, frame: Frame) -> None:
        """The frame is the newest; the oldest go where they do not fit any more."""
        self._frames.append(frame)
        self.newest = frame.seq
        self.size_bytes += len(frame.content)
        while self.size_bytes > WINDOW_BYTES and len(self._frames) > 1:
            oldest = self._frames.popleft()
            self.begins_behind = oldest.seq
            self.size_bytes -= len(oldest.content)

    def after(self, seq: int) -> list[Frame] | None:
        """All frames behind this place, oldest first; None when the first of them are gone."""
        if seq < self.begins_behind:
            return None
        newer = takewhile(lambda frame: frame.seq > seq, reversed(self._frames))
        return list(newer)[::-1]


class Follower:
    """Reads a job's new events into the window, and wakes the readers, until it is closed."""

    def __init__(self, feed: Feed, database: Database, job: Job) -> None:
        self.readers = 0
        self.window = Window(job.event_seq)
        self._feed = feed
        self._database = database
        self._job_id = job.id
        self._woken = asyncio.Event()
        self._woken_s = asyncio.get_running_loop().time()
        # a context of its own: what it logs is no part of its first reader's request
        self._task = asyncio.create_task(
            self._follow(), name=f"events of {job.id}", context=Context()
        )

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self._task.done()

    def close(self) -> None:
        """It reads no more.

        Raises:
            Exception: what went wrong while it read.
        """
        if self._task.done():
            self._task.result()
        self._task.cancel()

    async def news(self) -> bool:
        """Whether something came, or the end; False after ``PING_S`` of silence."""
        newest = self.window.newest
        await self._woken.wait()
        return self.window.newest > newest or self.has_ended

    async def _follow(self) -> None:
        try:
            with self._feed.bell(self._job_id) as bell:
                while not bell.is_over:
                    frames = await self._look()
                    if frames is None:
                        return
                    for frame in frames:
                        self.window.add(frame)
                    if frames:
                        self._wake()
                    if len(frames) < REPLAYED_AT_ONCE:
                        await self._wait(bell)
        finally:
            self._wake()

    async def _look(self) -> list[Frame] | None:
        """New frames; none as well while the database is away."""
        try:
            return await run_in_threadpool(self._read)
        except StoreUnavailableError as problem:
            log.warning("events_not_read", job_id=self._job_id, error=str(problem))
            return []

    def _read(self) -> list[Frame] | None:
        """New frames; None when there will never be any, as the job is gone or finished."""
        newest = self.window.newest
        if frames := frames_after(self._database, self._job_id, newest):
            return frames
        try:
            job = store.get(self._database, self._job_id)
        except NotFoundError:
            return None
        return None if job.is_terminal and job.event_seq <= newest else []

    async def _wait(self, bell: Bell) -> None:
        now_s = asyncio.get_running_loop().time
        await bell.wait(min(LOOK_S, max(0.0, self._woken_s + PING_S - now_s())))
        if now_s() - self._woken_s >= PING_S:
            self._wake()

    def _wake(self) -> None:
        self._woken_s = asyncio.get_running_loop().time()
        self._woken.set()
        self._woken = asyncio.Event()


class LiveEvents:
    """Everybody who watches a job in this process; ``len`` counts them."""

    def __init__(self, feed: Feed, database: Database) -> None:
        self._feed = feed
        self._database = database
        self._followers: dict[str, Follower] = {}
        self._readers = 0

    def __len__(self) -> int:
        """Readers that are connected."""
        return self._readers

    async def watch(self, job: Job, after: int) -> AsyncGenerator[bytes]:
        """The job's events behind ``after``, then new ones as they come, up to the final one."""
        yield format_sse_event(retry=RETRY_MS)
        with self._following(job) as follower:
            while not self._feed.is_ending:
                frames = follower.window.after(after)
                if frames is None:
                    frames = await run_in_threadpool(frames_after, self._database, job.id, after)
                    if not frames:  # the job was deleted
                        return
                elif not frames and follower.has_ended:
                    return
                elif not frames:
                    if not await follower.news():
                        yield KEEPALIVE_COMMENT
                    continue
                yield b"".join(frame.content for frame in frames)
                after = frames[-1].seq
                if frames[-1].is_final:
                    return

    @contextmanager
    def _following(self, job: Job) -> Iterator[Follower]:
        """The job's follower, which begins with its first reader and ends with its last."""
        follower = self._followers.get(job.id)
        if follower is None or follower.has_ended:
            follower = self._followers[job.id] = Follower(self._feed, self._database, job)
        follower.readers += 1
        self._readers += 1
        try:
            yield follower
        finally:
            follower.readers -= 1
            self._readers -= 1
            if not follower.readers:
                if self._followers[job.id] is follower:
                    del self._followers[job.id]
                follower.close()


class EventStream(StreamingResponse):
    """An answer whose reader is gone, and not counted any more, as soon as its client is.

    It is none of FastAPI's own: that one has two tasks, two queues and an encoder for each reader.
    """

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes]) -> None:
        # a proxy must neither keep what is live nor wait until there is more of it
        super().__init__(chunks, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._chunks = chunks

    async def stream_response(self, send: Send) -> None:
        """All chunks are sent."""
        async with aclosing(self._chunks):
            await super().stream_response(send)
