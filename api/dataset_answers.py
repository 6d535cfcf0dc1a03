"""The 202 of a dataset that was just registered, and whose import waits for a worker."""

from collections.abc import Callable

from fastapi import Response
from sqlalchemy import Connection

from api.idempotency import Once
from api.problems import RETRY_AFTER_S
from api.schemas.datasets import DatasetResource
from api.services import Services
from jobs import quotas
from jobs.datasets import Dataset
from jobs.idempotency import StoredAnswer


def register_once(
    services: Services, once: Once, register: Callable[[Connection], Dataset]
) -> Response:
    """The dataset is registered once for all equal requests, and the queue is rung."""
    made: list[Dataset] = []

    def act(connection: Connection) -> StoredAnswer:
        made.append(register(connection))
        quotas.require_within(connection, services.settings, made[0].owner)
        return _accepted(made[0])

    return once.create(act, then=lambda: services.doorbell.ring("prepare", made[0].job_id))


def _accepted(dataset: Dataset) -> StoredAnswer:
    return StoredAnswer(
        status=202,
        headers={"Location": f"/v1/datasets/{dataset.id}", "Retry-After": str(RETRY_AFTER_S)},
        body=DatasetResource.of(dataset).model_dump_json(),
    )
