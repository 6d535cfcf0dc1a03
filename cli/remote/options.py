"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path | None, typer.Option("--file", help="JSON file with fields of the request")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="any field, also inside an object, as in augment.flip=false; repeatable",
    ),
]
Watch = Annotated[bool, typer.Option("--watch", help="watch the job to its end")]
Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="sent twice within a day, it makes one thing"),
]
Limit = Annotated[int, typer.Option(min=1, help="how many, at most")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="file to write; absent: named after it, here")
]
