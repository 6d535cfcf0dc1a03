"""Writes the OpenAPI document anew, for the API to serve: ``python -m api.openapi_file``."""

import json

from api.app import create_app
from api.openapi_document import KEPT, derived_document
from jobs.settings import load_settings


def text() -> str:
    """The document as JSON, one value a line, so that changes can be read."""
    document = derived_document(create_app(load_settings()))
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    KEPT.write_text(text())
