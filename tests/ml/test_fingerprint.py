import io
from itertools import combinations

import numpy as np
from PIL import Image

from ml.fingerprint import fingerprint
from ml.images import Rgb
from ml.sample.photos import draw_photo
from ml.theory.duplicates import MAX_DISTANCE


def apart(one: Rgb, other: Rgb) -> int:
    return (taken(one) ^ taken(other)).bit_count()


def taken(picture: Rgb) -> int:
    found = fingerprint(picture)
    assert found is not None
    return found


def saved_at(photo: Rgb, quality: int) -> Rgb:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def drawn(seed: int, coat: str = "round_tabby") -> Rgb:
    return np.asarray(draw_photo(coat, seed))


def test_the_same_picture_smaller_or_saved_worse_is_near() -> None:
    photo = drawn(3)

    assert apart(photo, photo) == 0
    assert apart(photo, photo[::2, ::2]) <= MAX_DISTANCE
    assert apart(photo, saved_at(photo, 30)) <= MAX_DISTANCE
    brighter = np.minimum(photo.astype(int) * 6 // 5, 255).astype(np.uint8)
    assert apart(photo, brighter) <= MAX_DISTANCE


def test_pictures_drawn_one_by_one_are_apart() -> None:
    photos = [drawn(seed) for seed in range(12)]

    assert min(apart(one, other) for one, other in combinations(photos, 2)) > MAX_DISTANCE


def test_a_fingerprint_has_64_bits_whatever_the_picture() -> None:
    for shape in ((1, 2, 3), (2, 1, 3), (900, 2, 3), (3, 900, 3)):
        picture = np.zeros(shape, np.uint8)
        picture.reshape(-1, 3)[: picture.size // 6] = 255
        assert 0 <= taken(picture) < 2**64


def test_a_picture_of_one_colour_has_none_however_it_was_saved() -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (200, 30, 30), (12, 90, 200)):
        picture = np.full((120, 90, 3), colour, np.uint8)
        for seen in (picture, saved_at(picture, 30), picture[:1, :1]):
            assert fingerprint(seen) is None
