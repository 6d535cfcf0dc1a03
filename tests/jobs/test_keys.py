import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, select, update

from jobs import keys, owners, tables
from jobs.database import Database, db_now_ms
from jobs.errors import LastAdminKeyError, NotFoundError
from jobs.keys import NewKey, Scope
from jobs.settings import SettingsError
from tests.jobs import given

SECRET = "tsk_" + "a" * 43


def a_key(
    database: Database,
    *scopes: Scope,
    owner: str = "local",
    expires_ms: int | None = None,
    secret: str | None = None,
) -> NewKey:
    """A key with these scopes; it may read when none are given."""
    with database.write() as connection:
        return keys.create(
            connection,
            name="test",
            scopes=scopes or (Scope.READ,),
            owner=owner,
            expires_ms=expires_ms,
            secret=secret,
        )


def now_ms(database: Database) -> int:
    """The database's clock."""
    with database.read() as connection:
        return db_now_ms(connection)


def last_used(database: Database, key_id: str, at_ms: int) -> None:
    """The key was used at this time."""
    with database.write() as connection:
        connection.execute(
            update(tables.api_keys).where(tables.api_keys.c.id == key_id).values(last_used_ms=at_ms)
        )


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """Every statement that asks a table, as it was sent."""
    sent: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if "FROM api_keys" in statement:
            sent.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield sent
    event.remove(database.engine, "before_cursor_execute", note)


def test_a_key_is_found_by_its_secret(database: Database) -> None:
    new = a_key(database, Scope.JOBS_WRITE, owner="ana")

    found = keys.find(database, new.secret)

    assert found == new.key
    assert found is not None
    assert found.owner == "ana"
    assert found.scopes == {Scope.JOBS_WRITE}
    assert keys.get(database, new.key.id) == found


def test_a_secret_has_256_random_bits_and_never_repeats(database: Database) -> None:
    made = [a_key(database).secret for _ in range(3)]

    assert all(re.fullmatch(r"tsk_[A-Za-z0-9_-]{43}", secret) for secret in made)
    assert len(set(made)) == 3


def test_the_database_holds_a_digest_and_the_first_characters_only(database: Database) -> None:
    new = a_key(database)

    with database.read() as connection:
        row = connection.execute(select(tables.api_keys)).one()

    assert row.digest == hashlib.sha256(new.secret.encode()).hexdigest()
    assert row.prefix == new.secret[:12]
    assert new.secret not in str(row)


def test_a_new_key_shows_no_secret_when_it_is_printed(database: Database) -> None:
    new = a_key(database)

    assert new.secret not in repr(new)


@pytest.mark.parametrize("secret", ["", "tsk_", SECRET[:-1], SECRET + "a", "tsk_" + "ä" * 43])
def test_what_no_key_can_look_like_is_not_looked_for(
    database: Database, statements: list[str], secret: str
) -> None:
    assert keys.find(database, secret) is None
    assert statements == []


def test_one_look_by_digest_finds_a_key(database: Database, statements: list[str]) -> None:
    new = a_key(database)
    statements.clear()

    assert keys.find(database, new.secret) == new.key
    assert keys.find(database, SECRET) is None

    assert len(statements) == 2
    assert all("api_keys.digest = " in statement for statement in statements)


def test_a_key_works_until_it_expires(database: Database) -> None:
    now = now_ms(database)
    later = a_key(database, expires_ms=now + 60_000)
    over = a_key(database, expires_ms=now - 1)

    assert keys.find(database, later.secret) == later.key
    assert keys.find(database, over.secret) is None
    assert keys.usable_ids(database) == {later.key.id}


def test_a_revoked_key_works_no_more_and_stays_in_the_list(database: Database) -> None:
    new = a_key(database)

    revoked = keys.revoke(database, new.key.id)

    assert revoked.revoked_ms is not None
    assert keys.find(database, new.secret) is None
    assert keys.usable_ids(database) == frozenset()
    assert keys.list_keys(database, limit=10) == [revoked]


def test_revoking_twice_changes_nothing(database: Database) -> None:
    new = a_key(database)

    assert keys.revoke(database, new.key.id) == keys.revoke(database, new.key.id)


