"""What a ledger says of each photo beside its loss, written by hand and read back."""

from collections.abc import Sequence
from math import exp, log, nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job
from ml.theory.forgetting import Learning
from ml.theory.parts import Part
from tests.jobs.given import a_job, running
from worker.epoch_samples import read_epochs, write_epoch
from worker.items import Item
from worker.ledger import Evaluated, History, Totals, write_ledger

CLASSES = ("cat", "dog", "emu")
SURE = log(98)
"""Of three classes, a logit of ln 98 beside two of 0 is a probability of 0.98."""


def an_item(number: int, split: Part = "valid") -> Item:
    return Item(
        item_id=f"itm_{number}",
        path=f"{number}.jpg",
        label=None,
        split=split,
        width=8,
        height=8,
        format="JPEG",
        mode="RGB",
        size_bytes=1,
        digest="d",
        fingerprint=0,
        usable=True,
        reason=None,
    )


def sure_of(*classes: int) -> NDArray[np.float32]:
    """Logits of a network that is 98 % sure of these."""
    return (SURE * np.eye(3)[list(classes)]).astype(np.float32)


def written(
    folder: Path,
    labels: Sequence[int],
    logits: NDArray[np.float32],
    **more: Any,  # noqa: ANN401
) -> tuple[list[dict[str, Any]], Totals]:
    """The rows in the order of the photos, and what they add up to."""
    splits = more.pop("splits", ["valid"] * len(labels))
    evaluated = Evaluated(
        items=[an_item(number, split) for number, split in enumerate(splits)],
        classes=CLASSES,
        labels=np.array(labels, np.int64),
        logits=logits,
        **more,
    )
    totals = write_ledger(folder / "samples.parquet", evaluated)
    rows = pq.read_table(folder / "samples.parquet").to_pylist()
    return sorted(rows, key=lambda row: str(row["path"])), totals


def test_what_became_of_a_photo_ends_with_the_model_that_is_kept(tmp_path: Path) -> None:
    # after each epoch: right, wrong; wrong, right; wrong, wrong
    history = History(np.zeros((3, 2)), np.array([[0, 1], [2, 1], [0, 0]]))

    rows, _ = written(tmp_path, [0, 1, 2], sure_of(0, 1, 0), history=history)

    assert [row["learning"] for row in rows] == [
        Learning.FLIPPED,
        Learning.LEARNED,
        Learning.NEVER_LEARNED,
    ]
    assert [row["forgetting_events"] for row in rows] == [1, 0, 0]
    assert [row["predicted_by_epoch"] for row in rows] == [[0, 1], [2, 1], [0, 0]]


def test_epochs_after_the_one_that_is_kept_do_not_count(tmp_path: Path) -> None:
    history = History(np.zeros((1, 3)), np.array([[0, 1, 1]]))

    (kept,), _ = written(tmp_path, [0], sure_of(0), history=history, kept_epoch=0)
    (last,), _ = written(tmp_path, [0], sure_of(1), history=history)

    assert (kept["learning"], kept["forgetting_events"]) == (Learning.LEARNED, 0)
    assert (last["learning"], last["forgetting_events"]) == (Learning.FORGOTTEN, 1)


def test_without_predictions_of_every_epoch_nothing_is_said_of_them(tmp_path: Path) -> None:
    (row,), _ = written(tmp_path, [0], sure_of(0), history=History(np.full((1, 2), nan), None))
    (evaluated,), _ = written(tmp_path, [0], sure_of(0))

    for found in (row, evaluated):
        assert not {"learning", "forgetting_events", "predicted_by_epoch"} & set(found)
    assert len(row["loss_by_epoch"]) == 2
    assert evaluated["loss_by_epoch"] == []


def test_the_photo_whose_label_the_network_believes_least_is_the_most_suspect(
    tmp_path: Path,
) -> None:
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    seen = [*labels[:-1], 2]

    rows, _ = written(tmp_path, labels, sure_of(*seen))

    assert rows[-1]["label_issue_score"] == pytest.approx(0.99)
    assert [row["label_issue_score"] for row in rows[:-1]] == pytest.approx([0.02] * 9)
    assert [row["is_label_issue"] for row in rows] == [False] * 9 + [True]


def test_each_part_is_judged_and_calibrated_by_itself(tmp_path: Path) -> None:
    labels = [0, 1, 0, 1, 0, 0]
    splits = ["train"] * 4 + ["valid"] * 2

    rows, totals = written(tmp_path, labels, sure_of(0, 1, 0, 1, 1, 0), splits=splits)

    # the valid part has a single label, of which nothing can be said
    assert np.isnan([row["label_issue_score"] for row in rows]).tolist() == [False] * 4 + [True] * 2
    assert set(totals.calibration) == {"train", "valid", "all"}
    train, valid, whole = (totals.calibration[name] for name in ("train", "valid", "all"))
    assert train is not None
    assert valid is not None
    assert whole is not None
    # sure of 0.98 each time, and right always, once in two, five times in six
    assert train.expected_error == pytest.approx(0.02, abs=1e-6)
    assert valid.expected_error == pytest.approx(0.48, abs=1e-6)
    assert whole.expected_error == pytest.approx(0.98 - 5 / 6, abs=1e-6)
    assert train.temperature is None


def test_weights_and_smoothing_leave_labels_and_calibration_as_they_are(tmp_path: Path) -> None:
    plain, of_plain = written(tmp_path, [0, 1, 2], sure_of(0, 1, 0))
    other, of_other = written(
        tmp_path, [0, 1, 2], sure_of(0, 1, 0), label_smoothing=0.1, class_weights=(1.0, 2.0, 3.0)
    )

    assert of_plain.calibration == of_other.calibration
    assert of_plain.mean_loss != of_other.mean_loss
    for name in ("label_issue_score", "is_label_issue"):
        assert [row[name] for row in plain] == [row[name] for row in other]
    assert exp(-other[0]["plain_loss"]) == pytest.approx(0.98)


@pytest.fixture
def job(database: Database) -> Job:
    """A fine-tune in its first attempt."""
    a_job(database)
    return running(database)


def test_epochs_of_every_attempt_are_put_together(artifacts: Artifacts, job: Job) -> None:
    folder = artifacts.attempt_folder(job.id, job.fence)
    folder.mkdir(parents=True)
    write_epoch(folder, 0, np.array([2.0, 1.0]), np.array([1, 0]))
    write_epoch(folder, 1, np.array([0.5, 0.25]), np.array([0, 0]))

    history = read_epochs(artifacts, job, epochs=2, photos=2)

    assert history.losses.tolist() == [[2.0, 0.5], [1.0, 0.25]]
    assert history.predictions is not None
    assert history.predictions.tolist() == [[1, 0], [0, 0]]


def test_epochs_that_an_earlier_version_wrote_have_losses_only(
    artifacts: Artifacts, job: Job
) -> None:
    folder = artifacts.attempt_folder(job.id, job.fence)
    folder.mkdir(parents=True)
    np.save(folder / "losses-0.npy", np.array([2.0, 1.0]))
    write_epoch(folder, 1, np.array([0.5, 0.25]), np.array([0, 0]))

    history = read_epochs(artifacts, job, epochs=3, photos=2)

    assert history.losses[:, :2].tolist() == [[2.0, 0.5], [1.0, 0.25]]
    assert np.isnan(history.losses[:, 2]).all()
    assert history.predictions is None
