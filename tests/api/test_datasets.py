from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import JobState, JobType
from jobs.settings import Settings
from tests.api.given import (
    CATS,
    REGEX,
    field,
    files,
    get,
    items,
    of_folder,
    photo,
    problem,
    queued,
    ready_dataset,
)
from tests.jobs.given import a_dataset


def test_a_dataset_is_registered_and_its_import_queued(
    client: TestClient, database: Database
) -> None:
    response = client.post("/v1/datasets", json=CATS)

    dataset = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert response.headers["retry-after"] == "2"
    assert dataset["state"] == "importing"
    assert store.get(database, dataset["job_id"]).type == JobType.DATASET_IMPORT
    assert get(client, f"/v1/datasets/{dataset['id']}") == dataset


def test_a_folder_whose_names_have_labels_is_registered(client: TestClient, photos: Path) -> None:
    files(photos, "pug_1.jpg", "pug_2.jpg", "cat_1.jpg")

    assert client.post("/v1/datasets", json=of_folder(photos)).status_code == 202


def test_a_folder_outside_the_roots_is_refused(client: TestClient, photos: Path) -> None:
    response = client.post("/v1/datasets", json=of_folder(photos.parent))

    body = problem(response, 422, "source_forbidden", "/source/path")
    assert str(photos.parent) in body["detail"]
    assert f"allowed roots ({photos})" in body["detail"]


def test_a_folder_that_does_not_exist_is_refused(client: TestClient, photos: Path) -> None:
    response = client.post("/v1/datasets", json=of_folder(photos / "none"))

    body = problem(response, 422, "source_unreachable", "/source/path")
    assert str(photos / "none") in body["detail"]


def test_an_empty_folder_is_refused(client: TestClient, photos: Path) -> None:
    response = client.post("/v1/datasets", json=of_folder(photos))

    body = problem(response, 422, "too_few_images", "/source/path")
    assert str(photos) in body["detail"]


@pytest.mark.parametrize(
    ("pattern", "named"), [("^(.+_", "^(.+_"), ("^(.+)_(?=\\d)", "look-ahead")]
)
def test_a_pattern_that_cannot_be_used_is_refused(
    client: TestClient, pattern: str, named: str
) -> None:
    response = client.post("/v1/datasets", json={**CATS, "labels": {**REGEX, "pattern": pattern}})

    body = problem(response, 422, "invalid_regex", "/labels/pattern")
    assert named in body["detail"]


@pytest.mark.parametrize(("pattern", "group"), [("^.+_\\d+", 1), ("^(.+)_", 2), ("^(.+)_", "x")])
def test_a_pattern_without_the_group_is_refused(
    client: TestClient, pattern: str, group: int | str
) -> None:
    labels = {**REGEX, "pattern": pattern, "group": group}

    response = client.post("/v1/datasets", json={**CATS, "labels": labels})

    body = problem(response, 422, "regex_no_group", "/labels/pattern")
    assert repr(group) in body["detail"]


def test_names_without_a_label_are_refused_with_examples_and_a_repair(
    client: TestClient, photos: Path
) -> None:
    files(photos, "pug_1.jpg", "cat_1.jpg", "cat_2.png")

    response = client.post("/v1/datasets", json=of_folder(photos))

    body = problem(response, 422, "labels_unmatched", "/labels/pattern")
    assert "1 of 3 names have no label, such as 'cat_2.png'" in body["detail"]
    assert "png" in body["detail"].split("try", 1)[1]


def test_names_without_a_label_may_be_skipped(client: TestClient, photos: Path) -> None:
    files(photos, "pug_1.jpg", "cat_1.jpg", "cat_2.png")
    body = of_folder(photos, labels={**REGEX, "unmatched": "skip"})

    assert client.post("/v1/datasets", json=body).status_code == 202


def test_a_pattern_that_matches_nothing_is_refused_even_if_misses_are_skipped(
    client: TestClient, photos: Path
) -> None:
    files(photos, "pug.jpg", "cat.jpg")

    response = client.post(
        "/v1/datasets", json=of_folder(photos, labels={**REGEX, "unmatched": "skip"})
    )

    problem(response, 422, "labels_unmatched", "/labels/pattern")


def test_photos_without_a_folder_have_no_parent_to_be_labelled_by(
    client: TestClient, photos: Path
) -> None:
    files(photos, "pug_1.jpg", "cat_1.jpg")

    response = client.post("/v1/datasets", json=of_folder(photos, labels={"rule": "parent_folder"}))

    problem(response, 422, "labels_unmatched", "/labels/rule")


