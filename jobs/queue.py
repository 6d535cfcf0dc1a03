"""The doorbell: Celery messages say "there is work", Redis pub/sub says "something happened".

Redis holds no truth. A message that is lost costs a few seconds, because workers and streams
also look by themselves; a message that comes twice finds nothing left to do.
"""

import contextlib
import queue as thread_queue
import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import redis
import redis.asyncio
import structlog
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

RESIDENT_QUEUE = "predict"
"""The queue of jobs so short that one process does them all, with its models loaded."""

LOOK_TASKS = {
    "train": "tunesmith.train.look",
    "prepare": "tunesmith.prepare.look",
    RESIDENT_QUEUE: "tunesmith.predict.look",
}
"""The task that a message on each queue names; the worker registers each of them."""

EVENTS_CHANNEL = "tunesmith:events"
_CONNECT_TIMEOUT_S = 5
_BACKLOG = 1000

log = structlog.get_logger(__name__)


def make_celery(redis_url: str) -> Celery:
    """The Celery application with all queues and no tasks; a mistyped queue fails at send."""
    app = Celery("tunesmith", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        # the message is a signal: a job must not run again because a message was not confirmed
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        task_serializer="json",
        accept_content=["json"],
        task_create_missing_queues=False,
        task_queues=tuple(Queue(name) for name in LOOK_TASKS),
        task_default_queue="prepare",
        task_publish_retry_policy={
            "max_retries": 2,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_soft_shutdown_timeout=0,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "global_keyprefix": "tunesmith:",
            "socket_keepalive": True,
            "socket_connect_timeout": _CONNECT_TIMEOUT_S,
            "health_check_interval": 25,
        },
    )
    return app


class Doorbell:
    """Rings in a thread of its own: no request ever waits for Redis, dead or frozen."""

    def __init__(self, redis_url: str) -> None:
        self._celery = make_celery(redis_url)
        # a silent Redis would block a send for ever without a socket timeout
        self._celery.conf.broker_transport_options = {
            **self._celery.conf.broker_transport_options,
            "socket_timeout": _CONNECT_TIMEOUT_S,
        }
        self._redis = redis_client(redis_url)
        self._waiting: thread_queue.Queue[Callable[[], object] | None] = thread_queue.Queue(
            _BACKLOG
        )
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
        self._thread.start()

    def ring(self, queue: str, job_id: str) -> None:
        """Workers of the queue will look; the job's id is for people who read the queue."""
        task = LOOK_TASKS[queue]
        self._put(lambda: self._celery.send_task(task, args=[job_id], queue=queue))

    def happened(self, job_id: str) -> None:
        """Streams of this job will look for new events."""
        self._put(lambda: self._redis.publish(EVENTS_CHANNEL, job_id))

    def close(self) -> None:
        """What was rung has been sent; if Redis does not answer, the rest is given up."""
        self._closing.set()
        with contextlib.suppress(thread_queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(timeout=2 * _CONNECT_TIMEOUT_S)
        self._redis.close()
        self._celery.close()

    def _put(self, send: Callable[[], object]) -> None:
        try:
            self._waiting.put_nowait(send)
        except thread_queue.Full:
            log.warning("doorbell_full", hint="Redis is slow; workers look by themselves")

    def _run(self) -> None:
        while (send := self._waiting.get()) is not None:
            answered = _answered(send)
            if self._closing.is_set() and (self._waiting.empty() or not answered):
                return


def _answered(send: Callable[[], object]) -> bool:
    try:
        send()
    except (OperationalError, redis.RedisError, OSError) as problem:
        log.warning("doorbell_silent", error=str(problem))
        return False
    return True


def redis_client(redis_url: str) -> redis.Redis:
    """A client with short timeouts for commands that do not block; it tries twice, no more."""
    return redis.Redis.from_url(
        client_url(redis_url),
        retry=Retry(NoBackoff(), 1),
        socket_timeout=_CONNECT_TIMEOUT_S,
        socket_connect_timeout=_CONNECT_TIMEOUT_S,
    )


def async_redis_client(redis_url: str) -> redis.asyncio.Redis:
    """A client for one subscription that waits without an end."""
    return redis.asyncio.Redis.from_url(
        client_url(redis_url), socket_timeout=None, socket_connect_timeout=_CONNECT_TIMEOUT_S
    )


def client_url(redis_url: str) -> str:
    """The address as redis-py writes it: Celery says ``redis+socket``, redis-py ``unix``."""
    parts = urlsplit(redis_url)
    if parts.scheme != "redis+socket":
        return redis_url
    number = parse_qs(parts.query).get("virtual_host")
    return f"unix://{parts.netloc}{parts.path}" + (f"?db={number[0]}" if number else "")


def waiting_messages(client: redis.Redis, queue: str) -> int:
    """How many messages lie on the queue.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    return int(client.llen(f"tunesmith:{queue}"))
