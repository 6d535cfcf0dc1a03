"""The OpenAPI document: what FastAPI derives from the routes, and what holds for all of them.

Deriving it takes a second of computing, so it is kept beside this module and served from there.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api.openapi_links import add_links
from api.problems import MEDIA_TYPE, ProblemDetails, problem_examples, problem_responses
from api.schemas.resource import Resource

Json = dict[str, Any]

KEPT = Path(__file__).with_name("openapi.json")
"""Where the document is kept."""

_STREAM = (
    'retry: 3000\n\nevent: job.queued\ndata: {"object":"event","seq":1,"type":"job.queued",…}\n'
    "id: 1\n\n"
)


@cache
def kept_text() -> bytes:
    """The document as it is served, JSON in UTF-8: the derived one (a test compares them)."""
    return KEPT.read_bytes()


@cache
def kept_document() -> Json:
    """The served document, to be read only."""
    document: Json = json.loads(kept_text())
    return document


def derived_document(app: FastAPI) -> Json:
    """The document of the application's routes."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = document["components"]["schemas"]
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDetails"] = problem
    document["components"]["examples"] = problem_examples()
    _restore_nulls(schemas)
    _show_lists(schemas)
    _tell_defaults(schemas)
    _list_constants(schemas)
    for operation in _operations(document):
        _describe_stream(operation)
        _add_problems(operation)
    add_links(document)
    return document


def _operations(document: Json) -> Iterator[Json]:
    for methods in document["paths"].values():
        yield from methods.values()


def _restore_nulls(schemas: Json) -> None:
    """The examples of answers say null where an answer would; FastAPI leaves nulls out."""
    for model in _below(Resource):
        extra = model.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and model.__name__ in schemas:
            schemas[model.__name__] |= extra


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        yield child
        yield from _below(child)


def _show_lists(schemas: Json) -> None:
    """A page without an example of its own shows one entry."""
    for schema in schemas.values():
        entry = schema.get("properties", {}).get("data", {}).get("items", {}).get("$ref")
        if entry is None or "next_cursor" not in schema["properties"] or "example" in schema:
            continue
        shown = schemas[entry.rpartition("/")[2]]["example"]
        page = {"object": "list", "data": [shown], "has_more": False, "next_cursor": None}
        schema["example"] = page


def _tell_defaults(schemas: Json) -> None:
    """The default of one of several objects is told in words: generators of clients read none."""
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            if "oneOf" in field and isinstance(field.get("default"), dict):
                told = f"left out: `{json.dumps(field.pop('default'))}`"
                field["description"] = "; ".join(filter(None, [field.get("description"), told]))


def _list_constants(schemas: Json) -> None:
    """A constant among other kinds is a list of one: generated clients try no kind behind it."""
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            for kind in field.get("anyOf", []):
                if "const" in kind:
                    kind["enum"] = [kind.pop("const")]


def _describe_stream(operation: Json) -> None:
    """Streams have no schema: what FastAPI writes is of a later OpenAPI version."""
    content = operation["responses"].get("200", {}).get("content", {})
    if "text/event-stream" in content:
        content["text/event-stream"] = {"example": _STREAM}


def _add_problems(operation: Json) -> None:
    """The problems that follow from what an operation takes, beside those that its route names."""
    named = [
        code
        for answer in operation["responses"].values()
        for code in answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    ]
    if not named:
        return
    codes = dict.fromkeys([*named, *_implied(operation)])
    for status, answer in problem_responses(*codes).items():
        operation["responses"][str(status)] = answer
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _implied(operation: Json) -> Iterator[str]:
    if "security" in operation:
        yield from ("unauthenticated", "forbidden", "rate_limited")
    # a parameter that does not exist is refused wherever it is sent
    yield "validation_failed"
    if "requestBody" in operation:
        yield from ("payload_too_large", "unsupported_media_type")
        if "application/json" in operation["requestBody"]["content"]:
            yield "malformed_json"
    if any(each["name"].lower() == "idempotency-key" for each in operation.get("parameters", [])):
        yield from ("idempotency_in_progress", "idempotency_key_reused")
