"""Which requests for predictions are refused, and that nothing is left of any."""

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.envelope import MAX_BODY_BYTES
from jobs import leases, presence, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import JobType
from jobs.models import Model
from tests.api.given import a_model, problem, ready_dataset
from tests.jobs.given import LEASE_MS

PHOTO = ("images", ("rex.jpg", b"a photo"))


@pytest.fixture
def model(database: Database, artifacts: Artifacts) -> Model:
    """A model, and a worker that says it is there to predict."""
    presence.announce(
        database, worker_id="p", queue="predict", device="cpu", hostname="here", pid=1
    )
    return a_model(database, artifacts, ready_dataset(database))


def jobs_of(database: Database) -> list[str]:
    chosen = store.JobFilter(type=JobType.PREDICT)
    return [job.id for job in store.list_jobs(database, chosen, after=None, limit=9)]


def answer(database: Database, result: dict[str, Any]) -> None:
    """The next prediction that is asked for has this result."""
    for _ in range(400):
        job = leases.claim_next(database, "predict", "p", lease_ms=LEASE_MS)
        if job is not None:
            leases.succeed(database, job.id, job.fence, values={"result": result})
            return
        threading.Event().wait(0.05)


def test_probabilities_and_the_likeliest_classes_follow_from_the_logits(
    client: TestClient, model: Model, database: Database, artifacts: Artifacts
) -> None:
    client.patch(f"/v1/models/{model.id}", json={"aliases": ["production"]})
    found = {"images": [{"logits": [0.0, 0.0]}, {"reason": "truncated"}]}
    worker = threading.Thread(target=answer, args=(database, found))
    worker.start()

    body = client.post("/v1/models/production/predict?top_k=1", files=[PHOTO, PHOTO]).json()
    worker.join()

    assert (body["model_id"], body["classes"]) == (model.id, ["cat", "dog"])
    assert body["images"][0] == {
        "name": "rex.jpg",
        "top": [{"label": "cat", "p": 0.5, "logit": 0.0}],
        "logits": [0.0, 0.0],
        "probabilities": [0.5, 0.5],
        "error": None,
    }
    assert body["images"][1]["error"] == {"code": "unreadable_image", "message": "truncated"}
    assert jobs_of(database) == []
    assert not list(artifacts.root.glob("jobs/*/inputs"))


def test_without_a_worker_nothing_is_queued(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    model = a_model(database, artifacts, ready_dataset(database))

    response = client.post(f"/v1/models/{model.id}/predict", files=[PHOTO])

    assert "'predict'" in problem(response, 503, "no_workers")["detail"]
    assert response.headers["retry-after"] == "10"
    assert jobs_of(database) == []


def test_a_worker_that_has_no_time_is_waited_for_so_long_and_no_longer(
    client: TestClient, model: Model, database: Database, artifacts: Artifacts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("api.predicting.WAIT_S", 0.1)

    response = client.post(f"/v1/models/{model.id}/predict", files=[PHOTO])

    assert "not done within 0.1 s" in problem(response, 503, "no_workers")["detail"]
    assert jobs_of(database) == []
    assert not list(artifacts.root.glob("jobs/*/inputs"))


def test_photos_for_which_the_disk_has_no_room_are_a_problem_of_the_disk(
    client: TestClient, model: Model, database: Database, artifacts: Artifacts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def is_full(file: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr("api.predicting.Path.write_bytes", is_full)

    response = client.post(f"/v1/models/{model.id}/predict", files=[PHOTO])

    assert str(artifacts.root) not in problem(response, 507, "disk_full")["detail"]
    assert jobs_of(database) == []
    assert not list(artifacts.root.glob("jobs/*/inputs"))


@pytest.mark.parametrize(
    ("sent", "pointer", "words"),
    [
        ({"files": [PHOTO] * 33}, "/images", "Maximum number of files is 32"),
        ({"files": [("photos", PHOTO[1])]}, "/images", "'photos' is not one of the files"),
        ({"files": [PHOTO], "data": {"top_k": "3"}}, "/images", "'top_k' is not one of the files"),
        ({"json": {"images": []}}, "/images", "at least 1 item"),
        ({"json": {"images": [{"data": "AA=="}] * 33}}, "/images", "at most 32 items"),
        ({"json": {"images": [{"data": "a photo"}]}}, "/images/0/data", "not base64"),
        ({"json": {"images": [{"data": "AA==", "url": "x"}]}}, "/images/0/url", "url"),
        ({"json": {}}, "/images", "required"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(
    client: TestClient, model: Model, database: Database,
    sent: dict[str, Any], pointer: str, words: str,
) -> None:  # fmt: skip
    response = client.post(f"/v1/models/{model.id}/predict", **sent)

    body = problem(response, 422, "validation_failed", pointer)
    assert words in body["detail"]
    assert jobs_of(database) == []


def test_only_forms_and_json_are_read(client: TestClient, model: Model) -> None:
    path = f"/v1/models/{model.id}/predict"

    for content, media_type, status, code in (
        (b"\xff\xd8", "image/jpeg", 415, "unsupported_media_type"),
        (b"{", "application/json", 400, "malformed_json"),
        (b"--x", "multipart/form-data", 422, "validation_failed"),
        (b"x" * (MAX_BODY_BYTES + 1), "application/json", 413, "payload_too_large"),
    ):
        headers = {"Content-Type": media_type}
        problem(client.post(path, content=content, headers=headers), status, code)


def test_a_form_above_the_limit_is_refused(client: TestClient, model: Model) -> None:
    large = ("images", ("rex.jpg", bytes(MAX_BODY_BYTES)))

    response = client.post(f"/v1/models/{model.id}/predict", files=[large])

    problem(response, 413, "payload_too_large")


def test_more_classes_than_can_be_listed_are_refused(client: TestClient, model: Model) -> None:
    response = client.post(f"/v1/models/{model.id}/predict?top_k=0", files=[PHOTO])

    problem(response, 422, "validation_failed", "/query/top_k")
