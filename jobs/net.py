"""Requests to where a client says, which reach public addresses only, and those that are allowed.

A name is resolved once, every address that it has is checked, and the connection goes to a checked
address itself, so no second answer of a name server counts. The Host header and the certificate
stay those of the name. Redirects are checked anew when something is fetched, and not followed when
something is sent; proxies of the environment are not asked.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, NoReturn

import httpcore
import httpx

from jobs.addresses import PrivateTargets
from jobs.errors import (
    SourceForbiddenError,
    SourceInterruptedError,
    SourceTimeoutError,
    SourceUnreachableError,
)
from jobs.web_addresses import WebAddress, not_public

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Resolve = Callable[[str, int], Sequence[str]]
"""From a host and a port to its addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, from where at last; ``chunks`` are the bytes as they are sent.

    Names of ``headers`` are in lower case.
    """

    address: WebAddress
    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


def addresses_of(host: str, port: int) -> list[str]:
    """Every address that the host has, by the machine's own resolver.

    Raises:
        SourceUnreachableError: it has none, or no name server answers (`SourceInterruptedError`).
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as problem:
        kind = (
            SourceInterruptedError if problem.errno == socket.EAI_AGAIN else SourceUnreachableError
        )
        raise kind(f"the host {host!r} cannot be found: {problem.strerror}") from problem
    except UnicodeError as problem:
        raise SourceUnreachableError(f"the host {host!r} cannot be a name: {problem}") from problem
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Opens addresses that clients name; times are in seconds.

    ``connect_s`` is for a connection with its certificate, ``idle_s`` for a byte to arrive.
    """

    targets: PrivateTargets
    connect_s: float
    idle_s: float
    resolve: Resolve = field(default=addresses_of)

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """What the address answers in the end, whatever its status.

        Raises:
            SourceForbiddenError: it leads to where nobody may go.
            SourceUnreachableError: it leads nowhere; as `SourceInterruptedError` or
                `SourceTimeoutError` perhaps only for now.
        """
        address = WebAddress(url, self.targets)
        for _ in range(_MOST_REDIRECTS + 1):
            with self._answer("GET", address, headers) as answer:
                location = answer.headers.get("location")
                if answer.status not in _REDIRECTS or location is None:
                    yield answer
                    return
            address = address.joined(location, self.targets)
        raise SourceUnreachableError(f"{url_shown(url)} leads on more than {_MOST_REDIRECTS} times")

    def post(self, url: str, headers: Mapping[str, str], content: bytes) -> int:
        """The status with which the address itself answers; what else it says is not read.

        Everything together ends within ``connect_s`` and ``idle_s``.

        Raises:
            SourceForbiddenError: it leads to where nobody may go.
            SourceUnreachableError: nothing answered, or not in time.
        """
        address = WebAddress(url, self.targets)
        within_s = self.connect_s + self.idle_s
        with self._answer("POST", address, headers, content, within_s=within_s) as answer:
            return answer.status

    @contextmanager
    def _answer(
        self,
        method: str,
        address: WebAddress,
        headers: Mapping[str, str],
        content: bytes | None = None,
        *,
        within_s: float = inf,
    ) -> Iterator[Answer]:
        context = httpx.create_ssl_context() if address.scheme == "https" else None
        timeout = {"connect": self.connect_s, "read": self.idle_s, "write": self.idle_s}
        url = httpcore.URL(
            scheme=address.scheme, host=address.host, port=address.port, target=address.target
        )
        with (
            _failures(address, self),
            httpcore.ConnectionPool(
                context, network_backend=_CheckedBackend(self, time.monotonic() + within_s)
            ) as pool,
            pool.stream(
                method,
                url,
                headers=[("Host", address.authority), *headers.items()],
                content=content,
                extensions={"timeout": timeout},
            ) as response,
        ):
            yield Answer(
                address=address,
                status=response.status,
                headers={
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                },
                chunks=response.iter_stream(),
            )


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were checked, never to a name; all is over at ``ends_s``."""

    def __init__(self, guard: Guard, ends_s: float) -> None:
        self._guard = guard
        self._ends_s = ends_s
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        deadline_s = time.monotonic() + self._guard.connect_s
        failure: Exception = SourceUnreachableError(f"the host {host!r} has no address")
        for address in self._checked(host, port):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                stream = self._sockets.connect_tcp(
                    address, port, left_s, local_address, socket_options
                )
                return _TimedStream(stream, self._ends_s)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as problem:
                failure = problem
        raise failure

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> NoReturn:
        raise SourceForbiddenError(f"{path!r} is a socket of this machine")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def _checked(self, host: str, port: int) -> Sequence[str]:
        found = self._guard.resolve(host, port)
        for each in found:
            if not self._guard.targets.allows(host, ipaddress.ip_address(each)):
                raise SourceForbiddenError(not_public(host, each))
        return found


class _TimedStream(httpcore.NetworkStream):
    """A connection on which no wait goes beyond ``ends_s``, however many bytes trickle in."""

    def __init__(self, stream: httpcore.NetworkStream, ends_s: float) -> None:
        self._stream = stream
        self._ends_s = ends_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._left(timeout))
        return _TimedStream(secured, self._ends_s)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the library's own type
        return self._stream.get_extra_info(info)

    def _left(self, timeout: float | None) -> float:
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout
        return min(left_s, inf if timeout is None else timeout)


def url_shown(url: str) -> str:
    """The address for messages, without the query, which may hold a secret."""
    return url.partition("?")[0][:200]


@contextmanager
def _failures(address: WebAddress, guard: Guard) -> Iterator[None]:
    """What goes wrong on the way is told as the source's failure."""
    try:
        yield
    except httpcore.ConnectTimeout as problem:
        raise SourceInterruptedError(
            f"{address.origin} cannot be reached within {guard.connect_s:g} s"
        ) from problem
    except httpcore.TimeoutException as problem:
        raise SourceTimeoutError(f"{address} sent nothing for {guard.idle_s:g} s") from problem
    except httpcore.ConnectError as problem:
        # the pool hands on the words of the cause only
        is_untrusted = "CERTIFICATE_VERIFY_FAILED" in str(problem)
        kind = SourceUnreachableError if is_untrusted else SourceInterruptedError
        raise kind(f"{address.origin} cannot be reached: {problem}") from problem
    except (httpcore.NetworkError, httpcore.ProtocolError) as problem:
        raise SourceInterruptedError(f"{address} broke off: {problem}") from problem
