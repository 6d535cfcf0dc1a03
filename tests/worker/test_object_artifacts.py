"""Artifacts in a bucket: API and workers are on machines with nothing else in common."""

import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import active_children, forkserver
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from api.app import create_app
from jobs import curves, datasets, events, presence, store
from jobs.artifacts import Artifacts
from jobs.bucket import Bucket
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from tests.api.conftest import TestClient
from tests.archives import a_zip, files_below
from tests.object_store import BUCKET, ObjectStoreServer, failing, storing
from tests.worker.conftest import (
    _PRELOADED,
    TINY,
    event_types,
    fine_tune_spec,
    submit,
    wait_for,
)
from tests.worker.photos import write_photos
from worker.standby import Standby
from worker.supervisor import Supervisor

LABELS = {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"}
Host = Callable[..., AbstractContextManager[Settings]]
"""A machine of this name whose workers serve these queues for as long as the block lasts."""


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStoreServer]:
    with storing() as server:
        yield server


@pytest.fixture
def bucket(s3: ObjectStoreServer, object_store_config: Path) -> Iterator[Bucket]:
    """What the machines share."""
    s3.empty()
    object_store_config.write_text(
        "[default]\nregion = us-east-1\naws_access_key_id = some\naws_secret_access_key = secret\n"
    )
    yield Bucket(f"s3://{BUCKET}/tunesmith", endpoint=s3.url)
    object_store_config.unlink()


@pytest.fixture
def quick(quick: Settings, bucket: Bucket, s3: ObjectStoreServer) -> Settings:
    """Settings of the machine that trains."""
    changes = {"artifact_store": bucket.url, "artifact_endpoint": s3.url, "look_s": 0.2}
    return quick.model_copy(update=changes)


@pytest.fixture
def host(quick: Settings, database: Database, standby: Standby, tmp_path: Path) -> Host:
    @contextmanager
    def start(name: str, *queues: str, **changes: object) -> Iterator[Settings]:
        settings = quick.model_copy(update={"artifacts": tmp_path / name, **changes})
        over, started = threading.Event(), []
        for queue in queues:
            supervisor = Supervisor(
                settings, database, queue=queue, worker_id=f"{queue}-{name}", standby=standby
            )
            forkserver.set_forkserver_preload(_PRELOADED)
            thread = threading.Thread(target=_look, args=(supervisor, database, queue, over))
            thread.start()
            started.append((supervisor, thread))
        yield settings
        over.set()
        for supervisor, thread in started:
            supervisor.drain()
            thread.join()
            supervisor.close()

    return start


def _look(supervisor: Supervisor, database: Database, queue: str, over: threading.Event) -> None:
    while not over.wait(0.1):
        presence.announce(
            database, worker_id=queue, queue=queue, device="cpu", hostname="here", pid=1
        )
        supervisor.work()


def client_of(settings: Settings) -> TestClient:
    return TestClient(create_app(settings), base_url="http://127.0.0.1", follow_redirects=False)


def test_a_chain_over_machines_that_share_a_bucket_only(
    host: Host, database: Database, bucket: Bucket, tmp_path: Path
) -> None:
    write_photos(tmp_path / "drawn")
    photos = files_below(tmp_path / "drawn")
    with (
        host("front") as front,
        host("importing", "prepare", "predict") as importing,
        host("artifacts", "train") as training,
        client_of(front) as client,
    ):
        ready = imported(client, database, a_zip(photos))
        job = trained(client, database, ready)
        reads_results(client, job, ready)
        plots_the_worst(client, job)
        downloads(client, front, job, tmp_path)
        predicts(client, job, photos)
        # what the photos were unpacked into is lost, and a version is made of what was kept
        shutil.rmtree(importing.artifacts / "datasets")
        version = makes_a_version(client, database, ready, importing)
        assert not list(training.artifacts.glob("datasets/*/thumbs"))
        deletes(client, bucket, job, ready, version)


def imported(client: TestClient, database: Database, archive: bytes) -> dict[str, Any]:
    sent = client.post("/v1/uploads", content=archive, headers={"Content-Type": "application/zip"})
    assert sent.status_code == 201, sent.text
    source = {"type": "upload", "upload_id": sent.json()["id"]}
    body = {"name": "tiny", "source": source, "labels": LABELS}
    answer = client.post("/v1/datasets", json=body)
    assert answer.status_code == 202, answer.text
    ended = wait_for(database, answer.json()["job_id"], lambda job: job.is_terminal)
    assert ended.state == JobState.SUCCEEDED, ended.error
    ready: dict[str, Any] = client.get(f"/v1/datasets/{answer.json()['id']}").json()
    return ready


