import pytest

from jobs import models
from jobs.database import Database
from jobs.errors import NotFoundError
from jobs.ids import new_model_id
from jobs.models import Model


def a_model(database: Database, *, dataset_id: str = "ds_1") -> Model:
    model = Model(
        id=new_model_id(),
        name=None,
        owner="local",
        job_id="job_1",
        dataset_id=dataset_id,
        architecture="resnet34",
        classes=["cat", "dog"],
        card={"accuracy": 0.9},
        path="models/mdl_1.safetensors",
        digest="0" * 64,
        size_bytes=2**33,
        metadata={"run": "first"},
        version=1,
        created_ms=1,
    )
    with database.write() as connection:
        models.add(connection, model)
    return model


def test_a_model_comes_back_as_it_was_added(database: Database) -> None:
    model = a_model(database)

    assert models.get(database, model.id) == model


def test_a_model_that_does_not_exist_is_not_found(database: Database) -> None:
    with pytest.raises(NotFoundError, match="no model has the id 'mdl_0'"):
        models.get(database, "mdl_0")


def test_models_are_listed_newest_first_in_pages(database: Database) -> None:
    old, other, new = a_model(database), a_model(database, dataset_id="ds_2"), a_model(database)

    first = models.list_models(database, dataset_id=None, after=None, limit=2)
    rest = models.list_models(database, dataset_id=None, after=first[-1].id, limit=2)
    chosen = models.list_models(database, dataset_id="ds_1", after=None, limit=9)

    assert (first, rest, chosen) == ([new, other], [old], [new, old])
