"""Versions of datasets made by a real worker: same bytes, same ids, other labels; deletions."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from jobs import datasets, store, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.job import JobState, JobType
from jobs.settings import Settings
from jobs.version_spec import VersionOf
from tests.api.conftest import TestClient
from tests.worker.conftest import fine_tune_spec, import_folder, submit, wait_for
from tests.worker.photos import write_photos
from worker.items import Item, read_items
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]
Make = Callable[..., Dataset]

SAMPLE = {
    "source": {"type": "sample", "photos_per_class": 8},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
}


@pytest.fixture
def make(database: Database, work: Work) -> Make:
    """Makes a version of a dataset with a real worker, as far as it got."""

    def run(parent: Dataset, **changes: Any) -> Dataset:  # noqa: ANN401
        asked = VersionOf(parent=parent.id, **changes)
        with database.write() as connection:
            dataset = datasets.register_version(connection, asked)
        work("prepare")
        wait_for(database, dataset.job_id, lambda job: job.is_terminal)
        return datasets.get(database, dataset.id)

    return run


@pytest.fixture
def parent(database: Database, dataset_id: str) -> Dataset:
    """24 photos of a folder in two classes, 18 of them to train on."""
    return datasets.get(database, dataset_id)


@pytest.fixture
def drawn(database: Database, work: Work, quick: Settings) -> Dataset:
    """48 photos of the service's own."""
    return import_folder(database, work, quick.dataset_roots[0], **SAMPLE)


@pytest.fixture
def client(quick: Settings) -> Iterator[TestClient]:
    """A client of the whole application."""
    with TestClient(create_app(quick), base_url="http://127.0.0.1") as client:
        yield client


def items(artifacts: Artifacts, dataset: Dataset) -> dict[str, Item]:
    """The dataset's items by path."""
    return {item.path: item for item in read_items(artifacts.items_file(dataset.id))}


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def changes(dataset: Dataset) -> Mapping[str, Any]:
    assert dataset.state == "ready", dataset.error
    found: Mapping[str, Any] = (dataset.report or {})["changes"]
    return found


def test_a_version_is_its_parent_with_the_changes_and_nothing_else(
    artifacts: Artifacts, parent: Dataset, make: Make
) -> None:
    before = items(artifacts, parent)
    wrong, out = before["red_3.jpg"], before["blue_5.jpg"]

    child = make(parent, relabel=[{"item": wrong.item_id, "label": "blue"}], exclude=[out.item_id])

    assert changes(child) == {
        "relabelled": {
            "count": 1,
            "items": [
                {
                    "item_id": wrong.item_id,
                    "path": "red_3.jpg",
                    "split": wrong.split,
                    "from": "red",
                    "to": "blue",
                }
            ],
        },
        "excluded": {
            "count": 1,
            "items": [
                {
                    "item_id": out.item_id,
                    "path": "blue_5.jpg",
                    "split": out.split,
                    "label": "blue",
                }
            ],
        },
        "new_classes": [],
        "gone_classes": [],
    }
    after = items(artifacts, child)
    assert list(after) == [path for path in before if path != "blue_5.jpg"]
    differing = {path for path in after if after[path] != before[path]}
    assert differing == {"red_3.jpg"}
    assert after["red_3.jpg"].label == "blue"
    assert after["red_3.jpg"].split == wrong.split
    assert [dict(entry) for entry in child.classes] == [
        {"label": "blue", "count": 12},
        {"label": "red", "count": 11},
    ]
    assert (child.counts or {})["files"] == 23
    assert (parent.report or {})["changes"] is None


def test_the_digest_is_that_of_files_labels_and_parts(
    artifacts: Artifacts, parent: Dataset, make: Make
) -> None:
    item = items(artifacts, parent)["red_3.jpg"].item_id

    there = make(parent, relabel=[{"item": item, "label": "blue"}])
    back = make(there, relabel=[{"item": item, "label": "red"}])
    without = make(parent, exclude=[item])

    assert len({parent.digest, there.digest, without.digest}) == 3
    assert back.digest == parent.digest
    assert back.parent_id == there.id


