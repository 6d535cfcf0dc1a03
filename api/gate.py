"""The gate of /v1 and /metrics: nothing more is read before a key is known to be good."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from math import inf
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import ANYBODY, CHALLENGE, KEY_HEADER, Caller
from api.problems import Problem, from_domain, response_of
from jobs import keys, stream_tokens
from jobs.database import Database
from jobs.errors import JobsError, StoreUnavailableError
from jobs.owners import owner_of

PREFIX = "/v1/"
METRICS_PATHS = frozenset({"/metrics", "/metrics/targets"})
TOKEN_PARAMETER = "token"  # noqa: S105 - its name, not its value
_STREAM = re.compile(r"/v1/jobs/([^/]+)/stream")

log = structlog.get_logger(__name__)


class Gate:
    """ASGI middleware: who asks is in ``request.state.caller``, or the answer is 401."""

    def __init__(self, app: ASGIApp, *, needs_keys: bool) -> None:
        self._app = app
        self._needs_keys = needs_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request goes on with its caller; elsewhere it goes on as it is."""
        if scope["type"] == "http" and _is_guarded(scope["path"]):
            try:
                scope["state"]["caller"] = await self._caller(scope)
            except (Problem, JobsError) as refusal:
                response = response_of(
                    refusal if isinstance(refusal, Problem) else from_domain(refusal),
                    instance=scope["path"],
                    request_id=scope["state"]["request_id"],
                )
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        if not self._needs_keys:
            return ANYBODY
        state = scope["app"].state
        secret = _secret_in(Headers(scope=scope))
        if secret is None and (watched := _watched(scope)) is not None:
            return await run_in_threadpool(_watcher, state.services.database, *watched)
        if secret is None:
            detail = f"this needs an API key: send Authorization: Bearer tsk_…, or {KEY_HEADER}"
            raise _unauthenticated(detail, CHALLENGE)
        key = await run_in_threadpool(keys.find, state.services.database, secret)
        if key is None:
            detail = "the API key that was sent is unknown, expired or revoked"
            raise _unauthenticated(detail, f'{CHALLENGE}, error="invalid_token"')
        state.last_uses.note(key.id)
        return Caller.of(key)


class LastUses:
    """Writes down when keys were used, in a thread of its own, so that no request waits for it.

    Use it as a context manager around the time in which the database is open.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted_s: dict[str, float] = {}
        self._is_ending = False
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="last-uses")

    def __enter__(self) -> Self:
        """The object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """What was noted is written, up to the first failure, and the thread has ended."""
        self._is_ending = True
        self._writer.shutdown()

    def note(self, key_id: str) -> None:
        """The use will be written unless one was noted within the last minute."""
        now_s = time.monotonic()
        if now_s - self._noted_s.get(key_id, -inf) >= keys.USES_APART_MS / 1000:
            self._noted_s[key_id] = now_s
            self._writer.submit(self._write, key_id)

    def _write(self, key_id: str) -> None:
        try:
            keys.note_use(self._database, key_id)
        except StoreUnavailableError as problem:
            log.warning("last_use_lost", key_id=key_id, error=str(problem))
            if self._is_ending:
                self._writer.shutdown(wait=False, cancel_futures=True)


def _is_guarded(path: str) -> bool:
    return path.startswith(PREFIX) or path in METRICS_PATHS


def _watched(scope: Scope) -> tuple[str, str] | None:
    """The job and the token of a request for a stream; None of any other request."""
    found = _STREAM.fullmatch(scope["path"])
    tokens = parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN_PARAMETER)
    if found is None or not tokens or scope["method"] not in {"GET", "HEAD"}:
        return None
    return found[1], tokens[-1]


def _watcher(database: Database, job_id: str, token: str) -> Caller:
    """Who may watch the job, whose owner's things they see, and nothing else by this request.

    Raises:
        Problem: the token does not open the job's stream, or not any more.
    """
    if stream_tokens.opens(database, token, job_id):
        return Caller(owner=owner_of(database, "job", job_id), scopes=frozenset())
    detail = "the stream token is unknown, of another job, or of a job that ended a while ago"
    raise _unauthenticated(detail, f'{CHALLENGE}, error="invalid_token"')


def _secret_in(headers: Headers) -> str | None:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get(KEY_HEADER)


def _unauthenticated(detail: str, challenge: str) -> Problem:
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": challenge})
