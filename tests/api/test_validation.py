from typing import Any

import pytest
from starlette.testclient import TestClient

from api.validation import shown
from tests.api.given import field, problem

CATS = {
    "name": "cats",
    "source": {"type": "sample"},
    "labels": {"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$"},
}
TUNE = {"dataset": "ds_1"}


def test_a_body_that_is_no_json_is_refused(client: TestClient) -> None:
    response = client.post(
        "/v1/datasets", content=b'{"name": ', headers={"Content-Type": "application/json"}
    )

    body = problem(response, 400, "malformed_json")
    assert "character 9" in body["detail"]


def test_a_body_that_is_no_utf8_is_refused(client: TestClient) -> None:
    response = client.post(
        "/v1/datasets", content=b'{"name": "\xff"}', headers={"Content-Type": "application/json"}
    )

    problem(response, 400, "malformed_json")


def test_a_body_of_another_type_is_refused(client: TestClient) -> None:
    response = client.post("/v1/datasets", content=b"a=b", headers={"Content-Type": "text/plain"})

    body = problem(response, 415, "unsupported_media_type")
    assert "'text/plain'" in body["detail"]


def test_a_missing_body_is_refused(client: TestClient) -> None:
    problem(client.post("/v1/datasets"), 422, "validation_failed", "")


def test_a_misspelt_field_is_refused_with_the_right_name(client: TestClient) -> None:
    response = client.post("/v1/fine-tunes", json={**TUNE, "learning_rat": 0.1})

    body = problem(response, 422, "validation_failed", "/learning_rat")
    wrong = field(body, "/learning_rat")
    assert wrong["code"] == "unknown_field"
    assert wrong["did_you_mean"][0] == "learning_rate"
    assert "epochs" in wrong["allowed"]
    assert '"learning_rat"' in body["detail"]


@pytest.mark.parametrize(
    ("change", "pointer", "near"),
    [
        ({"augment": {"max_rotat": 3}}, "/augment/max_rotat", "max_rotate"),
        ({"schedule": {"pct_strt": 0.3}}, "/schedule/pct_strt", "pct_start"),
        ({"discriminative": {"lr_mul": 3}}, "/discriminative/lr_mul", "lr_mult"),
        (
            {"learning_rate": {"lowest": 1e-6, "highst": 1e-3}},
            "/learning_rate/highst",
            "highest",
        ),
        ({"learning_rate": {"lowst": 1e-6}}, "/learning_rate/lowst", "lowest"),
    ],
)
def test_a_misspelt_nested_field_is_refused_with_the_right_name(
    client: TestClient, change: dict[str, Any], pointer: str, near: str
) -> None:
    body = problem(client.post("/v1/fine-tunes", json={**TUNE, **change}), 422, "validation_failed")

    assert near in field(body, pointer)["did_you_mean"]


@pytest.mark.parametrize(
    ("source", "pointer", "code"),
    [
        ({"type": "path"}, "/source/path", "required"),
        ({"type": "path", "path": "/x", "pth": 1}, "/source/pth", "unknown_field"),
        ({"type": "path", "path": 7}, "/source/path", "wrong_type"),
        ({"type": "pth"}, "/source/type", "not_allowed"),
        ({}, "/source/type", "required"),
        ({"type": "sample", "photos_per_class": 7}, "/source/photos_per_class", "out_of_range"),
        ({"type": "sample", "photos_per_class": "9"}, "/source/photos_per_class", "wrong_type"),
    ],
)
def test_the_pointer_leads_to_the_field_inside_a_union(
    client: TestClient, source: dict[str, Any], pointer: str, code: str
) -> None:
    response = client.post("/v1/datasets", json={**CATS, "source": source})

    body = problem(response, 422, "validation_failed", pointer)
    assert field(body, pointer)["code"] == code


def test_a_wrong_choice_names_the_choices_and_the_nearest(client: TestClient) -> None:
    response = client.post("/v1/fine-tunes", json={**TUNE, "precision": "fp1"})

    wrong = field(problem(response, 422, "validation_failed"), "/precision")
    assert wrong["code"] == "not_allowed"
    assert wrong["allowed"] == ["auto", "bf16", "fp16", "fp32"]
    assert "fp16" in wrong["did_you_mean"]


def test_a_number_out_of_range_is_named_with_its_bound(client: TestClient) -> None:
    response = client.post("/v1/fine-tunes", json={**TUNE, "batch_size": 5000})

    wrong = field(problem(response, 422, "validation_failed"), "/batch_size")
    assert wrong["code"] == "out_of_range"
    assert "4096" in wrong["detail"]
    assert "5000" in wrong["detail"]


