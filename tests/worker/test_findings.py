"""Every warning of a report fires on photos that are at fault, and one request mends most of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from jobs import datasets
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.settings import Settings
from jobs.version_spec import VersionOf
from ml.sample.photos import write_photo
from tests.worker.conftest import import_folder, wait_for
from worker.items import read_items
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]


@pytest.fixture
def folder(quick: Settings) -> Path:
    """Drawn photos in parts and classes, with everything wrong that a report knows."""
    folder = quick.dataset_roots[0] / "faulty"
    for part, numbers in (("train", range(26)), ("valid", range(26, 28))):
        for label in ("round_patched", "slim_tabby"):
            (folder / part / label).mkdir(parents=True)
            for number in numbers:
                path = folder / part / label / f"{number}.jpg"
                write_photo(path, drawn_class=label, seed=number)
    train, valid = folder / "train", folder / "valid"
    _save(train / "round_patched/0.jpg", valid / "round_patched/smaller.jpg", share=0.5)
    _save(train / "round_patched/1.jpg", train / "round_patched/bright.jpg", brightness=1.1)
    (train / "slim_tabby/wrong.jpg").write_bytes((train / "round_patched/2.jpg").read_bytes())
    (train / "Slim-Tabby").mkdir()
    (train / "slim_tabby/3.jpg").rename(train / "Slim-Tabby/3.jpg")
    (valid / "only_here").mkdir()
    (valid / "slim_tabby/26.jpg").rename(valid / "only_here/26.jpg")
    (train / "slim_tabby/broken.jpg").write_bytes((train / "slim_tabby/4.jpg").read_bytes()[:2000])
    _save(train / "slim_tabby/5.jpg", train / "slim_tabby/5.jpg", share=0.1)
    _save(train / "slim_tabby/6.jpg", train / "slim_tabby/6.jpg", mode="CMYK")
    _huge(train / "slim_tabby/huge.png")
    return folder


def _save(
    photo: Path, to: Path, *, share: float = 1, brightness: float = 1, mode: str = "RGB"
) -> None:
    with Image.open(photo) as image:
        size = (int(image.width * share), int(image.height * share))
        changed = ImageEnhance.Brightness(image.resize(size)).enhance(brightness)
        changed.convert(mode).save(to, quality=90)


def _huge(to: Path) -> None:
    image = Image.linear_gradient("L").resize((7100, 7100))
    image.save(to)


def test_every_warning_fires_where_it_should_and_a_version_mends_what_can_be_mended(
    database: Database, artifacts: Artifacts, work: Work, folder: Path
) -> None:
    dataset = import_folder(
        database, work, folder, labels={"rule": "parent_folder"}, split={"rule": "folders"}
    )
    assert dataset.state == "ready", dataset.error
    found = {each["code"]: each for each in (dataset.report or {})["warnings"]}

    assert {code: each["examples"] for code, each in found.items()} == {
        "unreadable_images": [["train/slim_tabby/broken.jpg"]],
        "label_not_in_train": [["only_here"]],
        "train_valid_leak": [["train/round_patched/0.jpg", "valid/round_patched/smaller.jpg"]],
        "contradicting_labels": [["train/round_patched/2.jpg", "train/slim_tabby/wrong.jpg"]],
        "exact_duplicates": [["train/round_patched/2.jpg", "train/slim_tabby/wrong.jpg"]],
        "near_duplicates": [
            ["train/round_patched/0.jpg", "valid/round_patched/smaller.jpg"],
            ["train/round_patched/1.jpg", "train/round_patched/bright.jpg"],
        ],
        "similar_labels": [["Slim-Tabby", "slim_tabby"]],
        "few_photos": [["Slim-Tabby"]],
        "class_imbalance": [["round_patched", "Slim-Tabby"]],
        "tiny_images": [["train/slim_tabby/5.jpg"]],
        "huge_images": [["train/slim_tabby/huge.png"]],
        "unusual_modes": [["train/slim_tabby/6.jpg"]],
    }
    assert all(each["hint"] for each in found.values())
    id_of = {item.path: item.item_id for item in read_items(artifacts.items_file(dataset.id))}
    for each in found.values():
        names = [name for example in each["examples"] for name in example if "/" in name]
        assert [item for items in each["items"] for item in items] == [id_of[n] for n in names]

    doubles = [*found["near_duplicates"]["items"], *found["exact_duplicates"]["items"]]
    strange = [id_of[n] for n in ("train/slim_tabby/broken.jpg", "valid/only_here/26.jpg")]
    odd = [found[code]["items"][0][0] for code in ("tiny_images", "huge_images", "unusual_modes")]
    asked = VersionOf(
        parent=dataset.id,
        relabel=[{"item": id_of["train/Slim-Tabby/3.jpg"], "label": "slim_tabby"}],  # type: ignore[list-item]  # as a client sends it
        exclude=[*(group[1] for group in doubles), *strange, *odd],
    )
    with database.write() as connection:
        child = datasets.register_version(connection, asked)
    work("prepare")
    wait_for(database, child.job_id, lambda job: job.is_terminal)

    assert (datasets.get(database, child.id).report or {})["warnings"] == []


def test_without_photos_to_validate_that_is_said(
    database: Database, work: Work, folder: Path
) -> None:
    for label in ("round_patched", "slim_tabby", "only_here"):
        for photo in (folder / "valid" / label).iterdir():
            photo.rename(folder / "train" / "round_patched" / f"{label}{photo.name}")

    dataset = import_folder(
        database, work, folder, labels={"rule": "parent_folder"}, split={"rule": "folders"}
    )

    (said,) = [
        each for each in (dataset.report or {})["warnings"] if each["code"] == "no_valid_part"
    ]
    assert "no ledger" in said["detail"]
    assert 'split with the rule "random"' in said["hint"]
