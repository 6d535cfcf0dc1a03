"""Webhooks over HTTP: registered, listed, changed, deleted, tested, sent again."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import HTTPServer
from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook as Verifier
from starlette.testclient import TestClient

from api.app import create_app
from jobs import deliveries, tables, webhooks
from jobs.database import Database
from jobs.outbox import EventType
from jobs.settings import Settings
from tests import pages
from tests.api.given import get, problem
from tests.faults.installation import wait_until
from tests.jobs.given import a_job
from tests.pages import DOCS
from tests.web_server import WebServer, serving, status

URL = "https://hooks.example.com/tunesmith"


@pytest.fixture(autouse=True)
def no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver that is nobody's has no address, and no name server is asked for it."""
    found = socket.getaddrinfo

    def look_up(host: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the library's own
        if host == "hooks.example.com":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving() as server:
        yield server


@pytest.fixture
def local(settings: Settings) -> Iterator[TestClient]:
    """A client of a service whose webhooks may lead to this machine."""
    allowed = settings.model_copy(update={"private_targets": ("127.0.0.1",)})
    with TestClient(create_app(allowed), base_url="http://127.0.0.1") as client:
        yield client


def registered(client: TestClient, **body: object) -> dict[str, Any]:
    """The new webhook, with its secret."""
    answer = client.post("/v1/webhooks", json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_webhook_is_made_read_changed_and_deleted(client: TestClient) -> None:
    made = registered(client, description="the team")
    own = made["links"]["self"]

    assert made["secret"].startswith("whsec_")
    assert made["events"] == [
        *("job.succeeded", "job.failed", "job.cancelled", "dataset.ready", "dataset.failed")
    ]
    read = get(client, own)
    assert read == {name: value for name, value in made.items() if name != "secret"}
    assert get(client, "/v1/webhooks")["data"] == [read]

    edited = client.patch(own, json={"events": ["job.started"], "enabled": False}).json()
    assert edited == read | {"events": ["job.started"], "enabled": False, "version": 2}
    stale = client.patch(own, json={"enabled": True}, headers={"If-Match": '"v1"'})
    problem(stale, 412, "precondition_failed")
    again = client.patch(own, json={"description": "us"}, headers={"If-Match": '"v2"'}).json()
    assert (again["description"], again["version"]) == ("us", 3)
    problem(client.post(f"{own}/test"), 409, "webhook_disabled")

    assert client.delete(own).status_code == 204
    problem(client.get(own), 404, "not_found")
    problem(client.delete(own), 404, "not_found")
    problem(client.get(f"{own}/deliveries"), 404, "not_found")


def test_a_secret_is_told_once_and_stored_with_no_answer(
    client: TestClient, database: Database
) -> None:
    headers = {"Idempotency-Key": "k"}
    first = client.post("/v1/webhooks", json={"url": URL}, headers=headers)
    again = client.post("/v1/webhooks", json={"url": URL}, headers=headers)
    assert first.headers["cache-control"] == "no-store"
    assert again.json() == first.json() | {"secret": None}

    own = first.json()["links"]["self"]
    rotated = client.post(f"{own}/rotate-secret", headers=headers)
    repeated = client.post(f"{own}/rotate-secret", headers=headers)

    assert rotated.json()["secret"] not in {None, first.json()["secret"]}
    assert rotated.json()["old_secret_until"] is not None
    assert repeated.json() == rotated.json() | {"secret": None}
    with database.read() as connection:
        stored = connection.execute(select(tables.idempotency.c.body)).scalars().all()
    assert len(stored) == 2
    assert "whsec_" not in "".join(filter(None, stored))


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"url": "http://127.0.0.1/hook"}, "/url", "source_forbidden"),
        ({"url": "http://localhost/hook"}, "/url", "source_forbidden"),
        ({"url": "https://10.0.0.1/hook"}, "/url", "source_forbidden"),
        ({"url": "http://169.254.169.254/latest"}, "/url", "source_forbidden"),
        ({"url": "http://[::1]/"}, "/url", "source_forbidden"),
        ({"url": "http://0x7f.1/"}, "/url", "source_forbidden"),
        ({"url": "https://me:pw@hooks.example.com/"}, "/url", "source_forbidden"),
        ({"url": "ftp://hooks.example.com/"}, "/url", "source_forbidden"),
        ({"url": "https://hooks.example.com:22/"}, "/url", "source_forbidden"),
        ({"url": URL, "events": []}, "/events", "validation_failed"),
        ({"url": URL, "events": ["job.progress"]}, "/events/0", "validation_failed"),
        ({"url": URL, "event": ["job.failed"]}, "/event", "validation_failed"),
        ({}, "/url", "validation_failed"),
    ],
)
def test_what_could_not_be_told_is_not_made(
    client: TestClient, body: dict[str, object], pointer: str, code: str
) -> None:
    errors = problem(client.post("/v1/webhooks", json=body), 422, code)["errors"]

    assert pointer in {error["pointer"] for error in errors}
    assert "pw" not in json.dumps(errors)
    assert get(client, "/v1/webhooks")["data"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"url": None}, "/url"),
        ({"enabled": None}, "/enabled"),
        ({"events": []}, "/events"),
    ],
)
def test_an_edit_that_means_nothing_is_refused(
    client: TestClient, body: dict[str, object], pointer: str
) -> None:
    own = registered(client)["links"]["self"]

    [error] = problem(client.patch(own, json=body), 422, "validation_failed")["errors"]

    assert error["pointer"] == pointer


