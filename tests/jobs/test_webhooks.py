"""The outbox: what is written when something happens, who may send it, when it is tried again."""

import json
import re

import pytest
from sqlalchemy import select, update

from jobs import deliveries, leases, moves, old_rows, tables, verbs, webhooks
from jobs.database import Database, db_now_ms
from jobs.deliveries import Attempt, Delivery
from jobs.errors import QuotaExceededError
from jobs.job import JobState, JobType
from jobs.old_rows import DAY_MS, Kept
from jobs.outbox import ENDS, MOST_ATTEMPTS, PAUSES_S, EventType
from jobs.webhooks import Webhook
from tests.jobs.given import FAILURE, a_job, job_in, running

LEASE_MS = 60_000
DOWN = {"status": 500, "error": "the receiver answered 500"}


def a_webhook(
    database: Database, *events: EventType, owner: str = "local", url: str = "https://a.example/"
) -> Webhook:
    """A webhook that is told of these events, of all ends without any."""
    with database.write() as connection:
        return webhooks.create(
            connection, owner=owner, url=url, events=events or ENDS, most=20
        ).webhook


def told(database: Database, webhook: Webhook) -> list[Delivery]:
    """Its deliveries, oldest first."""
    return deliveries.list_deliveries(database, webhook.id, limit=200)[::-1]


def claimed(database: Database) -> Attempt:
    """The delivery that is due now."""
    attempt = deliveries.claim(database, lease_ms=LEASE_MS)
    assert attempt is not None
    return attempt


def something_happens(database: Database) -> None:
    """A job has ended."""
    verbs.cancel(database, a_job(database).id)


def time_passes(database: Database) -> None:
    """All pauses and leases of deliveries are over."""
    with database.write() as connection:
        connection.execute(update(tables.webhook_deliveries).values(due_ms=0, lease_until_ms=0))


def test_an_end_is_told_with_ids_alone(database: Database) -> None:
    webhook = a_webhook(database)
    a_job(database)
    job = running(database)

    leases.fail(database, job.id, job.fence, FAILURE)

    [delivery] = told(database, webhook)
    assert (delivery.type, delivery.state, delivery.job_id) == ("job.failed", "pending", job.id)
    payload = json.loads(delivery.payload)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", payload.pop("timestamp"))
    assert payload == {
        "type": "job.failed",
        "data": {
            "job_id": job.id,
            "job_type": "fine_tune",
            "seq": 4,
            "attempt": 1,
            "dataset_id": "ds_1",
            "model_id": None,
            "error_code": "loss_diverged",
        },
    }


def test_every_type_of_event_is_told_to_who_wants_it(database: Database) -> None:
    all_of_it = a_webhook(database, *EventType)
    starts = a_webhook(database, EventType.JOB_STARTED)

    job_in(database, JobState.PAUSING)

    assert [each.type for each in told(database, starts)] == ["job.started"]
    types = [each.type for each in told(database, all_of_it)]
    assert types == ["job.queued", "job.started", "job.pausing"]


def test_what_was_rolled_back_is_not_told(database: Database) -> None:
    webhook = a_webhook(database)
    job = a_job(database)

    with database.engine.connect() as connection:
        moves.end(connection, job, JobState.CANCELLED, values={})
        connection.rollback()

    assert told(database, webhook) == []
    verbs.cancel(database, job.id)
    assert [each.type for each in told(database, webhook)] == ["job.cancelled"]


def test_nobody_is_told_of_the_jobs_of_others_or_while_disabled(database: Database) -> None:
    other, disabled = a_webhook(database, owner="ana"), a_webhook(database)
    webhooks.edit(database, disabled.id, {"enabled": False})

    something_happens(database)

    assert told(database, other) == told(database, disabled) == []


def test_one_sender_at_a_time_has_a_delivery(database: Database) -> None:
    a_webhook(database)
    something_happens(database)

    first = claimed(database)
    assert deliveries.claim(database, lease_ms=LEASE_MS) is None

    # the sender was killed: nothing was settled, and its lease ends
    time_passes(database)
    second = claimed(database)
    assert second.delivery.id == first.delivery.id
    assert second.delivery.attempts == 2
    assert deliveries.settle(database, first, status=200, error=None) is None
    arrived = deliveries.settle(database, second, status=200, error=None)
    assert arrived is not None
    assert (arrived.state, arrived.status) == ("delivered", 200)
    assert deliveries.claim(database, lease_ms=LEASE_MS) is None


def test_a_slow_receiver_keeps_one_sender_busy(database: Database) -> None:
    slow, quick = a_webhook(database), a_webhook(database)
    for _ in range(2):
        something_happens(database)

    taken = [claimed(database).delivery.webhook_id for _ in range(2)]

    assert sorted(taken) == sorted([slow.id, quick.id])
    assert deliveries.claim(database, lease_ms=LEASE_MS) is None


