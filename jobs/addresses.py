"""Which addresses may be called when a client names where: public ones, and those that are allowed.

Only addresses count, as names can lead anywhere; `net` looks at every one that a name has.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_CLOUDS = (ipaddress.ip_network("168.63.129.16/32"), ipaddress.ip_network("192.0.0.0/24"))
"""Addresses at which clouds serve their own machines, and which pass for public ones."""


@dataclass(frozen=True, slots=True)
class PrivateTargets:
    """Hosts and networks that may be called although they are not public."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> "PrivateTargets":
        """The targets of a list of names, addresses and networks (``10.0.0.0/8``)."""
        names: set[str] = set()
        networks: list[Network] = []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                names.add(entry.lower().rstrip("."))
        return cls(frozenset(names), tuple(networks))

    def allows(self, host: str, address: Address) -> bool:
        """Whether this address may be called when a client names this host."""
        if host.lower().rstrip(".") in self.names or is_public(address):
            return True
        return any(address in network for network in self.networks)


def is_public(address: Address) -> bool:
    """Whether everybody may call the address, and everything that it stands for."""
    inner = _embedded(address)
    if inner:
        return all(is_public(each) for each in inner)
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    # what is global has changed between versions of Python
    return address in _GLOBAL_IPV6 or (
        address.version == 4 and not any(address in network for network in _CLOUDS)
    )


def _embedded(address: Address) -> list[Address]:
    """The IPv4 addresses at which a packet to this address may come out."""
    if isinstance(address, IPv4Address):
        return []
    if address in _NAT64:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    teredo = address.teredo or ()
    return [each for each in (address.ipv4_mapped, address.sixtofour, *teredo) if each is not None]
