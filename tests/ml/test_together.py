"""Two processes that train together, against one that trains alone."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.errors import TooFewImagesError
from ml.loader import shuffled_batches
from ml.ranks import ALONE, Ranks
from ml.training_batches import TrainingBatches
from tests.ml.tiny_nets import StillPixels, data, photos
from tests.ml.together import (
    COUNT,
    CPU,
    Course,
    Seen,
    by_all,
    swept,
    trained,
    trained_on_gpu,
)

COURSES = {
    # batches of five: two rows and three; the last of seven photos is one for one process
    "plain": Course(changes={"data": data(batch_size=5)}, valid=6),
    "everything": Course(
        changes={
            "data": data(batch_size=5),
            "accumulate": 2,
            "class_weights": (1.0, 3.0, 0.5),
            "label_smoothing": 0.1,
            "keep_best": "valid_loss",
            "weight_decay": 0.1,
        },
        pieces=2,
    ),
    "no_photos_for_validation": Course(valid=0),
}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Seen]]:
    """All courses as each of two processes has seen them."""
    return by_all(_all_courses, tmp_path_factory.mktemp("together"))


@pytest.mark.parametrize("name", COURSES)
def test_two_processes_take_the_steps_of_one(together: list[dict[str, Seen]], name: str) -> None:
    alone, first = trained(COURSES[name]), together[0][name]

    assert len(first.losses) == len(alone.losses) > 0
    assert first.losses == pytest.approx(alone.losses, rel=1e-3)
    for mine, theirs in zip(first.epochs, alone.epochs, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)
    for mine, theirs in zip(first.sample_losses, alone.sample_losses, strict=True):
        assert mine == pytest.approx(theirs, rel=5e-3, abs=1e-3)
    assert first.weights.keys() == alone.weights.keys()
    for weight, tensor in alone.weights.items():
        np.testing.assert_allclose(first.weights[weight], tensor, rtol=1e-2, atol=1e-3)


def test_all_processes_end_with_the_same_bits_and_only_the_first_is_heard(
    together: list[dict[str, Seen]],
) -> None:
    first, second = (seen["everything"] for seen in together)

    assert first.weights.keys() == second.weights.keys()
    for name, tensor in first.weights.items():
        np.testing.assert_array_equal(second.weights[name], tensor)
    assert (second.losses, second.epochs) == ([], [])
    assert first.resolved["devices"] == COUNT
    assert "devices" not in trained(COURSES["no_photos_for_validation"]).resolved


def test_processes_that_left_together_go_on_to_the_same_bits(
    together: list[dict[str, Seen]], tmp_path: Path
) -> None:
    left, resumed = by_all(partial(_left_and_resumed, tmp_path / "state"), tmp_path)[0]

    whole = together[0]["everything"]
    assert left.status == "left"
    assert resumed.status == "finished"
    assert left.losses + resumed.losses == whole.losses
    for name, tensor in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], tensor)


@pytest.mark.parametrize("sweep", ["frozen_body", "each"])
def test_a_range_test_of_two_processes_has_the_curve_of_one(sweep: str, tmp_path: Path) -> None:
    curves = by_all(partial(swept, sweep), tmp_path)

    assert curves[0] == curves[1]
    for mine, theirs in zip(curves[0], swept(sweep), strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3)


@pytest.mark.skipif(torch.cuda.device_count() < COUNT, reason="needs two GPUs")
@pytest.mark.parametrize("name", COURSES)
def test_two_gpus_take_the_steps_of_one(name: str, tmp_path: Path) -> None:
    found = by_all(partial(trained_on_gpu, COURSES[name]), tmp_path, kind="cuda")

    alone = trained_on_gpu(COURSES[name])
    assert found[0].losses == pytest.approx(alone.losses, rel=1e-2)
    for weight, tensor in found[0].weights.items():
        np.testing.assert_array_equal(found[1].weights[weight], tensor)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("count", [2, 3])
def test_the_rows_of_all_processes_are_the_batches_of_one(count: int, pieces: int) -> None:
    class_weights = (1.0, 2.0, 4.0)
    each = [
        _batches(pieces, class_weights, Ranks(number, count)).keys(1) for number in range(count)
    ]

    batches = shuffled_batches(13, 6, seed=3, epoch=1)
    for place, batch in enumerate(batches):
        mine = [key for keys in each for key in keys[place * pieces : (place + 1) * pieces]]
        assert sum(key.share for key in mine) == pytest.approx(1)
        assert sorted(np.concatenate([key.positions for key in mine])) == sorted(batch)
        for key in mine:
            assert key.rows is not None
            assert key.rows.stop - key.rows.start == len(key.positions) >= 1


def test_fewer_photos_than_processes_are_refused() -> None:
    with pytest.raises(TooFewImagesError, match="training on 4 devices needs at least 4 photos"):
        trained(Course(train=3), Ranks(0, 4))


def test_a_process_alone_agrees_with_itself() -> None:
    assert ALONE.agreed("yes") == "yes"
    assert ALONE.gathered(3) == [3]
    assert ALONE.summed(torch.ones(2)).tolist() == [1, 1]


def _all_courses(ranks: Ranks) -> dict[str, Seen]:
    return {name: trained(course, ranks) for name, course in COURSES.items()}


def _left_and_resumed(state: Path, ranks: Ranks) -> tuple[Seen, Seen]:
    course = COURSES["everything"]
    left = trained(replace(course, leave_at=2, keep=state), ranks)
    ranks.gathered(None)
    return left, trained(replace(course, resume=state), ranks)


def _batches(pieces: int, class_weights: Sequence[float], ranks: Ranks) -> TrainingBatches:
    return TrainingBatches(
        photos(13),
        StillPixels(13),
        data(batch_size=6),
        6,
        3,
        CPU,
        class_weights=tuple(class_weights),
        pieces=pieces,
        ranks=ranks,
    )