def test_a_single_class_is_refused(client: TestClient, photos: Path) -> None:
    files(photos, "pug_1.jpg", "pug_2.jpg", "pug_3.jpg")

    response = client.post("/v1/datasets", json=of_folder(photos))

    body = problem(response, 422, "too_few_classes", "/labels")
    assert "all 3 photos have the one label 'pug'" in body["detail"]


def test_fewer_than_two_photos_to_train_on_are_refused(client: TestClient, photos: Path) -> None:
    files(photos, "train/pug/1.jpg", "valid/cat/1.jpg", "valid/pug/2.jpg")
    body = of_folder(photos, labels={"rule": "parent_folder"}, split={"rule": "folders"})

    refused = problem(client.post("/v1/datasets", json=body), 422, "too_few_images", "/split")

    assert "of 3 photos 1 would be left" in refused["detail"]


def test_lists_show_the_newest_first_page_by_page(client: TestClient) -> None:
    made = [client.post("/v1/datasets", json=CATS).json()["id"] for _ in range(3)]

    first = client.get("/v1/datasets?limit=2")
    second = client.get(first.headers["link"].split(">")[0].lstrip("<"))

    assert [entry["id"] for entry in first.json()["data"]] == made[:0:-1]
    assert first.json()["has_more"]
    assert [entry["id"] for entry in second.json()["data"]] == made[:1]
    assert not second.json()["has_more"]
    assert "link" not in second.headers


def test_a_list_shows_the_first_classes_of_each_dataset_and_the_dataset_itself_all(
    client: TestClient, database: Database
) -> None:
    labels = [f"class {number:05}" for number in range(10_000)]
    dataset = ready_dataset(database, labels=labels)

    (listed,) = get(client, "/v1/datasets")["data"]
    whole = get(client, f"/v1/datasets/{dataset.id}")

    assert [entry["label"] for entry in whole["classes"]] == labels
    assert listed["classes"] == whole["classes"][:100]
    assert listed["counts"]["classes"] == 10_000
    assert len(get(client, f"/v1/datasets/{dataset.id}/report")["classes"]) == 10_000


def test_a_dataset_is_renamed(client: TestClient, database: Database) -> None:
    dataset = ready_dataset(database)

    response = client.patch(
        f"/v1/datasets/{dataset.id}", json={"name": "dogs"}, headers={"If-Match": '"v1"'}
    )

    assert (response.json()["name"], response.json()["version"]) == ("dogs", 2)


@pytest.mark.parametrize("tag", ['"v2"', '"v"', "v1", '"1"'])
def test_an_edit_of_another_version_is_refused(
    client: TestClient, database: Database, tag: str
) -> None:
    dataset = ready_dataset(database)

    response = client.patch(
        f"/v1/datasets/{dataset.id}", json={"name": "dogs"}, headers={"If-Match": tag}
    )

    problem(response, 412, "precondition_failed")


@pytest.mark.parametrize(
    ("edit", "pointer"), [({}, ""), ({"name": None}, "/name"), ({"nam": "x"}, "/nam")]
)
def test_an_edit_of_nothing_is_refused(
    client: TestClient, database: Database, edit: dict[str, Any], pointer: str
) -> None:
    dataset = ready_dataset(database)

    response = client.patch(f"/v1/datasets/{dataset.id}", json=edit)

    problem(response, 422, "validation_failed", pointer)


