"""Validation's pixels, drawn once, are the bits that each evaluation would draw for itself."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ml.augment import centred_batch
from ml.cache import Form, Pixels, Watch, completed
from ml.centres import centre_form, open_centres
from ml.device import cpu_kind
from ml.images import Rgb
from ml.photos import LabelledPhoto
from ml.sampling import draw
from ml.theory.presize_geometry import centre_matrix
from tests.ml.fakes import FORM, pixels_of

SIZE = 32
SHAPES = [(56, 48), (48, 80), (48, 48), (32, 32), (20, 31), (300, 48), (7, 5)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPhoto]:
    """Noise, wide, high, square, as large as what is drawn, and smaller than it."""
    folder, rng = tmp_path_factory.mktemp("centres"), np.random.default_rng(3)
    found = []
    for number, (width, height) in enumerate(SHAPES):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(LabelledPhoto(item_id=str(number), path=path, digest=digest, label=0))
    return found


def centres_of(
    photos: list[LabelledPhoto], cache: Path, presized: Callable[[], Pixels], form: Form
) -> Pixels:
    opened = open_centres(
        [photo.digest for photo in photos],
        presized,
        size=SIZE,
        form=form,
        folder=cache,
        should_stop=lambda: False,
    )
    return completed(opened, Watch(lambda done, total: None, lambda: False))


def test_a_batch_of_centres_is_bit_by_bit_the_batch_of_the_presized_photos(
    photos: list[LabelledPhoto], tmp_path: Path, cpu: torch.device
) -> None:
    form = centre_form(FORM, size=SIZE, stored="raw")
    positions = np.arange(len(photos))
    with closing(pixels_of(photos, tmp_path)) as presized:
        drawn = np.stack([_levels(presized.photo(place)) for place in positions.tolist()])
        wanted = centred_batch(presized, positions, size=SIZE, device=cpu)

    with closing(centres_of(photos, tmp_path, lambda: pixels_of(photos, tmp_path), form)) as found:
        assert np.array_equal(np.stack([found.photo(place) for place in positions.tolist()]), drawn)
        batch = centred_batch(found, positions, size=SIZE, device=cpu)

    assert torch.equal(batch, wanted)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def _levels(photo: Rgb) -> Rgb:
    height, width = photo.shape[:2]
    return draw(photo, centre_matrix((width, height), SIZE), SIZE).transpose(1, 2, 0)


def test_drawing_a_centre_again_changes_nothing() -> None:
    """So whatever reads pixels without knowing that these are centres gets the same."""
    centre = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)

    assert np.array_equal(_levels(centre), centre)


def test_centres_that_are_there_need_no_presized_photos(
    photos: list[LabelledPhoto], tmp_path: Path
) -> None:
    form = centre_form(FORM, size=SIZE, stored="raw")
    centres_of(photos, tmp_path, lambda: pixels_of(photos, tmp_path), form).close()

    def none_there() -> Pixels:
        raise AssertionError("they are asked for")

    with closing(centres_of(photos, tmp_path, none_there, form)) as found:
        assert len(found) == len(photos)


def test_what_decides_the_levels_decides_the_key() -> None:
    form = centre_form(FORM, size=SIZE, stored="raw")

    assert {torch.__version__, cpu_kind(), SIZE, "raw"} <= set(form.drawn)
    assert form.short_side == FORM.short_side
    assert form != centre_form(Form(short_side=48, stored="jpeg"), size=SIZE, stored="raw")
