import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.queue import (
    EVENTS_CHANNEL,
    LOOK_TASKS,
    Doorbell,
    async_redis_client,
    client_url,
    make_celery,
    redis_client,
    waiting_messages,
)


@pytest.fixture
def empty_redis(redis_url: str) -> str:
    client = redis_client(redis_url)
    client.flushall()
    client.close()
    return redis_url


@pytest.fixture
def nobody(tmp_path: Path) -> str:
    return f"redis+socket://{tmp_path}/nobody.sock"


@pytest.fixture
def doorbell(empty_redis: str) -> Iterator[Doorbell]:
    bell = Doorbell(empty_redis)
    yield bell
    bell.close()


@pytest.mark.parametrize(
    ("celery", "client"),
    [
        ("redis+socket:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis+socket:///run/redis.sock?virtual_host=2", "unix:///run/redis.sock?db=2"),
        ("redis+socket://:word@/run/redis.sock", "unix://:word@/run/redis.sock"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://:word@host:1/2", "rediss://:word@host:1/2"),
    ],
)
def test_both_libraries_are_told_the_same_address(celery: str, client: str) -> None:
    assert client_url(celery) == client


def test_a_ring_lies_in_its_queue_and_names_the_job(doorbell: Doorbell, empty_redis: str) -> None:
    doorbell.ring("train", "job_1")
    doorbell.close()

    client = redis_client(empty_redis)
    (raw,) = client.lrange("tunesmith:train", 0, -1)
    headers = json.loads(raw)["headers"]
    assert headers["task"] == LOOK_TASKS["train"]
    assert headers["argsrepr"] == "['job_1']"
    assert (waiting_messages(client, "train"), waiting_messages(client, "prepare")) == (1, 0)
    client.close()


def test_a_stream_hears_what_happened(doorbell: Doorbell, empty_redis: str) -> None:
    client = redis_client(empty_redis)
    subscription = client.pubsub(  # type: ignore[no-untyped-call]  # redis-py's own
        ignore_subscribe_messages=True
    )
    subscription.subscribe(EVENTS_CHANNEL)
    subscription.get_message(timeout=5)

    doorbell.happened("job_1")

    message = subscription.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"job_1"
    subscription.close()
    client.close()


def test_a_queue_that_does_not_exist_is_refused_at_once(doorbell: Doorbell) -> None:
    with pytest.raises(KeyError, match="trian"):
        doorbell.ring("trian", "job_1")


def test_rings_wait_for_nobody_when_redis_is_away(nobody: str) -> None:
    bell = Doorbell(nobody)
    for number in range(5000):
        bell.ring("train", f"job_{number}")
        bell.happened(f"job_{number}")

    bell.close()

    assert "doorbell" not in {thread.name for thread in threading.enumerate()}


def test_a_silent_doorbell_rings_again_when_redis_is_back(nobody: str, empty_redis: str) -> None:
    bell = Doorbell(nobody)
    bell.happened("job_1")
    Path(nobody.removeprefix("redis+socket://")).symlink_to(
        empty_redis.removeprefix("redis+socket://")
    )

    bell.ring("train", "job_2")
    bell.close()

    client = redis_client(empty_redis)
    assert waiting_messages(client, "train") == 1
    client.close()


def test_a_doorbell_may_be_closed_twice(nobody: str) -> None:
    bell = Doorbell(nobody)

    bell.close()
    bell.close()


def test_celery_knows_the_queues_and_makes_no_others(nobody: str) -> None:
    app = make_celery(nobody)

    assert set(app.amqp.queues) == {"train", "prepare", "predict"}
    assert not app.conf.task_create_missing_queues
    assert set(LOOK_TASKS) == {"train", "prepare", "predict"}


def test_a_message_is_a_signal_that_is_never_repeated(nobody: str) -> None:
    conf = make_celery(nobody).conf

    assert not conf.task_acks_late
    assert not conf.task_reject_on_worker_lost
    assert conf.task_ignore_result
    assert conf.worker_disable_prefetch


def test_a_subscription_waits_without_an_end(nobody: str) -> None:
    pool = async_redis_client(nobody).connection_pool

    assert pool.connection_kwargs["socket_timeout"] is None
    assert pool.connection_kwargs["socket_connect_timeout"] == 5