def test_an_edit_leads_to_no_private_address(client: TestClient) -> None:
    own = registered(client)["links"]["self"]

    problem(client.patch(own, json={"url": "http://127.0.0.1/"}), 422, "source_forbidden")

    assert get(client, own)["url"] == URL


def test_an_owner_has_so_many_and_no_more(settings: Settings) -> None:
    few = settings.model_copy(update={"max_webhooks": 1})
    with TestClient(create_app(few), base_url="http://127.0.0.1") as client:
        registered(client)

        problem(client.post("/v1/webhooks", json={"url": URL}), 429, "quota_exceeded")


def test_a_test_arrives_and_can_be_verified(local: TestClient, server: WebServer) -> None:
    server.answers["/hook"] = status(204)
    made = registered(local, url=server.url("/hook"))

    answer = local.post(f"{made['links']['self']}/test")

    assert answer.status_code == 202
    own = answer.headers["location"]
    delivery = wait_until(lambda: arrived(local, own), "the test's arrival")
    assert (delivery["type"], delivery["status"]) == ("webhook.test", 204)
    assert delivery["next_attempt_at"] is None
    [(_, headers)], [body] = server.asked, server.bodies
    assert Verifier(made["secret"]).verify(body, dict(headers)) == delivery["payload"]
    assert get(local, made["links"]["self"])["last_delivered_at"] is not None


def test_what_a_client_does_to_a_job_is_told(
    local: TestClient, server: WebServer, database: Database
) -> None:
    server.answers["/hook"] = status(200)
    made = registered(local, url=server.url("/hook"), events=["job.cancelled"])
    job = a_job(database)

    local.post(f"/v1/jobs/{job.id}/cancel")

    wait_until(lambda: server.bodies, "the news of the end")
    assert json.loads(server.bodies[0])["data"]["job_id"] == job.id
    listed = get(local, made["links"]["deliveries"])["data"]
    assert [each["job_id"] for each in listed] == [job.id]


def test_a_delivery_is_sent_again_by_hand_under_its_id(
    local: TestClient, server: WebServer
) -> None:
    server.answers["/hook"] = status(200)
    made = registered(local, url=server.url("/hook"))
    own = local.post(f"{made['links']['self']}/test").headers["location"]
    wait_until(lambda: arrived(local, own), "the test's arrival")

    again = local.post(f"{own}/redeliver")

    assert (again.status_code, again.json()["state"]) == (202, "pending")
    wait_until(lambda: arrived(local, own), "its second arrival")
    assert get(local, own)["attempts"] == 2
    assert len({headers["webhook-id"] for _, headers in server.asked}) == 1
    assert server.bodies[0] == server.bodies[1]


def test_deliveries_come_in_pages_newest_first(client: TestClient, database: Database) -> None:
    made = registered(client)
    with database.write() as connection:
        ids = [deliveries.send_test(connection, made["id"]).id for _ in range(3)]
        given_up = webhooks.fetch(connection, made["id"])
    webhooks.edit(database, given_up.id, {"enabled": False})
    listing = made["links"]["deliveries"]

    first = client.get(f"{listing}?limit=2&state=failed")
    rest = client.get(f"{listing}?limit=2&state=failed&after={first.json()['next_cursor']}")

    assert [each["id"] for each in first.json()["data"] + rest.json()["data"]] == ids[::-1]
    assert 'rel="next"' in first.headers["link"]
    assert rest.json()["has_more"] is False
    assert get(client, f"{listing}?state=pending")["data"] == []
    problem(client.get(f"{listing}?after=job_x"), 422, "validation_failed")
    problem(client.get(f"{listing}?state=sent"), 422, "validation_failed")


def test_a_delivery_of_another_webhook_is_not_found(client: TestClient) -> None:
    one, other = registered(client), registered(client)
    path = client.post(f"{one['links']['self']}/test").headers["location"]
    foreign = path.replace(one["id"], other["id"])

    problem(client.get(foreign), 404, "not_found")
    problem(client.post(f"{foreign}/redeliver"), 404, "not_found")


def test_the_receiver_of_the_documentation_takes_what_is_genuine(
    local: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    [block] = [each for each in pages.blocks(DOCS / "webhooks.md") if each.language == "python"]
    page: dict[str, Any] = {"__name__": "webhooks"}
    exec(compile(block.text, "webhooks.md", "exec"), page)  # noqa: S102  (our own page)
    page["Receiver"].log_message = lambda *_: None
    capsys.readouterr()
    with HTTPServer(("127.0.0.1", 0), page["Receiver"]) as receiver:
        threading.Thread(target=receiver.serve_forever, args=(0.02,)).start()
        made = registered(local, url=f"http://127.0.0.1:{receiver.server_port}/")
        own = local.post(f"{made['links']['self']}/test").headers["location"]
        wait_until(lambda: get(local, own)["status"] == 401, "a refusal: the secret is another")
        page["SECRET"] = made["secret"]

        for _ in range(2):
            local.post(f"{own}/redeliver")
            wait_until(lambda: arrived(local, own), "an arrival")
        receiver.shutdown()

    # the log goes there, too
    assert capsys.readouterr().out.splitlines().count("webhook.test None") == 1
    assert len(page["SEEN"]) == 1


def test_the_document_names_every_type_of_event(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]

    assert set(schemas["EventType"]["enum"]) == set(EventType)


def arrived(client: TestClient, path: str) -> dict[str, Any]:
    """The delivery once it has arrived; empty before."""
    delivery: dict[str, Any] = get(client, path)
    return delivery if delivery["state"] == "delivered" else {}
