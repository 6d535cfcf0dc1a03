"""Mapped files: what a process holds of them."""

import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ml import pixel_files
from ml.pixel_files import GrowingFiles, WholeFiles

MIB = 2**20


def an_entry(folder: Path, photos: int) -> Path:
    """Photos of 3 MiB, each of one level."""
    entry = folder / "entry"
    with closing(GrowingFiles(folder / "building", "raw")) as files:
        for level in range(photos):
            files.add(level, np.full((1024, 1024, 3), level, np.uint8))
        files.finish(entry)
    return entry


def held_mib(entry: Path) -> float:
    """What this process has of the entry's pixels in its memory."""
    file, held_kib, is_ours = entry / "pixels.bin", 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            is_ours = line.endswith(str(file))
        elif is_ours and line.startswith("Rss:"):
            held_kib += int(line.split()[1])
    return held_kib / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_of_a_large_file_a_process_holds_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_files, "MOST_HELD_BYTES", 10 * MIB)
    entry = an_entry(tmp_path, 12)
    held = []

    with closing(WholeFiles(entry)) as files:
        for level in range(12):
            assert (files.photo(level) == level).all()
            held.append(held_mib(entry))

    assert held[2] > 8
    # up to a page that the kernel maps in advance
    assert max(held) < 13 + 1


def test_a_photo_that_is_still_looked_at_keeps_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_files, "MOST_HELD_BYTES", 1)
    files = WholeFiles(an_entry(tmp_path, 3))

    photos = [files.photo(level) for level in (0, 1, 2)]
    files.close()

    assert [int(photo.min()) for photo in photos] == [0, 1, 2]
    assert [int(photo.max()) for photo in photos] == [0, 1, 2]
