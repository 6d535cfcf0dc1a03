"""Metrics for Prometheus: of this process, of the installation, and where workers show theirs."""

from itertools import groupby

from fastapi import APIRouter, Response
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from api.dependencies import ServicesDep
from api.problems import problem_responses
from api.schemas.queue import MetricsDiscovery, MetricsTargets
from jobs import presence
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


@router.get(
    "/metrics/targets",
    operation_id="getMetricsTargets",
    summary="Where workers show their metrics",
    responses=problem_responses(),
)
def get_metrics_targets(services: ServicesDep) -> MetricsDiscovery:
    """The workers heard of lately, on whatever machine, for Prometheus's `http_sd_configs`.

    Where keys are needed this needs one with the scope `admin`.
    """
    shown = [worker for worker in presence.present(services.database) if worker.metrics]
    return MetricsDiscovery(
        [
            MetricsTargets(
                targets=[str(worker.metrics) for worker in workers], labels={"queue": queue}
            )
            for queue, workers in groupby(shown, key=lambda worker: worker.queue)
        ]
    )
