"""How often a key may ask: windows shared by all API processes through Redis.

Redis may be away: then each process counts by itself, and looks for Redis again after a while. No
request waits for it longer than a moment.
"""

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Self

import redis
import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, response_of
from jobs import metrics
from jobs.queue import client_url

POLICY = "key"
_PREFIX = "tunesmith:limits"
_REDIS_WITHIN_S = 0.1
_REDIS_AGAIN_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a key stands in its window after a request; ``resets_s`` is when it is as good as new.

    Attributes:
        is_within: whether the request may be answered.
    """

    is_within: bool
    remaining: int
    resets_s: int


class Limiter:
    """Counts requests of keys, in Redis as long as it answers.

    Use it as a context manager: at its end its connections are closed.
    """

    def __init__(self, *, per_minute: int, redis_url: str) -> None:
        self.item = RateLimitItemPerMinute(per_minute)
        url = client_url(redis_url)
        self._pool = ConnectionPool.from_url(url, socket_connect_timeout=_REDIS_WITHIN_S)
        shared = RedisStorage(
            f"async+{url.replace('unix://', 'redis+unix://', 1)}",
            implementation="redispy",
            key_prefix=_PREFIX,
            connection_pool=self._pool,  # type: ignore[arg-type]  # documented, not in the type
        )
        self._shared = SlidingWindowCounterRateLimiter(shared)
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._redis_again_s = 0.0

    async def __aenter__(self) -> Self:
        """The limiter itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """No connection is left."""
        await self._pool.aclose()

    async def hit(self, key_id: str) -> Standing:
        """The request counts; where the key stands with it."""
        if time.monotonic() >= self._redis_again_s:
            try:
                async with asyncio.timeout(_REDIS_WITHIN_S):
                    return await self._hit(self._shared, key_id)
            except (redis.RedisError, OSError, TimeoutError) as problem:
                log.warning("limits_by_process", error=str(problem) or type(problem).__name__)
                self._redis_again_s = time.monotonic() + _REDIS_AGAIN_S
        return await self._hit(self._own, key_id)

    async def _hit(self, limiter: SlidingWindowCounterRateLimiter, key_id: str) -> Standing:
        is_within = await limiter.hit(self.item, key_id)
        window = await limiter.get_window_stats(self.item, key_id)
        resets_s = math.ceil(window.reset_time - time.time())
        return Standing(
            is_within=is_within, remaining=max(0, window.remaining), resets_s=max(1, resets_s)
        )


class RateLimits:
    """ASGI middleware behind the gate: keys that ask too often get 429, all see where they stand.

    The headers are those of draft-ietf-httpapi-ratelimit-headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request goes on, unless its key has used up its window."""
        caller = scope.get("state", {}).get("caller")
        if caller is None or caller.key_id is None:
            await self._app(scope, receive, send)
            return
        limiter: Limiter = scope["app"].state.limiter
        standing = await limiter.hit(caller.key_id)
        headers = _headers(limiter.item, standing)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        if standing.is_within:
            await self._app(scope, receive, send_with_limits)
            return
        metrics.RATE_LIMITED.inc()
        refusal = _refusal(limiter.item, standing)
        response = response_of(
            refusal, instance=scope["path"], request_id=scope["state"]["request_id"]
        )
        await response(scope, receive, send_with_limits)


def _headers(item: RateLimitItem, standing: Standing) -> dict[str, str]:
    return {
        "RateLimit-Policy": f'"{POLICY}";q={item.amount};w={item.get_expiry()}',
        "RateLimit": f'"{POLICY}";r={standing.remaining};t={standing.resets_s}',
    }


def _refusal(item: RateLimitItem, standing: Standing) -> Problem:
    return Problem(
        "rate_limited",
        f"the key has asked more than {item.amount} times in {item.get_expiry()} s; "
        f"ask again in {standing.resets_s} s",
        headers={"Retry-After": str(standing.resets_s)},
    )
