"""Who has a data folder: one `up` at a time, and nobody while its former children go on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.folder_lock import FolderInUseError, FolderLock, holder, is_free


def test_a_folder_that_is_in_use_names_its_holder(tmp_path: Path) -> None:
    with (
        FolderLock(tmp_path, report=print),
        pytest.raises(FolderInUseError, match=rf"process {holder(tmp_path)}\)"),
    ):
        FolderLock(tmp_path, report=print)


def test_a_folder_that_was_given_back_has_no_holder_and_is_free(tmp_path: Path) -> None:
    with FolderLock(tmp_path, report=print):
        assert not is_free(tmp_path)

    assert holder(tmp_path) is None
    assert is_free(tmp_path)


def test_a_number_that_is_left_in_the_file_is_nobody(tmp_path: Path) -> None:
    (tmp_path / "up.pid").write_text("1")

    assert holder(tmp_path) is None


def test_a_folder_that_never_was_is_free(tmp_path: Path) -> None:
    assert holder(tmp_path / "none") is None
    assert is_free(tmp_path / "none")


def test_a_folder_is_not_free_before_the_last_former_child_has_ended(
    tmp_path: Path, former_child: "subprocess.Popen[bytes]"
) -> None:
    said: list[str] = []

    assert holder(tmp_path) is None
    assert not is_free(tmp_path)
    with pytest.raises(FolderInUseError, match="an earlier run have not ended"):
        FolderLock(tmp_path, report=said.append, within_s=0.3)
    assert len(said) == 1

    former_child.kill()
    FolderLock(tmp_path, report=said.append).close()


@pytest.fixture
def former_child(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A child of a run whose `up` is gone."""
    with FolderLock(tmp_path, report=print) as lock:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = subprocess.Popen(command, pass_fds=(lock.descriptor,))
    yield child
    child.kill()
    child.wait()
