"""`tunesmith gc`: what is worth nothing any more is removed, or only named."""

from pathlib import Path
from typing import Annotated

import typer

from cli.command_error import store_answers
from cli.installation import installation, opened
from cli.show import bytes_text
from jobs import retention
from jobs.artifacts import Artifacts
from jobs.removals import Removal

DataDir = Annotated[
    Path | None, typer.Option(help="folder of a stack; absent: the default one, or the environment")
]


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be removed; change nothing")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Remove what is worth nothing any more; results stay, and whatever is in use."""
    settings = installation(data_dir).settings
    with store_answers(), opened(settings) as database:
        store = retention.Store(database, Artifacts.of(settings), settings)
        plan = retention.plan(store)
        gone = []
        for removal in plan:
            is_gone = dry_run or retention.remove(store, removal)
            gone += [removal] if is_gone else []
            print(_line(removal) if is_gone else f"{_line(removal)}: stays, it has come into use")
    print(_sum(gone, dry_run=dry_run))


def _line(removal: Removal) -> str:
    size = bytes_text(removal.size_bytes)
    return f"{size:>9}  {removal.kind:<12}  {removal.name}  ({removal.why})"


def _sum(removals: list[Removal], *, dry_run: bool) -> str:
    if not removals:
        return "nothing to remove"
    size = bytes_text(sum(removal.size_bytes for removal in removals))
    count = f"{len(removals)} thing{'s' if len(removals) > 1 else ''}"
    return f"{count}, {size}, would be removed" if dry_run else f"{count}, {size}, removed"
