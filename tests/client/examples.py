"""The examples that the service's own documentation has of its answers."""

from typing import Any

from pydantic import BaseModel


def example_of(resource: type[BaseModel]) -> dict[str, Any]:
    """The example of an answer of this kind."""
    extra = resource.model_config["json_schema_extra"]
    assert isinstance(extra, dict)
    example = extra["example"]
    assert isinstance(example, dict)
    return dict(example)
