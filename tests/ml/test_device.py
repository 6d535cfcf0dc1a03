import pytest
import torch

from ml.config import Precision
from ml.device import autocast, has_bf16, pick_device, resolve_precision

CPU = torch.device("cpu")


def test_a_named_device_is_taken_as_it_is() -> None:
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize(
    ("wish", "resolved"), [("fp32", "fp32"), ("bf16", "bf16"), ("fp16", "fp32")]
)
def test_fp16_needs_a_gpu_and_the_others_are_taken_as_they_are(
    wish: Precision, resolved: str
) -> None:
    assert resolve_precision(wish, CPU) == resolved


def test_auto_is_bf16_where_the_processor_has_it() -> None:
    assert resolve_precision("auto", CPU) == ("bf16" if has_bf16(CPU) else "fp32")


def test_autocast_is_idle_in_full_precision() -> None:
    with autocast("fp32", CPU):
        assert not torch.is_autocast_enabled("cpu")
    with autocast("bf16", CPU):
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
