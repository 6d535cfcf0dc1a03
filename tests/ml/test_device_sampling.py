"""What a device draws, from photos that are copied to it and from those that lie there.

The code of the device runs here on the CPU, where the other way of drawing is at hand.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ml.augment import DrawKey, augmented_batch, centred_batch
from ml.cache import Pixels
from ml.config import AugmentConfig, FineTuneConfig
from ml.device_sampling import draw_batch_on_device, starts_and_sizes
from ml.resident import Copied, ResidentPixels, taken, upload
from ml.sampling import draw_batch
from ml.train import fine_tune
from tests.ml.fakes import RememberingListener, make_photos, tiny_data, tiny_model
from tests.ml.test_sampling import LEVELS, shift
from tests.ml.tiny_nets import StillPixels

CPU = torch.device("cpu")
ENOUGH = 10**9
AUGMENT = AugmentConfig()
KEY = DrawKey(seed=3, pass_number=1)


class Noise(Pixels):
    """Photos of the given heights and widths, that count how often they are asked for."""

    def __init__(self, *shapes: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        self._photos = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in shapes]
        self.asked: list[int] = []

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._photos)

    def photo(self, position: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        self.asked.append(position)
        return self._photos[position]

    def close(self) -> None:
        """There is nothing to close."""


def resident(pixels: Pixels) -> ResidentPixels:
    found = upload(pixels, CPU, most_bytes=ENOUGH)
    assert found is not None
    return found


def test_the_device_draws_what_the_cpu_draws_up_to_one_level() -> None:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 70), (90, 33))]
    warped = np.array([[1.5, 0.2, -6], [-0.1, 1.4, 5], [1e-3, -2e-3, 1]])
    reduced = np.diag([4.5, 4.5, 1.0]) @ shift(-2, 3)
    tables = np.repeat(LEVELS, 2, axis=0)

    expected = draw_batch(photos, [warped, reduced], tables, 24)
    drawn = draw_batch_on_device(photos, [warped, reduced], tables, 24, CPU)

    assert np.abs(drawn.numpy() - expected).max() <= 1


def test_photos_lie_one_after_the_other() -> None:
    starts, sizes = starts_and_sizes([(2, 5, 3), (4, 1, 3), (3, 3, 3)])

    assert starts.tolist() == [0, 30, 42]
    assert sizes.tolist() == [[5, 2], [1, 4], [3, 3]]


def test_all_bytes_of_all_photos_are_uploaded() -> None:
    pixels = Noise((2, 5), (4, 1), (3, 3))

    found = resident(pixels)

    expected = np.concatenate([pixels.photo(place).reshape(-1) for place in range(3)])
    assert found.laid_out.flat.numpy().tolist() == expected.tolist()


def test_photos_are_uploaded_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.resident.UPLOAD_BYTES", 40)
    pixels = Noise(*[(2 + n % 3, 5) for n in range(9)], (30, 30), (2, 2))

    found = resident(pixels)

    expected = np.concatenate([pixels.photo(place).reshape(-1) for place in range(len(pixels))])
    assert found.laid_out.flat.numpy().tolist() == expected.tolist()


@pytest.mark.parametrize(("most_bytes", "fits"), [(41, False), (42, True)])
def test_photos_are_uploaded_only_where_all_fit(most_bytes: int, fits: bool) -> None:
    found = upload(Noise((2, 5), (4, 1)), CPU, most_bytes=most_bytes)

    assert (found is not None) == fits


def test_of_no_photos_none_is_uploaded() -> None:
    assert upload(Noise(), CPU, most_bytes=ENOUGH) is None


@pytest.mark.parametrize("size", [24, 12])
def test_batches_are_the_same_bits_wherever_the_photos_lie(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 12 px some photos are averaged down first, which the host does; at 24 px none."""
    pixels = Noise((40, 70), (90, 33), (30, 30), (60, 50), (26, 90))
    positions = np.array([3, 0, 4, 2, 1])

    def both(pixels: Pixels) -> tuple[Tensor, Tensor]:
        changed = augmented_batch(
            pixels, positions, size=size, augment=AUGMENT, key=KEY, device=CPU
        )
        return changed, centred_batch(pixels, positions, size=size, device=CPU)

    there = both(resident(pixels))
    monkeypatch.setattr(
        "ml.augment.taken",
        lambda pixels, positions, device, _: Copied([pixels.photo(n) for n in positions], device),
    )
    copied = both(pixels)

    assert all(map(torch.equal, there, copied))


def test_a_batch_of_resident_photos_asks_the_host_for_none() -> None:
    pixels = Noise((40, 70), (30, 30))
    there = resident(pixels)
    pixels.asked.clear()

    augmented_batch(there, np.array([1, 0]), size=24, augment=AUGMENT, key=KEY, device=CPU)

    assert pixels.asked == []
    assert taken(there, np.array([1, 0]), CPU, draw_batch).sizes_wh == [(30, 30), (70, 40)]


def test_of_resident_photos_the_host_is_asked_for_those_to_be_averaged_down() -> None:
    pixels = Noise((40, 70), (90, 90))
    there = resident(pixels)
    pixels.asked.clear()

    centred_batch(there, np.array([0, 1]), size=24, device=CPU)

    assert pixels.asked == [1]


def test_a_training_on_resident_photos_learns_what_one_on_the_cpu_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a tiny net on batches of four tells a level here and there; `test_warping` bounds how many
    # there are, and here both sides are to see the same
    monkeypatch.setattr("ml.augment.warp_batch", draw_batch)
    photos = make_photos(tmp_path, 8)
    config = FineTuneConfig(
        model=tiny_model(),
        data=tiny_data(),
        epochs=1,
        freeze_epochs=0,
        frozen_peaks=(1e-4,) * 3,
        unfrozen_peaks=(1e-4,) * 3,
        precision="fp32",
    )
    losses = []
    for pixels in (StillPixels(8), resident(StillPixels(8))):
        listener = RememberingListener()
        fine_tune(
            config,
            train=photos,
            valid=photos,
            pixels=pixels,
            valid_pixels=pixels,
            listener=listener,
            device=CPU,
        )
        losses.append([report.loss for report in listener.steps])

    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
