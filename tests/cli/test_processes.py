"""Children of the stack: started again when they die, given up when they keep dying."""

import socket
import sys
import time
from pathlib import Path

import pytest

from cli.processes import Child, ChildKeepsDyingError, Recipe


def test_a_child_that_keeps_dying_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    child = _child(tmp_path, "print('no such table: jobs'); raise SystemExit(3)")
    child.start()

    with pytest.raises(ChildKeepsDyingError, match="exit code 3") as given_up:
        _tend_for(child, seconds=30)

    assert "no such table: jobs" in str(given_up.value)


def test_a_child_that_died_is_started_again(tmp_path: Path) -> None:
    marker = tmp_path / "second"
    code = (
        f"import pathlib, time; first = not pathlib.Path({str(marker)!r}).exists();"
        f"pathlib.Path({str(marker)!r}).touch(); first or time.sleep(60)"
    )
    child = _child(tmp_path, code)
    child.start()

    lines = _tend_for(child, seconds=3)
    child.ask_to_end()

    assert lines == ["test ended with exit code 0", "test started again"]
    assert child.end(until_s=time.monotonic() + 10)


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True);"
    child = _child(tmp_path, code + "time.sleep(60)")
    child.start()
    while "on" not in child.log_file.read_text():
        time.sleep(0.02)

    child.ask_to_end()

    assert not child.end(until_s=time.monotonic() + 0.3)


def test_a_child_listens_on_a_port_when_it_has_the_socket_itself(tmp_path: Path) -> None:
    code = (
        "import socket, time; server = socket.create_server(('127.0.0.1', 0));"
        "print(server.getsockname()[1], flush=True); time.sleep(60)"
    )
    child = _child(tmp_path, code)
    child.start()
    while not child.log_file.read_text().endswith("\n"):
        time.sleep(0.02)
    port = int(child.log_file.read_text())

    with socket.create_server(("127.0.0.1", 0)) as other:
        assert not child.listens(other.getsockname()[1])
    assert child.listens(port)
    child.ask_to_end()
    child.end(until_s=time.monotonic() + 10)
    assert not child.listens(port)


def _child(folder: Path, code: str) -> Child:
    recipe = Recipe(name="test", arguments=[sys.executable, "-c", code], environment={})
    return Child(recipe, folder / "test.log")


def _tend_for(child: Child, *, seconds: float) -> list[str]:
    until_s = time.monotonic() + seconds
    lines = []
    while time.monotonic() < until_s:
        line = child.tend()
        if line is not None:
            lines.append(line)
        time.sleep(0.02)
    return lines