def imported_folder(database: Database, folder: Path) -> Dataset:
    body = {"name": "tiny", "source": {"type": "path", "path": str(folder)}, "labels": LABELS}
    with database.write() as connection:
        dataset = datasets.register(connection, DatasetSpec.model_validate(body))
    wait_for(database, dataset.job_id, lambda job: job.is_terminal)
    return datasets.get(database, dataset.id)


def trained(client: TestClient, database: Database, dataset: dict[str, Any]) -> Job:
    body = {"dataset": dataset["id"], "epochs": 1, "freeze_epochs": 1, "learning_rate": 1e-3}
    answer = client.post("/v1/fine-tunes", json={**TINY, **body})
    assert answer.status_code == 202, answer.text
    job = wait_for(database, answer.json()["id"], lambda job: job.is_terminal)
    assert job.state == JobState.SUCCEEDED, job.error
    return job


def reads_results(client: TestClient, job: Job, dataset: dict[str, Any]) -> None:
    own = f"/v1/jobs/{job.id}"
    row = client.get(f"{own}/samples?sort=-loss&limit=1").json()["data"][0]
    assert len(row["loss_by_epoch"]) == 2
    picture = client.get(row["image"])
    assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")
    assert len(client.get(f"/v1/datasets/{dataset['id']}/items?limit=50").json()["data"]) == 24
    log = client.get(f"{own}/logs?max_bytes=200")
    assert log.status_code == 200
    assert 0 < len(log.content) <= 200
    names = {each["name"] for each in client.get(f"{own}/artifacts").json()["data"]}
    assert {"model.safetensors", "samples-valid.parquet"} <= names
    assert client.get(f"{own}/checkpoints").json()["data"] == []


def plots_the_worst(client: TestClient, job: Job) -> None:
    plot = client.get(f"/v1/jobs/{job.id}/plots/top-losses.svg", headers={"Prefer": "wait=60"})
    assert plot.status_code == 200, plot.text
    assert b"data:image/jpeg" in plot.content or b"data:image/png" in plot.content


def downloads(client: TestClient, front: Settings, job: Job, tmp_path: Path) -> None:
    path = f"/v1/models/{job.model_id}/download"
    model = client.get(f"/v1/models/{job.model_id}").json()
    led = client.get(path)
    assert led.status_code == 307
    with httpx.Client(trust_env=False) as outside:
        content = outside.get(led.headers["Location"]).raise_for_status().content
    assert hashlib.sha256(content).hexdigest() == model["digest"]

    # what a signed address cannot say comes through the API
    etag = led.headers["ETag"]
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    part = client.get(path, headers={"Range": "bytes=10-19", "If-Range": etag})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
    whole = client.get(path, headers={"Range": "bytes=10-19", "If-Range": '"another"'})
    assert (whole.status_code, whole.content) == (200, content)
    head = client.head(path)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(content)))
    assert client.get(path, headers={"Range": f"bytes={len(content)}-"}).status_code == 416

    apart = front.model_copy(update={"artifacts": tmp_path / "apart", "artifact_redirects": False})
    with client_of(apart) as other:
        whole = other.get(path)
        assert (whole.status_code, whole.content) == (200, content)
        assert other.get(path, headers={"Range": "bytes=-7"}).content == content[-7:]
        assert other.get(path, headers={"Range": "bytes=0-1,5-6"}).status_code == 200


def predicts(client: TestClient, job: Job, photos: dict[str, bytes]) -> None:
    sent = [("images", ("a.jpg", photos["red_0.jpg"]))]
    answer = client.post(f"/v1/models/{job.model_id}/predict", files=sent)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"][0]["top"]) == 2


def makes_a_version(
    client: TestClient, database: Database, dataset: dict[str, Any], importing: Settings
) -> dict[str, Any]:
    items = client.get(f"/v1/datasets/{dataset['id']}/items").json()["data"]
    body = {"exclude": [items[0]["item_id"]]}
    answer = client.post(f"/v1/datasets/{dataset['id']}/versions", json=body)
    assert answer.status_code == 202, answer.text
    version: dict[str, Any] = answer.json()
    ended = wait_for(database, version["job_id"], lambda job: job.is_terminal)
    assert ended.state == JobState.SUCCEEDED, ended.error
    kept = [file for file in importing.artifacts.glob(f"datasets/{version['id']}/files/*")]
    assert len(kept) == 23
    return version


