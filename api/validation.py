"""Turns what pydantic says about an input into field problems that a client can act on."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, get_args

from pydantic import BaseModel

from api.problems import FieldProblem, Problem

Location = tuple[int | str, ...]

_CODES = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "literal_error": "not_allowed",
    "enum": "not_allowed",
    "union_tag_invalid": "not_allowed",
    "union_tag_not_found": "required",
    "string_too_short": "too_short",
    "string_too_long": "too_long",
    "too_short": "too_short",
    "too_long": "too_long",
    "value_error": "invalid",
}
_BOUNDS = ("greater_than", "less_than", "finite_number")
_SHOWN_CHARACTERS = 100
_MOST_ERRORS = 100


def validation_problem(errors: Sequence[Mapping[str, Any]], body: object, model: object) -> Problem:
    """One problem for everything that is wrong with a request.

    Args:
        errors: pydantic's list, with locations that begin with ``body``, ``query`` and so on.
        body: the parsed body, to find the fields in.
        model: the body's type, to know the names of its fields; None when there is no body.
    """
    looked_at = errors[:_MOST_ERRORS]
    fields = [_field(error, body, model) for error in _best_branches(looked_at, body, model)]
    unique = tuple(dict.fromkeys(fields))
    first, others = unique[0], len(unique) - 1 + len(errors) - len(looked_at)
    more = f" (and {others} more)" if others else ""
    detail = f"{_printable(first.pointer)}: {first.detail}{more}"
    return Problem("validation_failed", detail, errors=unique)


def shown(value: object) -> str:
    """The value as JSON with control characters escaped, at most 100 characters; scalars only."""
    if not isinstance(value, str | int | float | bool | None):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _best_branches(
    errors: Sequence[Mapping[str, Any]], body: object, model: object
) -> Iterator[Mapping[str, Any]]:
    """Of a union's branches only the ones that the input fits best."""
    located = [(_aligned(error, body), error) for error in errors]
    for _, group in groupby(located, key=lambda pair: _union_place(pair[0], pair[1])):
        branches: dict[object, list[Mapping[str, Any]]] = {}
        for (_, tag), error in group:
            branches.setdefault(tag, []).append(error)
        misfits = [_misfit(branch, body, model) for branch in branches.values()]
        for branch, misfit in zip(branches.values(), misfits, strict=True):
            if misfit == min(misfits):
                yield from branch


def _misfit(
    errors: Sequence[Mapping[str, Any]], body: object, model: object
) -> tuple[bool, int, int]:
    """A branch of another kind of value fits worst, then one whose fields were not meant."""
    of_another_kind = len(errors) == 1 and _is_about_kind(errors[0], body)
    strangers = [
        error
        for error in errors
        if error["type"] == "extra_forbidden"
        and _names(error, *_aligned(error, body), model)[1] is None
    ]
    return of_another_kind, len(strangers), len(errors)


def _is_about_kind(error: Mapping[str, Any], body: object) -> bool:
    """Whether a branch refuses the value itself, not one of the fields inside."""
    keys, tags = _aligned(error, body)
    ends_in_tag = bool(tags) and tuple(error["loc"][-1:]) != keys[-1:]
    return ends_in_tag and str(error["type"]).endswith(("_type", "literal_error"))


def _union_place(aligned: tuple[Location, Location], error: Mapping[str, Any]) -> Location:
    keys, tags = aligned
    if not tags:
        return tuple(error["loc"])
    # the tags of one union follow the same keys; pydantic lists its branches one after another
    position = _first_tag(tuple(error["loc"][1:]), keys)
    return ("union", *keys[:position])


def _first_tag(location: Location, keys: Location) -> int:
    position = 0
    while position < len(keys) and location[position] == keys[position]:
        position += 1
    return position


def _aligned(error: Mapping[str, Any], body: object) -> tuple[Location, Location]:
    """The location split into keys of the body and names of union branches."""
    source, *rest = error["loc"]
    location = tuple(rest)
    if source != "body":
        return location, ()
    ends_in_nothing = error["type"] == "missing"
    walked = location[:-1] if ends_in_nothing else location
    for keys, value in _walks(walked, body):
        if value is error["input"] or value == error["input"]:
            found = (*keys, *location[-1:]) if ends_in_nothing else keys
            return found, _left_over(location, found)
    return location, ()


