import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs import pixel_cache


def entry(pixels: Path, key: str, *, size: int, used_s: float) -> Path:
    """An entry that was last used then."""
    folder = pixels / key
    folder.mkdir(parents=True)
    (folder / "pixels.bin").write_bytes(b"x" * size)
    os.utime(folder, (used_s, used_s))
    return folder


@contextmanager
def read(folder: Path, mode: int = fcntl.LOCK_SH) -> Iterator[None]:
    """Somebody reads the entry, or builds it."""
    with folder.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, mode)
        yield


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    """Three entries of ten bytes each, the first of which was not used for longest."""
    for used_s, key in enumerate("abc"):
        entry(tmp_path, key, size=10, used_s=used_s)
    return tmp_path


@pytest.mark.parametrize(
    ("most_bytes", "gone"), [(30, ""), (29, "a"), (20, "a"), (19, "ab"), (0, "abc")]
)
def test_those_not_used_for_longest_go_until_the_rest_fits(
    pixels: Path, most_bytes: int, gone: str
) -> None:
    found = pixel_cache.superfluous(pixels, most_bytes=most_bytes)

    assert "".join(each.folder.name for each in found) == gone
    assert all(each.size_bytes == 10 for each in found)


def test_what_is_in_use_stays_and_another_goes_for_it(pixels: Path) -> None:
    with read(pixels / "a"):
        found = pixel_cache.superfluous(pixels, most_bytes=20)

    assert [each.folder.name for each in found] == ["b"]


@pytest.mark.parametrize("mode", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_what_came_into_use_since_it_was_looked_at_stays(pixels: Path, mode: int) -> None:
    (found,) = pixel_cache.superfluous(pixels, most_bytes=20)

    with read(found.folder, mode):
        assert not pixel_cache.remove_unless_used(found.folder)
    assert (found.folder / "pixels.bin").exists()

    assert pixel_cache.remove_unless_used(found.folder)
    assert not found.folder.exists()


def test_only_what_nobody_builds_any_more_is_half_built(pixels: Path) -> None:
    built, left = (entry(pixels, f"{key}.partial", size=1, used_s=0) for key in "de")

    with read(built, fcntl.LOCK_EX):
        assert pixel_cache.half_built(pixels) == [left]
    assert pixel_cache.superfluous(pixels, most_bytes=30) == []


def test_where_no_photo_was_ever_presized_there_is_nothing(tmp_path: Path) -> None:
    assert pixel_cache.superfluous(tmp_path / "pixels", most_bytes=0) == []
    assert pixel_cache.half_built(tmp_path / "pixels") == []