def deletes(client: TestClient, bucket: Bucket, job: Job, *made_of: dict[str, Any]) -> None:
    before = {each.key.split("/")[1].partition(".")[0] for each in bucket.objects("")}
    ids = {job.id, str(job.model_id), *(each["id"] for each in made_of)}
    assert ids <= before
    paths = [f"/v1/models/{job.model_id}", f"/v1/jobs/{job.id}"]
    paths += [f"/v1/datasets/{each['id']}" for each in made_of]
    upload = client.get("/v1/uploads").json()["data"][0]["id"]
    for path in [*paths, f"/v1/uploads/{upload}"]:
        assert client.delete(path).status_code == 204, path
    after = {each.key.split("/")[1].partition(".")[0] for each in bucket.objects("")}
    assert not after & {*ids, upload}


def test_a_killed_job_goes_on_to_the_bit_on_another_machine(
    host: Host, database: Database, quick: Settings, tmp_path: Path
) -> None:
    write_photos(quick.dataset_roots[0] / "tiny")
    with host("importing", "prepare"):
        dataset = imported_folder(database, quick.dataset_roots[0] / "tiny")
    spec = fine_tune_spec(dataset.id, epochs=3)
    undisturbed = submit(database, JobType.FINE_TUNE, spec, dataset.id)
    with host("artifacts", "train"):
        wait_for(database, undisturbed.id, lambda job: job.is_terminal)
    killed = submit(database, JobType.FINE_TUNE, spec, dataset.id)

    with host("lost", "train", checkpoint_s=0.01):
        wait_for(database, killed.id, lambda job: (job.checkpoint_step or 0) >= 6)
        (pid,) = (child.pid for child in active_children() if child.name == killed.id)
        os.kill(pid or 0, signal.SIGKILL)
    shutil.rmtree(tmp_path / "lost")
    with host("artifacts", "train"):
        ended = wait_for(database, killed.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.attempt >= 2
    assert event_types(database, killed.id).count("job.started") == ended.attempt
    before = store.get(database, undisturbed.id)
    assert ended.result["reported_valid_loss"] == before.result["reported_valid_loss"]
    points = [curves.read_points(database, each) for each in (undisturbed.id, killed.id)]
    assert [point.loss for point in points[0]] == [point.loss for point in points[1]]
    # the losses of the epochs that the lost machine had finished are in the ledger, too
    rows = [ledger_rows(quick, job) for job in (before, ended)]
    assert rows[0] == rows[1]


def ledger_rows(settings: Settings, job: Job) -> list[list[float]]:
    file = Artifacts(settings.artifacts).absolute(job.result["samples"]["valid"]["path"])
    columns = pq.read_table(file, columns=["loss", "loss_by_epoch"]).to_pylist()
    return [[row["loss"], *row["loss_by_epoch"]] for row in columns]


def test_a_job_whose_store_stays_away_says_so_and_may_be_tried_again(
    host: Host, database: Database, quick: Settings
) -> None:
    write_photos(quick.dataset_roots[0] / "tiny", per_class=4)
    away = {
        "artifact_endpoint": "http://127.0.0.1:9",
        "artifact_patience_s": 0.0,
        "io_pause_s": 0.0,
        "io_attempts": 1,
    }
    with host("away", "prepare", **away):
        dataset = imported_folder(database, quick.dataset_roots[0] / "tiny")

    error = store.get(database, dataset.job_id).error
    assert dataset.state == "failed"
    assert error is not None
    assert (error["code"], error["retryable"]) == ("io_error", True)
    assert error["message"].startswith("s3://photos/tunesmith")
    assert "the artifact store does not answer" in error["message"]


def test_a_checkpoint_that_the_store_does_not_take_is_told_and_the_training_goes_on(
    host: Host, database: Database, quick: Settings, s3: ObjectStoreServer
) -> None:
    write_photos(quick.dataset_roots[0] / "tiny", per_class=4)
    with host("importing", "prepare"):
        dataset = imported_folder(database, quick.dataset_roots[0] / "tiny")
    spec = fine_tune_spec(dataset.id, epochs=1)
    job = submit(database, JobType.FINE_TUNE, spec, dataset.id)

    with failing(s3, "checkpoint-") as broken:
        away = {"artifact_endpoint": broken.url, "artifact_patience_s": 0.0, "checkpoint_s": 0.01}
        with host("artifacts", "train", **away):
            ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    types = event_types(database, job.id)
    assert "job.warning" in types
    assert "job.checkpoint_saved" not in types
    assert ended.attempt == 1
    history = events.read_after(database, job.id, 0, limit=1000)
    told = [each.data for each in history if each.type == "job.warning"]
    assert {"checkpoint_not_kept"} <= {each["code"] for each in told}
