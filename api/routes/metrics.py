"""Metrics for Prometheus: of this process, and of the installation as the database knows it."""

from fastapi import APIRouter, Response
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from api.dependencies import ServicesDep
from api.problems import problem_responses
from jobs.store_metrics import StoreMetrics

router = APIRouter(tags=["System"])


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus's text format.",
            "content": {"text/plain": {"example": 'tunesmith_queue_depth{queue="train"} 3.0\n'}},
        },
        **problem_responses(),
    },
)
def get_metrics(services: ServicesDep) -> Response:
    """Requests and sweeps of this process; queues, jobs and webhooks of the whole installation.

    Where keys are needed this needs one with the scope `admin`.
    """
    installation = CollectorRegistry()
    installation.register(StoreMetrics(services.database))
    content = generate_latest(REGISTRY) + generate_latest(installation)
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})
