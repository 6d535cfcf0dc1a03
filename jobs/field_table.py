"""The reference of request fields, written from the specs: `python -m jobs.field_table`."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.dataset_spec import DatasetSpec, Spec
from jobs.spec import (
    EvaluationSpec,
    FineTuneSpec,
    LrFindSpec,
    PredictionSpec,
    PresizingPreviewSpec,
)
from jobs.version_spec import DatasetVersion

_REQUESTS: Mapping[str, type[Spec]] = {
    "POST /v1/datasets": DatasetSpec,
    "POST /v1/datasets/{id}/versions": DatasetVersion,
    "POST /v1/lr-finds": LrFindSpec,
    "POST /v1/fine-tunes": FineTuneSpec,
    "POST /v1/evaluations": EvaluationSpec,
    "POST /v1/predictions": PredictionSpec,
    "POST /v1/presizing-previews": PresizingPreviewSpec,
}
_BOUNDS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "maxProperties": "at most {} entries",
    "pattern": "like `{}`",
}

Schema = Mapping[str, Any]


def reference() -> str:
    """The whole page as Markdown: one table for each request and each object inside."""
    parts = [
        "# Request fields\n\nWritten from `jobs/spec.py`, `hyperparameters.py`, `dataset_spec.py` "
        "and `version_spec.py` by `make docs`. A field that is not here is refused.\n"
    ]
    for request, spec in _REQUESTS.items():
        schema = spec.model_json_schema()
        parts.append(f"## {request}\n\n{_table(schema)}")
    parts.append("## Objects inside\n")
    parts += [f"### {name}\n\n{text}" for name, text in sorted(_objects().items())]
    return "\n".join(parts)


def _objects() -> dict[str, str]:
    found = {}
    for spec in _REQUESTS.values():
        for name, schema in spec.model_json_schema().get("$defs", {}).items():
            found[name] = f"{schema.get('description', '')}\n\n{_table(schema)}"
    return found


def _table(schema: Schema) -> str:
    lines = ["| field | what is allowed | default | meaning |", "|---|---|---|---|"]
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in required else f"`{json.dumps(field.get('default'))}`"
        meaning = field.get("description", "")
        lines.append(f"| `{name}` | {_allowed(field)} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _allowed(field: Schema) -> str:
    choices = field.get("anyOf") or field.get("oneOf")
    if choices:
        return " or ".join(_allowed(choice) for choice in choices)
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    return ", ".join(_facts(field)).replace("|", "\\|")


def _facts(field: Schema) -> Iterator[str]:
    if "const" in field:
        yield f"`{json.dumps(field['const'])}`"
    elif "enum" in field:
        yield " or ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    else:
        yield str(field.get("type", "any"))
    if field.get("type") == "array":
        yield f"of {_allowed(field['items'])}"
    for key, words in _BOUNDS.items():
        if key in field:
            yield words.format(field[key])


if __name__ == "__main__":
    sys.stdout.write(reference())
