"""Commands on the database itself: its schema, and the API keys in it.

A secret is the only thing that goes to standard output, so that a script can take it from there.
"""

import sys
import time
from typing import Annotated

import typer

from cli.installation import opened
from jobs import keys
from jobs.database import Database
from jobs.keys import ApiKey, NewKey, Scope
from jobs.settings import load_settings
from jobs.store import LOCAL_OWNER

_DAY_MS = 24 * 3600 * 1000
_MOST = 10_000

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


def migrate() -> None:
    """Bring the database to the newest revision; the first time, make an admin key."""
    settings = load_settings()
    database = Database(settings.database_url)
    try:
        database.migrate()
        new = keys.ensure_admin(database, settings.admin_key_file)
    finally:
        database.close()
    _note("the database is at the newest revision")
    if new is not None and settings.admin_key_file is not None:
        _note(f"the key in {settings.admin_key_file} is the first admin key, {new.key.id}")
    elif new is not None:
        _tell(new)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="who or what will use it")],
    scope: Annotated[list[Scope], typer.Option(help="what it allows; repeatable")],
    owner: Annotated[
        str, typer.Option(help="whose things it makes and sees; an admin key sees all")
    ] = LOCAL_OWNER,
    expires_days: Annotated[
        float | None, typer.Option(min=0.001, max=36_500, help="days it works; absent: for ever")
    ] = None,
) -> None:
    """Make a key and print its secret, once."""
    if not keys.is_owner(owner):
        raise typer.BadParameter("up to 64 letters, digits and . _ @ -", param_hint="--owner")
    expires_ms = None
    if expires_days is not None:
        expires_ms = round(time.time() * 1000 + expires_days * _DAY_MS)
    with opened(load_settings()) as database, database.write() as connection:
        new = keys.create(
            connection, name=name[:200], scopes=set(scope), owner=owner, expires_ms=expires_ms
        )
    _tell(new)


@app.command("list")
def list_() -> None:
    """List all keys, newest first, without their secrets."""
    with opened(load_settings()) as database:
        found = keys.list_keys(database, limit=_MOST)
        usable = keys.usable_ids(database)
    for key in found:
        print(_line(key, is_usable=key.id in usable))


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="id of the key, key_…")]) -> None:
    """Make a key worthless, from the next request on."""
    with opened(load_settings()) as database:
        key = keys.revoke(database, key_id)
    _note(f"{key.id} ({key.name}) is revoked")


def _line(key: ApiKey, *, is_usable: bool) -> str:
    state = "usable" if is_usable else "expired" if key.revoked_ms is None else "revoked"
    used = "never used" if key.last_used_ms is None else f"used {_minute(key.last_used_ms)}"
    scopes = ",".join(sorted(key.scopes))
    columns = (key.id, f"{key.prefix}…", state, key.owner, scopes, used, key.name)
    return "  ".join(columns)


def _minute(at_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(at_ms / 1000))


def _tell(new: NewKey) -> None:
    scopes = ", ".join(sorted(new.key.scopes))
    _note(f"{new.key.id} of {new.key.owner} allows {scopes}; its secret, shown this once:")
    print(new.secret)


def _note(line: str) -> None:
    print(line, file=sys.stderr)
