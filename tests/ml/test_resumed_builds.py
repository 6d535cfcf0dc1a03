"""An entry that is built goes on from what is whole, whoever built it and however that ended."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ml.cache import PARTIAL, Pixels, Watch, cache_key, keep
from ml.errors import UnreadableImageError
from ml.images import Rgb, decode_rgb
from ml.photos import LabelledPhoto
from ml.pixel_files import PIXELS_FILE
from ml.presized_pixels import open_pixels
from tests.ml.fakes import FORM, make_photos, pixels_of

ROWS_FILE = "rows.bin"
FORK = multiprocessing.get_context("fork")


class Slow(Pixels):
    """Photos of which the one at ``last`` never comes."""

    def __init__(self, photos: list[LabelledPhoto], last: int) -> None:
        self._photos = photos
        self._last = last

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._photos)

    def photo(self, position: int) -> Rgb:
        if position == self._last:
            threading.Event().wait()
        return decode_rgb(self._photos[position].path)

    def close(self) -> None:
        pass


def killed_build(photos: list[LabelledPhoto], cache: Path, *, after: int) -> Path:
    """The half-built entry of a process that was killed when so many photos were stored."""
    builder = FORK.Process(target=_build_and_die, args=(photos, cache, after))
    builder.start()
    builder.join()
    assert builder.exitcode == -signal.SIGKILL
    return (cache / cache_key([photo.digest for photo in photos], FORM)).with_suffix(PARTIAL)


def _build_and_die(photos: list[LabelledPhoto], cache: Path, after: int) -> None:
    def die(done: int, _total: int) -> None:
        if done == after:
            os.kill(os.getpid(), signal.SIGKILL)

    pixels = _slow_pixels(photos, cache, last=after)
    pixels.complete(Watch(die, lambda: False))


def _slow_pixels(photos: list[LabelledPhoto], cache: Path, *, last: int) -> Pixels:
    return keep(
        [photo.digest for photo in photos],
        lambda: Slow(photos, last),
        folder=cache,
        form=FORM,
        threads=1,
        should_stop=lambda: False,
    )


def unlinked(photos: list[LabelledPhoto]) -> None:
    """None of them can be decoded again."""
    for photo in photos:
        photo.path.unlink()


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 6)
    wanted = [decode_rgb(photo.path) for photo in photos]
    partial = killed_build(photos, tmp_path / "cache", after=3)
    unlinked(photos[:3])

    with closing(pixels_of(photos, tmp_path / "cache")) as pixels:
        for position, image in enumerate(wanted):
            assert np.array_equal(pixels.photo(position), image)

    assert not partial.exists()
    assert {file.name for file in partial.with_suffix("").iterdir()} == {PIXELS_FILE, "index.npy"}


def test_a_photo_whose_bytes_went_bad_is_decoded_again(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 6)
    wanted = decode_rgb(photos[1].path)
    partial = killed_build(photos, tmp_path / "cache", after=3)
    with (partial / PIXELS_FILE).open("r+b") as file:
        file.seek(wanted.nbytes + 100)
        file.write(b"bad")
    unlinked([photos[0], photos[2]])

    with closing(pixels_of(photos, tmp_path / "cache")) as pixels:
        assert np.array_equal(pixels.photo(1), wanted)


def test_bytes_that_went_bad_are_not_taken_for_a_photo(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 6)
    partial = killed_build(photos, tmp_path / "cache", after=3)
    with (partial / PIXELS_FILE).open("r+b") as file:
        file.truncate(100)
    unlinked(photos[:1])

    with pytest.raises(UnreadableImageError, match="no such file any more"):
        pixels_of(photos, tmp_path / "cache")


@pytest.mark.parametrize("torn", [b"half a row", b""])
def test_a_build_may_be_killed_again_and_again(tmp_path: Path, torn: bytes) -> None:
    photos = make_photos(tmp_path / "photos", 6)
    wanted = [decode_rgb(photo.path) for photo in photos]
    for after in (2, 4):
        partial = killed_build(photos, tmp_path / "cache", after=after)
        with (partial / ROWS_FILE).open("ab") as rows:
            rows.write(torn)
    unlinked(photos[:4])

    with closing(pixels_of(photos, tmp_path / "cache")) as pixels:
        for position, image in enumerate(wanted):
            assert np.array_equal(pixels.photo(position), image)


def test_whoever_waits_for_a_builder_that_is_killed_takes_over(tmp_path: Path) -> None:
    photos, cache = make_photos(tmp_path / "photos", 6), tmp_path / "cache"
    stored, waits = FORK.Event(), threading.Event()
    builder = FORK.Process(target=_build_and_hang, args=(photos, cache, stored))
    builder.start()
    stored.wait()
    found: list[Pixels] = []

    def still_waiting() -> bool:
        waits.set()
        return False

    def wait_and_build() -> None:
        pixels = open_pixels(
            photos,
            folder=cache,
            form=FORM,
            threads=1,
            should_stop=still_waiting,
        )
        pixels.complete(Watch(lambda done, total: None, lambda: False))
        found.append(pixels)

    waiting = threading.Thread(target=wait_and_build)
    waiting.start()
    waits.wait()
    unlinked(photos[:2])
    builder.kill()
    builder.join()
    waiting.join()

    with closing(found[0]) as pixels:
        assert np.array_equal(pixels.photo(5), decode_rgb(photos[5].path))


def _build_and_hang(photos: list[LabelledPhoto], cache: Path, stored: "threading.Event") -> None:
    def tell(done: int, _total: int) -> None:
        if done == 2:
            stored.set()

    pixels = _slow_pixels(photos, cache, last=2)
    pixels.complete(Watch(tell, lambda: False))


# --- while it is built ----------------------------------------------------------------------


class Counted(Pixels):
    """Photos that remember how often each was asked for."""

    def __init__(self, photos: list[LabelledPhoto]) -> None:
        self._photos = photos
        self.asked: list[int] = []

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._photos)

    def photo(self, position: int) -> Rgb:
        self.asked.append(position)
        return decode_rgb(self._photos[position].path)

    def close(self) -> None:
        pass


@contextlib.contextmanager
def growing(
    photos: list[LabelledPhoto], source: Pixels, cache: Path, *, threads: int
) -> Iterator[Pixels]:
    """Pixels that are built while they are read."""
    pixels = keep(
        [photo.digest for photo in photos],
        lambda: source,
        folder=cache,
        form=FORM,
        threads=threads,
        should_stop=lambda: False,
    )
    with closing(pixels):
        yield pixels


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_a_photo_that_is_wanted_now_is_made_once(tmp_path: Path, threads: int) -> None:
    photos = make_photos(tmp_path / "photos", 8)
    source = Counted(photos)

    with growing(photos, source, tmp_path / "cache", threads=threads) as pixels:
        for position in [7, 0, 3, 7, 1, 2, 6, 5, 4]:
            wanted = decode_rgb(photos[position].path)
            assert np.array_equal(pixels.photo(position), wanted)

    assert sorted(source.asked) == list(range(8))


def test_what_was_asked_for_is_kept_when_the_rest_is_not(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 5)
    with growing(photos, Counted(photos), tmp_path / "cache", threads=0) as pixels:
        pixels.photo(3)
    again = Counted(photos)

    with growing(photos, again, tmp_path / "cache", threads=2) as pixels:
        pixels.complete(Watch(lambda done, total: None, lambda: False))

    assert sorted(again.asked) == [0, 1, 2, 4]


def test_a_whole_entry_is_used_by_others_before_its_builder_closes_it(tmp_path: Path) -> None:
    photos, cache = make_photos(tmp_path / "photos", 4), tmp_path / "cache"

    with growing(photos, Counted(photos), cache, threads=2) as pixels:
        pixels.complete(Watch(lambda done, total: None, lambda: False))
        with closing(pixels_of(photos, cache)) as others:
            assert np.array_equal(others.photo(2), pixels.photo(2))


def test_a_photo_that_cannot_be_read_is_named_whichever_is_asked_for(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 5)
    photos[4].path.unlink()
    opened = open_pixels(
        photos, folder=tmp_path / "cache", form=FORM, threads=2, should_stop=lambda: False
    )

    with closing(opened) as pixels:
        with pytest.raises(UnreadableImageError) as raised:
            pixels.photo(4)
        with pytest.raises(UnreadableImageError):
            pixels.photo(0)

    assert raised.value.path == photos[4].path
