"""Where to compute, in which precision, with how many threads."""

import platform
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor

from ml.config import Precision
from ml.images import decoder_name

Resolved = Literal["bf16", "fp16", "fp32"]

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
BF16_CAPABILITY = (8, 0)
FP16_CAPABILITY = (7, 0)
"""Of CUDA devices; those below have no units for products of half-precision matrices."""
_TOLD_APART_BY = ("avx512_vnni", *BF16_INSTRUCTIONS, "sve2")

DTYPES: dict[Resolved, torch.dtype] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}


def pick_device(wish: str = "auto") -> torch.device:
    """The wished device, or the first CUDA device and else the CPU for ``"auto"``."""
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wish)


def resolve_precision(precision: Precision, device: torch.device) -> Resolved:
    """The precision to use: ``"auto"`` is bf16 where the hardware has it, else fp16, else fp32.

    fp16 exists on CUDA only and is fp32 on the CPU.
    """
    if precision == "auto":
        return "bf16" if has_bf16(device) else "fp16" if has_fp16(device) else "fp32"
    if precision == "fp16" and device.type != "cuda":
        return "fp32"
    return precision


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= BF16_CAPABILITY
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in BF16_INSTRUCTIONS)


def has_fp16(device: torch.device) -> bool:
    """Whether the device multiplies float16 matrices faster than float32 ones."""
    if device.type != "cuda":
        return False
    return torch.cuda.get_device_capability(device) >= FP16_CAPABILITY


def environment(
    *, precision: Resolved, batch_size: int, device: torch.device
) -> dict[str, str | int]:
    """All that decides bits besides what a run is asked to do.

    The kind of CPU counts where it computes: no run on a GPU is promised the same bits.
    """
    return {
        "precision": precision,
        "batch_size": batch_size,
        "device": device.type,
        **({"cpu": cpu_kind()} if device.type == "cpu" else {}),
        "torch_threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "decoder": decoder_name(),
    }


def cpu_kind() -> str:
    """The CPU's name and the instructions by which libraries choose how they add up.

    Such as ``"AMD EPYC, AVX512, avx512_vnni, avx512_bf16"``.
    """
    capabilities = torch.cpu.get_capabilities()
    name = str(capabilities.get("cpu_name") or platform.machine())
    used = torch.backends.cpu.get_cpu_capability()
    return ", ".join([name, used, *(each for each in _TOLD_APART_BY if capabilities.get(each))])


def on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array as a tensor on the device; a GPU copies it by itself, and nobody waits for that."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        # from other memory the copy would be made by the CPU, after all that the GPU has to do
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def autocast(
    precision: Resolved, device: torch.device, *, keeps_weights: bool = True
) -> torch.autocast:
    """The context in which the forward pass runs; it may keep the weights that it has converted."""
    return torch.autocast(
        device.type,
        DTYPES[precision],
        enabled=precision != "fp32",
        cache_enabled=keeps_weights,
    )
