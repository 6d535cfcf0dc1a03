import json

import pytest
from starlette.testclient import TestClient

from api.json_body import NOWHERE, parse
from tests.api.given import problem

JSON = {"Content-Type": "application/json"}


def test_a_body_of_plain_json_is_read_as_it_is() -> None:
    assert parse(b'{"a": [1, {"a": null}], "b": {"a": "\\u00e9"}}') == {
        "a": [1, {"a": None}],
        "b": {"a": "é"},
    }


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a": 1, "b": 2, "a": 1}', 'the field "a" is given twice'),
        (b'[{"x": {"a": 1, "a": 2}}]', 'the field "a" is given twice'),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"9" * 5000, "too many digits"),
        (b'{"a": "\\u0000"}', 'the field "a" holds the character U.0000'),
        (b'{"\\u0000": 1}', "holds the character U.0000"),
        ("{}".encode("utf-16"), "not encoded in UTF-8"),
    ],
)
def test_what_cannot_be_read_in_one_way_only_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(json.JSONDecodeError, match=reason):
        parse(body)


def test_of_half_a_million_fields_the_one_given_twice_is_found() -> None:
    """Comparing each with all before it would take an hour, in which nobody else is answered."""
    fields = [f'"{number}": 1' for number in (*range(500_000), 499_999)]

    with pytest.raises(json.JSONDecodeError, match='the field "499999" is given twice'):
        parse(f"{{{', '.join(fields)}}}".encode())


def test_an_error_with_a_place_names_it() -> None:
    with pytest.raises(json.JSONDecodeError) as refused:
        parse(b'{"a":\xff}')

    assert refused.value.pos == 5 != NOWHERE


def test_a_field_given_twice_never_trains_with_one_of_its_values(client: TestClient) -> None:
    text = '{"dataset": "ds_1", "epochs": 3, "epochs": 500}'

    response = client.post("/v1/fine-tunes", content=text, headers=JSON)

    body = problem(response, 400, "malformed_json")
    assert body["detail"] == 'the body is no JSON: the field "epochs" is given twice in one object'


def test_a_body_that_a_verb_does_not_read_may_be_anything(client: TestClient) -> None:
    headers = {**JSON, "Idempotency-Key": "k1"}

    response = client.post("/v1/jobs/job_1/cancel", content=b"[" * 100_000, headers=headers)

    problem(response, 404, "not_found")
