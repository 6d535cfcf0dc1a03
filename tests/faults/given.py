"""What clients do while things break: they try again, with the same key."""

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from jobs import store
from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.job import Job
from tests.faults.installation import Installation, wait_until
from tests.worker.photos import write_photos

Json = dict[str, Any]

TINY: Json = {
    "architecture": "squeezenet1_1",
    "weights": "none",
    "size": 64,
    "presize": 64,
    "batch_size": 4,
    "precision": "fp32",
}
ENDS_WITHIN_S = 240.0
_AGAIN_S = 0.2
_PATIENCE_S = 120.0
_REQUEST_S = 60.0


class Patient:
    """A client that repeats a request with its key until it is answered."""

    def __init__(self, installation: Installation) -> None:
        self._http = httpx.Client(base_url=installation.url, timeout=_REQUEST_S)
        self.seconds: list[float] = []
        """What each answered request took."""

    def __enter__(self) -> "Patient":
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Its connections are closed."""
        self._http.close()

    def post(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Json:
        """What was accepted, once."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self._answered(lambda: self._http.post(path, json=dict(body), headers=headers))

    def get(self, path: str, **query: Any) -> Json:  # noqa: ANN401 - query values
        """The resource."""
        return self._answered(lambda: self._http.get(path, params=query))

    def _answered(self, ask: Callable[[], httpx.Response]) -> Json:
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                began_s = time.monotonic()
                response = ask()
                self.seconds.append(time.monotonic() - began_s)
                if response.is_success:
                    answer: Json = response.json()
                    return answer
                # in progress elsewhere, or not available now: what a client may repeat
                assert response.status_code in {409, 503}, response.text
            assert time.monotonic() < until_s, "the API stayed away"
            time.sleep(_AGAIN_S)


def dataset(installation: Installation, *, per_class: int = 12) -> str:
    """The id of a ready dataset of tiny photos."""
    folder = installation.settings.dataset_roots[0] / f"tiny-{per_class}"
    if not folder.exists():
        write_photos(folder, per_class=per_class)
    with Patient(installation) as client:
        created = client.post("/v1/datasets", dataset_body(str(folder)))
        wait_until(
            lambda: client.get(f"/v1/datasets/{created['id']}")["state"] == "ready",
            "the dataset is ready",
        )
    return str(created["id"])


def dataset_body(folder: str, *, seed: int = 1) -> Json:
    """A request for the photos of the folder."""
    return {
        "name": "tiny",
        "source": {"type": "path", "path": folder},
        "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
        "split": {"rule": "random", "valid_fraction": 0.25, "seed": seed},
    }


def fine_tune_body(dataset_id: str, **changes: Any) -> Json:  # noqa: ANN401 - JSON
    """A request for a fine-tune of a few steps."""
    return {"dataset": dataset_id, "epochs": 1, "freeze_epochs": 0, **TINY, **changes}


def fine_tune(installation: Installation, dataset_id: str, **changes: Any) -> str:  # noqa: ANN401
    """The id of a queued fine-tune."""
    with Patient(installation) as client:
        return str(client.post("/v1/fine-tunes", fine_tune_body(dataset_id, **changes))["id"])


def job_when(
    database: Database,
    job_id: str,
    is_so: Callable[[Job], bool],
    what: str,
    *,
    within_s: float = ENDS_WITHIN_S,
) -> Job:
    """The job as soon as the condition holds."""

    def looked() -> Job | None:
        with contextlib.suppress(StoreUnavailableError):
            job = store.get(database, job_id)
            return job if is_so(job) else None
        return None

    return wait_until(looked, f"{job_id} {what}", within_s=within_s)  # type: ignore[return-value]


def ended(database: Database, *job_ids: str, within_s: float = ENDS_WITHIN_S) -> list[Job]:
    """The jobs, once all of them are in a final state."""
    return [
        job_when(database, job_id, lambda job: job.is_terminal, "ends", within_s=within_s)
        for job_id in job_ids
    ]


def trains(job: Job, *, steps: int = 1) -> bool:
    """Whether the job has taken that many steps in an attempt that runs."""
    progress = job.progress or {}
    in_training = progress.get("phase") in {"frozen", "unfrozen"}
    return job.state == "running" and in_training and int(progress.get("step") or 0) >= steps
