"""Addresses of the web as clients write them: what can be told without asking anybody."""

import ipaddress
import re
from urllib.parse import quote, urljoin

from jobs.addresses import PrivateTargets
from jobs.errors import SourceForbiddenError

_PORT_OF = {"http": 80, "https": 443}
_LEAST_HIGH_PORT = 1024
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_ADDRESS = re.compile(r"([^:/?#]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?")
_AUTHORITY = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::(\d{0,5}))?")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?\.?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_KEPT_IN_LOCATIONS = "!#$%&'()*+,/:;=?@[]~"
_SHOWN_CHARACTERS = 200


class WebAddress:
    """An http or https address in a form that every reader takes for the same host.

    Attributes:
        scheme: ``http`` or ``https``.
        host: in lower case; of an IPv6 address without brackets.
        port: 80, 443, or one above 1023.
        target: path and query, as they are sent.

    Raises:
        SourceForbiddenError: it has another form, or names an address that may not be called.
    """

    def __init__(self, text: str, targets: PrivateTargets) -> None:
        parts = _ADDRESS.fullmatch(text)
        if not _VISIBLE.fullmatch(text) or "\\" in text or parts is None:
            raise SourceForbiddenError(
                "it is no address of the form https://host/path; percent-encode other characters, "
                "and write a host in other letters in its form xn--…"
            )
        scheme, authority, self._path, query = parts.groups(default="")
        self.scheme = scheme.lower()
        if self.scheme not in _PORT_OF:
            raise SourceForbiddenError(f"the scheme is {scheme[:20]!r}; use http or https")
        if "@" in authority:
            # it may be a password, and is not repeated
            raise SourceForbiddenError("the address has a user before an @; none is ever sent")
        self.host, self.port = _authority(authority, self.scheme)
        self.target = (self._path or "/") + query
        _check_literal(self.host, targets)

    @property
    def authority(self) -> str:
        """Host and port, as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORT_OF[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    def joined(self, location: str, targets: PrivateTargets) -> "WebAddress":
        """Where a redirect to ``location`` leads from here.

        Raises:
            SourceForbiddenError: to where nobody may go, or from https to http.
        """
        try:
            text = urljoin(self.origin + self.target, quote(location, safe=_KEPT_IN_LOCATIONS))
        except ValueError as wrong:
            raise SourceForbiddenError(f"{self} leads on to no address: {wrong}") from wrong
        there = WebAddress(text, targets)
        if self.scheme == "https" and there.scheme == "http":
            raise SourceForbiddenError(f"{self} leads on to {there}, which is not encrypted")
        return there

    def __str__(self) -> str:
        """For messages: without the query, which may hold a secret."""
        shown = self.origin + self._path
        return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"


def not_public(host: str, address: str) -> str:
    """Why a host with this address is not called, and who could change that."""
    leads = "" if host == address else f" leads to {address}, which"
    return (
        f"{host}{leads} is not a public address; the operator can allow it with "
        "TUNESMITH_PRIVATE_TARGETS"
    )


def _authority(text: str, scheme: str) -> tuple[str, int]:
    parts = _AUTHORITY.fullmatch(text)
    if parts is None:
        raise SourceForbiddenError(f"{text[:100]!r} is no host, or host and port")
    literal, name, port = parts.groups()
    host = _name(name.lower()) if literal is None else _ipv6(literal)
    number = int(port) if port else _PORT_OF[scheme]
    if number in _PORT_OF.values() or _LEAST_HIGH_PORT <= number <= 0xFFFF:
        return host, number
    raise SourceForbiddenError(f"the port is {number}; use 80, 443 or one above 1023")


def _name(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise SourceForbiddenError(f"the host is {host[:100]!r}; write a name or an address")
    return host


def _ipv6(literal: str) -> str:
    try:
        address = ipaddress.IPv6Address(literal)
    except ValueError as wrong:
        raise SourceForbiddenError(f"the host [{literal[:100]}] is no IPv6 address") from wrong
    if address.scope_id is not None:
        raise SourceForbiddenError(f"the host [{literal[:100]}] names a network interface")
    return str(address)


def _check_literal(host: str, targets: PrivateTargets) -> None:
    """An address in place of a name is in its usual form, and may be called."""
    if host.rstrip(".") == "localhost":
        if not targets.allows(host, ipaddress.IPv4Address("127.0.0.1")):
            raise SourceForbiddenError(not_public(host, "127.0.0.1"))
        return
    if ":" not in host and not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return
    try:
        address = ipaddress.ip_address(host)
    except ValueError as wrong:
        raise SourceForbiddenError(
            f"the host {host[:100]!r} is a number; write an address as four decimal numbers"
        ) from wrong
    if not targets.allows(host, address):
        raise SourceForbiddenError(not_public(host, str(address)))
