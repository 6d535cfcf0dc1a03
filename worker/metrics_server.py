"""Where a worker shows what it counts: a port of its own, on any machine and beside any other."""

import socket

import structlog
from prometheus_client import REGISTRY, start_http_server

from jobs.queue import LOOK_TASKS
from jobs.settings import Settings
from worker.device_metrics import DeviceMetrics

_TRIES = 128
_WILDCARDS = {"0.0.0.0", "::"}  # noqa: S104 - told apart, not bound

log = structlog.get_logger(__name__)


def show_metrics(settings: Settings, queue: str) -> str | None:
    """What this process counts can be read at this ``host:port``; None where nothing is shown.

    Of several workers of a queue on one machine each takes the first port of the queue's that is
    free. Where all are taken, jobs are done all the same.
    """
    if settings.metrics_port == 0:
        return None
    REGISTRY.register(DeviceMetrics())
    for port in _ports(settings.metrics_port, queue):
        try:
            start_http_server(port, settings.metrics_host)
        except OSError as problem:
            log.debug("metrics_port_taken", port=port, error=str(problem))
        else:
            address = _address(settings.metrics_host, port)
            log.info("metrics_shown", address=address)
            return address
    log.warning("metrics_not_shown", first_port=settings.metrics_port, tries=_TRIES)
    return None


def _ports(first: int, queue: str) -> range:
    """The ports that workers of the queue may have; those of the other queues lie between them."""
    queues = sorted(LOOK_TASKS)
    own = first + queues.index(queue)
    return range(own, min(own + _TRIES * len(queues), 1 << 16), len(queues))


def _address(host: str, port: int) -> str:
    """Where others reach what is bound to the host."""
    name = socket.gethostname() if host in _WILDCARDS else host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
