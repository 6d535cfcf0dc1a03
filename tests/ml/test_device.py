import pytest
import torch

from ml.config import Precision
from ml.device import autocast, has_bf16, pick_device, resolve_precision

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


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


@pytest.mark.parametrize(
    ("capability", "resolved"),
    [((6, 1), "fp32"), ((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")],
)
def test_auto_on_cuda_is_bf16_from_ampere_on_and_fp16_from_volta_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], resolved: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)

    assert resolve_precision("auto", CUDA) == resolved


@pytest.mark.parametrize(
    ("instructions", "resolved"),
    [
        ({"avx2": True, "avx512_f": True}, "fp32"),
        ({"avx512_bf16": False, "amx_bf16": False}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
    ],
)
def test_auto_on_the_cpu_is_bf16_where_there_are_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool], resolved: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)

    assert resolve_precision("auto", CPU) == resolved


@pytest.mark.parametrize("wish", ["fp32", "bf16", "fp16"])
def test_on_cuda_every_precision_is_taken_as_it_is(wish: Precision) -> None:
    assert resolve_precision(wish, CUDA) == wish


def test_autocast_is_idle_in_full_precision() -> None:
    with autocast("fp32", CPU):
        assert not torch.is_autocast_enabled("cpu")
    with autocast("bf16", CPU):
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
