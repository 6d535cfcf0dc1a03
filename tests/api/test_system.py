import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.problems import KINDS
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.settings import Settings
from tests.api.given import admin, get, problem


def test_health_asks_nothing_of_anybody(client: TestClient) -> None:
    assert get(client, "/healthz") == {"status": "ok"}


def test_a_process_without_workers_and_redis_is_ready(client: TestClient) -> None:
    ready = get(client, "/readyz")

    assert ready["status"] == "ready"
    assert ready["redis"] == {"is_reachable": False}
    assert ready["workers"] == 0


def test_a_database_without_tables_is_not_ready(settings: Settings, artifacts: Artifacts) -> None:
    from api.app import create_app

    artifacts.root.mkdir(parents=True)
    empty = settings.model_copy(update={"database_url": f"sqlite:///{artifacts.root}/empty.db"})

    with TestClient(create_app(empty), base_url="http://127.0.0.1") as client:
        problem(client.get("/readyz"), 503, "unavailable")


def test_the_queue_lists_depth_and_workers(client: TestClient) -> None:
    queue = get(client, "/v1/queue")

    assert [entry["name"] for entry in queue["queues"]] == ["predict", "prepare", "train"]
    assert queue["workers"] == []


def test_the_root_is_a_page_that_runs_nothing_but_its_own_script(client: TestClient) -> None:
    page = client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"/docs", "/redoc", "/openapi.json", "/static/landing.js"} <= set(sources)
    for source in set(sources) - {"/docs#/Datasets/createDataset"}:
        assert client.get(source).status_code == 200, source
    assert not re.search(r"<script>|<style|style=|\son\w+=", page.text)


def test_the_root_needs_no_key_and_holds_none(locked: TestClient, database: Database) -> None:
    headers = admin(database)

    assert locked.get("/").content == locked.get("/", headers=headers).content


def test_version_names_the_service(client: TestClient) -> None:
    assert get(client, "/version")["name"] == "tunesmith"


def test_every_problem_type_can_be_read_about(client: TestClient) -> None:
    described = {code: get(client, f"/problems/{code}") for code in KINDS}

    assert [page["type"] for page in described.values()] == [f"/problems/{code}" for code in KINDS]
    assert described["not_found"]["status"] == 404


def test_an_unknown_problem_type_names_those_there_are(client: TestClient) -> None:
    body = problem(client.get("/problems/nonsense"), 404, "not_found")

    assert "validation_failed" in body["detail"]


def test_an_unknown_path_is_a_problem(client: TestClient) -> None:
    body = problem(client.get("/v1/nonsense"), 404, "not_found")

    assert "'/v1/nonsense'" in body["detail"]
    assert body["instance"] == "/v1/nonsense"


def test_a_method_that_is_not_possible_is_a_problem_naming_those_that_are(
    client: TestClient,
) -> None:
    response = client.put("/v1/jobs", json={})

    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("inbound", ["abc-123", "a" * 128])
def test_a_sane_request_id_is_kept(client: TestClient, inbound: str) -> None:
    response = client.get("/healthz", headers={"X-Request-Id": inbound})

    assert response.headers["x-request-id"] == inbound


@pytest.mark.parametrize("inbound", ["", "a b", "a" * 129, "<script>"])
def test_another_request_id_is_replaced(client: TestClient, inbound: str) -> None:
    response = client.get("/healthz", headers={"X-Request-Id": inbound})

    assert response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::"])
def test_a_request_meant_for_another_host_is_refused(client: TestClient, host: str) -> None:
    response = client.get("/v1/jobs", headers={"Host": host})

    problem(response, 403, "forbidden")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_loopback_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_pages_of_other_sites_may_not_act(client: TestClient) -> None:
    response = client.post("/v1/jobs/job_1/cancel", headers={"Origin": "https://evil.example"})

    body = problem(response, 403, "forbidden")
    assert "'evil.example'" in body["detail"]


def test_an_unexpected_error_shows_no_trace_and_keeps_the_request_id(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any, **__: Any) -> None:  # noqa: ANN401
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("api.routes.queue.presence.present", explode)

    response = client.get("/v1/queue")

    problem(response, 500, "internal")
    assert "secret" not in response.text


def test_of_an_endless_path_the_beginning_is_said_again(client: TestClient) -> None:
    body = problem(client.get(f"/v1/{'a' * 60_000}"), 404, "not_found")

    assert body["instance"] == f"/v1/{'a' * 496}"


def test_a_body_over_the_limit_is_refused(client: TestClient) -> None:
    response = client.post(
        "/v1/explain/labels",
        content=b" " * (33 * 1024 * 1024),
        headers={"Content-Type": "application/json"},
    )

    problem(response, 413, "payload_too_large")
