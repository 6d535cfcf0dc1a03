"""Requests over HTTP: asked again where that is safe, refused ones raised as exceptions."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import tenacity
from pydantic import ValidationError
from tenacity import RetryCallState
from tenacity.wait import wait_exponential_jitter

from tunesmith_client.errors import (
    ProblemError,
    UnexpectedAnswerError,
    UnreachableError,
    problem_error,
)
from tunesmith_client.resources import Json, Resource

T = TypeVar("T")
R = TypeVar("R", bound=Resource)

_TIMEOUT = httpx.Timeout(10, read=90)
"""The service holds answers back for 60 s at most."""
_SOON_OVER = frozenset({"unavailable", "rate_limited", "idempotency_in_progress", "502", "504"})
"""Kinds of problems that are over in a moment, whoever asks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a request is sent again, and after which pauses.

    Attributes:
        attempts: times that it is sent at most.
        first_pause_s: seconds before it is sent for the second time; each further pause is twice
            as long, and up to as much again is added by chance. ``Retry-After`` can make it longer.
        longest_pause_s: seconds that no pause exceeds; what asks for a longer one is not repeated.
    """

    attempts: int = 4
    first_pause_s: float = 0.25
    longest_pause_s: float = 20.0


class Transport:
    """Requests to one service, with an API key where it asks for one."""

    def __init__(self, base_url: str, *, key: str | None = None, retries: Retries) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.base_url = base_url.rstrip("/")
        self.retries = retries
        self._http = httpx.Client(base_url=self.base_url, timeout=_TIMEOUT, headers=headers)

    def close(self) -> None:
        """Its connections are closed."""
        self._http.close()

    def get(
        self, path: str, query: Mapping[str, Any] | None = None, **headers: str
    ) -> httpx.Response:
        """The answer; query values that are None are left out.

        Raises:
            ProblemError: the service refused it.
            UnreachableError: no answer came.
        """
        return self.repeated(lambda: self._send("GET", path, query=query, headers=headers))

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> httpx.Response:
        """What was created or done, once, however often it had to be sent.

        Raises:
            ProblemError: the service refused it.
            UnreachableError: no answer came; whether it was done is unknown. The same request with
                the same key finds out.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        content = {} if body is None else {"json": dict(body)}
        return self.repeated(
            lambda: self._send("POST", path, query=query, headers=headers, **content)
        )

    def repeated(self, send: Callable[[], T]) -> T:
        """What ``send`` returns in the end; it must be safe to call more than once."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self.is_soon_over),
            wait=self._pause_s,
            stop=tenacity.stop_after_attempt(self.retries.attempts),
            reraise=True,
        )
        try:
            return retrying(send)
        except httpx.TransportError as broken:
            raise self.unreachable(broken) from broken

    @contextmanager
    def streamed(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        **sent: Any,  # noqa: ANN401 - what httpx takes
    ) -> Iterator[httpx.Response]:
        """An answer whose body is yet to be read; nothing is repeated.

        Raises:
            ProblemError: the service refused it.
            httpx.TransportError: it broke off.
        """
        with self._http.stream(method, path, params=_query(query), **sent) as response:
            refuse_problem(response)
            yield response

    def unreachable(self, broken: Exception) -> UnreachableError:
        """The exception for a connection that stays broken."""
        return UnreachableError(self.base_url, str(broken) or type(broken).__name__)

    def is_soon_over(self, problem: BaseException) -> bool:
        """Whether what went wrong may be over in a moment."""
        if isinstance(problem, ProblemError):
            pause_s = problem.retry_after_s or 0
            return problem.kind in _SOON_OVER and pause_s <= self.retries.longest_pause_s
        # an address that is no address stays one
        return isinstance(problem, httpx.TransportError) and not isinstance(
            problem, httpx.UnsupportedProtocol
        )

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        **sent: Any,  # noqa: ANN401 - what httpx takes
    ) -> httpx.Response:
        response = self._http.request(method, path, params=_query(query), **sent)
        refuse_problem(response)
        return response

    def _pause_s(self, state: RetryCallState) -> float:
        first_s, longest_s = self.retries.first_pause_s, self.retries.longest_pause_s
        usual_s = wait_exponential_jitter(multiplier=first_s, max=longest_s, jitter=first_s)(state)
        broken = state.outcome.exception() if state.outcome else None
        wished_s = broken.retry_after_s if isinstance(broken, ProblemError) else None
        return max(usual_s, wished_s or 0)


def refuse_problem(response: httpx.Response) -> None:
    """The answer is a success.

    Raises:
        ProblemError: it is not.
    """
    if response.is_success:
        return
    response.read()
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": response.reason_phrase, "detail": f"HTTP {response.status_code}"}
    wait = response.headers.get("Retry-After", "")
    raise problem_error(
        problem,
        status=response.status_code,
        retry_after_s=float(wait) if wait.isdecimal() else None,
    )


def read(kind: type[R], response: httpx.Response) -> R:
    """The body of an answer as this kind of resource.

    Raises:
        UnexpectedAnswerError: it is something else.
    """
    try:
        return kind.model_validate(json_of(response))
    except ValidationError as wrong:
        raise UnexpectedAnswerError(
            f"{response.url} answered with no {kind.__name__} of this version: {wrong}"
        ) from wrong


def json_of(response: httpx.Response) -> Json:
    """The body of an answer as a JSON object.

    Raises:
        UnexpectedAnswerError: it is none.
    """
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    kind = response.headers.get("Content-Type", "nothing")
    raise UnexpectedAnswerError(
        f"{response.url} answered with {kind}, not with a JSON object; is this Tunesmith's address?"
    )


def _query(query: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if query is None:
        return None
    return {name: value for name, value in query.items() if value is not None}
