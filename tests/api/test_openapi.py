import difflib
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # no stubs
import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from api import openapi_file
from api.openapi_document import KEPT
from api.problems import KINDS
from api.routes.job_files import RECORD
from tests.api.given import get

PATHS = {
    *("/v1/datasets", "/v1/datasets/{dataset_id}", "/v1/datasets/{dataset_id}/report"),
    "/v1/datasets/{dataset_id}/versions",
    *("/v1/uploads", "/v1/uploads/{upload_id}"),
    *("/v1/datasets/{dataset_id}/items", "/v1/datasets/{dataset_id}/items/{item_id}/image"),
    *("/v1/lr-finds", "/v1/fine-tunes", "/v1/evaluations", "/v1/jobs", "/v1/jobs/{job_id}"),
    "/v1/jobs/compare",
    *("/v1/presizing-previews", "/v1/jobs/{job_id}/presizing-preview"),
    *(
        "/v1/jobs/{job_id}/artifacts",
        "/v1/jobs/{job_id}/artifacts/{name}",
        "/v1/jobs/{job_id}/checkpoints",
        "/v1/jobs/{job_id}/cancel",
        "/v1/jobs/{job_id}/stop",
    ),
    *("/v1/jobs/{job_id}/pause", "/v1/jobs/{job_id}/resume"),
    "/v1/jobs/{job_id}/retry",
    *("/v1/jobs/{job_id}/events", "/v1/jobs/{job_id}/stream", "/v1/jobs/{job_id}/logs"),
    "/v1/jobs/{job_id}/stream-tokens",
    "/v1/limits",
    *("/v1/jobs/{job_id}/loss-curve", "/v1/jobs/{job_id}/lr-curve"),
    *("/v1/jobs/{job_id}/samples", "/v1/jobs/{job_id}/samples/summary"),
    *("/v1/jobs/{job_id}/samples/{item_id}", "/v1/jobs/{job_id}/samples/{item_id}/image"),
    *("/v1/jobs/{job_id}/confusion", "/v1/jobs/{job_id}/classes"),
    *("/v1/jobs/{job_id}/plots", "/v1/jobs/{job_id}/plots/{name}.{file_format}"),
    *("/v1/jobs/{job_id}/reproduce", "/v1/models/{model_id}/predict"),
    *("/v1/predictions", "/v1/jobs/{job_id}/predictions"),
    *("/v1/models", "/v1/models/{model_id}", "/v1/models/{model_id}/download"),
    *("/v1/architectures", "/v1/architectures/{name}"),
    *("/v1/api-keys", "/v1/api-keys/{key_id}"),
    *("/v1/webhooks", "/v1/webhooks/{webhook_id}", "/v1/webhooks/{webhook_id}/test"),
    *("/v1/webhooks/{webhook_id}/rotate-secret", "/v1/webhooks/{webhook_id}/deliveries"),
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}",
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    *("/v1/explain/cross-entropy", "/v1/explain/lr-suggestions"),
    *("/v1/explain/labels", "/v1/explain/schedule"),
    *("/v1/queue", "/healthz", "/readyz", "/version", "/problems/{slug}"),
    *("/metrics", "/metrics/targets"),
}

Operation = tuple[str, str, dict[str, Any]]

SHOWN_LINES = 80


@pytest.fixture(scope="module")
def text() -> str:
    """The OpenAPI document of the routes, as it would be kept."""
    return openapi_file.text()


