"""What one process counts of itself; what the database knows is in `store_metrics`.

Labels have few values: route templates, never paths; no ids, no owners.
"""

# it would rather have a second series for the start of every count
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own lack

REQUESTS = Counter(
    "tunesmith_http_requests",
    "Answered requests",
    ["method", "route", "status"],
)
REQUEST_SECONDS = Histogram(
    "tunesmith_http_request_duration_seconds",
    "From the first byte of a request to the end of its answer; streams last as long as jobs",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RATE_LIMITED = Counter("tunesmith_rate_limited_requests", "Requests that were answered 429")
STREAM_READERS = Gauge("tunesmith_stream_readers", "Open event streams")
SWEEPS = Counter("tunesmith_sweeps", "Looks for leases that ran out")
EXPIRED_LEASES = Counter("tunesmith_expired_leases", "Jobs taken back from silent workers")
WEBHOOK_ATTEMPTS = Counter(
    "tunesmith_webhook_attempts", "Attempts to deliver, by how they ended", ["outcome"]
)
CLAIMED_JOBS = Counter("tunesmith_claimed_jobs", "Attempts that this worker began", ["type"])
TRAINER_EXITS = Counter(
    "tunesmith_trainer_exits", "Trainers that ended, by how: 0 is `ok`", ["outcome"]
)

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def count_request(method: str, route: str | None, status: int | None, seconds: float) -> None:
    """The request is counted; ``route`` is None where no route took it."""
    method = method if method in _METHODS else "other"
    route = route or "none"
    REQUESTS.labels(method, route, str(status or 500)).inc()
    REQUEST_SECONDS.labels(method, route).observe(seconds)
