"""Deliveries over a real socket, verified by the reference library; senders that are killed."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import update
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from jobs import deliveries, tables, webhooks
from jobs.database import Database
from jobs.deliveries import Delivery
from jobs.net import Guard
from jobs.outbox import ENDS
from jobs.settings import Settings
from jobs.webhook_sender import WebhookSender
from jobs.webhooks import NewSecret
from tests.faults.installation import wait_until
from tests.jobs.given import a_job
from tests.web_server import Answer, Handler, WebServer, redirect, serving, status

Registered = Callable[[Answer], NewSecret]

CANCELS = """
import os, signal, sys
from jobs import verbs
from jobs.database import Database
verbs.cancel(Database(sys.argv[1]), sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)
"""
SENDS = """
import sys
from jobs.database import Database
from jobs.settings import load_settings
from jobs.webhook_sender import WebhookSender
settings = load_settings(database_url=sys.argv[1], private_targets=("127.0.0.1",))
WebhookSender(Database(settings.database_url), settings).send_next()
"""


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving() as server:
        yield server


@pytest.fixture
def allowed(settings: Settings) -> Settings:
    """Settings that let webhooks lead to this machine."""
    return settings.model_copy(update={"private_targets": ("127.0.0.1",), "webhook_timeout_s": 0.5})


@pytest.fixture
def sender(database: Database, allowed: Settings) -> WebhookSender:
    return WebhookSender(database, allowed)


@pytest.fixture
def registered(database: Database, server: WebServer) -> Registered:
    """Registers the server's path /hook, which answers so, and has something to tell it."""

    def register(answer: Answer) -> NewSecret:
        server.answers["/hook"] = answer
        with database.write() as connection:
            new = webhooks.create(
                connection, owner="local", url=server.url("/hook?key=k"), events=ENDS, most=9
            )
            deliveries.send_test(connection, new.webhook.id)
        return new

    return register


def silent(server: WebServer) -> Answer:
    """No answer before the test is over."""

    def wait(_: Handler) -> None:
        server.over.wait(60)

    return wait


def sent(sender: WebhookSender) -> Delivery:
    """The delivery after one attempt."""
    delivery = sender.send_next()
    assert delivery is not None
    return delivery


def test_the_reference_library_verifies_what_arrives(
    registered: Registered, sender: WebhookSender, server: WebServer
) -> None:
    secret = registered(status(204)).secret

    delivery = sent(sender)

    assert (delivery.state, delivery.status, delivery.attempts) == ("delivered", 204, 1)
    [(path, headers)], [body] = server.asked, server.bodies
    assert path == "/hook?key=k"
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"] == delivery.id
    verified = Verifier(secret).verify(body, {name.lower(): headers[name] for name in headers})
    assert verified == json.loads(delivery.payload)
    with pytest.raises(WebhookVerificationError):
        Verifier(secret).verify(body + b" ", dict(headers))


def test_in_the_day_after_a_rotation_the_old_and_the_new_secret_verify(
    registered: Registered, sender: WebhookSender, server: WebServer, database: Database
) -> None:
    old = registered(status(200))
    with database.write() as connection:
        new = webhooks.rotate(connection, old.webhook.id)

    sent(sender)

    [(_, headers)], [body] = server.asked, server.bodies
    for secret in (old.secret, new.secret):
        assert Verifier(secret).verify(body, dict(headers))


@pytest.mark.parametrize("code", [400, 404, 429, 500, 503])
def test_what_is_refused_stays_due(
    registered: Registered, sender: WebhookSender, code: int
) -> None:
    registered(status(code))

    delivery = sent(sender)

    assert (delivery.state, delivery.status) == ("pending", code)
    assert delivery.error == f"the receiver answered {code}"
    assert sender.send_next() is None


def test_a_redirect_is_a_failure_and_not_followed(
    registered: Registered, sender: WebhookSender, server: WebServer
) -> None:
    server.answers["/elsewhere"] = status(200)
    registered(redirect("/elsewhere", 308))

    delivery = sent(sender)

    assert (delivery.state, delivery.status) == ("pending", 308)
    assert server.paths() == ["/hook?key=k"]


def test_a_receiver_that_is_silent_is_left(
    registered: Registered, sender: WebhookSender, server: WebServer
) -> None:
    registered(silent(server))

    delivery = sent(sender)

    assert (delivery.state, delivery.status) == ("pending", None)
    assert delivery.error is not None
    assert "sent nothing for 0.5 s" in delivery.error
    assert "key=k" not in delivery.error


def test_a_receiver_that_trickles_is_left(
    registered: Registered, sender: WebhookSender, server: WebServer
) -> None:
    def trickle(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not server.over.wait(0.05):
            handler.wfile.write(b"X: y\r\n")

    registered(trickle)

    assert sent(sender).state == "pending"


def test_a_receiver_that_is_away_is_tried_again(
    registered: Registered, sender: WebhookSender, server: WebServer, database: Database
) -> None:
    new = registered(status(200))
    webhooks.edit(database, new.webhook.id, {"url": "http://127.0.0.1:9999/hook"})

    delivery = sent(sender)

    assert delivery.state == "pending"
    assert delivery.error == (
        "http://127.0.0.1:9999 cannot be reached: [Errno 111] Connection refused"
    )


@pytest.mark.parametrize("found", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1"])
def test_a_name_that_has_come_to_lead_to_this_network_is_not_called(
    registered: Registered,
    settings: Settings,
    server: WebServer,
    database: Database,
    found: str,
) -> None:
    """It was public when it was registered; what counts is where it leads when it is called."""
    new = registered(status(200))
    webhooks.edit(database, new.webhook.id, {"url": server.url("/hook", "hooks.example.com")})
    sender = WebhookSender(database, settings)
    sender._guard = Guard(
        targets=settings.targets, connect_s=1, idle_s=1, resolve=lambda *_: [found]
    )

    delivery = sent(sender)

    assert delivery.error is not None
    assert f"leads to {found}, which is not a public address" in delivery.error
    assert server.asked == []


def test_what_happened_right_before_a_crash_is_told(
    registered: Registered, sender: WebhookSender, database: Database, settings: Settings
) -> None:
    registered(status(200))
    assert sent(sender).type == "webhook.test"
    job = a_job(database)

    killed = subprocess.run(
        [sys.executable, "-c", CANCELS, settings.database_url, job.id], check=False
    )

    assert killed.returncode == -signal.SIGKILL
    delivery = sent(sender)
    assert (delivery.type, delivery.job_id, delivery.state) == (
        "job.cancelled",
        job.id,
        "delivered",
    )


def test_what_a_killed_sender_was_sending_is_sent_again_under_its_id(
    registered: Registered,
    sender: WebhookSender,
    server: WebServer,
    database: Database,
    settings: Settings,
) -> None:
    registered(silent(server))
    first = subprocess.Popen([sys.executable, "-c", SENDS, settings.database_url])
    wait_until(lambda: server.asked, "the first sender's request")
    first.kill()
    first.wait()
    assert sender.send_next() is None, "the dead sender's lease still runs"
    server.answers["/hook"] = status(200)
    with database.write() as connection:
        connection.execute(update(tables.webhook_deliveries).values(due_ms=0, lease_until_ms=0))

    assert sent(sender).state == "delivered"

    ids = [headers["webhook-id"] for _, headers in server.asked]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert server.bodies[0] == server.bodies[1]
