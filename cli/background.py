"""`tunesmith up` in the background: started, waited for, and ended from another terminal."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cli.command_error import CommandError
from cli.folder_lock import holder, is_free

_READY_WITHIN_S = 150.0
"""Above what `up` allows itself: a minute for an earlier run to end, and one to become ready."""
_GONE_WITHIN_S = 30.0
_LOOK_S = 0.1
_LAST_LINES = 20


class BackgroundError(CommandError):
    """A stack in the background did not become ready, or one did not end."""


def start_up(arguments: Sequence[str], log_file: Path, *, within_s: float = _READY_WITHIN_S) -> str:
    """The address of a stack that is ready and stays when this process is gone.

    Raises:
        BackgroundError: it ended or was not ready in time; the message has its last lines.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    told_before = log_file.stat().st_size if log_file.exists() else 0
    process, ready = _started(arguments, log_file)
    try:
        with os.fdopen(ready) as answer:
            in_time, _, _ = select.select([answer], [], [], within_s)
            url = answer.readline().strip() if in_time else ""
    except BaseException:
        process.terminate()
        raise
    if url:
        return url
    process.terminate()
    exit_code = process.wait()
    reason = f"it ended with exit code {exit_code}" if in_time else f"not within {within_s:g} s"
    raise BackgroundError(
        f"the stack did not become ready ({reason}); the end of {log_file}:\n"
        + _last_lines(log_file, told_before)
    )


def end(data_dir: Path, *, within_s: float = _GONE_WITHIN_S) -> int | None:
    """No process of the run on the folder is left; the number of the `up` that was ended, if any.

    Raises:
        BackgroundError: some are left after that time.
    """
    pid = holder(data_dir)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    until_s = time.monotonic() + within_s
    while not _is_over(data_dir, pid):
        if time.monotonic() > until_s:
            raise BackgroundError(
                f"processes of the run on {data_dir} have not ended within {within_s:g} s; "
                f"`fuser {data_dir}/up.lock` names them"
            )
        time.sleep(_LOOK_S)
    return pid


def _started(arguments: Sequence[str], log_file: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and the end of a pipe on which it writes its address once it is ready."""
    ready, told = os.pipe()
    command = [sys.executable, "-m", "cli.main", "up", *arguments, "--ready-to", str(told)]
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(told,),
        )
    os.close(told)
    return process, ready


def _is_over(data_dir: Path, pid: int | None) -> bool:
    """Whether the run has ended; somebody may have started the next one already."""
    now = holder(data_dir)
    return is_free(data_dir) if now is None else now != pid


def _last_lines(log_file: Path, told_before: int) -> str:
    with log_file.open("rb") as log:
        log.seek(told_before)
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_LAST_LINES:])
