"""One photo in three ways, beside the original: what is promised of the numbers."""

import hashlib
from dataclasses import replace
from math import inf, isnan
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.augment import DrawKey, drawn, stream_of
from ml.config import AugmentConfig, FixedDraws, PreviewConfig
from ml.errors import UnreadableImageError
from ml.images import Rgb, presize
from ml.photos import LabelledPhoto
from ml.presize_preview import preview
from ml.sampling import draw

BOOK = FixedDraws(rotate_deg=30.0, zoom=1.2, warp_xy=(-0.2, 0.2), flip=False)
CONFIG = PreviewConfig(presize=64, size=32, augment=AugmentConfig(), fixed=BOOK, seed=7)


def saved(path: Path, image: Image.Image, **how: object) -> LabelledPhoto:
    """The image as an imported photo."""
    image.save(path, **how)  # type: ignore[arg-type]  # whatever Pillow takes
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return LabelledPhoto(item_id="itm_1", path=path, digest=digest, label=0)


def texture(width: int, height: int) -> Rgb:
    """Detail of all sizes, down to the single pixel."""
    noise = np.random.default_rng(3)
    layers = [
        np.kron(noise.integers(0, 64, (-(-height // side), -(-width // side), 3)),
                np.ones((side, side, 1), int))[:height, :width]
        for side in (1, 4, 16, 64)
    ]  # fmt: skip
    summed: Rgb = np.sum(layers, axis=0).astype(np.uint8)
    return summed


@pytest.fixture
def photo(tmp_path: Path) -> LabelledPhoto:
    return saved(tmp_path / "texture.png", Image.fromarray(texture(240, 180)))


def test_one_sampling_errs_least_and_step_by_step_most(photo: LabelledPhoto) -> None:
    ways = preview(photo, 0, CONFIG).ways

    assert list(ways) == ["single", "fastai", "step_by_step"]
    assert [way.interpolations for way in ways.values()] == [2, 2, 5]
    assert ways["single"].psnr_db > ways["fastai"].psnr_db > ways["step_by_step"].psnr_db + 2
    # fastai's last sampling goes to the final size unfiltered: what it has more is aliasing
    assert ways["fastai"].energy > ways["single"].energy > 2 * ways["step_by_step"].energy
    shares = [way.invented_share for way in ways.values()]
    assert shares == sorted(shares)
    assert all(0 < share < 0.1 for share in shares)
    assert all(way.ms > 0 for way in ways.values())


def test_presized_once_is_what_the_first_epoch_of_a_training_sees(photo: LabelledPhoto) -> None:
    config = replace(CONFIG, fixed=None)
    stored = presize(texture(240, 180), 64)
    wh = (stored.shape[1], stored.shape[0])
    draws = drawn(stream_of(DrawKey(7, 0), 5), config.augment, photo_wh=wh)

    shown = preview(photo, 5, config)

    assert shown.draws == draws
    levels = draw(stored, draws.matrix(wh, 32), 32)
    assert np.array_equal(shown.ways["single"].picture, levels.transpose(1, 2, 0))


def test_the_same_seed_and_place_make_the_same_preview_and_others_do_not(
    photo: LabelledPhoto,
) -> None:
    config = replace(CONFIG, fixed=None)

    first, again = (preview(photo, 3, config) for _ in range(2))
    elsewhere, reseeded = preview(photo, 4, config), preview(photo, 3, replace(config, seed=8))

    for way, made in first.ways.items():
        assert np.array_equal(made.picture, again.ways[way].picture)
        assert np.array_equal(made.original, again.ways[way].original)
    assert elsewhere.draws != first.draws
    assert reseeded.draws != first.draws


def test_without_changes_nothing_is_invented_and_all_ways_show_the_centre(
    photo: LabelledPhoto,
) -> None:
    still = FixedDraws(rotate_deg=0.0, zoom=1.0, warp_xy=(0.0, 0.0), flip=False)

    shown = preview(photo, 0, replace(CONFIG, fixed=still))

    for way in shown.ways.values():
        assert way.invented_share == 0
        assert way.outline[0] == pytest.approx((30, 0), abs=2)
        assert way.outline[2] == pytest.approx((210, 180), abs=2)


def test_a_photo_of_one_colour_keeps_it_and_has_no_energy(tmp_path: Path) -> None:
    plain = saved(tmp_path / "grey.png", Image.new("L", (100, 80), 77))

    shown = preview(plain, 0, CONFIG)

    for way in shown.ways.values():
        assert (way.picture == 77).all()
        assert (way.energy, way.original_energy, way.psnr_db) == (0, 0, inf)


def test_pixels_all_of_which_are_invented_have_no_numbers(tmp_path: Path) -> None:
    dot = saved(tmp_path / "dot.png", Image.new("RGB", (1, 1), (1, 2, 3)))

    shown = preview(dot, 0, CONFIG)

    assert shown.stored_wh == (1, 1)
    for way in shown.ways.values():
        assert (way.picture == (1, 2, 3)).all()
        assert way.psnr_db == inf or isnan(way.psnr_db)


def test_a_photo_smaller_than_the_picture_is_enlarged(tmp_path: Path) -> None:
    tiny = saved(tmp_path / "tiny.png", Image.fromarray(texture(20, 26)))

    ways = preview(tiny, 0, CONFIG).ways

    assert [way.interpolations for way in ways.values()] == [1, 2, 4]
    assert all(way.picture.shape == (32, 32, 3) for way in ways.values())
    assert ways["single"].psnr_db > ways["step_by_step"].psnr_db


def test_every_way_begins_with_the_upright_photo(tmp_path: Path) -> None:
    upright = texture(240, 180)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(np.rot90(upright).copy())
    one = saved(tmp_path / "upright.png", Image.fromarray(upright))
    other = saved(tmp_path / "turned.png", turned, exif=exif)

    shown, again = (preview(photo, 0, CONFIG) for photo in (one, other))

    for way, made in shown.ways.items():
        assert np.array_equal(made.picture, again.ways[way].picture)


def test_the_detail_shows_the_same_of_the_photo_in_every_way(photo: LabelledPhoto) -> None:
    shown = preview(photo, 0, replace(CONFIG, fixed=None))

    for way in shown.ways.values():
        left, top = way.detail_xy
        assert 0 <= left <= 32 - shown.detail_px
        assert 0 <= top <= 32 - shown.detail_px


def test_the_detail_is_where_the_photo_is_liveliest(tmp_path: Path) -> None:
    image = np.full((128, 128, 3), 90, np.uint8)
    image[40:56, 72:88] = texture(16, 16)
    still = FixedDraws(rotate_deg=0.0, zoom=1.0, warp_xy=(0.0, 0.0), flip=False)

    shown = preview(
        saved(tmp_path / "eye.png", Image.fromarray(image)), 0, replace(CONFIG, fixed=still)
    )

    for way in shown.ways.values():
        left, top = way.detail_xy
        assert left <= 18 <= 22 <= left + shown.detail_px
        assert top <= 10 <= 14 <= top + shown.detail_px


def test_a_photo_that_has_changed_or_is_gone_is_refused(photo: LabelledPhoto) -> None:
    with pytest.raises(UnreadableImageError, match="not the file that was imported"):
        preview(replace(photo, digest="0" * 64), 0, CONFIG)
    photo.path.unlink()
    with pytest.raises(UnreadableImageError, match="no such file any more"):
        preview(photo, 0, CONFIG)
