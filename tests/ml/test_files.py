"""Files that are whole or absent, on a disk that is full."""

import errno
import os
import threading
from pathlib import Path

import pytest

from ml.files import write_whole


def test_a_file_that_does_not_fit_on_the_disk_leaves_the_earlier_one_as_it_was(
    tmp_path: Path,
) -> None:
    path = tmp_path / "checkpoint-1.pt"
    write_whole(path, b"the earlier one")
    # the name under which the next one is written first; this device is always full
    full = tmp_path / f".checkpoint-1.pt.{os.getpid()}-{threading.get_ident()}.partial"
    full.symlink_to("/dev/full")

    with pytest.raises(OSError, match="No space left on device") as refused:
        write_whole(path, bytes(100_000))

    assert refused.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"the earlier one"
    assert list(tmp_path.iterdir()) == [path]
