"""Versions in the database: lineage, deletions, what becomes of a job's record."""

import pytest

from jobs import datasets, leases, records, retries, store, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.errors import DatasetInUseError, DatasetNotReadyError, NotFoundError
from jobs.job import JobType
from jobs.restore import restore
from jobs.spec import DatasetImportSpec
from jobs.submission import import_again
from jobs.version_spec import VersionOf
from tests.jobs import given
from tests.jobs.test_datasets import OUTCOME, import_of

ITEM = "itm_6b1f2ad3c40e5b7c9d8e0f1a2b3c4d5e"


def made(database: Database, dataset: Dataset) -> Dataset:
    """The dataset after its import has succeeded."""
    job = import_of(database, dataset)
    leases.succeed(
        database,
        job.id,
        job.fence,
        values={},
        also=lambda connection: datasets.mark_ready(connection, job, OUTCOME),
    )
    return datasets.get(database, dataset.id)


def version(database: Database, parent_id: str, **changes: object) -> Dataset:
    """A version whose job is queued."""
    asked = VersionOf.model_validate({"parent": parent_id, "exclude": [ITEM], **changes})
    with database.write() as connection:
        return datasets.register_version(connection, asked)


@pytest.fixture
def parent(database: Database) -> Dataset:
    """A ready dataset, renamed since its import."""
    dataset = made(database, given.a_dataset(database))
    edited = datasets.edit(database, dataset.id, {"name": "cats"})
    assert edited is not None
    return edited


def test_a_version_has_the_source_and_rules_of_its_parent_and_what_was_edited_since(
    database: Database, parent: Dataset
) -> None:
    child = version(database, parent.id)

    spec = DatasetImportSpec.model_validate(store.get(database, child.job_id).spec)
    assert (child.parent_id, child.state, child.name) == (parent.id, "importing", "cats")
    assert DatasetSpec.model_validate(child.spec) == given.DATASET.model_copy(
        update={"name": "cats"}
    )
    assert spec.version == VersionOf(parent=parent.id, exclude=[ITEM])
    assert (spec.dataset, spec.request.name) == (child.id, "cats")


def test_a_version_is_listed_with_its_parent(database: Database, parent: Dataset) -> None:
    children = [version(database, parent.id).id for _ in range(3)]
    given.a_dataset(database)

    first = datasets.list_datasets(database, after=None, limit=2, parent_id=parent.id)
    rest = datasets.list_datasets(database, after=first[-1].id, limit=2, parent_id=parent.id)

    assert [each.id for each in (*first, *rest)] == children[::-1]
    assert datasets.list_datasets(database, after=None, limit=9, parent_id=children[0]) == []


def test_ancestors_are_those_of_the_lineage_though_one_is_gone(
    database: Database, parent: Dataset
) -> None:
    child = made(database, version(database, parent.id))
    grandchild = made(database, version(database, child.id))

    assert datasets.ancestors(database, grandchild.id) == [child.id, parent.id]
    datasets.delete_dataset(database, child.id)
    assert datasets.ancestors(database, grandchild.id) == [child.id]
    assert datasets.ancestors(database, parent.id) == []
    assert datasets.ancestors(database, "ds_none") == []


def test_a_parent_can_go_once_its_versions_are_made(database: Database, parent: Dataset) -> None:
    child = version(database, parent.id)
    with pytest.raises(DatasetInUseError, match=f"in use by {child.job_id}"):
        datasets.delete_dataset(database, parent.id)

    made(database, child)
    training = given.a_job(database)
    given.set_columns(database, training.id, dataset_id=child.id)

    assert datasets.delete_dataset(database, parent.id).id == parent.id
    assert datasets.get(database, child.id).parent_id == parent.id


def test_only_a_ready_dataset_has_versions(database: Database) -> None:
    dataset = given.a_dataset(database)

    with pytest.raises(DatasetNotReadyError, match="is importing"):
        version(database, dataset.id)
    with pytest.raises(NotFoundError, match="no dataset has the id 'ds_none'"):
        version(database, "ds_none")


def test_a_failed_version_is_asked_for_again_as_it_was(database: Database, parent: Dataset) -> None:
    child = version(database, parent.id, name="mended")
    verbs.cancel(database, child.job_id)
    failed = store.get(database, child.job_id)

    asked = retries.body_type(failed).model_validate(retries.body_of(database, failed))
    assert isinstance(asked, VersionOf)
    with database.write() as connection:
        again = import_again(connection, asked, failed).job

    assert again.retry_of == failed.id
    assert again.type == JobType.DATASET_IMPORT
    remade = datasets.get(database, str(again.dataset_id))
    assert (remade.parent_id, remade.name) == (parent.id, "mended")


def test_lineage_comes_back_with_a_lost_database(
    database: Database, artifacts: Artifacts, parent: Dataset
) -> None:
    child = made(database, version(database, parent.id))
    records.write_due(database, artifacts)
    for dataset in (child, parent):
        datasets.delete_dataset(database, dataset.id)
        store.delete_job(database, dataset.job_id)

    report = restore(database, artifacts)

    assert sorted(report.datasets) == sorted([child.id, parent.id])
    assert datasets.get(database, child.id) == child
