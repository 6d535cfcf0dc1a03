"""Presizing previews of real photos, made and drawn by a real worker."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs import events, plots, submission
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec
from jobs.job import Job, JobState, JobType
from jobs.queue import Doorbell
from jobs.settings import Settings
from jobs.spec import ExportSpec, PresizingPreviewSpec
from ml.errors import StoppedError
from tests.jobs.given import a_job, claimed
from tests.worker.conftest import event_types, import_folder, submit, wait_for
from tests.worker.photos import write_photos
from tests.worker.test_export import drawn
from tests.worker.test_plots import texts_of
from worker.context import Context
from worker.control import Control, Order
from worker.items import Item, read_items
from worker.plots.preview_tiles import ORIGINAL, PHOTO, picture_file, preview_rows
from worker.presizing import compare
from worker.supervisor import Supervisor
from worker.translate import preview_config

Work = Callable[[str], Supervisor]

SIZES = {"presize": 64, "size": 48}
BOOK = {"rotate_deg": 30.0, "zoom": 1.2, "warp": [-0.2, 0.2]}
WAYS = ["single", "fastai", "step_by_step"]


def spec_of(dataset_id: str, **changes: object) -> PresizingPreviewSpec:
    """A preview of tiny photos."""
    return PresizingPreviewSpec.model_validate({"dataset": dataset_id, **SIZES, **changes})


def ended(database: Database, work: Work, dataset_id: str, **changes: object) -> Job:
    """The preview after its last event."""
    spec = spec_of(dataset_id, **changes)
    job = submit(database, JobType.PRESIZING_PREVIEW, spec, dataset_id)
    work("prepare")
    return wait_for(database, job.id, lambda job: job.is_terminal)


def compared(job: Job) -> dict[str, Any]:
    """What the job has found."""
    assert job.state == JobState.SUCCEEDED, job.error
    found: dict[str, Any] = job.result["presizing_preview"]
    return found


def test_photos_of_the_training_part_are_drawn_by_the_seed_and_compared(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    job = ended(database, work, dataset_id, images=3)

    found = compared(job)
    train = {
        item.item_id
        for item in read_items(artifacts.items_file(dataset_id))
        if item.split == "train"
    }
    assert len({image["item_id"] for image in found["images"]} & train) == 3
    assert found["skipped"] == []
    assert (found["presize"], found["size"]) == (64, 48)
    for image in found["images"]:
        assert list(image["ways"]) == WAYS
        assert image["ways"]["single"]["psnr_db"] > image["ways"]["step_by_step"]["psnr_db"]
    for way in WAYS:
        values = [image["ways"][way]["psnr_db"] for image in found["images"]]
        assert found["means"][way]["psnr_db"] == pytest.approx(sum(values) / 3)
    assert found["measured_on"]["threads"] == 1
    json.dumps(found, allow_nan=False)
    types = event_types(database, job.id)
    assert types[:2] == ["job.queued", "job.started"]
    assert types[-1] == "job.succeeded"
    assert job.progress is not None
    assert (job.progress["phase"], job.progress["fraction"]) == ("comparing", 1.0)


def test_the_same_request_makes_the_same_pictures_and_another_seed_others(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    first, again, other = (
        ended(database, work, dataset_id, images=2, seed=seed) for seed in (1, 1, 2)
    )

    def pictures(job: Job) -> list[bytes]:
        folder = artifacts.absolute(job.result["pictures"])
        return [
            picture_file(folder, number, name).read_bytes()
            for number in range(2)
            for name in (PHOTO, ORIGINAL, *WAYS)
        ]

    assert pictures(first) == pictures(again)
    assert pictures(first) != pictures(other)


def test_photos_can_be_named_and_keep_their_order_whatever_their_part(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    items = read_items(artifacts.items_file(dataset_id))
    chosen = [next(item for item in items if item.split == part) for part in ("valid", "train")]

    both = compared(ended(database, work, dataset_id, images=[item.item_id for item in chosen]))
    alone = compared(ended(database, work, dataset_id, images=[chosen[1].item_id]))

    assert [image["item_id"] for image in both["images"]] == [item.item_id for item in chosen]
    # what is drawn for a photo does not depend on the others
    assert both["images"][1]["draws"] == alone["images"][0]["draws"]


def test_fixed_draws_are_those_of_every_photo(
    database: Database, work: Work, dataset_id: str
) -> None:
    found = compared(ended(database, work, dataset_id, images=2, draws=BOOK))

    first, second = (image["draws"] for image in found["images"])
    assert first == second
    assert (first["rotate_deg"], first["zoom"], first["warp"]) == (30.0, 1.2, [-0.2, 0.2])
    # photos of 80 x 72 px: the whole centre square
    assert first["crop"] == pytest.approx([4, 0, 72, 72], abs=0.5)
    counts = [way["interpolations"] for way in found["images"][0]["ways"].values()]
    assert counts == [2, 2, 5]


def test_a_photo_that_cannot_be_read_is_named_and_the_others_go_on(
    database: Database, work: Work, dataset_id: str, settings: Settings, artifacts: Artifacts
) -> None:
    items = read_items(artifacts.items_file(dataset_id))[:3]
    folder = settings.dataset_roots[0] / "tiny"
    (folder / items[0].path).write_bytes(b"something else")
    (folder / items[2].path).unlink()

    job = ended(database, work, dataset_id, images=[item.item_id for item in items])

    found = compared(job)
    assert [image["item_id"] for image in found["images"]] == [items[1].item_id]
    assert [(each["path"], each["reason"]) for each in found["skipped"]] == [
        (items[0].path, "it is not the file that was imported"),
        (items[2].path, "there is no such file any more"),
    ]
    told = [
        event.data
        for event in events.read_after(database, job.id, 0, limit=100)
        if event.type == "job.warning"
    ]
    assert [each["code"] for each in told] == ["unreadable_image"] * 2
    assert items[0].path in told[0]["detail"]


def test_when_no_photo_can_be_read_the_job_fails_and_names_some(
    database: Database, work: Work, dataset_id: str, settings: Settings
) -> None:
    for file in (settings.dataset_roots[0] / "tiny").iterdir():
        file.write_bytes(b"gone")

    job = ended(database, work, dataset_id, images=2)

    assert job.state == JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "unreadable_images"
    assert "none of the 2 photos can be read" in job.error["message"]
    assert "it is not the file that was imported" in job.error["message"]


def test_odd_photos_are_compared_too(
    database: Database, work: Work, settings: Settings, artifacts: Artifacts
) -> None:
    folder = settings.dataset_roots[0] / "odd"
    write_photos(folder, per_class=4)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (90, 70), 120).save(folder / "red_90.jpg")
    Image.new("RGB", (1, 1), (9, 8, 7)).save(folder / "red_91.jpg")
    Image.open(folder / "red_0.jpg").save(folder / "red_92.jpg", exif=exif)
    (folder / "red_93.jpg").write_bytes(b"no photo")
    dataset = import_folder(database, work, folder, max_unreadable_fraction=0.5)
    by_path = {item.path: item for item in read_items(artifacts.items_file(dataset.id))}
    odd = [by_path[f"red_{number}.jpg"] for number in (90, 91, 92, 93)]

    job = ended(database, work, dataset.id, images=[item.item_id for item in odd], draws=BOOK)

    found = compared(job)
    grey, dot, turned = found["images"]
    # of one colour: no energy, no error
    assert grey["ways"]["single"]["high_frequency_energy"] == 0
    assert grey["ways"]["single"]["energy_kept"] is None
    assert grey["ways"]["single"]["psnr_db"] is None
    assert (dot["width"], dot["height"]) == (1, 1)
    assert (turned["width"], turned["height"]) == (72, 80)
    assert [each["path"] for each in found["skipped"]] == ["red_93.jpg"]
    rows = preview_rows(artifacts.absolute(job.result["pictures"]), found["images"])
    assert rows[0].columns[1].lines[:2] == ("PSNR not finite", "energy unknown · 2 interpolations")


def test_an_inline_dataset_is_imported_first(
    database: Database, work: Work, settings: Settings
) -> None:
    folder = settings.dataset_roots[0] / "inline"
    write_photos(folder, per_class=3)
    body = {
        "name": "inline",
        "source": {"type": "path", "path": str(folder)},
        "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    }
    spec = PresizingPreviewSpec(dataset=DatasetSpec.model_validate(body), images=2, **SIZES)  # type: ignore[arg-type]  # two numbers
    with database.write() as connection:
        submitted = submission.submit(connection, spec)

    work("prepare")
    job = wait_for(database, submitted.job.id, lambda job: job.is_terminal)

    assert len(compared(job)["images"]) == 2
    assert [each.type for each in submitted.before] == [JobType.DATASET_IMPORT]


def test_a_dataset_that_was_deleted_is_said(
    database: Database, work: Work, dataset_id: str
) -> None:
    spec = spec_of("ds_gone")
    job = submit(database, JobType.PRESIZING_PREVIEW, spec, "ds_gone")

    work("prepare")
    job = wait_for(database, job.id, lambda job: job.is_terminal)

    assert job.error is not None
    assert job.error["code"] == "dependency_failed"


def test_a_preview_is_drawn_in_every_format(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    job = ended(database, work, dataset_id, images=2, name="cats & dogs", draws=BOOK)
    asked = ExportSpec(job=job.id, plot="presizing-preview", content="c1")

    picture = drawn(database, work, artifacts, asked)

    texts = texts_of(picture["svg"])
    assert "Presizing preview · cats & dogs" in texts
    assert any(
        "stored at 64 px, seen at 48 px · dataset tiny (2 classes)" in text for text in texts
    )
    for name in ("The photo", "Presized once", "As fastai presizes", "Step by step"):
        assert name in texts
    paths = [image["path"] for image in compared(job)["images"]]
    assert all(any(path in text for text in texts) for path in paths)
    urls = [
        row["url"]
        for table in json.loads(picture["json"])["datasets"].values()
        for row in table
        if "url" in row
    ]
    # of each photo: itself, three ways, and four details
    assert len(urls) == 2 * 8
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    assert all(picture["svg"].decode().count(url) == urls.count(url) for url in set(urls))
    signature, width_px, height_px = struct.unpack(">8s8x2L", picture["png"][:24])
    assert signature == b"\x89PNG\r\n\x1a\n"
    assert 1900 < width_px < 2100
    assert 2000 < height_px < 2600


def test_a_preview_whose_pictures_are_gone_cannot_be_drawn(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    job = ended(database, work, dataset_id, images=1)
    picture_file(artifacts.absolute(job.result["pictures"]), 0, "single").unlink()
    spec = ExportSpec(job=job.id, plot="presizing-preview", content="c1")

    export = submit(database, JobType.EXPORT, spec, dataset_id)
    work("prepare")
    export = wait_for(database, export.id, lambda job: job.is_terminal)

    assert export.error is not None
    assert export.error["code"] == "not_found"
    assert not plots.is_drawn(artifacts, spec)


def test_the_outline_of_fastais_region_is_drawn_where_it_is_another(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    turned = {"min_scale": 0.3, "max_rotate": 180.0}
    book, random = (
        ended(database, work, dataset_id, images=1, seed=3, **more)
        for more in ({"draws": BOOK}, {"augment": turned})
    )

    def outlines(job: Job) -> list[str]:
        rows = preview_rows(artifacts.absolute(job.result["pictures"]), compared(job)["images"])
        return [outline.kind for outline in rows[0].columns[0].tile.outlines]

    assert outlines(book) == ["single"]
    assert outlines(random) == ["single", "fastai"]


def test_a_worker_that_makes_no_preview_never_loads_a_tensor_library() -> None:
    code = "import sys, worker.runners.presizing_preview; print('torch' in sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    assert loaded.stdout.split() == ["False"]


def test_a_preview_that_shall_end_begins_with_no_further_photo(
    database: Database, settings: Settings, artifacts: Artifacts, tmp_path: Path
) -> None:
    a_job(database, JobType.PRESIZING_PREVIEW)
    control = Control.__new__(Control)  # a watched one ends its process with its pipe
    control._order = Order.ABANDON
    doorbell = Doorbell(settings.redis_url)
    context = Context(
        settings=settings,
        database=database,
        artifacts=artifacts,
        doorbell=doorbell,
        job=claimed(database, "prepare"),
        control=control,
    )

    with pytest.raises(StoppedError, match="comparing"):
        compare(
            context, preview_config(spec_of("ds_1")), [(Item(item_id="i", path="p"), 0)], tmp_path
        )

    doorbell.close()
    assert not context.folder.exists()
