"""What the service answers about a ledger is what the pure functions say of the same logits."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from api.app import create_app
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from jobs.spec import EvaluationSpec
from ml.theory import cross_entropy, interpretation
from tests.api.conftest import TestClient
from tests.api.given import get, ready_dataset, succeeded
from tests.golden.figures import Case, cases
from tests.worker.conftest import fine_tune_spec, submit, wait_for
from worker.items import Item
from worker.ledger import Evaluated, samples_entry, write_ledger
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]
Array = NDArray[Any]


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


def test_the_answers_about_an_evaluation_follow_from_its_logits(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts, client: TestClient
) -> None:
    # a model of one step is wrong often enough
    spec = fine_tune_spec(dataset_id, epochs=1, max_duration_s=1e-3)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    work("train")
    trained = wait_for(database, job.id, lambda job: job.is_terminal)
    asked = EvaluationSpec(model=str(trained.model_id), dataset=dataset_id, split="train")
    again = submit(database, JobType.EVALUATION, asked, dataset_id)

    work("train")
    evaluated = wait_for(database, again.id, lambda job: job.is_terminal)

    assert evaluated.state == JobState.SUCCEEDED, evaluated.error
    file = artifacts.absolute(evaluated.result["samples"]["train"]["path"])
    rows = pq.read_table(file).to_pylist()
    classes = evaluated.result["classes"]
    logits = np.array([row["logits"] for row in rows])
    labels = np.array([classes.index(row["label"]) for row in rows])
    assert logits.shape == (18, 2)
    _assert_answers(client, evaluated, logits, labels, classes)


def test_an_evaluation_says_what_it_computed_with(
    database: Database, work: Work, dataset_id: str
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, epochs=1), dataset_id)
    work("train")
    trained = wait_for(database, job.id, lambda job: job.is_terminal)
    asked = EvaluationSpec(
        model=str(trained.model_id), dataset=dataset_id, batch_size=4, precision="fp16"
    )
    again = submit(database, JobType.EVALUATION, asked, dataset_id)

    work("train")
    evaluated = wait_for(database, again.id, lambda job: job.is_terminal)

    environment = {"device", "torch_threads", "torch", "decoder", "batch_size"}
    assert {name: evaluated.resolved[name] for name in environment} == {
        name: trained.resolved[name] for name in environment
    }
    # the CPU has no float16
    assert evaluated.resolved["precision"] == {"value": "fp32", "origin": "hardware"}


@pytest.mark.parametrize("case", cases("interpretation"))
@pytest.mark.slow
def test_logits_recorded_from_fastai_are_answered_as_fastai_and_scikit_learn_did(
    case: Case, database: Database, artifacts: Artifacts, client: TestClient
) -> None:
    logits, labels, vocab = np.array(case["logits"]), np.array(case["targets"]), case["vocab"]
    job = _job_with(database, artifacts, case)

    _assert_answers(client, job, logits, labels, vocab)

    expected = case["expected"]
    confusion = get(client, f"/v1/jobs/{job.id}/confusion")
    assert confusion["matrix"] == expected["confusion_matrix"]
    assert confusion["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)
    pairs = [
        [pair["label"], pair["predicted"], pair["count"]] for pair in confusion["most_confused"]
    ]
    assert pairs == expected["most_confused"]["1"]
    page = get(client, f"/v1/jobs/{job.id}/samples?sort=-loss&limit=200")
    worst = [row["loss"] for row in page["data"]]
    assert worst == pytest.approx(expected["top_losses"]["values"], rel=1e-5, abs=1e-6)
    scores = expected["classification_report_dict"]
    answer = get(client, f"/v1/jobs/{job.id}/classes")
    for score in answer["data"]:
        for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            # where scikit-learn puts 0 for what is not defined, null is said
            assert (score[ours] or 0.0) == pytest.approx(scores[score["label"]][theirs], abs=1e-8)
        assert score["support"] == scores[score["label"]]["support"]


def _job_with(database: Database, artifacts: Artifacts, case: Case) -> Job:
    """A job whose ledger a worker has written from these logits."""
    items = [
        Item(item_id=f"item_{n}", path=f"{n}.jpg", split="valid", usable=True)
        for n in range(len(case["targets"]))
    ]
    file = artifacts.root / "jobs" / "by-hand" / "samples-valid.parquet"
    file.parent.mkdir(parents=True)
    totals = write_ledger(
        file,
        Evaluated(
            items=items,
            classes=case["vocab"],
            labels=np.array(case["targets"], np.int64),
            logits=np.array(case["logits"], np.float32),
        ),
    )
    entry = samples_entry(artifacts, file, totals)
    result = {
        "classes": case["vocab"],
        "samples": {"valid": entry},
        "reported_loss": totals.mean_loss,
    }
    return succeeded(database, JobType.EVALUATION, ready_dataset(database), result)


def _assert_answers(
    client: TestClient, job: Job, logits: Array, labels: Array, classes: list[str]
) -> None:
    """Confusion, confused pairs, scores of the classes and the worst photos, all of one ledger."""
    counts = interpretation.confusion(labels, logits.argmax(axis=1), len(classes))
    confusion = get(client, f"/v1/jobs/{job.id}/confusion")
    assert confusion["labels"] == classes
    assert confusion["matrix"] == counts.tolist()
    assert [
        interpretation.ConfusedPair(pair["label"], pair["predicted"], pair["count"])
        for pair in confusion["most_confused"]
    ] == list(interpretation.most_confused(counts, classes))

    losses = cross_entropy.per_sample(logits, labels)
    page = get(client, f"/v1/jobs/{job.id}/samples?sort=-loss&limit=200")
    top = [each.loss for each in interpretation.top_losses(losses)]
    assert [row["loss"] for row in page["data"]] == pytest.approx(top, rel=1e-6, abs=1e-7)
    assert page["aggregate"]["mean_loss"] == pytest.approx(losses.mean(), rel=1e-6, abs=1e-7)

    report = interpretation.class_report(counts, classes)
    answer = get(client, f"/v1/jobs/{job.id}/classes")
    assert answer["accuracy"] == pytest.approx(report.accuracy)
    for score, expected in zip(answer["data"], report.classes, strict=True):
        assert (score["label"], score["support"]) == (expected.label, expected.support)
        found = [score[name] or 0.0 for name in ("precision", "recall", "f1")]
        assert found == pytest.approx([expected.precision, expected.recall, expected.f1])
        own = losses[labels == classes.index(expected.label)]
        assert score["mean_loss"] == (
            pytest.approx(own.mean(), rel=1e-6, abs=1e-7) if len(own) else None
        )