def test_failures_are_tried_again_as_documented_and_then_the_webhook_is_disabled(
    database: Database,
) -> None:
    webhook = a_webhook(database)
    something_happens(database)
    pauses_s = []

    for _ in range(MOST_ATTEMPTS):
        settled = deliveries.settle(database, claimed(database), **DOWN)  # type: ignore[arg-type]  # as written above
        assert settled is not None
        with database.read() as connection:
            pauses_s.append((settled.due_ms - db_now_ms(connection)) / 1000)
        time_passes(database)

    assert settled is not None
    for pause_s, least_s in zip(pauses_s, PAUSES_S, strict=False):
        assert least_s - 5 <= pause_s <= least_s * 1.2
    assert settled.state == "failed"
    assert settled.attempts == MOST_ATTEMPTS
    assert settled.error == "the receiver answered 500"
    given_up = webhooks.get(database, webhook.id)
    assert not given_up.enabled
    assert given_up.disabled_reason == "nothing could be delivered for three days"


def test_a_receiver_that_takes_something_else_is_not_given_up(database: Database) -> None:
    webhook = a_webhook(database)
    for _ in range(2):
        something_happens(database)
    deliveries.settle(database, claimed(database), status=200, error=None)

    for _ in range(MOST_ATTEMPTS):
        deliveries.settle(database, claimed(database), **DOWN)  # type: ignore[arg-type]  # as above
        time_passes(database)

    assert sorted(each.state for each in told(database, webhook)) == ["delivered", "failed"]
    assert webhooks.get(database, webhook.id).enabled


def test_a_receiver_that_is_gone_is_told_nothing_more(database: Database) -> None:
    webhook = a_webhook(database)
    for _ in range(2):
        something_happens(database)

    deliveries.settle(database, claimed(database), status=410, error="the receiver answered 410")

    assert webhooks.get(database, webhook.id).disabled_reason == (
        "the receiver answered 410: it wants no more"
    )
    assert {each.state for each in told(database, webhook)} == {"failed"}
    assert deliveries.claim(database, lease_ms=LEASE_MS) is None


def test_after_a_rotation_two_secrets_sign_until_the_older_one_ends(database: Database) -> None:
    webhook = a_webhook(database)
    [first] = secrets_of(database, webhook)

    with database.write() as connection:
        new = webhooks.rotate(connection, webhook.id).secret

    assert secrets_of(database, webhook) == [new, first]
    with database.write() as connection:
        connection.execute(update(tables.webhooks).values(old_secret_until_ms=1))
    assert secrets_of(database, webhook) == [new]


def secrets_of(database: Database, webhook: Webhook) -> list[str]:
    """The secrets that sign a delivery now."""
    with database.write() as connection:
        deliveries.send_test(connection, webhook.id)
    attempt = claimed(database)
    deliveries.settle(database, attempt, status=200, error=None)
    return list(attempt.secrets)


def test_no_text_of_ours_shows_a_secret(database: Database) -> None:
    with database.write() as connection:
        new = webhooks.create(
            connection, owner="local", url="https://a.example/", events=ENDS, most=1
        )
        deliveries.send_test(connection, new.webhook.id)

    assert new.secret.startswith("whsec_")
    assert new.secret not in repr(new) + repr(claimed(database))


def test_an_owner_has_so_many_webhooks_and_no_more(database: Database) -> None:
    a_webhook(database, owner="ana")

    with database.write() as connection:
        made = webhooks.create(connection, owner="local", url="https://a/", events=ENDS, most=1)
    with pytest.raises(QuotaExceededError, match="more than the 1 webhooks"), database.write() as c:
        webhooks.create(c, owner="local", url="https://a/", events=ENDS, most=1)

    webhooks.delete_webhook(database, made.webhook.id)
    with database.read() as connection:
        assert len(connection.execute(select(tables.webhooks)).all()) == 1


def test_deliveries_go_with_their_webhook_and_after_a_while(database: Database) -> None:
    kept = Kept(progress_ms=DAY_MS, side_jobs_ms=DAY_MS, deliveries_ms=DAY_MS)
    webhook, other = a_webhook(database), a_webhook(database)
    something_happens(database)
    deliveries.settle(database, claimed(database), status=200, error=None)
    assert old_rows.find(database, kept) == []

    with database.write() as connection:
        finished = tables.webhook_deliveries.c.finished_ms
        connection.execute(
            update(tables.webhook_deliveries).where(finished.is_not(None)).values(finished_ms=1)
        )

    [removal] = old_rows.find(database, kept)
    assert removal.why == "1 deliveries that ended 24 hours ago or earlier"
    assert old_rows.remove(database, kept, removal)
    left = [told(database, each) for each in (webhook, other)]
    assert sorted(map(len, left)) == [0, 1]
    for each in (webhook, other):
        webhooks.delete_webhook(database, each.id)
    with database.read() as connection:
        assert connection.execute(select(tables.webhook_deliveries)).all() == []


def test_a_dataset_that_cannot_be_made_is_told(database: Database) -> None:
    webhook = a_webhook(database, EventType.DATASET_FAILED)

    job_in(database, JobState.CANCELLED, JobType.DATASET_IMPORT)

    [delivery] = told(database, webhook)
    assert json.loads(delivery.payload)["data"]["dataset_id"].startswith("ds_")