def test_new_classes_are_told_and_classes_without_a_photo_are_gone(
    artifacts: Artifacts, parent: Dataset, make: Make
) -> None:
    found = items(artifacts, parent)
    reds = [found[f"red_{number}.jpg"].item_id for number in range(12)]
    labels = {item: "=crimson 🔴" if item == reds[0] else "rot" for item in reds}

    child = make(parent, relabel=[{"item": item, "label": labels[item]} for item in reds])

    assert changes(child)["new_classes"] == ["=crimson 🔴", "rot"]
    assert changes(child)["gone_classes"] == ["red"]
    assert [entry["label"] for entry in child.classes] == ["=crimson 🔴", "blue", "rot"]


@pytest.mark.slow
def test_photos_and_thumbnails_are_shared_and_outlive_parent_and_grandparent(
    database: Database, artifacts: Artifacts, client: TestClient, drawn: Dataset, make: Make
) -> None:
    before = files_below(artifacts.photos_folder(drawn.id))
    pictures = files_below(artifacts.thumbnails_folder(drawn.id))
    gone, kept = sorted(items(artifacts, drawn).values(), key=lambda item: item.path)[:2]
    child = make(drawn, exclude=[gone.item_id])
    grandchild = make(child, relabel=[{"item": kept.item_id, "label": "another cat"}])
    one = artifacts.photos_folder(drawn.id) / kept.path
    same = artifacts.photos_folder(grandchild.id) / kept.path
    assert os.path.samefile(one, same)

    for dataset in (drawn, child):
        assert client.delete(f"/v1/datasets/{dataset.id}").status_code == 204

    assert not artifacts.dataset_folder(drawn.id).exists()
    left = {name: content for name, content in before.items() if name != gone.path}
    assert files_below(artifacts.photos_folder(grandchild.id)) == left
    shown = {name: content for name, content in pictures.items() if gone.item_id not in name}
    assert files_below(artifacts.thumbnails_folder(grandchild.id)) == shown
    own = f"/v1/datasets/{grandchild.id}/items"
    assert client.get(f"{own}/{kept.item_id}/image?size=64").status_code == 200
    assert client.get(f"{own}/{gone.item_id}/image?size=64").status_code == 404
    assert client.get(f"/v1/datasets/{grandchild.id}").json()["parent_id"] == child.id


def test_a_deleted_version_takes_nothing_from_its_parent(
    artifacts: Artifacts, client: TestClient, drawn: Dataset, make: Make
) -> None:
    before = files_below(artifacts.dataset_folder(drawn.id))
    child = make(drawn, exclude=[next(iter(items(artifacts, drawn).values())).item_id])

    assert client.delete(f"/v1/datasets/{child.id}").status_code == 204

    assert files_below(artifacts.dataset_folder(drawn.id)) == before
    assert [each.name for each in (artifacts.root / "datasets").iterdir()] == [drawn.id]


@pytest.mark.slow
def test_a_version_copies_where_no_link_can_be_had(
    artifacts: Artifacts, drawn: Dataset, make: Make, quick: Settings
) -> None:
    item = next(iter(items(artifacts, drawn).values()))
    photo = artifacts.photos_folder(drawn.id) / item.path
    spare = quick.dataset_roots[0] / "links"
    spare.mkdir()
    _use_up_links(photo, spare)

    child = make(drawn, relabel=[{"item": item.item_id, "label": "another cat"}])

    copied = artifacts.photos_folder(child.id) / item.path
    assert child.state == "ready", child.error
    assert copied.read_bytes() == photo.read_bytes()
    assert not os.path.samefile(copied, photo)


def _use_up_links(file: Path, folder: Path) -> None:
    """The file has as many names as the file system allows."""
    most = os.pathconf(file, "PC_LINK_MAX")
    if most > 70_000:
        pytest.skip(f"this file system allows {most} names of a file")
    for number in range(most - file.stat().st_nlink):
        os.link(file, folder / str(number))


def test_a_version_whose_parent_lost_its_photos_says_which(
    artifacts: Artifacts, drawn: Dataset, make: Make
) -> None:
    item, other = sorted(items(artifacts, drawn).values(), key=lambda item: item.path)[:2]
    (artifacts.photos_folder(drawn.id) / other.path).unlink()

    child = make(drawn, exclude=[item.item_id])

    assert child.state == "failed"
    assert child.error is not None
    assert child.error["code"] == "source_unreachable"
    assert other.path in child.error["message"]


