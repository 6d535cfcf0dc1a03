"""Concurrent clients of one address, as plain sockets: they cost little beside what is measured."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import quantiles

from process_cost import cpu_s

from tunesmith_client import Json

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One kind of request."""

    name: str
    method: str
    path: str
    status: int
    body: Json | None = None

    def encoded(self, host: str) -> bytes:
        """As it goes over a connection that stays."""
        body = b"" if self.body is None else json.dumps(self.body).encode()
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(slots=True)
class Cost:
    """What requests have cost one server so far."""

    latencies_s: list[float] = field(default_factory=list)
    passed_s: float = 0.0
    taken_cpu_s: float = 0.0

    def summary(self) -> Json:
        """Percentiles in ms, requests a second, and the server's CPU time for each."""
        cuts, count = quantiles(self.latencies_s, n=100), len(self.latencies_s)
        return {
            "requests": count,
            "p50_ms": round(cuts[49] * 1000, 2),
            "p99_ms": round(cuts[98] * 1000, 2),
            "requests_per_s": round(count / self.passed_s, 1),
            "cpu_ms_per_request": round(self.taken_cpu_s / count * 1000, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Who is asked, on this machine."""

    name: str
    port: int
    pid: int

    def load(self, asked: Asked, cost: Cost, *, clients: int, requests: int) -> None:
        """So many more requests have been answered.

        Raises:
            RuntimeError: one was answered otherwise than expected.
        """
        began_s, began_cpu_s = time.perf_counter(), cpu_s(self.pid)
        cost.latencies_s += asyncio.run(self._answered(asked, clients, requests))
        cost.passed_s += time.perf_counter() - began_s
        cost.taken_cpu_s += cpu_s(self.pid) - began_cpu_s

    async def _answered(self, asked: Asked, clients: int, requests: int) -> list[float]:
        turns = iter(range(requests))
        each = await asyncio.gather(*(self._client(asked, turns) for _ in range(clients)))
        return [latency for latencies in each for latency in latencies]

    async def _client(self, asked: Asked, turns: Iterator[int]) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        request = asked.encoded(f"127.0.0.1:{self.port}")
        latencies = []
        for _ in turns:
            began_s = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            latencies.append(time.perf_counter() - began_s)
            if int(head[9:12]) != asked.status:
                raise RuntimeError(f"{self.name}: {asked.path} answers {head[:15]!r} {body!r}")
        writer.close()
        return latencies
