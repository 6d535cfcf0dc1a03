"""The body of a request, from a file, options and `--set`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from cli.command_error import CommandError
from tunesmith_client import Json

Schema = Mapping[str, Any]


def body(
    file: Path | None, options: Mapping[str, Any], assignments: Iterable[str], schema: Schema
) -> Json:
    """The fields of a file, then those of options, then those of `--set`; later ones win.

    Values are not judged here: the service says what is wrong with them.

    Args:
        file: JSON object; None for none.
        options: field to its text or value; None was not given.
        assignments: ``name=value``, or ``object.name=value`` for a field inside an object.
        schema: JSON schema of the body, which tells which fields are texts.

    Raises:
        CommandError: the file holds no JSON object, or the assignment goes into what is none.
        typer.BadParameter: an assignment has no ``=``.
    """
    made = {} if file is None else _object_in(file)
    for name, text in options.items():
        if text is not None:
            made[name] = value(text, schema, name) if isinstance(text, str) else text
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{assignment!r} is not like name=value", param_hint="--set")
        _put(made, name, value(text, schema, *name.split(".")))
    return made


def value(text: str, schema: Schema, *path: str) -> Any:  # noqa: ANN401 - any JSON
    """What the text says: JSON where it is some, the text itself otherwise.

    A field that takes nothing but text gets the text: a name may be ``7``, a label ``true``.
    """
    if set(_types(_at(schema, path), schema)) == {"string"}:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _object_in(file: Path) -> Json:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as problem:
        raise CommandError(f"{file} cannot be read as JSON: {problem}") from problem
    if not isinstance(found, dict):
        raise CommandError(f"{file} holds no JSON object, but the fields of a request are one")
    return found


def _put(made: Json, name: str, content: Any) -> None:  # noqa: ANN401 - any JSON
    *outer, last = name.split(".")
    inside = made
    for part in outer:
        inside = inside.setdefault(part, {})
        if not isinstance(inside, dict):
            raise CommandError(f"--set {name}: {part} is {inside!r}, which has no fields inside")
    inside[last] = content


def _at(schema: Schema, path: Iterable[str]) -> Schema | None:
    """The schema of a field; None where it is unknown, or may be one of several."""
    found: Schema | None = schema
    for name in path:
        inside = resolved(found or {}, schema)
        anything = inside.get("additionalProperties")
        others = anything if isinstance(anything, dict) else None
        found = inside.get("properties", {}).get(name, others)
    return found


def _types(field: Schema | None, schema: Schema) -> Iterator[str]:
    if field is None:
        return
    field = resolved(field, schema)
    for choice in field.get("anyOf", field.get("oneOf", ())):
        yield from _types(choice, schema)
    # null is no text, but nobody writes it where a text is wanted
    if field.get("type", "null") != "null":
        yield field["type"]
    elif "const" in field or "enum" in field:
        yield "string"


def resolved(field: Schema, schema: Schema) -> Schema:
    """The field's schema itself where it only refers to one."""
    if "$ref" not in field:
        return field
    found: Schema = schema["$defs"][field["$ref"].rsplit("/", 1)[1]]
    return found