def test_an_attempt_goes_on_from_what_an_earlier_one_has_linked(
    database: Database, artifacts: Artifacts, drawn: Dataset, work: Work
) -> None:
    gone, kept = sorted(items(artifacts, drawn).values(), key=lambda item: item.path)[:2]
    with database.write() as connection:
        asked = VersionOf(parent=drawn.id, exclude=[gone.item_id])
        child = datasets.register_version(connection, asked)
    own = artifacts.dataset_folder(child.id)
    earlier = artifacts.thumbnail(child.id, kept.item_id, 64)
    earlier.parent.mkdir(parents=True)
    os.link(artifacts.thumbnail(drawn.id, kept.item_id, 64), earlier)
    half = artifacts.partial_photos_folder(child.id, 1) / "half.jpg"
    half.parent.mkdir()
    half.write_bytes(b"half")

    work("prepare")
    wait_for(database, child.job_id, lambda job: job.is_terminal)

    assert datasets.get(database, child.id).state == "ready"
    assert {each.name for each in own.iterdir()} == {"files", "items.parquet", "thumbs"}
    assert "half.jpg" not in files_below(own / "files")


def test_a_cancelled_version_changes_nothing(
    database: Database, artifacts: Artifacts, parent: Dataset
) -> None:
    item = next(iter(items(artifacts, parent).values())).item_id
    with database.write() as connection:
        child = datasets.register_version(connection, VersionOf(parent=parent.id, exclude=[item]))

    verbs.cancel(database, child.job_id)

    assert datasets.get(database, child.id).state == "failed"
    assert datasets.get(database, parent.id) == parent


def test_find_a_wrong_label_mend_it_train_again_in_three_calls(
    client: TestClient, database: Database, work: Work, quick: Settings, artifacts: Artifacts
) -> None:
    """The walk of docs/datasets.md; no pixel is presized twice."""
    folder = quick.dataset_roots[0] / "walk"
    write_photos(folder)
    (folder / "blue_0.jpg").rename(folder / "red_99.jpg")
    parent = import_folder(database, work, folder, split={"rule": "random", "valid_fraction": 0.5})
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(parent.id), parent.id)
    work("train")
    job = wait_for(database, job.id, lambda job: job.is_terminal)
    assert job.state == JobState.SUCCEEDED, job.error
    pixels = {each.name for each in artifacts.pixels_folder().iterdir() if each.is_dir()}

    rows = client.get(f"/v1/jobs/{job.id}/samples?sort=-loss&limit=1").json()["data"]
    right = {"red": "blue", "blue": "red"}[rows[0]["label"]]
    change = {"relabel": [{"item": rows[0]["item_id"], "label": right}]}
    child = client.post(f"/v1/datasets/{parent.id}/versions", json=change).json()
    work("prepare")
    wait_for(database, child["job_id"], lambda job: job.is_terminal)
    again = client.post(f"/v1/jobs/{job.id}/retry", json={"dataset": child["id"]})

    assert again.status_code == 202, again.text
    work("train")
    done = wait_for(database, again.json()["id"], lambda job: job.is_terminal)
    assert done.state == JobState.SUCCEEDED, done.error
    assert (done.dataset_id, done.retry_of) == (child["id"], job.id)
    assert {each.name for each in artifacts.pixels_folder().iterdir() if each.is_dir()} == pixels
    row = client.get(f"/v1/jobs/{done.id}/samples/{rows[0]['item_id']}").json()
    assert row["label"] == right
    assert store.get(database, done.id).spec["dataset"] == child["id"]


@pytest.mark.slow
def test_a_training_without_some_photos_decodes_none_again(
    database: Database, work: Work, quick: Settings, artifacts: Artifacts, make: Make
) -> None:
    folder = quick.dataset_roots[0] / "gone"
    write_photos(folder)
    parent = import_folder(database, work, folder)
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(parent.id), parent.id)
    work("train")
    assert wait_for(database, job.id, lambda job: job.is_terminal).state == JobState.SUCCEEDED
    found = items(artifacts, parent)
    child = make(parent, exclude=[found["red_3.jpg"].item_id])
    grandchild = make(child, exclude=[found["blue_5.jpg"].item_id])
    for photo in folder.iterdir():
        photo.unlink()

    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(grandchild.id), grandchild.id)
    work("train")

    done = wait_for(database, job.id, lambda job: job.is_terminal)
    assert done.state == JobState.SUCCEEDED, done.error
