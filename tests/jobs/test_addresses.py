"""Which addresses may be called: every way to write a private one is known as private."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given, strategies

from jobs.addresses import PrivateTargets, is_public

PRIVATE = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"],
    "unique local": ["fc00::1", "fd00:ec2::254"],
    "link-local": ["169.254.169.254", "fe80::1"],
    "shared by a provider's customers": ["100.64.0.1", "100.100.100.200"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104 - nothing binds it
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.192", "198.18.0.1", "192.0.2.1"],
    "a cloud's own": ["168.63.129.16"],
    "IPv4 written as IPv6": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1"],
    "6to4": ["2002:7f00:1::", "2002:a9fe:a9fe::1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:80ff:fffe"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1"],
}
PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", [each for group in PRIVATE.values() for each in group])
def test_what_not_everybody_can_call_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_what_everybody_can_call_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(strategies.ip_addresses(v=4))
@example(ip_address("127.0.0.1"))
@example(ip_address("169.254.169.254"))
@example(ip_address("1.1.1.1"))
def test_inside_ipv6_an_ipv4_address_is_what_it_is_by_itself(address: IPv4Address) -> None:
    mapped = IPv6Address((0xFFFF << 32) | int(address))
    nat64 = IPv6Address((0x64FF9B << 96) | int(address))
    six_to_four = IPv6Address((0x2002 << 112) | (int(address) << 80) | 1)

    assert {is_public(each) for each in (mapped, nat64, six_to_four)} == {is_public(address)}


def test_without_an_entry_only_public_addresses_may_be_called() -> None:
    nothing = PrivateTargets.of(())

    assert nothing.allows("example.org", ip_address("1.1.1.1"))
    assert not nothing.allows("example.org", ip_address("10.1.2.3"))


def test_a_network_allows_its_addresses_whatever_their_name() -> None:
    targets = PrivateTargets.of(["10.1.0.0/16", "fd12::/64", "[::1]", "192.168.0.7"])

    assert targets.allows("any.example", ip_address("10.1.2.3"))
    assert targets.allows("any.example", ip_address("fd12::5"))
    assert targets.allows("any.example", ip_address("::1"))
    assert targets.allows("any.example", ip_address("192.168.0.7"))
    assert not targets.allows("any.example", ip_address("10.2.0.1"))
    assert not targets.allows("any.example", ip_address("192.168.0.8"))


def test_a_name_allows_whatever_it_leads_to_and_no_other_name() -> None:
    targets = PrivateTargets.of(["Photos.internal"])

    assert targets.allows("photos.INTERNAL.", ip_address("10.1.2.3"))
    assert not targets.allows("internal", ip_address("10.1.2.3"))
    assert not targets.allows("x.photos.internal", ip_address("10.1.2.3"))
