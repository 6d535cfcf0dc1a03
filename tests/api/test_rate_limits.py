"""Keys that ask too often wait; whoever asks knows where it stands; Redis may be away."""

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from jobs.database import Database
from jobs.keys import Scope
from jobs.settings import Settings
from tests.api.given import Headers, bearer, problem

MOST = 5


@pytest.fixture(params=["redis", "no redis"])
def limited(
    with_keys: Settings, request: pytest.FixtureRequest, redis_url: str
) -> Iterator[TestClient]:
    """A service that answers a key five times a minute."""
    shared = {"redis_url": redis_url} if request.param == "redis" else {}
    settings = with_keys.model_copy(update={"rate_limit": MOST, **shared})
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def ana(database: Database) -> Headers:
    """The key of one owner."""
    return bearer(database, Scope.READ, owner="ana")


def test_every_answer_says_what_is_left(limited: TestClient, ana: Headers) -> None:
    answers = [limited.get("/v1/jobs", headers=ana) for _ in range(2)]

    assert [answer.headers["RateLimit-Policy"] for answer in answers] == ['"key";q=5;w=60'] * 2
    assert [_left(answer.headers["RateLimit"]) for answer in answers] == [4, 3]


def test_a_key_that_has_asked_too_often_waits_and_another_one_does_not(
    limited: TestClient, database: Database, ana: Headers
) -> None:
    for _ in range(MOST):
        assert limited.get("/v1/jobs", headers=ana).status_code == 200

    refused = limited.post("/v1/explain/labels", headers=ana, json={"names": ["a"]})

    body = problem(refused, 429, "rate_limited")
    assert "more than 5 times in 60 s" in body["detail"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 120
    assert _left(refused.headers["RateLimit"]) == 0
    ben = bearer(database, Scope.READ, owner="ben")
    assert limited.get("/v1/jobs", headers=ben).status_code == 200


def test_processes_count_together(with_keys: Settings, redis_url: str, database: Database) -> None:
    settings = with_keys.model_copy(update={"rate_limit": MOST, "redis_url": redis_url})
    key = bearer(database, Scope.READ, owner="ana")
    left = []
    for _ in range(2):
        with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
            left.append(_left(client.get("/v1/jobs", headers=key).headers["RateLimit"]))

    assert left == [4, 3]


def test_who_needs_no_key_and_who_has_none_is_not_counted(
    client: TestClient, limited: TestClient
) -> None:
    assert "RateLimit" not in client.get("/v1/jobs").headers
    for _ in range(MOST + 1):
        assert limited.get("/v1/jobs").status_code == 401
        assert limited.get("/healthz").status_code == 200


def test_without_a_limit_nothing_is_counted(with_keys: Settings, database: Database) -> None:
    settings = with_keys.model_copy(update={"rate_limit": 0})
    key = bearer(database, Scope.READ, owner="ana")
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        assert "RateLimit" not in client.get("/v1/jobs", headers=key).headers


def _left(header: str) -> int:
    found = re.fullmatch(r'"key";r=(\d+);t=(\d+)', header)
    assert found is not None, header
    assert 1 <= int(found[2]) <= 120
    return int(found[1])
