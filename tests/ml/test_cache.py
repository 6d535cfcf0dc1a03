import dataclasses
import fcntl
import multiprocessing
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ml.cache import Form, cache_key, has_entry
from ml.errors import StoppedError, UnreadableImageError
from ml.images import decode_rgb
from tests.ml.fakes import FORM, make_photos, pixels_of


def test_pixels_are_those_of_the_photos_in_order(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 5)

    with closing(pixels_of(photos, tmp_path / "cache")) as pixels:
        assert len(pixels) == 5
        for position, photo in enumerate(photos):
            assert np.array_equal(pixels.photo(position), decode_rgb(photo.path))


def test_a_complete_entry_is_used_without_the_photos(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 3)
    pixels_of(photos, tmp_path / "cache").close()
    for photo in photos:
        photo.path.unlink()

    with closing(pixels_of(photos, tmp_path / "cache")) as pixels:
        assert len(pixels) == 3


def test_a_pipe_or_a_device_in_a_photos_place_is_not_read(tmp_path: Path) -> None:
    """The one would never begin, the other never end."""
    photos = make_photos(tmp_path / "photos", 2)
    for photo in photos:
        photo.path.unlink()
    os.mkfifo(photos[0].path)
    photos[1].path.symlink_to("/dev/zero")

    for photo in photos:
        with pytest.raises(UnreadableImageError, match="no regular file any more"):
            pixels_of([photo], tmp_path / "cache")


def test_an_entry_cut_short_is_built_again(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 3)
    pixels_of(photos, tmp_path / "cache").close()
    entry = tmp_path / "cache" / cache_key([photo.digest for photo in photos], FORM)
    with (entry / "pixels.bin").open("r+b") as file:
        file.truncate(100)

    with closing(pixels_of(photos, tmp_path / "cache")) as pixels:
        assert np.array_equal(pixels.photo(2), decode_rgb(photos[2].path))


def test_a_torn_index_is_built_again(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 3)
    pixels_of(photos, tmp_path / "cache").close()
    entry = tmp_path / "cache" / cache_key([photo.digest for photo in photos], FORM)
    (entry / "index.npy").write_bytes(b"torn")

    with closing(pixels_of(photos, tmp_path / "cache")) as pixels:
        assert len(pixels) == 3


def test_the_order_and_the_size_are_part_of_the_key() -> None:
    assert cache_key(["a", "b"], FORM) == cache_key(["a", "b"], FORM)
    assert cache_key(["a", "b"], FORM) != cache_key(["b", "a"], FORM)
    assert cache_key(["a", "b"], FORM) != cache_key(["a", "b"], Form(short_side=49))


def test_progress_ends_at_all_photos(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    photos = make_photos(tmp_path / "photos", 3)

    pixels_of(photos, tmp_path, on_progress=lambda *done: told.append(done)).close()

    assert told[:3] == [(1, 3), (2, 3), (3, 3)]


def test_a_stopped_build_frees_its_entry_for_the_next(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 3)

    with pytest.raises(StoppedError):
        pixels_of(photos, tmp_path / "cache", should_stop=lambda: True)

    with closing(pixels_of(photos, tmp_path / "cache")) as pixels:
        assert np.array_equal(pixels.photo(2), decode_rgb(photos[2].path))


def test_an_unreadable_photo_is_named(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 3)
    photos[1].path.write_bytes(b"no longer a photo")

    with pytest.raises(UnreadableImageError, match=r"1\.png"):
        pixels_of(photos, tmp_path / "cache")


def test_two_processes_at_once_get_the_same_pixels(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 12)
    context = multiprocessing.get_context("fork")
    builders = [
        context.Process(target=pixels_of, args=(photos, tmp_path / "cache")) for _ in range(3)
    ]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()

    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    with closing(pixels_of(photos, tmp_path / "cache")) as pixels:
        assert np.array_equal(pixels.photo(11), decode_rgb(photos[11].path))


def test_an_empty_list_has_no_pixels(tmp_path: Path) -> None:
    with closing(pixels_of([], tmp_path)) as pixels:
        assert len(pixels) == 0


def test_the_same_photo_twice_is_stored_twice(tmp_path: Path) -> None:
    photo = make_photos(tmp_path / "photos", 1)[0]
    twin = dataclasses.replace(photo, item_id="twin")

    with closing(pixels_of([photo, twin], tmp_path / "cache")) as pixels:
        assert np.array_equal(pixels.photo(0), pixels.photo(1))


def test_a_photo_that_was_exchanged_is_named_and_not_stored(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 3)
    photos[1].path.write_bytes(photos[2].path.read_bytes())

    with pytest.raises(UnreadableImageError, match="not the file that was imported") as raised:
        pixels_of(photos, tmp_path / "cache")

    assert raised.value.path == photos[1].path
    digests = [photo.digest for photo in photos]
    assert not has_entry(digests, folder=tmp_path / "cache", form=FORM)


def test_photos_that_another_entry_holds_are_copied_and_not_decoded(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 5)
    pixels_of(photos, tmp_path / "cache").close()
    kept = [photos[number] for number in (0, 2, 4)]
    wanted = [np.array(decode_rgb(photo.path)) for photo in kept]
    for photo in photos:
        photo.path.unlink()
    lists = [["of no entry"], [photo.digest for photo in photos]]

    with closing(pixels_of(kept, tmp_path / "cache", like=lambda: lists)) as pixels:
        for position, image in enumerate(wanted):
            assert np.array_equal(pixels.photo(position), image)


def test_photos_that_the_other_entry_lacks_are_decoded(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 4)
    pixels_of(photos[:2], tmp_path / "cache").close()
    photos[0].path.unlink()
    lists = [[photo.digest for photo in photos[:2]]]

    with closing(pixels_of(photos, tmp_path / "cache", like=lambda: lists)) as pixels:
        assert np.array_equal(pixels.photo(3), decode_rgb(photos[3].path))


def test_an_entry_that_is_cut_short_or_being_built_gives_nothing(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 3)
    digests = [photo.digest for photo in photos]
    entry = tmp_path / "cache" / cache_key(digests, FORM)
    pixels_of(photos, tmp_path / "cache").close()
    with entry.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pixels_of(photos[1:], tmp_path / "cache", like=lambda: [digests]).close()
    (entry / "pixels.bin").write_bytes(b"cut")
    photos[0].path.unlink()

    with pytest.raises(UnreadableImageError, match="no such file any more"):
        pixels_of(photos[:2], tmp_path / "cache", like=lambda: [digests])
