"""Prints the OpenAPI document: ``python -m api.openapi_file > tests/api/openapi.json``."""

import json
import sys

from api.app import create_app
from jobs.settings import load_settings


def text() -> str:
    """The document as JSON, one value a line, so that changes can be read."""
    document = create_app(load_settings()).openapi()
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
