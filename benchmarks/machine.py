"""On what a benchmark ran."""

import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any


def machine_facts() -> dict[str, Any]:
    """The processor, its cores, what else was running, and the system."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def command_line() -> str:
    """How this program was called, without the places of one machine."""
    program, *words = sys.argv
    shown = ["python", f"benchmarks/{Path(program).name}"]
    for before, word in zip(["", *words], words, strict=False):
        if "--peers" not in (before, word):
            name, is_named, place = word.rpartition("=")
            shown.append(f"{name}{is_named}~/photos/{Path(place).name}" if "/" in place else word)
    return shlex.join(shown)