def test_the_last_usable_admin_key_cannot_be_revoked(database: Database) -> None:
    first, second = a_key(database, Scope.ADMIN), a_key(database, Scope.ADMIN)
    a_key(database, Scope.ADMIN, expires_ms=now_ms(database) - 1)
    a_key(database, Scope.JOBS_WRITE)
    keys.revoke(database, first.key.id)

    with pytest.raises(LastAdminKeyError, match=f"^{second.key.id} is the last usable key"):
        keys.revoke(database, second.key.id)

    assert keys.find(database, second.secret) is not None


def test_a_key_that_does_not_exist_is_not_found(database: Database) -> None:
    for ask in (keys.get, keys.revoke):
        with pytest.raises(NotFoundError, match="no API key has the id 'key_1'"):
            ask(database, "key_1")


def test_keys_are_listed_newest_first_in_pages(database: Database) -> None:
    made = [a_key(database).key.id for _ in range(3)]

    first = keys.list_keys(database, limit=2)
    rest = keys.list_keys(database, after=first[-1].id, limit=2)

    assert [key.id for key in (*first, *rest)] == made[::-1]


def test_a_use_is_noted_at_most_once_a_minute(database: Database) -> None:
    key_id = a_key(database).key.id
    now = now_ms(database)

    keys.note_use(database, key_id)
    first = keys.get(database, key_id).last_used_ms
    assert first is not None
    assert first >= now

    last_used(database, key_id, now - 30_000)
    keys.note_use(database, key_id)
    assert keys.get(database, key_id).last_used_ms == now - 30_000

    last_used(database, key_id, now - 60_000)
    keys.note_use(database, key_id)
    assert (keys.get(database, key_id).last_used_ms or 0) >= now


def test_the_first_admin_key_is_made_once(database: Database) -> None:
    new = keys.ensure_admin(database, None)

    assert new is not None
    assert new.key.scopes == {Scope.ADMIN}
    assert keys.ensure_admin(database, None) is None
    assert len(keys.list_keys(database, limit=10)) == 1


def test_a_key_that_is_no_admin_does_not_count_as_the_first(database: Database) -> None:
    a_key(database, Scope.JOBS_WRITE)

    assert keys.ensure_admin(database, None) is not None


def test_the_first_admin_key_may_come_from_a_file(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "admin-key"
    file.write_text(f"{SECRET}\n")

    new = keys.ensure_admin(database, file)

    assert new is not None
    assert keys.find(database, SECRET) == new.key


@pytest.mark.parametrize("content", ["", "hunter2", f"{SECRET}\n{SECRET}", "tsk_"])
def test_a_file_without_a_key_is_refused_without_showing_it(
    database: Database, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "admin-key"
    file.write_text(content)

    with pytest.raises(SettingsError, match=r"^TUNESMITH_ADMIN_KEY_FILE: .*must hold") as refused:
        keys.ensure_admin(database, file)

    assert "hunter2" not in str(refused.value)
    assert keys.usable_ids(database) == frozenset()


def test_a_file_that_cannot_be_read_is_named(database: Database, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere cannot be read"):
        keys.ensure_admin(database, tmp_path / "nowhere")


def test_a_key_in_the_file_that_was_used_up_is_refused(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "admin-key"
    file.write_text(SECRET)
    old = a_key(database, Scope.ADMIN, secret=SECRET, expires_ms=1)

    with pytest.raises(SettingsError, match=f"holds the key {old.key.id}, which is revoked"):
        keys.ensure_admin(database, file)


@pytest.mark.parametrize("owner", ["ana", "ana.b@example.org", "a" * 64])
def test_an_owner_is_a_name_or_an_address(owner: str) -> None:
    assert keys.is_owner(owner)


@pytest.mark.parametrize("owner", ["", " ana", "ana b", "a" * 65, "-ana", "ana\n"])
def test_anything_else_is_no_owner(owner: str) -> None:
    assert not keys.is_owner(owner)


def test_the_owner_of_a_thing_is_told_by_its_id(database: Database) -> None:
    job = given.a_job(database, owner="ana")
    dataset = given.a_dataset(database)

    assert owners.owner_of(database, "job", job.id) == "ana"
    assert owners.owner_of(database, "dataset", dataset.id) == "local"
    with pytest.raises(NotFoundError, match="no model has the id 'mdl_1'"):
        owners.owner_of(database, "model", "mdl_1")
