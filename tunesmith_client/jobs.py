"""Jobs: submit, list, read, act on, watch, wait."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from tunesmith_client.errors import JobCancelledError, JobFailedError, StillRunningError
from tunesmith_client.event_stream import Broken, follow
from tunesmith_client.pages import entries
from tunesmith_client.resources import Event, Job, Json, Page
from tunesmith_client.transport import Transport, json_of, read

Kind = Literal["lr_find", "fine_tune", "evaluation", "prediction", "presizing_preview"]

PATH_OF: Mapping[Kind, str] = {
    "lr_find": "/v1/lr-finds",
    "fine_tune": "/v1/fine-tunes",
    "evaluation": "/v1/evaluations",
    "prediction": "/v1/predictions",
    "presizing_preview": "/v1/presizing-previews",
}

_LONGEST_HOLD_S = 30.0


class Jobs:
    """``client.jobs``."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def submit(
        self,
        kind: Kind,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Any,  # noqa: ANN401 - any JSON
    ) -> Job:
        """A job that is queued; docs/fields.md has the fields of each kind.

        Args:
            kind: lr_find, fine_tune, evaluation, prediction or presizing_preview.
            body: fields as a mapping; those given by name win.
            idempotency_key: sent twice, it makes one job; absent: a fresh one.
            fields: fields by name, such as ``dataset="ds_…"`` or ``epochs=6``.

        Raises:
            BadRequestError: a field is unknown or has a wrong value.
            ConflictError: the dataset is not ready.
        """
        whole = {**(body or {}), **fields}
        return read(Job, self._http.post(PATH_OF[kind], whole, idempotency_key=idempotency_key))

    def plan(
        self,
        kind: Literal["lr_find", "fine_tune"],
        body: Mapping[str, Any] | None = None,
        **fields: Any,  # noqa: ANN401 - any JSON
    ) -> Json:
        """What a training would use and take, without running it (docs/dry-run.md)."""
        whole = {**(body or {}), **fields}
        return json_of(self._http.post(PATH_OF[kind], whole, query={"dry_run": "true"}))

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFoundError: there is none with this id.
        """
        return read(Job, self._http.get(f"/v1/jobs/{job_id}"))

    def list(
        self,
        *,
        limit: int | None = None,
        metadata: Mapping[str, str] | None = None,
        **filters: str | None,
    ) -> Iterator[Job]:
        """Jobs, newest first; pages are fetched as they are needed.

        Args:
            limit: at most so many; absent: all.
            metadata: only jobs with these keys and values.
            filters: type, state, dataset_id, retry_of, created_after (RFC 3339), sort.
        """
        query = filters | {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
        return entries(self._http, "/v1/jobs", Page[Job], query, limit=limit)

    def cancel(self, job_id: str) -> Job:
        """The job ends, and what it learned is discarded.

        Raises:
            ConflictError: it has ended in another way.
        """
        return self._act(job_id, "cancel")

    def stop(self, job_id: str) -> Job:
        """The training ends after its current step; the model so far is kept."""
        return self._act(job_id, "stop")

    def pause(self, job_id: str) -> Job:
        """The training saves a checkpoint and frees its device."""
        return self._act(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """The paused training is queued again, and goes on from its checkpoint."""
        return self._act(job_id, "resume")

    def retry(
        self,
        job_id: str,
        *,
        dataset: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        continue_epochs: int | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Another job that asks for the same, with changes, or that trains the model on.

        Args:
            job_id: a job that has ended.
            dataset: id of another dataset.
            overrides: fields that replace those of the first job.
            continue_epochs: of a fine-tune: train its model on for so many epochs.
            idempotency_key: sent twice, it makes one job; absent: a fresh one.
        """
        body = {"dataset": dataset, "overrides": overrides, "continue_epochs": continue_epochs}
        given = {name: value for name, value in body.items() if value is not None}
        path = f"/v1/jobs/{job_id}/retry"
        return read(Job, self._http.post(path, given, idempotency_key=idempotency_key))

    def events(
        self,
        job_id: str,
        *,
        after: int = 0,
        patience_s: float = 30.0,
        on_break: Broken | None = None,
    ) -> Iterator[Event]:
        """Everything that happened and happens to the job, to its last event.

        Connections that break are made again behind the last event seen: none is lost, none comes
        twice.

        Args:
            job_id: the job.
            after: number of the event to begin behind; 0 is the beginning.
            patience_s: seconds that the service may be away.
            on_break: is told why a connection broke, each time.

        Raises:
            NotFoundError: there is no such job.
            UnreachableError: the service stayed away for longer.
        """
        return follow(self._http, job_id, after=after, patience_s=patience_s, on_break=on_break)

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """The job after it has succeeded.

        Raises:
            JobFailedError: it failed; or JobCancelledError: it was cancelled.
            StillRunningError: it takes longer than ``timeout_s``.
        """
        began_s = time.monotonic()
        job = self.get(job_id)
        while not job.is_terminal:
            left_s = _LONGEST_HOLD_S
            if timeout_s is not None:
                left_s = began_s + timeout_s - time.monotonic()
                if left_s <= 0:
                    raise StillRunningError(job, timeout_s)
            hold = f"wait={min(left_s, _LONGEST_HOLD_S):.3f}"
            job = read(Job, self._http.get(f"/v1/jobs/{job_id}", Prefer=hold))
        return succeeded(job)

    def log(self, job_id: str) -> str:
        """The log of the latest attempt."""
        return self._http.get(f"/v1/jobs/{job_id}/logs").text

    def _act(self, job_id: str, verb: str) -> Job:
        return read(Job, self._http.post(f"/v1/jobs/{job_id}/{verb}"))


def succeeded(job: Job) -> Job:
    """The job, which has succeeded.

    Raises:
        JobFailedError: it has not; or JobCancelledError: it was cancelled.
    """
    if job.has_succeeded:
        return job
    raise (JobCancelledError if job.state == "cancelled" else JobFailedError)(job)
