"""The private Redis: reachable by its owner, by nobody else, without a file left behind."""

import stat
import subprocess
import time
from pathlib import Path

import pytest
import redis

from cli.redis_server import redis_command
from jobs.queue import redis_client


def test_the_server_answers_on_a_socket_in_a_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = redis_command(folder)
    server = subprocess.Popen(command.arguments, stdout=subprocess.DEVNULL)
    try:
        assert _answers(command.url)
    finally:
        server.terminate()
        server.wait()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.glob("*.rdb")) == []


def test_a_path_too_long_for_a_socket_falls_back_to_loopback_with_a_password(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ("long" * 30)
    command = redis_command(folder)
    server = subprocess.Popen(command.arguments, stdout=subprocess.DEVNULL)
    try:
        assert "@127.0.0.1:" in command.url
        assert _answers(command.url)
        stranger = command.url.split("@")[1]
        with pytest.raises(redis.AuthenticationError):
            redis_client(f"redis://{stranger}").ping()
    finally:
        server.terminate()
        server.wait()

    assert stat.S_IMODE((folder / "redis.conf").stat().st_mode) == 0o600
    assert not any("requirepass" in argument for argument in command.arguments)


def _answers(url: str) -> bool:
    client = redis_client(url)
    for _ in range(100):
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            time.sleep(0.05)
    return False
