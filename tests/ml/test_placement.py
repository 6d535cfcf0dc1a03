import numpy as np
import pytest
import torch

from ml.backbones import build_model
from ml.placement import RESERVE_BYTES, most_bytes, place_of, placed
from ml.resident import upload
from tests.ml.fakes import tiny_model
from tests.ml.tiny_nets import StillPixels

CPU = torch.device("cpu")
GIB = 2**30


@pytest.mark.parametrize(
    ("free", "step", "left"),
    [(8 * GIB, 4 * GIB, 2 * GIB), (80 * GIB, 8 * GIB, 69 * GIB), (2 * GIB, 4 * GIB, 0)],
)
def test_photos_may_take_what_training_leaves(free: int, step: int, left: int) -> None:
    assert RESERVE_BYTES == GIB
    assert most_bytes(free=free, step=step) == left


def test_on_the_cpu_photos_stay_where_they_are_and_nothing_is_said() -> None:
    pixels = StillPixels(3)

    (found,) = placed(
        [pixels],
        torch.nn.Identity(),
        photos_at_once=2,
        size=8,
        precision="fp32",
        device=CPU,
    )

    assert found is pixels
    assert place_of(found, CPU) == {}


def test_on_a_gpu_it_is_said_where_the_photos_lie() -> None:
    gpu, pixels = torch.device("cuda"), StillPixels(3)
    resident = upload(pixels, CPU, most_bytes=10**6)

    assert resident is not None
    assert place_of(pixels, gpu) == {"pixels_in": "host"}
    assert place_of(resident, gpu) == {"pixels_in": "device"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_holds_the_photos_and_the_model_is_left_as_it_was() -> None:
    gpu = torch.device("cuda")
    model = build_model(tiny_model("resnet18"), seed=0).to(gpu).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    (found,) = placed(
        [StillPixels(3)], model, photos_at_once=4, size=32, precision="fp32", device=gpu
    )

    assert place_of(found, gpu) == {"pixels_in": "device"}
    assert np.array_equal(found.photo(1), StillPixels(3).photo(1))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
