"""A worker process that is asked to end."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.redis_server import redis_command
from jobs import presence
from jobs.database import Database
from jobs.settings import child_environment, load_settings

pytestmark = pytest.mark.e2e

WITHIN_S = 30.0
HEARTBEAT_S = 2.0
"""Celery's."""


def test_a_worker_ends_though_redis_is_gone(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as run:
        command = redis_command(Path(run))
        settings = load_settings(
            database_url=f"sqlite:///{tmp_path}/tunesmith.db",
            redis_url=command.url,
            artifacts=tmp_path / "artifacts",
        )
        database = Database(settings.database_url)
        database.migrate()
        worker = (sys.executable, "-m", "worker.app", "--queue", "prepare", "--queue", "predict")
        with (
            running(command.arguments) as redis,
            running(worker, environment=child_environment(settings)) as process,
        ):
            until_s = time.monotonic() + WITHIN_S
            while len(presence.present(database)) < 2:
                assert time.monotonic() < until_s
                time.sleep(0.05)
            # a heartbeat is due before anything else tells it that there is no Redis any more
            process.send_signal(signal.SIGSTOP)
            redis.kill()
            redis.wait()
            time.sleep(2 * HEARTBEAT_S)

            process.terminate()
            process.send_signal(signal.SIGCONT)
            code = process.wait(WITHIN_S)

        assert code == 0
        # they have withdrawn, and not only been cut off
        assert presence.present(database) == []
        database.close()


@contextmanager
def running(
    command: tuple[str, ...] | list[str], *, environment: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has ended after the block."""
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
