"""Photos in, numbers out: a real API, a real resident process, real photos."""

import base64
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from api.app import create_app
from jobs import presence, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobType
from jobs.settings import Settings
from ml.backbones import empty_model
from ml.model_file import ModelCard, save_model
from tests.api.conftest import TestClient
from tests.api.given import problem
from tests.worker.conftest import fine_tune_spec, submit, wait_for
from worker.model_cache import ModelCache
from worker.resident import Resident
from worker.standby import Standby
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]


@pytest.fixture
def client(quick: Settings) -> Iterator[TestClient]:
    """A client of the service."""
    with TestClient(create_app(quick), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def predictor(quick: Settings, database: Database, standby: Standby) -> Iterator[Supervisor]:
    """A worker of the queue predict that looks again and again, as nobody rings."""
    supervisor = Supervisor(
        quick, database, queue="predict", worker_id="predict-test", standby=standby
    )
    presence.announce(
        database, worker_id="predict-test", queue="predict", device="cpu", hostname="here", pid=1
    )
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            supervisor.work()

    thread = threading.Thread(target=look)
    thread.start()
    yield supervisor
    ended.set()
    supervisor.drain()
    thread.join()
    supervisor.close()


def process_of(predictor: Supervisor) -> BaseProcess | None:
    """The process that predicts, if there is one."""
    assert predictor._resident is not None
    child = predictor._resident._child
    return None if child is None else child.process


def as_files(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """Parts of a form."""
    return [("images", (f"{place}.jpg", each)) for place, each in enumerate(contents)]


@pytest.mark.parametrize("mode", ["single", "fastai"])
def test_the_numbers_of_a_photo_are_those_of_its_row_in_the_ledger(
    client: TestClient, predictor: Supervisor, database: Database, work: Work, dataset_id: str,
    artifacts: Artifacts, settings: Settings, mode: str,
) -> None:  # fmt: skip
    spec = fine_tune_spec(dataset_id, epochs=1, presize_mode=mode)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    work("train")
    trained = wait_for(database, job.id, lambda job: job.is_terminal)
    ledger = artifacts.absolute(trained.result["samples"]["valid"]["path"])
    rows: list[dict[str, Any]] = pq.read_table(ledger).to_pylist()
    photos = [(settings.dataset_roots[0] / "tiny" / row["path"]).read_bytes() for row in rows]

    answer = client.post(f"/v1/models/{trained.model_id}/predict", files=as_files(*photos))

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["classes"], len(body["images"])) == (["blue", "red"], 6)
    for row, image in zip(rows, body["images"], strict=True):
        assert image["logits"] == pytest.approx(row["logits"], abs=1e-5)
        of_label = body["classes"].index(row["label"])
        assert image["probabilities"][of_label] == pytest.approx(row["p_label"], abs=1e-5)
        assert image["top"][0]["label"] == row["predicted"]


@pytest.mark.slow
def test_what_is_sent_twice_or_inside_json_has_the_same_numbers_and_nothing_is_kept(
    client: TestClient, predictor: Supervisor, trained: Job, database: Database,
    artifacts: Artifacts, settings: Settings,
) -> None:  # fmt: skip
    photo = (settings.dataset_roots[0] / "tiny" / "red_0.jpg").read_bytes()
    path = f"/v1/models/{trained.model_id}/predict"
    encoded = {"images": [{"data": base64.b64encode(photo).decode(), "name": "rex"}]}

    first = client.post(path, files=as_files(photo)).json()["images"][0]
    second = client.post(path, files=as_files(photo)).json()["images"][0]
    third = client.post(f"{path}?top_k=1", json=encoded).json()["images"][0]

    assert first["logits"] == second["logits"] == third["logits"]
    assert [first["name"], third["name"]] == ["0.jpg", "rex"]
    assert [len(first["top"]), len(third["top"])] == [2, 1]
    assert (
        store.list_jobs(database, store.JobFilter(type=JobType.PREDICT), after=None, limit=9) == []
    )
    assert not list(artifacts.root.glob("jobs/*/inputs"))


def test_a_photo_that_cannot_be_read_says_why_and_the_others_have_their_numbers(
    client: TestClient, predictor: Supervisor, trained: Job, settings: Settings
) -> None:
    photo = (settings.dataset_roots[0] / "tiny" / "blue_1.jpg").read_bytes()
    files = as_files(b"no photo", photo, photo[:600])

    images = client.post(f"/v1/models/{trained.model_id}/predict", files=files).json()["images"]

    assert images[0]["error"] == {
        "code": "unreadable_image",
        "message": "not an image of a format Pillow can identify",
    }
    assert images[1]["error"] is None
    assert images[1]["logits"] is not None
    assert images[2]["error"]["message"].startswith("truncated")


@pytest.mark.slow
def test_a_process_that_was_killed_is_replaced_and_the_photos_are_predicted(
    client: TestClient, predictor: Supervisor, trained: Job, settings: Settings
) -> None:
    photo = (settings.dataset_roots[0] / "tiny" / "blue_1.jpg").read_bytes()
    path = f"/v1/models/{trained.model_id}/predict"
    before = client.post(path, files=as_files(photo)).json()
    process = process_of(predictor)
    assert process is not None
    assert process.pid is not None

    os.kill(process.pid, signal.SIGKILL)
    after = client.post(path, files=as_files(photo))

    assert after.json() == before
    assert process_of(predictor) is not process


def test_a_process_that_nobody_asks_is_not_there_and_the_next_request_starts_it(
    client: TestClient, predictor: Supervisor, trained: Job, settings: Settings
) -> None:
    photo = (settings.dataset_roots[0] / "tiny" / "blue_1.jpg").read_bytes()
    path = f"/v1/models/{trained.model_id}/predict"
    assert process_of(predictor) is None
    before = client.post(path, files=as_files(photo)).json()
    process = process_of(predictor)
    assert process is not None
    assert predictor._resident is not None

    # the answer is there a moment before the job is done with
    with predictor._busy:
        predictor._resident._asked_s -= predictor._parts.settings.predict_idle_s
    predictor.work()

    assert process_of(predictor) is None
    assert not process.is_alive()
    assert client.post(path, files=as_files(photo)).json() == before
    assert process_of(predictor) is not process


def test_photos_that_kill_or_stop_the_process_twice_fail_their_request(
    client: TestClient, predictor: Supervisor, trained: Job, settings: Settings
) -> None:
    """No time at all is what a process that stands still would need too much of."""
    photo = (settings.dataset_roots[0] / "tiny" / "blue_1.jpg").read_bytes()
    predictor._resident = Resident(predictor._parts, most_s=0.0)

    answer = client.post(f"/v1/models/{trained.model_id}/predict", files=as_files(photo))

    body = problem(answer, 500, "internal")
    assert "died, or stood still, twice" in body["detail"]
    assert body["error"]["code"] == "worker_lost"


@pytest.mark.slow
def test_a_model_whose_file_is_damaged_fails_the_request(
    client: TestClient, predictor: Supervisor, trained: Job, artifacts: Artifacts
) -> None:
    artifacts.model_file(str(trained.model_id)).write_bytes(b"damaged")

    answer = client.post(f"/v1/models/{trained.model_id}/predict", files=as_files(b"x"))

    assert problem(answer, 500, "internal")["error"]["code"] == "checkpoint_corrupt"


def test_the_models_that_were_used_last_stay_loaded_within_the_bound(tmp_path: Path) -> None:
    model = empty_model("squeezenet1_1", 2)
    size_bytes = sum(tensor.nbytes for tensor in model.state_dict().values())
    card = ModelCard(architecture="squeezenet1_1", classes=("a", "b"), size=64, presize=64)
    save_model(tmp_path / "model", model, card)
    cache = ModelCache(2 * size_bytes)

    first, second = cache.get(tmp_path / "model", "1"), cache.get(tmp_path / "model", "2")
    assert cache.get(tmp_path / "model", "1") is first
    cache.get(tmp_path / "model", "3")

    assert (len(cache), cache.size_bytes) == (2, 2 * size_bytes)
    assert cache.get(tmp_path / "model", "1") is first
    assert cache.get(tmp_path / "model", "2") is not second
    # the one in use stays, whatever its size
    tight = ModelCache(1)
    assert tight.get(tmp_path / "model", "1") is tight.get(tmp_path / "model", "1")
