"""What trainers compute on; a part of the settings."""

import os
from pathlib import Path

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from jobs import device_list

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""A container's share of the CPU, `max` or microseconds, and of how many (Linux, cgroup v2)."""


class DeviceSettings(BaseModel):
    """The part of the settings about devices and threads."""

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="device of a train worker: auto, cpu, cuda or cuda:N",
    )
    devices: str = Field(
        default="",
        max_length=56,
        description="numbers of the devices that a train worker owns, such as 0-3 or 0,2, for jobs "
        "that share them; on the CPU they only count; empty: one device",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="compute threads of a trainer; 0 is one per core that it may use",
    )

    @property
    def device_numbers(self) -> tuple[int, ...]:
        """The devices that a train worker owns; empty where it owns one, named by ``device``."""
        return device_list.parsed(self.devices) if self.devices else ()

    @property
    def compute_threads(self) -> int:
        """Threads that one trainer uses, at least 1."""
        return self.threads or usable_cores()

    @field_validator("devices", mode="after")
    @classmethod
    def _list_of_devices(cls, devices: str, info: ValidationInfo) -> str:
        if devices:
            device_list.parsed(devices)
            if ":" in info.data.get("device", ""):
                raise ValueError(
                    f"TUNESMITH_DEVICE is {info.data['device']} and names a device already; "
                    "say cuda, cpu or auto there"
                )
        return devices


def usable_cores() -> int:
    """Cores that this process may compute on, at least 1: by its affinity and its container.

    More threads than that would wait for one another: a quota stops all of them for a while.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
    except OSError:
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
