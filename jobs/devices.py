"""Which accelerators the machine has, asked without loading a tensor library."""

import shutil
import subprocess


def nvidia_devices() -> int:
    """How many NVIDIA devices the driver lists; 0 where there is no driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
