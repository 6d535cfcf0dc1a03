"""The photos of a prediction's request, sent as parts of a form or inside JSON."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from api.json_body import parse
from api.problems import Problem, at
from api.schemas.predictions import MOST_IMAGES, PredictBody
from api.validation import validation_problem

FORM, JSON = "multipart/form-data", "application/json"
FIELD = "images"
_TOO_LARGE = 413

_EXAMPLE = {"images": [{"data": "/9j/4AAQSkZJRg==", "name": "rex.jpg"}]}


def _json_schema() -> dict[str, Any]:
    """The JSON body in one piece: the document has no place for what it refers to."""
    schema = PredictBody.model_json_schema()
    schema["properties"][FIELD]["items"] = schema.pop("$defs")["EncodedImage"]
    return {**schema, "examples": [_EXAMPLE]}


REQUEST_BODY: Mapping[str, Any] = {
    "required": True,
    "content": {
        # first, as its example can be tried out without a file
        JSON: {"schema": _json_schema()},
        FORM: {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {
                    FIELD: {
                        "type": "array",
                        "maxItems": MOST_IMAGES,
                        "description": "photos, one in each part of this name",
                        "items": {"type": "string", "contentMediaType": "image/*"},
                    }
                },
            }
        },
    },
}
"""The body for the documentation; FastAPI knows no choice between two media types."""


@dataclass(frozen=True, slots=True)
class SentImage:
    """A file as it was sent."""

    name: str | None
    content: bytes


async def read_images(request: Request) -> list[SentImage]:
    """The photos of the body, at least one.

    Raises:
        Problem: there is none, too many, or something else.
        RequestValidationError: the JSON cannot be read.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == FORM:
        return await _of_form(request)
    if media_type == JSON:
        return _of_json(await request.body())
    detail = f"Content-Type is {media_type[:100]!r}; send {FORM} or {JSON}"
    raise Problem("unsupported_media_type", detail)


async def _of_form(request: Request) -> list[SentImage]:
    try:
        async with request.form(max_files=MOST_IMAGES, max_fields=1) as form:
            _check_form(form)
            return [
                SentImage(file.filename or None, await file.read())
                for file in form.getlist(FIELD)
                if isinstance(file, UploadFile)
            ]
    except HTTPException as refused:
        if refused.status_code == _TOO_LARGE:
            raise
        detail = f"the form cannot be read: {refused.detail}; send 1 to {MOST_IMAGES} parts images"
        raise at(f"/{FIELD}", "validation_failed", detail) from refused


def _check_form(form: FormData) -> None:
    for name, value in form.multi_items():
        if name != FIELD or not isinstance(value, UploadFile):
            detail = f"the part {name[:100]!r} is not one of the files {FIELD!r}; leave it out"
            raise at(f"/{FIELD}", "validation_failed", detail)
    if not form.multi_items():
        raise at(f"/{FIELD}", "validation_failed", f"there is no part {FIELD!r} with a file")


def _of_json(body: bytes) -> list[SentImage]:
    try:
        sent = parse(body)
    except json.JSONDecodeError as wrong:
        place = {"type": "json_invalid", "loc": ("body", wrong.pos), "ctx": {"error": wrong.msg}}
        raise RequestValidationError([place], body={}) from wrong
    try:
        asked = PredictBody.model_validate(sent)
    except ValidationError as wrong:
        errors = [{**error, "loc": ("body", *error["loc"])} for error in wrong.errors()]
        raise validation_problem(errors, sent, PredictBody) from wrong
    return [
        SentImage(image.name, _decoded(place, image.data))
        for place, image in enumerate(asked.images)
    ]


def _decoded(place: int, data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as wrong:
        detail = f"the data of image {place} are not base64: {wrong}"
        raise at(f"/{FIELD}/{place}/data", "validation_failed", detail) from wrong
