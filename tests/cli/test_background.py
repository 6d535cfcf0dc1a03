"""Ending a run from outside: what is waited for, and for how long."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli import background
from cli.folder_lock import FolderLock


def test_a_run_has_ended_when_its_last_process_has(tmp_path: Path) -> None:
    with FolderLock(tmp_path, report=print) as lock:
        child = _child_that_stays(lock.descriptor)

    with pytest.raises(background.BackgroundError, match="have not ended within"):
        background.end(tmp_path, within_s=0.3)
    child.kill()
    child.wait()
    assert background.end(tmp_path) is None


def test_the_holder_is_told_to_end(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from cli.folder_lock import FolderLock;"
        "lock = FolderLock(pathlib.Path(sys.argv[1]), report=print);"
        "print('locked', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        assert background.end(tmp_path) == process.pid


def _child_that_stays(descriptor: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    return subprocess.Popen(command, pass_fds=(descriptor,))