@pytest.mark.parametrize("rate", ["0", "-1", "1e400", "NaN", '"fast"', "null", "[]", "true"])
def test_a_learning_rate_that_is_none_is_refused(client: TestClient, rate: str) -> None:
    response = client.post(
        "/v1/fine-tunes",
        content=f'{{"dataset": "ds_1", "learning_rate": {rate}}}',
        headers={"Content-Type": "application/json"},
    )

    problem(response, 422, "validation_failed", "/learning_rate")


def test_fields_that_do_not_fit_each_other_are_named(client: TestClient) -> None:
    response = client.post("/v1/fine-tunes", json={**TUNE, "presize": 128, "size": 224})

    body = problem(response, 422, "validation_failed", "/presize")
    assert "presize 128 is smaller than size 224" in body["detail"]


def test_a_name_that_is_no_text_does_not_reach_the_database(client: TestClient) -> None:
    response = client.post(
        "/v1/datasets",
        content=b'{"name": "\\ud800", "source": {"type": "sample"},'
        b' "labels": {"rule": "parent_folder"}}',
        headers={"Content-Type": "application/json"},
    )

    problem(response, 422, "validation_failed", "/name")


def test_only_the_wrong_scalar_of_a_body_is_repeated(client: TestClient) -> None:
    response = client.post(
        "/v1/datasets", json={**CATS, "name": ["s3cret"], "metadata": {"key": "s3cret"}}
    )

    problem(response, 422, "validation_failed", "/name")
    assert "s3cret" not in response.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", '"a\\nb"'),
        ("x" * 200, '"' + "x" * 99 + "…"),
        (7, "7"),
        (None, "null"),
        ({"a": 1}, "an object"),
        ([1], "a list"),
    ],
)
def test_values_are_shown_short_and_escaped(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/query/limit"),
        ("limit=201", "/query/limit"),
        ("limit=ten", "/query/limit"),
        ("state=done", "/query/state"),
        ("type=training", "/query/type"),
        ("created_after=yesterday", "/query/created_after"),
        ("sort=name", "/query/sort"),
        ("after=ds_1", "/query/after"),
    ],
)
def test_a_wrong_query_is_refused_by_its_name(client: TestClient, query: str, pointer: str) -> None:
    problem(client.get(f"/v1/jobs?{query}"), 422, "validation_failed", pointer)


def test_a_wrong_choice_inside_a_union_is_found_there(client: TestClient) -> None:
    rate = {"from_job": "job_1", "rule": "recomended"}

    response = client.post("/v1/fine-tunes", json={**TUNE, "learning_rate": rate})

    body = problem(response, 422, "validation_failed")
    assert [each["pointer"] for each in body["errors"]] == ["/learning_rate/rule"]
    assert field(body, "/learning_rate/rule")["did_you_mean"] == ["recommended"]


@pytest.mark.parametrize(
    ("path", "change", "pointer"),
    [
        ("lr-finds", {"start_lr": 1, "end_lr": 1.5}, "/end_lr"),
        ("fine-tunes", {"learning_rate": {"lowest": 1, "highest": 0.1}}, "/learning_rate/lowest"),
        (
            "fine-tunes",
            {"learning_rate": {"lowest": 0.1, "highest": 1}, "discriminative": "off"},
            "/discriminative",
        ),
    ],
)
def test_of_two_fields_that_do_not_fit_one_is_pointed_to(
    client: TestClient, path: str, change: dict[str, Any], pointer: str
) -> None:
    problem(client.post(f"/v1/{path}", json={**TUNE, **change}), 422, "validation_failed", pointer)


def test_an_unknown_kind_of_source_names_the_kinds_there_are(client: TestClient) -> None:
    response = client.post("/v1/datasets", json={**CATS, "source": {"type": "pth"}})

    wrong = field(problem(response, 422, "validation_failed"), "/source/type")
    assert (
        wrong["detail"] == "\"pth\" is none of 'path', 'sample', 'upload', 'url', 's3', 'gs', 'az'"
    )
    assert (wrong["allowed"], wrong["did_you_mean"]) == (
        ["path", "sample", "upload", "url", "s3", "gs", "az"],
        ["path"],
    )


def test_of_a_flood_of_errors_a_hundred_are_told_and_all_are_counted(client: TestClient) -> None:
    body = problem(
        client.post("/v1/fine-tunes", json={**TUNE, **{f"k{n}": n for n in range(5000)}}),
        422,
        "validation_failed",
    )

    assert len(body["errors"]) == 100
    assert body["detail"].endswith("(and 4999 more)")


def test_of_a_long_name_of_a_field_the_beginning_is_repeated(client: TestClient) -> None:
    response = client.post("/v1/fine-tunes", json={**TUNE, "k" * 100_000: 1})

    problem(response, 422, "validation_failed", "/" + "k" * 100)
    assert len(response.content) < 2000
