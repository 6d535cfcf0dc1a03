"""Datasets: register, list, read, wait."""

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith_client.jobs import Jobs
from tunesmith_client.pages import entries
from tunesmith_client.resources import Dataset, Json, Page
from tunesmith_client.transport import Transport, json_of, read

_PATH = "/v1/datasets"


class Datasets:
    """``client.datasets``."""

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        self._http = transport
        self._jobs = jobs

    def register(
        self,
        name: str,
        source: Mapping[str, Any],
        labels: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        **fields: Any,  # noqa: ANN401 - any JSON
    ) -> Dataset:
        """A dataset whose import is queued; ``job_id`` is the import.

        Args:
            name: a name for people.
            source: one of `tunesmith_client.sources`.
            labels: the rule that labels, such as ``{"rule": "parent_folder"}``.
            idempotency_key: sent twice, it registers once; absent: a fresh one.
            fields: the other fields of POST /v1/datasets, such as ``split``.

        Raises:
            BadRequestError: what names alone can tell to be wrong.
        """
        body = {"name": name, "source": dict(source), "labels": dict(labels), **fields}
        return self.register_body(body, idempotency_key=idempotency_key)

    def register_body(
        self, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Dataset:
        """As `register`, from the whole body of the request."""
        return read(Dataset, self._http.post(_PATH, body, idempotency_key=idempotency_key))

    def get(self, dataset_id: str) -> Dataset:
        """One dataset.

        Raises:
            NotFoundError: there is none with this id.
        """
        return read(Dataset, self._http.get(f"{_PATH}/{dataset_id}"))

    def list(self, *, limit: int | None = None, **filters: str | None) -> Iterator[Dataset]:
        """Datasets, newest first; ``parent_id`` lists the versions of one."""
        return entries(self._http, _PATH, Page[Dataset], filters, limit=limit)

    def report(self, dataset_id: str) -> Json:
        """What the import found: unreadable files, duplicates, leaks, imbalance.

        Raises:
            ConflictError: it is still importing.
        """
        return json_of(self._http.get(f"{_PATH}/{dataset_id}/report"))

    def wait(self, dataset_id: str, *, timeout_s: float | None = None) -> Dataset:
        """The dataset, as soon as it is ready.

        Raises:
            JobFailedError: its import failed or was cancelled.
            StillRunningError: it takes longer than ``timeout_s``.
        """
        self._jobs.wait(self.get(dataset_id).job_id, timeout_s=timeout_s)
        return self.get(dataset_id)
