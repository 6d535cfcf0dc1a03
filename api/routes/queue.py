"""The queue: what waits, who works."""

from fastapi import APIRouter

from api.dependencies import ServicesDep
from api.problems import problem_responses
from api.schemas.queue import QueueDepth, QueueResource, RedisStatus, WorkerResource
from jobs import presence, store
from jobs.job import LEASED_STATES, JobState

router = APIRouter(prefix="/v1/queue", tags=["System"])


@router.get("", operation_id="getQueue", summary="See the queue", responses=problem_responses())
def get_queue(services: ServicesDep) -> QueueResource:
    """Unfinished jobs by queue, the workers heard of lately, and their devices."""
    workers = presence.present(services.database)
    depths = [
        QueueDepth(
            name=name,
            queued=states.get(JobState.QUEUED.value, 0),
            active=sum(states.get(state.value, 0) for state in LEASED_STATES),
            paused=states.get(JobState.PAUSED.value, 0),
            workers=sum(worker.queue == name for worker in workers),
        )
        for name, states in store.queue_counts(services.database).items()
    ]
    return QueueResource(
        queues=depths,
        workers=[WorkerResource.of(worker) for worker in workers],
        devices=sorted({worker.device for worker in workers if worker.queue == "train"}),
        redis=RedisStatus(is_reachable=services.feed.is_connected),
    )
