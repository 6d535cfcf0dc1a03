"""`POST /v1/datasets?dry_run=true`: what the names would make of a dataset."""

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from tests.api.given import CATS, REGEX, files, of_folder, problem

DRY = "/v1/datasets?dry_run=true"


def previewed(client: TestClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(DRY, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_sound_source_has_classes_parts_and_no_obstacle(client: TestClient) -> None:
    plan = previewed(client, CATS)

    assert (plan["names"], plan["matched"], plan["is_complete"]) == (360, 360, True)
    assert [each["count"] for each in plan["classes"]] == [60] * 6
    assert plan["counts"] == {"train": 288, "valid": 72, "test": 0}
    assert plan["examples"][0]["label"] == "round_patched"
    assert plan["obstacles"] == []


def test_nothing_is_registered_by_it(client: TestClient) -> None:
    previewed(client, CATS)

    assert client.get("/v1/datasets").json()["data"] == []
    assert client.get("/v1/jobs").json()["data"] == []


def test_names_without_a_label_are_told_with_a_repair_that_works(
    client: TestClient, photos: Path
) -> None:
    files(photos, "pug_1.jpg", "pug_2.jpg", "pug_3.jpg", "cat_1.jpg", "cat_3.jpg", "cat_2.png")

    plan = previewed(client, of_folder(photos))

    assert plan["unmatched"] == {"count": 1, "examples": ["cat_2.png"]}
    (obstacle,) = plan["obstacles"]
    assert (obstacle["code"], obstacle["pointer"]) == ("labels_unmatched", "/labels/pattern")
    repaired = {**REGEX, "pattern": plan["hint"]["pattern"]}
    again = previewed(client, of_folder(photos, labels=repaired))
    assert (again["unmatched"]["count"], again["obstacles"]) == (0, [])


def test_labels_that_may_be_one_class_are_told(client: TestClient, photos: Path) -> None:
    files(photos, "Beagle_1.jpg", "Beagle_2.jpg", "beagle_1.jpg", "beagle_2.jpg")

    plan = previewed(client, of_folder(photos))

    assert plan["near_duplicates"] == [{"labels": ["Beagle", "beagle"], "kind": "spelling"}]


def test_an_empty_folder_is_an_obstacle(client: TestClient, photos: Path) -> None:
    plan = previewed(client, of_folder(photos))

    assert (plan["names"], plan["obstacles"][0]["code"]) == (0, "too_few_images")


def test_one_class_is_an_obstacle(client: TestClient, photos: Path) -> None:
    files(photos, "pug_1.jpg", "pug_2.jpg", "pug_3.jpg")

    plan = previewed(client, of_folder(photos))

    assert [each["code"] for each in plan["obstacles"]] == ["too_few_classes"]


def test_what_cannot_be_looked_at_is_refused(client: TestClient, photos: Path) -> None:
    outside = of_folder(photos.parent)
    problem(client.post(DRY, json=outside), 422, "source_forbidden", "/source/path")
    broken = {**CATS, "labels": {**REGEX, "pattern": "^(.+_"}}
    problem(client.post(DRY, json=broken), 422, "invalid_regex", "/labels/pattern")
