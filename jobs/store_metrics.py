"""What the database knows of the installation, as metrics, read when somebody looks."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection, func, select

from jobs import presence, tables
from jobs.database import Database, db_now_ms
from jobs.job import LEASED_STATES, QUEUE_OF, JobState

_QUEUES = sorted(set(QUEUE_OF.values()))


class StoreMetrics:
    """A collector for `prometheus_client`; each look is one read transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        """The installation as it stands now; the same from every process.

        Raises:
            StoreUnavailableError: the database does not answer.
        """
        workers = presence.present(self._database)
        present = _gauge("tunesmith_workers", "Workers heard of in the last 30 s", "queue")
        for queue in _QUEUES:
            present.add_metric([queue], sum(each.queue == queue for each in workers))
        yield present
        with self._database.read() as connection:
            yield _jobs(connection)
            yield from _waiting(connection)
            yield _speed(connection)
            yield _deliveries(connection)
            yield _disabled(connection)


def _jobs(connection: Connection) -> Metric:
    columns = tables.jobs.c
    found = _gauge("tunesmith_jobs", "Jobs that are kept", "type", "state")
    query = select(columns.type, columns.state, func.count()).group_by(columns.type, columns.state)
    for job_type, state, number in connection.execute(query):
        found.add_metric([job_type, state], number)
    return found


def _waiting(connection: Connection) -> Iterator[Metric]:
    columns, now_ms = tables.jobs.c, db_now_ms(connection)
    query = (
        select(columns.queue, func.count(), func.min(columns.created_ms))
        .where(columns.state == JobState.QUEUED.value)
        .group_by(columns.queue)
    )
    waiting = {queue: rest for queue, *rest in connection.execute(query)}
    depth = _gauge("tunesmith_queue_depth", "Jobs that wait", "queue")
    oldest = _gauge(
        "tunesmith_queue_oldest_seconds", "Age of the oldest job that waits; 0 without one", "queue"
    )
    for queue in _QUEUES:
        number, created_ms = waiting.get(queue, (0, now_ms))
        depth.add_metric([queue], number)
        oldest.add_metric([queue], max(0, now_ms - created_ms) / 1000)
    yield from (depth, oldest)


def _speed(connection: Connection) -> Metric:
    columns = tables.jobs.c
    query = select(columns.type, columns.progress).where(
        columns.state.in_([state.value for state in LEASED_STATES])
    )
    found = _gauge("tunesmith_training_images_per_second", "Of all jobs that train now", "type")
    speeds: dict[str, float] = {}
    for job_type, progress in connection.execute(query):
        speed = (progress or {}).get("samples_per_second")
        if speed is not None:
            speeds[job_type] = speeds.get(job_type, 0) + speed
    for job_type, speed in speeds.items():
        found.add_metric([job_type], speed)
    return found


def _deliveries(connection: Connection) -> Metric:
    state = tables.webhook_deliveries.c.state
    found = _gauge("tunesmith_webhook_deliveries", "Deliveries that are kept", "state")
    counted = connection.execute(select(state, func.count()).group_by(state))
    numbers = {name: number for name, number in counted}
    for each in ("pending", "delivered", "failed"):
        found.add_metric([each], numbers.get(each, 0))
    return found


def _disabled(connection: Connection) -> Metric:
    columns = tables.webhooks.c
    query = select(func.count()).where(columns.disabled_reason.is_not(None))
    given_up = _gauge("tunesmith_webhooks_given_up", "Webhooks that the service has disabled")
    given_up.add_metric([], connection.execute(query).scalar_one())
    return given_up


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)
