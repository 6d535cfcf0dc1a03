"""A thin client of the HTTP interface: JSON in, JSON out, events as they come."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

import httpx
import httpx_sse

Json = dict[str, Any]

_STREAM_TIMEOUT = httpx.Timeout(10, read=60)
_PATIENCE_S = 30.0
_RETRY_S = 0.5


class ProblemError(Exception):
    """The service refused a request, and said why."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        lines = [f"{problem.get('title')} ({problem.get('code')}): {problem.get('detail')}"]
        lines += [
            f"  {error.get('pointer')}: {error.get('detail')}"
            for error in problem.get("errors") or []
        ]
        super().__init__("\n".join(lines))
        self.problem = dict(problem)


class Client:
    """Requests to one service, with an API key where it asks for one."""

    def __init__(self, base_url: str, *, key: str | None = None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=base_url, timeout=30, headers=headers)

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Its connections are closed."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Json:  # noqa: ANN401 - query values
        """The resource.

        Raises:
            ProblemError: the service answered with a problem.
        """
        return _answer(self._http.get(path, params=query))

    def download(self, path: str) -> bytes:
        """The file's bytes.

        Raises:
            ProblemError: the service answered with a problem.
        """
        response = self._http.get(path)
        _refuse_problem(response)
        return response.content

    def post(
        self, path: str, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Json:
        """What was created or done; a key makes the request safe to repeat.

        Raises:
            ProblemError: the service answered with a problem.
        """
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return _answer(self._http.post(path, json=dict(body), headers=headers))

    def follow(self, job_id: str) -> Iterator[tuple[str, Json]]:
        """Type and data of each event of the job, from the first to the last, as they come.

        A connection that breaks is made again, from behind the last event seen, for as long as
        the service is away for less than half a minute.

        Raises:
            ProblemError: the service answered with a problem.
            httpx.TransportError: the service stayed away.
        """
        last_seen = "0"
        heard_at_s = time.monotonic()
        while True:
            try:
                for event in self._stream(job_id, last_seen):
                    last_seen, heard_at_s = event.id or last_seen, time.monotonic()
                    if event.data:
                        yield event.event, event.json()["data"]
            except httpx.TransportError:
                if time.monotonic() - heard_at_s > _PATIENCE_S:
                    raise
                time.sleep(_RETRY_S)
            else:
                if self.get(f"/v1/jobs/{job_id}")["is_terminal"]:
                    return

    def _stream(self, job_id: str, last_seen: str) -> Iterator[httpx_sse.ServerSentEvent]:
        with httpx_sse.connect_sse(
            self._http,
            "GET",
            f"/v1/jobs/{job_id}/stream",
            headers={"Last-Event-ID": last_seen},
            timeout=_STREAM_TIMEOUT,
        ) as source:
            _refuse_problem(source.response)
            # no content: everything has been told
            if source.response.status_code == httpx.codes.OK:
                yield from source.iter_sse()


def _answer(response: httpx.Response) -> Json:
    _refuse_problem(response)
    answer: Json = response.json()
    return answer


def _refuse_problem(response: httpx.Response) -> None:
    if response.is_success:
        return
    response.read()
    try:
        problem = response.json()
    except ValueError:
        problem = {"title": response.reason_phrase, "code": response.status_code}
    raise ProblemError(problem)