def _walks(location: Location, value: Any) -> Iterator[tuple[Location, Any]]:  # noqa: ANN401
    """All ways to read the location as keys into the value, the longest first."""
    if not location:
        yield (), value
        return
    head, tail = location[0], location[1:]
    if _has(value, head):
        for keys, found in _walks(tail, value[head]):
            yield (head, *keys), found
    if isinstance(head, str):
        yield from _walks(tail, value)


def _has(value: object, key: int | str) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and key < len(value)


def _left_over(location: Location, keys: Location) -> Location:
    remaining = list(keys)
    tags: list[int | str] = []
    for element in location:
        if remaining and element == remaining[0]:
            remaining.pop(0)
        else:
            tags.append(element)
    return tuple(tags)


def _field(error: Mapping[str, Any], body: object, model: object) -> FieldProblem:
    keys, tags = _aligned(error, body)
    allowed, near = _names(error, keys, tags, model)
    return FieldProblem(
        pointer=_pointer(error["loc"][0], (*keys, *_named_inside(error))),
        code=_code(str(error["type"])),
        detail=_detail(error, keys),
        allowed=allowed,
        did_you_mean=near,
    )


def _named_inside(error: Mapping[str, Any]) -> Location:
    """The field that an error about a whole object is about: its tag, or the one it names."""
    context = error.get("ctx", {})
    named = context.get("field") or context.get("discriminator")
    return (named.strip("'"),) if isinstance(named, str) else ()


def _code(kind: str) -> str:
    if kind in _CODES:
        return _CODES[kind]
    if kind.startswith(_BOUNDS):
        return "out_of_range"
    return "wrong_type" if kind.endswith(("_type", "_parsing")) else "invalid"


def _pointer(source: int | str, keys: Location) -> str:
    parts = keys if source == "body" else (source, *keys)
    short = (str(part)[:_SHOWN_CHARACTERS] for part in parts)
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in short)


def _detail(error: Mapping[str, Any], keys: Location) -> str:
    kind, message = error["type"], str(error["msg"])
    if kind == "missing":
        return f"{shown(keys[-1]) if keys else 'the body'} is required"
    if kind == "extra_forbidden":
        return f"there is no field {shown(keys[-1])}"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "union_tag_not_found":
        return f"{shown(*_named_inside(error))} is required"
    if kind == "union_tag_invalid":
        return f"{shown(error['ctx']['tag'])} is none of {error['ctx']['expected_tags']}"
    return f"{message} (got {shown(error['input'])})"


def _names(
    error: Mapping[str, Any], keys: Location, tags: Location, model: object
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(model, keys[:-1], tags)
        return allowed, _near(str(keys[-1]), allowed)
    expected = error.get("ctx", {}).get("expected") or error.get("ctx", {}).get("expected_tags")
    if not isinstance(expected, str):
        return None, None
    choices = tuple(re.findall(r"'([^']*)'", expected)) or None
    given = error.get("ctx", {}).get("tag", error["input"])
    return choices, _near(given, choices) if isinstance(given, str) else None


def _near(name: str, names: Sequence[str] | None) -> tuple[str, ...] | None:
    short = name[:_SHOWN_CHARACTERS]
    return tuple(difflib.get_close_matches(short, names or (), n=3)) or None


def _fields_at(model: object, keys: Location, tags: Location) -> tuple[str, ...] | None:
    """Names of the fields of the model that lies at these keys below the body's model."""
    found = _models_in(model)
    for key in keys:
        fields = [one.model_fields[key] for one in found if key in one.model_fields]
        found = [inner for field in fields for inner in _models_in(field.annotation)]
    tagged = [one for one in found if any(_answers_to(one, tag) for tag in tags)] or found
    return tuple(sorted(tagged[0].model_fields)) if len(tagged) == 1 else None


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


def _answers_to(model: type[BaseModel], tag: int | str) -> bool:
    """Whether a union calls this branch by the tag: its name or its discriminator's value."""
    # a model with validators of its own is called function-after[check(), Model]
    if model.__name__ in re.findall(r"\w+", str(tag)):
        return True
    kinds = (model.model_fields.get(name) for name in ("type", "rule"))
    return any(field is not None and tag in get_args(field.annotation) for field in kinds)
