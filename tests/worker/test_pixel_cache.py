"""The library's presized pixels are what the contract takes them for, from outside."""

import os
from contextlib import closing
from pathlib import Path

from jobs import pixel_cache
from ml.cache import cache_key
from tests.ml.fakes import FORM, make_photos, pixels_of


def test_pixels_that_are_open_are_in_use_and_closed_ones_can_go(tmp_path: Path) -> None:
    photos, cache = make_photos(tmp_path / "photos", 3), tmp_path / "cache"
    keys = [cache_key([photo.digest], FORM) for photo in photos]
    for photo in photos:
        pixels_of([photo], cache).close()
    for used_s, key in enumerate(keys):
        os.utime(cache / key, (used_s, used_s))
    each_bytes = sum(file.stat().st_size for file in (cache / keys[0]).iterdir())

    with closing(pixels_of(photos[:1], cache)):
        # opened last, and in use besides
        os.utime(cache / keys[0], (0, 0))
        found = pixel_cache.superfluous(cache, most_bytes=2 * each_bytes)
        assert [entry.folder.name for entry in found] == [keys[1]]
        assert not pixel_cache.remove_unless_used(cache / keys[0])
        assert pixel_cache.remove_unless_used(cache / keys[1])

    assert pixel_cache.remove_unless_used(cache / keys[0])


def test_pixels_that_were_removed_are_made_again(tmp_path: Path) -> None:
    photos, cache = make_photos(tmp_path / "photos", 2), tmp_path / "cache"
    with closing(pixels_of(photos, cache)) as pixels:
        before = pixels.photo(1).copy()
    key = cache_key([photo.digest for photo in photos], FORM)

    assert pixel_cache.remove_unless_used(cache / key)

    with closing(pixels_of(photos, cache)) as pixels:
        assert (pixels.photo(1) == before).all()


def test_opening_pixels_counts_as_using_them(tmp_path: Path) -> None:
    photos, cache = make_photos(tmp_path / "photos", 2), tmp_path / "cache"
    for photo in photos:
        pixels_of([photo], cache).close()
    first, second = (cache / cache_key([photo.digest], FORM) for photo in photos)
    for used_s, folder in enumerate((first, second), start=1):
        os.utime(folder, (used_s, used_s))

    pixels_of(photos[:1], cache).close()

    (oldest, *_) = pixel_cache.superfluous(cache, most_bytes=0)
    assert oldest.folder == second
