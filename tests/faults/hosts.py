"""Hosts as network namespaces of this machine: each has a cable, which can be pulled.

This machine serves them all at one address of its own, as a head node does.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

_NETWORK = f"10.{128 + os.getpid() % 64}"
"""Of this test run; another one has another, most likely."""

SERVED_AT = f"{_NETWORK}.255.1"
"""Where this machine's services listen for the hosts."""


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with a network of its own, and this machine's end of its cable."""

    name: str
    cable: str

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command is started by to run there, in the same process."""
        return ("nsenter", f"--net=/run/netns/{self.name}")

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """Nothing comes or goes in the block, and nobody is told so."""
        _ip("link", "set", self.cable, "down")
        try:
            yield
        finally:
            _ip("link", "set", self.cable, "up")


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Hosts that reach this machine, and nothing else; the test is skipped where none can be."""
    made = [
        Host(f"ts{os.getpid()}h{number}", f"ts{os.getpid()}c{number}") for number in range(count)
    ]
    with contextlib.ExitStack() as undo:
        try:
            _serve(undo)
            for number, host in enumerate(made):
                _connect(host, number, undo)
        except (subprocess.CalledProcessError, FileNotFoundError) as problem:
            reason = getattr(problem, "stderr", None) or problem
            pytest.skip(f"network namespaces cannot be made here: {reason}")
        yield made


def _serve(undo: contextlib.ExitStack) -> None:
    _ip("address", "add", f"{SERVED_AT}/32", "dev", "lo")
    undo.callback(_ip, "address", "del", f"{SERVED_AT}/32", "dev", "lo")
    # what is meant for a host whose cable was pulled must not leave by another way
    _ip("route", "add", "blackhole", f"{_NETWORK}.0.0/16")
    undo.callback(_ip, "route", "del", "blackhole", f"{_NETWORK}.0.0/16")


def _connect(host: Host, number: int, undo: contextlib.ExitStack) -> None:
    here, there = f"{_NETWORK}.{number}.1", f"{_NETWORK}.{number}.2"
    _ip("netns", "add", host.name)
    undo.callback(_ip, "netns", "del", host.name)
    _ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
    # a namespace goes later than it is told to, and its cable with it
    undo.callback(_ip, "link", "del", host.cable)
    _ip("address", "add", f"{here}/30", "dev", host.cable)
    _ip("link", "set", host.cable, "up")
    inside = ("-n", host.name)
    _ip(*inside, "address", "add", f"{there}/30", "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip(*inside, "link", "set", link, "up")
    _ip(*inside, "route", "add", "default", "via", here)


def _ip(*arguments: str) -> None:
    subprocess.run(["/usr/sbin/ip", *arguments], check=True, capture_output=True, text=True)