def test_a_dataset_is_deleted_with_its_thumbnails(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    items(dataset, artifacts)

    assert client.delete(f"/v1/datasets/{dataset.id}").status_code == 204

    problem(client.get(f"/v1/datasets/{dataset.id}"), 404, "not_found")
    assert not artifacts.dataset_folder(dataset.id).exists()


def test_a_dataset_that_a_job_needs_is_not_deleted(client: TestClient, database: Database) -> None:
    dataset = ready_dataset(database)
    job = queued(database, JobType.FINE_TUNE, dataset)

    body = problem(client.delete(f"/v1/datasets/{dataset.id}"), 409, "dataset_in_use")

    assert job.id in body["detail"]


def test_an_unknown_dataset_is_named(client: TestClient) -> None:
    body = problem(client.get("/v1/datasets/ds_nobody"), 404, "not_found")

    assert "'ds_nobody'" in body["detail"]


def test_the_report_of_an_import_that_runs_is_not_ready(
    client: TestClient, database: Database
) -> None:
    dataset = a_dataset(database)

    response = client.get(f"/v1/datasets/{dataset.id}/report")

    body = problem(response, 409, "dataset_not_ready")
    assert body["state"] == "importing"
    assert response.headers["retry-after"] == "2"


def test_the_report_shows_counts_and_classes(client: TestClient, database: Database) -> None:
    report = get(client, f"/v1/datasets/{ready_dataset(database).id}/report")

    assert (report["files"], report["counts"]["train"]) == (11, 8)
    assert report["classes"] == [{"label": "cat", "count": 4}, {"label": "dog", "count": 4}]


def test_items_are_listed_and_filtered(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    items(dataset, artifacts)
    path = f"/v1/datasets/{dataset.id}/items"

    assert len(get(client, path)["data"]) == 3
    assert [item["path"] for item in get(client, f"{path}?label=dog")["data"]] == ["1.jpg"]
    assert [item["path"] for item in get(client, f"{path}?split=train")["data"]] == ["0.jpg"]
    assert [item["path"] for item in get(client, f"{path}?path=2.jpg")["data"]] == ["2.jpg"]
    assert get(client, f"{path}?path=2.jpg&split=train")["data"] == []


def test_items_come_page_by_page(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    items(dataset, artifacts)
    path = f"/v1/datasets/{dataset.id}/items?limit=2"

    first = get(client, path)
    second = get(client, f"{path}&after={first['next_cursor']}")

    ids = [item["item_id"] for item in (*first["data"], *second["data"])]
    assert ids == sorted(photo(dataset, place) for place in range(3))
    assert second["next_cursor"] is None


def test_a_file_that_is_no_photo_says_why(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    items(dataset, artifacts)

    listed = get(client, f"/v1/datasets/{dataset.id}/items")["data"]

    (broken,) = [item for item in listed if not item["usable"]]
    assert broken["reason"] == "truncated"
    assert broken["image"] is None


def test_a_thumbnail_is_served_as_it_is(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    items(dataset, artifacts)
    item = f"/v1/datasets/{dataset.id}/items/{photo(dataset, 0)}/image"

    response = client.get(item)

    assert response.headers["content-type"] == "image/jpeg"
    assert response.content == b"\xff\xd8 a thumbnail"
    problem(client.get(f"{item}?size=100"), 422, "validation_failed", "/query/size")
    problem(client.get(f"{item}?size=64"), 404, "not_found")


def test_no_file_but_a_thumbnail_can_be_reached(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    items(dataset, artifacts)

    response = client.get(f"/v1/datasets/{dataset.id}/items/..%2F..%2Fitems.parquet/image")

    assert response.status_code == 404


def test_a_failed_import_shows_its_error(client: TestClient, database: Database) -> None:
    dataset = a_dataset(database)
    client.post(f"/v1/jobs/{dataset.job_id}/cancel")

    shown = get(client, f"/v1/datasets/{dataset.id}")

    assert shown["state"] == "failed"
    assert shown["error"]["code"] == "cancelled"
    assert store.get(database, dataset.job_id).state == JobState.CANCELLED


def test_every_field_of_the_example_with_wrong_labels_is_checked_alone(
    client: TestClient, photos: Path
) -> None:
    body = problem(
        client.post("/v1/datasets", json=of_folder(photos, labels={**REGEX, "group": 0})),
        422,
        "validation_failed",
    )

    assert field(body, "/labels/group")["code"] == "out_of_range"


@pytest.mark.parametrize("asked", ["bytes=zzz", "bytes=99999999-", "bytes=5-2"])
def test_a_thumbnail_comes_whole_whatever_range_is_asked_for(
    client: TestClient, database: Database, artifacts: Artifacts, asked: str
) -> None:
    dataset = ready_dataset(database)
    items(dataset, artifacts)
    path = f"/v1/datasets/{dataset.id}/items/{photo(dataset, 0)}/image"

    response = client.get(path, headers={"Range": asked})

    assert (response.status_code, response.content) == (200, b"\xff\xd8 a thumbnail")


def test_of_a_long_path_the_end_is_repeated(client: TestClient, settings: Settings) -> None:
    path = f"{settings.dataset_roots[0]}/{'a/' * 1900}end"
    body = {**CATS, "source": {"type": "path", "path": path}}

    detail = problem(client.post("/v1/datasets", json=body), 422, "source_unreachable")["detail"]

    assert "a/a/end" in detail
    assert len(detail) < 300
