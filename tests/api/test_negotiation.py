import pytest
from starlette.requests import Request

from api.negotiation import chosen_type, expected_version, holds_newest, preferred_wait_s
from api.problems import Problem

JSON, CSV = "application/json", "text/csv"


def accepting(header: str | None) -> Request:
    headers = [] if header is None else [(b"accept", header.encode())]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("text/*", CSV),
        ("text/csv, */*", CSV),
        ("application/json;q=0.5, text/csv", CSV),
        ("TEXT/CSV;q=0.9, application/json;q=0.8", CSV),
        ("text/html, application/json", JSON),
    ],
)
def test_the_type_that_a_client_likes_best_is_chosen(header: str | None, expected: str) -> None:
    assert chosen_type(accepting(header), (JSON, CSV)) == expected


@pytest.mark.parametrize("header", ["image/png", "text/csv;q=0", "text/csv;q=high", ""])
def test_a_type_that_is_not_offered_is_refused(header: str) -> None:
    with pytest.raises(Problem, match="application/json or text/csv"):
        chosen_type(accepting(header), (JSON, CSV))


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        (None, False),
        ('W/"1"', True),
        ('"1"', True),
        ('"0", W/"1"', True),
        ("*", True),
        ('"2"', False),
    ],
)
def test_entity_tags_are_compared_weakly(header: str | None, holds: bool) -> None:
    assert holds_newest(header, 'W/"1"') is holds


@pytest.mark.parametrize(("header", "version"), [(None, None), ("*", None), ('"v12"', 12)])
def test_if_match_names_a_version(header: str | None, version: int | None) -> None:
    assert expected_version(header) == version


@pytest.mark.parametrize("header", ["v1", '"1"', '"v-1"', '"v²"', "", f'"v{"9" * 5000}"'])
def test_if_match_that_names_no_version_never_matches(header: str) -> None:
    with pytest.raises(Problem) as refused:
        expected_version(header or '""')

    assert refused.value.code == "precondition_failed"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("wait=10", 10),
        ("respond-async, wait=10", 10),
        ("Wait = 10", 10),
        ("wait=900", 60),
        ("wait=-1", 0),
        ("wait=long", 0),
        ("return=minimal", 0),
    ],
)
def test_the_wait_that_a_client_prefers_is_limited(header: str | None, seconds: float) -> None:
    assert preferred_wait_s(header, longest_s=60) == seconds
