"""The commands on the database: secrets on standard output alone, everything else beside it."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from jobs import keys
from jobs.database import Database
from jobs.keys import Scope
from tests.cli.conftest import Command
from tunesmith_client import Client

SECRET = re.compile(r"tsk_[A-Za-z0-9_-]{43}\n")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    """The commands find the test's own database."""
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", database_url)


def test_migrating_makes_the_first_admin_key_and_prints_it_once(
    tunesmith: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", f"sqlite:///{tmp_path}/new/tunesmith.db")
    new = Database(f"sqlite:///{tmp_path}/new/tunesmith.db")

    code, secret, _ = tunesmith("migrate")

    assert code == 0
    assert SECRET.fullmatch(secret)
    found = keys.find(new, secret.strip())
    assert found is not None
    assert found.scopes == {Scope.ADMIN}
    assert tunesmith("migrate")[:2] == (0, "")
    new.close()


def test_a_key_from_a_file_is_registered_and_not_printed(
    tunesmith: Command, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "tsk_" + "a" * 43
    (tmp_path / "admin-key").write_text(secret)
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY_FILE", f"{tmp_path}/admin-key")

    code, out, err = tunesmith("migrate")

    assert (code, out) == (0, "")
    assert secret not in err
    assert keys.find(database, secret) is not None


def test_a_wrong_key_file_is_named_in_one_line(
    tunesmith: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY_FILE", f"{tmp_path}/nowhere")

    code, _, err = tunesmith("migrate")

    assert code == 1
    assert err.startswith("tunesmith: TUNESMITH_ADMIN_KEY_FILE: ")
    assert len(err.splitlines()) == 1


def test_a_key_is_made_with_its_scopes_owner_and_end(
    tunesmith: Command, database: Database
) -> None:
    arguments = ("--scope", "jobs:write", "--scope", "datasets:write", "--owner", "ana")

    code, out, err = tunesmith("keys", "create", "notebook", *arguments, "--expires-days", "2")

    assert code == 0
    key = keys.find(database, out.strip())
    assert key is not None
    assert (key.name, key.owner) == ("notebook", "ana")
    assert key.scopes == {Scope.JOBS_WRITE, Scope.DATASETS_WRITE}
    assert key.expires_ms == pytest.approx(key.created_ms + 2 * 86_400_000, abs=60_000)
    assert key.id in err
    assert out.strip() not in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--scope", "everything"), "everything"),
        (("--scope", "read", "--owner", "ana b"), "--owner"),
        (("--scope", "read", "--expires-days", "0"), "--expires-days"),
        ((), "--scope"),
    ],
)
def test_a_wrong_option_is_named(
    tunesmith: Command, database: Database, arguments: tuple[str, ...], named: str
) -> None:
    code, out, err = tunesmith("keys", "create", "notebook", *arguments)

    assert (code, out) == (2, "")
    assert named in re.sub(r"\x1b\[[0-9;]*m", "", err)
    assert keys.list_keys(database, limit=1) == []


def test_the_list_shows_every_key_with_its_state_and_no_secret(tunesmith: Command) -> None:
    _, secret, _ = tunesmith("keys", "create", "first", "--scope", "admin")
    tunesmith("keys", "create", "second", "--scope", "read")

    _, out, _ = tunesmith("keys", "list")

    second, first = out.splitlines()
    assert first.endswith("usable  local  admin  never used  first")
    assert second.endswith("usable  local  read  never used  second")
    assert secret[:12] in first
    assert secret.strip() not in out


def test_a_revoked_key_works_no_more(tunesmith: Command, database: Database) -> None:
    _, secret, _ = tunesmith("keys", "create", "n", "--scope", "read")
    key_id = keys.list_keys(database, limit=1)[0].id

    code, out, err = tunesmith("keys", "revoke", key_id)

    assert (code, out, err) == (0, "", f"{key_id} (n) is revoked\n")
    assert keys.find(database, secret.strip()) is None
    assert "revoked" in tunesmith("keys", "list")[1]


def test_the_last_admin_key_stays(tunesmith: Command, database: Database) -> None:
    tunesmith("migrate")
    key_id = keys.list_keys(database, limit=1)[0].id

    code, _, err = tunesmith("keys", "revoke", key_id)

    assert code == 1
    assert err.startswith(f"tunesmith: {key_id} is the last usable key")


def test_an_unknown_key_is_named(tunesmith: Command) -> None:
    assert tunesmith("keys", "revoke", "key_1") == (
        1,
        "",
        "tunesmith: no API key has the id 'key_1'\n",
    )


def test_a_database_without_tables_is_to_be_migrated_first(
    tunesmith: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.db").touch()
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")

    code, _, err = tunesmith("keys", "list")

    assert code == 1
    assert "run `tunesmith migrate`" in err


@pytest.mark.parametrize(("key", "sent"), [("tsk_x", "Bearer tsk_x"), (None, None)])
def test_the_client_sends_its_key(echo: str, key: str | None, sent: str | None) -> None:
    with Client(echo, key=key) as client:
        assert client.get("/") == {"authorization": sent}


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """The Authorization that was sent is told."""
        body = json.dumps({"authorization": self.headers["Authorization"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that tells what it was sent."""
    with HTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
