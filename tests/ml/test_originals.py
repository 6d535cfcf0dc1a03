from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.cache import Pixels
from ml.errors import UnreadableImageError
from ml.images import decode_as_stored, decode_rgb
from ml.originals import CENTRE, Originals
from ml.photos import LabelledPhoto
from tests.ml.fakes import make_photos


@pytest.fixture
def originals(train: list[LabelledPhoto]) -> Iterator[Originals]:
    opened = Originals(train, side=48, threads=2)
    yield opened
    opened.close()


def test_squares_lie_where_they_are_asked_for_in_the_order_of_the_positions(
    originals: Originals, pixels: Pixels
) -> None:
    squares = originals.squares([3, 1, 1], [CENTRE, (0.0, 0.5), (0.999, 0.5)])

    # the photos are 56 x 48 px, so a square of 48 px is cut out and not resized
    assert np.array_equal(squares[0], pixels.photo(3)[:, 4:52])
    assert np.array_equal(squares[1], pixels.photo(1)[:, :48])
    assert np.array_equal(squares[2], pixels.photo(1)[:, 7:55])


def test_repeated_photos_begin_again(originals: Originals, train: list[LabelledPhoto]) -> None:
    again = originals.repeated(25)

    assert len(again) == 25
    assert np.array_equal(again.photo(21), originals.photo(1))


def test_a_photo_that_has_changed_is_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 2)
    Image.new("RGB", (56, 48)).save(photos[1].path)
    originals = Originals(photos, side=32, threads=1)

    with pytest.raises(UnreadableImageError, match="not the file that was imported"):
        originals.squares([0, 1], [CENTRE, CENTRE])
    originals.close()


def test_orientation_and_transparency_are_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGBA", (8, 4), (10, 20, 30, 0)).save(path, exif=exif)

    assert decode_rgb(path).shape == (8, 4, 3)
    assert decode_rgb(path)[0, 0].tolist() == [255, 255, 255]
    assert decode_as_stored(path).shape == (4, 8, 3)
    assert decode_as_stored(path)[0, 0].tolist() == [10, 20, 30]


def test_deep_samples_keep_their_high_byte(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 0x1234, np.uint16)).save(path)

    assert decode_as_stored(path)[0, 0].tolist() == [0x12] * 3
