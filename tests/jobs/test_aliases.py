"""Names that lead to one model of an owner, on both kinds of database."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs import aliases, models, records
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import ModelInUseError, NotFoundError
from jobs.job import JobState
from jobs.models import ModelFilter
from jobs.restore import restore
from tests.jobs import given


def test_an_alias_leads_to_the_model_that_it_was_last_given_to(database: Database) -> None:
    old, new = given.a_model(database), given.a_model(database)

    aliases.edit(database, old.id, {"aliases": ["production", "stable"]})
    aliases.edit(database, new.id, {"aliases": ["production"]})

    assert aliases.named(database, "production", owner="local").id == new.id
    assert aliases.named(database, "stable", owner="local").id == old.id
    assert aliases.named(database, old.id, owner="local").id == old.id
    assert aliases.of_models(database, [old.id, new.id]) == {
        old.id: ["stable"],
        new.id: ["production"],
    }


def test_a_move_counts_as_an_edit_of_both_models(database: Database) -> None:
    old, new, other = (given.a_model(database) for _ in range(3))

    aliases.edit(database, old.id, {"aliases": ["production"]})
    aliases.edit(database, new.id, {"aliases": ["production"]})
    aliases.edit(database, new.id, {"aliases": ["production"]})

    versions = [models.get(database, model.id).version for model in (old, new, other)]
    assert versions == [3, 3, 1]


def test_an_edit_meant_for_another_version_changes_nothing(database: Database) -> None:
    model = given.a_model(database)
    aliases.edit(database, model.id, {"aliases": ["stable"], "name": "first"})

    changes = {"aliases": ["production"], "name": "second"}
    assert aliases.edit(database, model.id, changes, expected_version=1) is None

    now = models.get(database, model.id)
    assert (now.name, now.version) == ("first", 2)
    assert aliases.of_models(database, [model.id]) == {model.id: ["stable"]}


def test_an_empty_list_takes_all_aliases_away(database: Database) -> None:
    model = given.a_model(database)
    aliases.edit(database, model.id, {"aliases": ["a", "b"]})

    aliases.edit(database, model.id, {"aliases": []})

    with pytest.raises(NotFoundError, match="no model has the id 'a'"):
        aliases.named(database, "a", owner="local")


def test_owners_have_names_of_their_own(database: Database) -> None:
    anas, bens = given.a_model(database, owner="ana"), given.a_model(database, owner="ben")

    for model in (anas, bens):
        aliases.edit(database, model.id, {"aliases": ["production"]})

    assert aliases.named(database, "production", owner="ana").id == anas.id
    assert aliases.named(database, "production", owner="ben").id == bens.id
    with pytest.raises(NotFoundError):
        aliases.named(database, "production", owner="eve")
    chosen = ModelFilter(alias="production", owner="ben")
    assert [m.id for m in models.list_models(database, chosen, after=None, limit=9)] == [bens.id]


def test_a_model_with_an_alias_is_deleted_only_after_the_alias_has_moved(
    database: Database,
) -> None:
    old, new = given.a_model(database), given.a_model(database)
    aliases.edit(database, old.id, {"aliases": ["production"]})

    with pytest.raises(ModelInUseError, match="in use by the alias 'production'"):
        models.delete_model(database, old.id)
    aliases.edit(database, new.id, {"aliases": ["production"]})
    models.delete_model(database, old.id)

    assert aliases.named(database, "production", owner="local").id == new.id


def test_of_many_moves_at_once_one_is_the_last_and_no_reader_finds_nothing(
    database: Database,
) -> None:
    rivals = [given.a_model(database).id for _ in range(4)]
    aliases.edit(database, rivals[0], {"aliases": ["production"]})

    with ThreadPoolExecutor(8) as pool:
        moves = [
            pool.submit(aliases.edit, database, model_id, {"aliases": ["production", "new"]})
            for model_id in rivals * 3
        ]
        seen = [
            pool.submit(aliases.named, database, "production", owner="local") for _ in range(12)
        ]
        assert {each.result().id for each in seen} <= set(rivals)
        assert all(move.result() is not None for move in moves)

    assert list(aliases.of_models(database, rivals).values()) == [["new", "production"]]


def test_aliases_come_back_with_a_lost_database(database: Database, artifacts: Artifacts) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)
    file = artifacts.model_file("mdl_1")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    model = given.a_model(database, id="mdl_1", job_id=job.id, digest=empty)
    aliases.edit(database, model.id, {"aliases": ["production"]})
    records.write_due(database, artifacts)
    aliases.edit(database, model.id, {"aliases": []})

    # what leads nowhere is what a lost database has in common with this one
    restore(database, artifacts)

    assert aliases.named(database, "production", owner="local").id == model.id
