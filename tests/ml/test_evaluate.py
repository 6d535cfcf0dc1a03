from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.backbones import ImageClassifier, build_model
from ml.cache import Pixels
from ml.errors import StoppedError
from ml.evaluate import Logits, metrics, predict_logits
from ml.photos import LabelledPhoto
from ml.progress import Command
from tests.ml.fakes import carry_on, tiny_model


def logits_of(
    model: ImageClassifier, pixels: Pixels, photos: list[LabelledPhoto], batch_size: int
) -> Logits:
    return predict_logits(
        model,
        pixels,
        photos,
        size=32,
        batch_size=batch_size,
        precision="fp32",
        device=torch.device("cpu"),
        command=carry_on,
    )


def test_logits_come_in_the_order_of_the_photos(
    valid: list[LabelledPhoto], valid_pixels: Pixels
) -> None:
    model = build_model(tiny_model(), seed=0)

    together = logits_of(model, valid_pixels, valid, batch_size=6)
    apart = logits_of(model, valid_pixels, valid, batch_size=1)

    assert together.shape == (6, 2)
    assert together == pytest.approx(apart, abs=1e-4)


def test_pixels_of_other_photos_are_refused(
    valid: list[LabelledPhoto], valid_pixels: Pixels
) -> None:
    with pytest.raises(ValueError, match="pixels of 6 photos, but 5 photos"):
        logits_of(build_model(tiny_model(), seed=0), valid_pixels, valid[:5], batch_size=2)


def test_an_evaluation_stops_between_batches(
    valid: list[LabelledPhoto], valid_pixels: Pixels
) -> None:
    with pytest.raises(StoppedError, match="abandon"):
        predict_logits(
            build_model(tiny_model(), seed=0),
            valid_pixels,
            valid,
            size=32,
            batch_size=2,
            precision="fp32",
            device=torch.device("cpu"),
            command=lambda: Command.ABANDON,
        )


def test_metrics_are_those_of_the_logits(valid: list[LabelledPhoto]) -> None:
    photos = [replace(valid[0], label=0), replace(valid[0], label=1)]
    logits = np.array([[0.0, 0.0], [0.0, np.log(3)]], np.float32)

    result = metrics(logits, photos)

    assert result is not None
    assert result.accuracy == 1.0
    # of equal logits the first class
    assert result.sample_predictions.tolist() == [0, 1]
    assert result.sample_losses == pytest.approx([np.log(2), np.log(4 / 3)])
    assert result.loss == pytest.approx((np.log(2) + np.log(4 / 3)) / 2)


def test_no_photos_have_no_metrics() -> None:
    assert metrics(np.empty((0, 2), np.float32), []) is None
