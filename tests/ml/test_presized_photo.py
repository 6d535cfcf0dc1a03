"""Photos that are presized by the quick decoder have the pixels that Pillow gives them."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ml.presized_photo
from ml.cache import Form
from ml.errors import UnreadableImageError
from ml.images import Rgb, decode_rgb, presize
from ml.jpeg import decoded, encoded
from ml.photos import LabelledPhoto
from ml.pixel_files import PIXELS_FILE
from ml.presized_photo import presized_photo
from tests.ml.fakes import FORM, pixels_of

SHORT_SIDE = 48


def picture(width: int, height: int) -> Image.Image:
    """Smooth colours with some noise, as photos have."""
    rng, rows = np.random.default_rng(width), np.linspace(0, 200, height)[:, None, None]
    columns = np.linspace(0, 40, width)[None, :, None]
    noise = rng.integers(0, 16, (height, width, 3))
    return Image.fromarray((rows + columns * [0, 1, 0.5] + noise).astype(np.uint8))


def photo_of(path: Path, image: Image.Image, **saving: object) -> LabelledPhoto:
    image.save(path, "JPEG", **saving)
    return _as_it_is(path)


def _as_it_is(path: Path) -> LabelledPhoto:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return LabelledPhoto(item_id="a", path=path, digest=digest, label=0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Rgb]:
    """What the quick decoder has decoded."""
    found: list[Rgb] = []

    def noted(data: bytes) -> Rgb:
        found.append(decoded(data))
        return found[-1]

    monkeypatch.setattr(ml.presized_photo, "decoded", noted)
    return found


@pytest.mark.parametrize(
    ("mode", "size_wh", "saving"),
    [
        ("RGB", (60, 40), {}),
        ("RGB", (95, 95), {"progressive": True}),
        ("RGB", (90, 60), {"subsampling": 0, "quality": 95}),
        ("RGB", (91, 61), {"subsampling": 2, "quality": 40}),
        ("RGB", (90, 60), {"keep_rgb": True}),
        ("L", (60, 90), {}),
        ("L", (61, 91), {"progressive": True}),
    ],
)
def test_plain_jpegs_take_the_quick_way_to_the_same_pixels(
    tmp_path: Path,
    quick: list[Rgb],
    mode: str,
    size_wh: tuple[int, int],
    saving: dict[str, object],
) -> None:
    photo = photo_of(tmp_path / "a.jpg", picture(*size_wh).convert(mode), **saving)

    found = presized_photo(photo, SHORT_SIDE)

    whole = decode_rgb(photo.path)
    assert np.array_equal(quick[0], whole)
    assert np.array_equal(found, presize(whole, SHORT_SIDE))


def test_others_are_pillows_alone(tmp_path: Path, quick: list[Rgb]) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    image = picture(60, 40)
    photos = [
        photo_of(tmp_path / "turned.jpg", image, exif=turned),
        photo_of(tmp_path / "cmyk.jpg", image.convert("CMYK")),
        photo_of(tmp_path / "large.jpg", picture(2 * SHORT_SIDE, 200)),
    ]
    image.save(tmp_path / "a.png")
    photos.append(_as_it_is(tmp_path / "a.png"))

    for photo in photos:
        wanted = presize(decode_rgb(photo.path, min_short_side=SHORT_SIDE), SHORT_SIDE)
        assert np.array_equal(presized_photo(photo, SHORT_SIDE), wanted)

    assert quick == []


def test_what_the_quick_decoder_refuses_is_pillows_to_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(data: bytes) -> Rgb:
        raise ValueError("no such JPEG")

    photo = photo_of(tmp_path / "a.jpg", picture(60, 40))
    monkeypatch.setattr(ml.presized_photo, "decoded", refuse)

    assert np.array_equal(presized_photo(photo, SHORT_SIDE), decode_rgb(photo.path))


def test_a_photo_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    picture(90, 60).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:700])

    with pytest.raises(UnreadableImageError, match=r"cut\.jpg cannot be read: truncated"):
        presized_photo(_as_it_is(path), SHORT_SIDE)


def test_an_entry_of_jpegs_is_smaller_and_gives_what_the_jpegs_show(tmp_path: Path) -> None:
    photos = [
        photo_of(tmp_path / f"{number}.jpg", picture(60 + number, 40), quality=95)
        for number in range(4)
    ]
    form = Form(short_side=SHORT_SIDE, stored="jpeg")
    pixels_of(photos, tmp_path / "cache").close()

    pixels = pixels_of(photos, tmp_path / "cache", form=form)

    for position, photo in enumerate(photos):
        stored = encoded(decode_rgb(photo.path))
        with Image.open(io.BytesIO(stored)) as image:
            assert np.array_equal(pixels.photo(position), np.asarray(image))
        difference = pixels.photo(position).astype(int) - decode_rgb(photo.path)
        assert 0 < np.abs(difference).mean() < 3
    pixels.close()
    sizes = sorted(file.stat().st_size for file in (tmp_path / "cache").glob(f"*/{PIXELS_FILE}"))
    assert len(sizes) == 2
    assert sizes[0] < 0.7 * sizes[1]
    assert FORM.stored == "raw"
