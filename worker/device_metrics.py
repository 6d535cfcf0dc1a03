"""The memory of this machine's accelerators, as their driver tells it."""

import shutil
import subprocess
from collections.abc import Iterator

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric

_MIB = 1024 * 1024
_WITHIN_S = 5

log = structlog.get_logger(__name__)


class DeviceMetrics:
    """A collector for `prometheus_client`; without a driver it has nothing to tell."""

    def collect(self) -> Iterator[Metric]:
        """Used and total bytes of each device, of all its processes together."""
        tool = shutil.which("nvidia-smi")
        if tool is None:
            return
        question = "--query-gpu=index,memory.used,memory.total"
        try:
            told = subprocess.run(
                [tool, question, "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                check=True,
                timeout=_WITHIN_S,
            ).stdout
        except (subprocess.SubprocessError, OSError) as problem:
            log.warning("devices_not_asked", error=str(problem))
            return
        yield from _parsed(told)


def _parsed(told: str) -> Iterator[Metric]:
    used = GaugeMetricFamily(
        "tunesmith_device_memory_used_bytes", "Memory in use on a device", labels=["device"]
    )
    total = GaugeMetricFamily(
        "tunesmith_device_memory_total_bytes", "Memory of a device", labels=["device"]
    )
    for line in told.splitlines():
        index, used_mib, total_mib = (part.strip() for part in line.split(","))
        used.add_metric([index], float(used_mib) * _MIB)
        total.add_metric([index], float(total_mib) * _MIB)
    yield from (used, total)
