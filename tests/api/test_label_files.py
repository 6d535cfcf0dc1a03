"""Datasets whose labels and parts stand in files: what is refused at once, and dry runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api import source_check
from jobs.sources import archives
from jobs.sources.label_files import FolderFiles
from tests.api.given import CATS, files, of_folder, problem
from tests.archives import PHOTO, a_zip

DRY = "/v1/datasets?dry_run=true"
CSV = {"rule": "csv", "file": "labels.csv"}
IMAGE_FOLDER = {"labels": {"rule": "imagefolder"}, "split": {"rule": "folders"}}
LABELS = "path,label,part\n" + "".join(
    f"{name}.jpg,{label},{part}\n"
    for name, label, part in [
        ("a", "cat", "train"), ("b", "dog", "training"), ("c", "cat", "valid"), ("d", "dog", "test")
    ]
)  # fmt: skip


def previewed(client: TestClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(DRY, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def by_csv(photos: Path, text: str = LABELS, **rule: object) -> dict[str, Any]:
    """A folder of four photos with labels and parts in a file."""
    files(photos, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (photos / "labels.csv").write_text(text)
    return of_folder(photos, labels={**CSV, **rule}, split=CSV)


def test_a_dry_run_reads_labels_and_parts_from_the_file(client: TestClient, photos: Path) -> None:
    plan = previewed(client, by_csv(photos))

    assert plan["classes"] == [{"label": "cat", "count": 2}, {"label": "dog", "count": 2}]
    assert plan["counts"] == {"train": 2, "valid": 1, "test": 1}
    assert plan["examples"][0] == {"name": "a.jpg", "label": "cat", "reason": None}
    assert plan["obstacles"] == []
    assert client.post("/v1/datasets", json=by_csv(photos)).status_code == 202


def test_an_inline_dataset_may_have_its_labels_in_a_file(client: TestClient, photos: Path) -> None:
    body = {"architecture": "resnet18", "weights": "none", "dataset": by_csv(photos)}

    assert client.post("/v1/lr-finds", json=body).status_code == 202
    (photos / "labels.csv").write_text("path,label\n")
    refused = client.post("/v1/lr-finds", json=body)
    problem(refused, 422, "labels_unmatched", "/dataset/labels/rule")


@pytest.mark.parametrize(
    ("text", "pointer", "named"),
    [
        ("path,label\na.jpg,x\na.jpg,y\n", "/labels/path_column", "labels.csv, line 3: 'a.jpg'"),
        ("path,class\n", "/labels/label_column", "no column 'label'"),
        ("image,label\n", "/labels/path_column", "no column 'path'"),
        (f"{LABELS}../e.jpg,cat,train\n", "/labels/path_column", "'../e.jpg' names no photo"),
        (LABELS.replace(",test", ",exam"), "/split/part_column", "line 5: 'exam': it names no"),
        (LABELS.replace(",part", ",fold"), "/split/part_column", "no column 'part'"),
    ],
)
def test_a_line_that_cannot_be_used_is_refused_at_its_field(
    client: TestClient, photos: Path, text: str, pointer: str, named: str
) -> None:
    refused = problem(
        client.post("/v1/datasets", json=by_csv(photos, text)), 422, "label_file_invalid", pointer
    )

    assert named in refused["detail"]


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../labels.csv", "a/../labels.csv", ".labels.csv", "a\\b.csv", "a//b"]
)
def test_the_file_lies_below_the_source(client: TestClient, photos: Path, file: str) -> None:
    body = of_folder(photos, labels={**CSV, "file": file})

    problem(client.post("/v1/datasets", json=body), 422, "validation_failed", "/labels/file")


def test_a_file_that_is_not_there_is_refused(client: TestClient, photos: Path) -> None:
    files(photos, "a.jpg")

    body = of_folder(photos, labels=CSV)

    problem(client.post("/v1/datasets", json=body), 422, "label_file_invalid", "/labels/file")
    drawn = client.post("/v1/datasets", json={**CATS, "labels": CSV})
    problem(drawn, 422, "label_file_invalid", "/labels/file")


def test_photos_without_a_row_are_unmatched_as_names_without_a_match_are(
    client: TestClient, photos: Path
) -> None:
    body = by_csv(photos)
    files(photos, "e.jpg")

    refused = problem(
        client.post("/v1/datasets", json=body), 422, "labels_unmatched", "/labels/rule"
    )
    skipping = {**CSV, "unmatched": "skip"}

    assert "1 of 5 names have no label, such as 'e.jpg'" in refused["detail"]
    assert "add rows for them to the CSV file" in refused["detail"]
    assert client.post("/v1/datasets", json={**body, "labels": skipping}).status_code == 202
    (obstacle,) = previewed(client, body)["obstacles"]
    assert obstacle["code"] == "labels_unmatched"


def test_rows_without_a_photo_may_be_skipped(client: TestClient, photos: Path) -> None:
    body = by_csv(photos, f"{LABELS}e.jpg,cat,train\n", missing="skip")

    problem(client.post("/v1/datasets", json=body), 422, "label_file_invalid", "/split/path_column")
    skipping = {**CSV, "missing": "skip"}
    assert client.post("/v1/datasets", json={**body, "split": skipping}).status_code == 202


def test_a_label_file_that_takes_long_to_read_is_left_to_the_import(
    client: TestClient, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = by_csv(photos, "no,such,column\n")
    monkeypatch.setattr("api.source_check._QUICK_LOOK_BYTES", 10)

    assert client.post("/v1/datasets", json=body).status_code == 202
    assert previewed(client, body)["is_complete"] is False


def image_folder(photos: Path) -> dict[str, Any]:
    """Class folders in folders with the names that Hugging Face's datasets know."""
    files(photos, *(f"{part}/{label}/1.jpg" for part in PARTS for label in ("cat", "dog")))
    return of_folder(photos, **IMAGE_FOLDER)