@pytest.fixture
def document(text: str) -> dict[str, Any]:
    """The OpenAPI document as clients read it."""
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    """Every method and path with its documentation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_the_document_is_the_one_that_is_kept(text: str) -> None:
    changes = difflib.unified_diff(
        KEPT.read_text().splitlines(),
        text.splitlines(),
        "api/openapi.json",
        "the document now",
        lineterm="",
    )
    shown = "\n".join(islice(changes, SHOWN_LINES))

    assert not shown, f"if clients can live with this, run `make openapi`:\n{shown}"


def test_the_document_has_the_paths_that_work_and_no_other(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == PATHS


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(set(names)) == len(names)
    assert all(
        operation["summary"] and operation["description"] and operation["tags"]
        for _, _, operation in operations(document)
    )


def test_every_parameter_and_body_field_of_a_request_is_described(
    document: dict[str, Any],
) -> None:
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            described = parameter.get("description") or parameter["schema"].get("description")
            assert described or parameter["in"] == "path", (path, parameter["name"])


def codes(operation: dict[str, Any]) -> set[str]:
    """The problems that an operation documents, each at its own status."""
    found: set[str] = set()
    for status, answer in operation["responses"].items():
        if status >= "400":
            assert list(answer["content"]) == ["application/problem+json"]
            shown = answer["content"]["application/problem+json"]["examples"]
            assert {KINDS[code].status for code in shown} == {int(status)}
            found |= set(shown)
    return found


def expected(path: str, operation: dict[str, Any]) -> set[str]:
    """The problems that follow from what an operation takes."""
    parameters = operation.get("parameters", [])
    named = {parameter["name"] for parameter in parameters}
    body = operation.get("requestBody", {}).get("content", {})
    codes_of = [
        (True, {"unavailable", "validation_failed"}),
        (path.startswith("/v1/"), {"unauthenticated", "forbidden", "rate_limited"}),
        (any(each["in"] == "path" for each in parameters), {"not_found"}),
        (bool(body), {"payload_too_large", "unsupported_media_type"}),
        ("application/json" in body, {"malformed_json"}),
        ("idempotency-key" in named, {"idempotency_in_progress", "idempotency_key_reused"}),
        ("if-match" in named, {"precondition_failed"}),
    ]
    return {code for holds, names in codes_of if holds for code in names}


def test_every_operation_documents_the_problems_of_what_it_takes(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        if path not in {"/healthz", "/version"}:
            assert expected(path, operation) <= codes(operation), path


def test_every_problem_is_shown_once_for_all_operations(document: dict[str, Any]) -> None:
    shown = document["components"]["examples"]

    assert set(shown) == set(KINDS)
    for code, example in shown.items():
        _check(example["value"], document["components"]["schemas"]["ProblemDetails"], document)
        assert example["value"]["code"] == code


def test_every_parameter_of_a_path_has_an_example(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                assert parameter["schema"]["examples"], (path, parameter["name"])


def test_every_answer_of_json_is_shown(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for _, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json")
            # a file, which the service reads back, not the client
            if content is None or content["schema"] == RECORD:
                continue
            name = content["schema"]["$ref"].rpartition("/")[2]
            assert "example" in schemas[name], (path, status, name)


def test_every_answer_that_makes_something_leads_to_it(document: dict[str, Any]) -> None:
    named = {operation["operationId"]: operation for _, _, operation in operations(document)}
    led = 0
    for _, path, operation in operations(document):
        for status in {"201", "202"} & set(operation["responses"]):
            links = operation["responses"][status]["links"]
            assert links, (path, status)
            for link in links.values():
                target = named[link["operationId"]]
                needed = {
                    f"path.{parameter['name']}"
                    for parameter in target["parameters"]
                    if parameter["in"] == "path"
                }
                assert needed <= set(link["parameters"]), (path, link["operationId"])
                led += 1
    assert led > 80


def test_no_foreign_form_of_error_is_left(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in json.dumps(document)


def test_every_example_of_an_answer_fits_its_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    with_example = {name: schema for name, schema in schemas.items() if "example" in schema}

    assert len(with_example) > 15
    for schema in with_example.values():
        _check(schema["example"], schema, document)


def test_every_example_of_a_request_fits_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for _, path, operation in operations(document):
        if "requestBody" not in operation:
            continue
        if path == "/v1/uploads":
            # an archive
            continue
        content = operation["requestBody"]["content"]["application/json"]
        examples = content["schema"].get("examples", [])
        examples += [example["value"] for example in content.get("examples", {}).values()]
        assert examples, path
        for example in examples:
            _check(example, content["schema"], document)
            checked += 1
    assert checked > 8


def _check(example: object, schema: dict[str, Any], document: dict[str, Any]) -> None:
    within = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(within).validate(example)


def test_every_example_that_needs_nothing_really_runs(
    client: TestClient, document: dict[str, Any]
) -> None:
    ran = 0
    for method, path, operation in operations(document):
        if method != "post" or not path.startswith("/v1/explain"):
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert client.post(path, json=schema["examples"][0]).status_code == 200, path
        ran += 1
    first = document["paths"]["/v1/datasets"]["post"]["requestBody"]["content"]
    sample = first["application/json"]["examples"]["sample"]["value"]
    assert client.post("/v1/datasets", json=sample).status_code == 202
    assert ran == 4


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_needs_no_other_host(client: TestClient, page: str) -> None:
    response = client.get(page)

    sources = re.findall(r'(?:src|href|url)(?:=|: )["\']([^"\']+)', response.text)
    assert len(sources) >= 2
    for source in sources:
        assert source.startswith("/"), source
        assert client.get(source).status_code == 200
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert "default-src 'self'" in response.headers["content-security-policy"]


def test_the_document_is_served(client: TestClient, document: dict[str, Any]) -> None:
    assert get(client, "/openapi.json") == document
