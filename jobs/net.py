"""Requests to where a client says, which reach public addresses only, and those that are allowed.

A name is resolved once, every address that it has is checked, and the connection goes to a checked
address itself, so no second answer of a name server counts. The Host header and the certificate
stay those of the name. Redirects are checked anew; proxies of the environment are not asked.
"""

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

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
            with self._answer(address, headers) as answer:
                location = answer.headers.get("location")
                if answer.status not in _REDIRECTS or location is None:
                    yield answer
                    return
            address = address.joined(location, self.targets)
        raise SourceUnreachableError(f"{url_shown(url)} leads on more than {_MOST_REDIRECTS} times")

    @contextmanager
    def _answer(self, address: WebAddress, headers: Mapping[str, str]) -> Iterator[Answer]:
        context = httpx.create_ssl_context() if address.scheme == "https" else None
        timeout = {"connect": self.connect_s, "read": self.idle_s, "write": self.idle_s}
        url = httpcore.URL(
            scheme=address.scheme, host=address.host, port=address.port, target=address.target
        )
        with (
            _failures(address, self),
            httpcore.ConnectionPool(context, network_backend=_CheckedBackend(self)) as pool,
            pool.stream(
                "GET",
                url,
                headers=[("Host", address.authority), *headers.items()],
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
    """Connects to addresses that were checked, never to a name."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
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
                return self._sockets.connect_tcp(
                    address, port, left_s, local_address, socket_options
                )
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
