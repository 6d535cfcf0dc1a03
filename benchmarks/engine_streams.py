"""What live events cost: delay and CPU of the API with many readers of one job.

The job is held by this process, which writes an event ten times a second and rings, as a trainer
does. Readers are plain sockets, so that reading costs little beside what it measures. Delays and
the share of a core depend on what else runs; the CPU time of an event hardly does.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from statistics import median, quantiles
from urllib.parse import urlsplit

from process_cost import cpu_s
from stack_memory import descendants, parents

from cli.stack import Stack
from jobs import curves, leases, store
from jobs.database import Database
from jobs.job import Job, JobType
from jobs.queue import Doorbell
from jobs.spec import FineTuneSpec
from tunesmith_client import Json

_EVENTS_PER_S = 10
_LEASE_MS = 600_000
_CODE = "benchmark"
_TRIES = 20


@dataclass(slots=True)
class _Heard:
    """What the readers have heard; ``delays_s`` from the write to the reader."""

    ready: int = 0
    delays_s: list[float] = field(default_factory=list)


def stream_cost(stack: Stack, dataset: Json, *, readers: int, seconds: float) -> Json:
    """Delays and the API's share of a core, with one reader and with many.

    Raises:
        RuntimeError: the workers took the job each time.
    """
    database = Database(stack.settings.database_url)
    doorbell = Doorbell(stack.settings.redis_url)
    try:
        source = _Source(url=stack.url, database=database, doorbell=doorbell, dataset=dataset)
        return {
            str(count): asyncio.run(_measured(source, count, seconds)) for count in (1, readers)
        }
    finally:
        doorbell.close()
        database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where the events come from."""

    url: str
    database: Database
    doorbell: Doorbell
    dataset: Json


async def _measured(source: _Source, readers: int, seconds: float) -> Json:
    database, doorbell = source.database, source.doorbell
    job, heard, api = _held(database, source.dataset), _Heard(), _api()
    tasks = [asyncio.create_task(_read(source.url, job.id, heard)) for _ in range(readers)]
    while heard.ready < readers:
        await asyncio.sleep(0.05)
    began_s, began_cpu_s = time.monotonic(), cpu_s(api)
    written = int(seconds * _EVENTS_PER_S)
    for number in range(written):
        await asyncio.to_thread(_tell, database, doorbell, job)
        await asyncio.sleep(max(0.0, began_s + (number + 1) / _EVENTS_PER_S - time.monotonic()))
    leases.succeed(database, job.id, job.fence, values={})
    doorbell.happened(job.id)
    await asyncio.gather(*tasks)
    # until the last has heard all: who lags behind would seem to cost less
    taken_s, passed_s = cpu_s(api) - began_cpu_s, time.monotonic() - began_s
    return {
        "events": written,
        "heard": len(heard.delays_s),
        "missed": written * readers - len(heard.delays_s),
        "delay_median_ms": round(median(heard.delays_s) * 1000, 2),
        "delay_p95_ms": round(quantiles(heard.delays_s, n=20)[-1] * 1000, 2),
        "delay_most_ms": round(max(heard.delays_s) * 1000, 2),
        "api_cpu_ms_per_event": round(taken_s / written * 1000, 2),
        "api_share_of_a_core": round(taken_s / passed_s, 3),
    }


def _held(database: Database, dataset: Json) -> Job:
    """A job that is claimed by us before a worker looks by itself."""
    for _ in range(_TRIES):
        spec = FineTuneSpec(dataset=dataset["id"], epochs=1, freeze_epochs=0, size=32, presize=32)
        with database.write() as connection:
            queued = store.submit(
                connection, JobType.FINE_TUNE, spec, dataset_id=str(dataset["id"])
            )
        job = leases.claim_next(database, "train", "benchmark", lease_ms=_LEASE_MS)
        if job is not None and job.id == queued.id:
            return job
    raise RuntimeError("the stack's workers took each job")


def _tell(database: Database, doorbell: Doorbell, job: Job) -> None:
    curves.record_warning(database, job.id, job.fence, _CODE, repr(time.time()))
    doorbell.happened(job.id)


async def _read(url: str, job_id: str, heard: _Heard) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    request = f"GET /v1/jobs/{job_id}/stream HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
    writer.write(request.encode())
    is_ready = False
    async for line in reader:
        if line.startswith(b"event: job.started") and not is_ready:
            is_ready = True
            heard.ready += 1
        if line.startswith(b"data: "):
            data = json.loads(line[6:])["data"]
            if data.get("code") == _CODE:
                heard.delays_s.append(time.time() - float(data["detail"]))
        if line.startswith(b"event: job.succeeded"):
            break
    writer.close()


def _api() -> int:
    """The stack's API."""
    return next(pid for pid, role in descendants(dict(parents())) if role == "api")
