"""The most memory that this process, or its use of a device, has needed so far."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

_PROC = Path("/proc")
_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    """A high-water mark, in bytes."""

    kind: Literal["device", "resident"]
    """``device``: what torch held of a GPU. ``resident``: the process's share of the host."""
    peak_bytes: int
    total_bytes: int
    """What the device or the host has."""


def reset_peak(device: torch.device) -> None:
    """The mark of a GPU begins again at what is held now; that of a process cannot."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device, *, without: str) -> PeakMemory | None:
    """The mark of the device, or of this process when the device is the CPU.

    On a GPU: what torch's allocator has reserved, cached blocks included, the CUDA context (some
    hundred MiB) not. On the CPU: the resident set, which holds libraries and what the allocator
    has not given back, without the mapped pages of files named ``without``, which the kernel
    takes back when it needs them. None where the system does not tell (no /proc).
    """
    if device.type == "cuda":
        return PeakMemory(
            kind="device",
            peak_bytes=torch.cuda.max_memory_reserved(device),
            total_bytes=torch.cuda.mem_get_info(device)[1],
        )
    if not (_PROC / "self" / "smaps").exists():
        return None
    return PeakMemory(
        kind="resident",
        peak_bytes=_kib("self/status", "VmHWM") * _KIB - _mapped_bytes(without),
        total_bytes=_kib("meminfo", "MemTotal") * _KIB,
    )


def _kib(file: str, field: str) -> int:
    return next(_values((_PROC / file).read_text().splitlines(), field))


def _mapped_bytes(name: str) -> int:
    """Resident bytes of the mapped files of this name."""
    lines = (_PROC / "self" / "smaps").read_text().splitlines()
    found = 0
    is_named = False
    for line in lines:
        head = line.split(maxsplit=1)[0]
        if not head.endswith(":"):
            is_named = line.endswith(f"/{name}")
        elif is_named:
            found += sum(_values([line], "Rss"))
    return found * _KIB


def _values(lines: list[str], field: str) -> Iterator[int]:
    """The numbers of lines such as ``VmHWM:  123 kB``."""
    return (int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