PARTS = ("train", "validation", "test")


def test_an_image_folder_is_read_by_its_folders(client: TestClient, photos: Path) -> None:
    plan = previewed(client, image_folder(photos))

    assert plan["classes"] == [{"label": "cat", "count": 3}, {"label": "dog", "count": 3}]
    assert plan["counts"] == {"train": 2, "valid": 2, "test": 2}
    assert plan["obstacles"] == []


def test_an_image_folder_is_read_by_its_metadata_where_there_is_any(
    client: TestClient, photos: Path
) -> None:
    body = image_folder(photos)
    for part in PARTS:
        text = "file_name,label\ncat/1.jpg,lion\ndog/1.jpg,wolf\n"
        (photos / part / "metadata.csv").write_text(text)

    plan = previewed(client, body)

    assert plan["classes"] == [{"label": "lion", "count": 3}, {"label": "wolf", "count": 3}]
    (photos / "test" / "metadata.csv").write_text("file_name,text\ncat/1.jpg,a cat\n")
    refused = client.post("/v1/datasets", json=body)
    problem(refused, 422, "label_file_invalid", "/labels/label_column")
    (photos / "test" / "metadata.csv").write_text("file_name,label\nfox/1.jpg,a\n")
    problem(client.post("/v1/datasets", json=body), 422, "label_file_invalid", "/labels/rule")


def test_photos_in_the_folder_of_a_part_have_no_class_folder(
    client: TestClient, photos: Path
) -> None:
    files(photos, "train/1.jpg", "train/2.jpg", "test/1.jpg")

    refused = client.post("/v1/datasets", json=of_folder(photos, **IMAGE_FOLDER))

    detail = problem(refused, 422, "labels_unmatched", "/labels/rule")["detail"]
    assert "add them to the metadata" in detail


def uploaded(client: TestClient, contents: dict[str, bytes]) -> dict[str, Any]:
    """The body of a dataset from an archive of these files."""
    sent = client.post(
        "/v1/uploads", content=a_zip(contents), headers={"Content-Type": "application/zip"}
    )
    assert sent.status_code == 201, sent.text
    source = {"type": "upload", "upload_id": sent.json()["id"]}
    return {"name": "pets", "source": source, "labels": CSV, "split": CSV}


def test_the_file_may_lie_in_an_archive(client: TestClient) -> None:
    photos = {f"pets/{name}.jpg": PHOTO for name in "abcd"}

    plan = previewed(client, uploaded(client, {**photos, "pets/labels.csv": LABELS.encode()}))

    assert plan["counts"] == {"train": 2, "valid": 1, "test": 1}
    assert plan["obstacles"] == []


def test_folders_that_do_not_wrap_the_file_are_not_taken_off(client: TestClient) -> None:
    photos = {f"pets/{name}.jpg": PHOTO for name in "abcd"}
    text = LABELS.replace("\n", "\npets/").removesuffix("pets/")

    plan = previewed(client, uploaded(client, {**photos, "labels.csv": text.encode()}))

    assert plan["examples"][0] == {"name": "pets/a.jpg", "label": "cat", "reason": None}


def test_of_an_archive_with_a_large_file_nothing_is_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_QUICK_LOOK_BYTES", 10)
    photos = {f"{name}.jpg": PHOTO for name in "abcd"}

    plan = previewed(client, uploaded(client, {**photos, "labels.csv": LABELS.encode()}))

    assert (plan["is_complete"], plan["obstacles"]) == (False, [])


def test_files_of_labels_that_take_too_long_to_read_are_said_to_be_left_to_the_import(
    client: TestClient, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_check, "_QUICK_LOOK_BYTES", 10)

    plan = previewed(client, by_csv(photos))

    assert (plan["names"], plan["counts"], plan["obstacles"]) == (0, None, [])
    assert "more than an answer has the time to read" in plan["note"]


def test_a_dry_run_reads_each_file_of_labels_once_for_each_rule(
    client: TestClient, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    lines = FolderFiles.lines

    def counted(self: FolderFiles, name: str) -> Iterator[bytes]:
        opened.append(name)
        return lines(self, name)

    monkeypatch.setattr(FolderFiles, "lines", counted)

    plan = previewed(client, by_csv(photos))

    assert (plan["counts"]["train"], plan["obstacles"]) == (2, [])
    assert opened == ["labels.csv", "labels.csv"]


def test_a_rule_that_needs_files_cannot_be_tried_on_names_alone(client: TestClient) -> None:
    response = client.post("/v1/explain/labels", json={"labels": CSV, "names": ["a.jpg"]})

    body = problem(response, 422, "validation_failed")
    assert "'regex', 'parent_folder'" in body["detail"]
