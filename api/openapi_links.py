"""Links of the OpenAPI document: which operations go on from an answer, and with what of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lead:
    """From the successes of some operations to others, whose parameters are found in the answer."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    parameters: Mapping[str, str]
    status: str = "202"


_ID = "$response.body#/id"
_IN_JOB = {"path.job_id": _ID}
_IN_DATASET = {"path.dataset_id": _ID}
_DATASETS = ("createDataset", "createDatasetVersion")
_TRAININGS = ("createLrFind", "createFineTune")
_JOBS = (*_TRAININGS, "createEvaluation", "createPrediction", "createPresizingPreview", "retryJob")
_MADE_BY_JOBS = ("downloadModel", "getPlot")
_READING = ("getJob", "listJobEvents", "streamJobEvents", "createStreamToken", "getJobLogs")
_FILES = ("listArtifacts", "listCheckpoints")
_ACTING = ("editJob", "pauseJob", "resumeJob", "stopJob", "cancelJob", "retryJob", "deleteJob")
_LEDGER = ("listSamples", "getSampleSummary", "getConfusion", "getClassReport")
_MODEL = ("getModel", "editModel", "downloadModel", "predict", "deleteModel")

LEADS = (
    Lead(_DATASETS, ("getDataset", "getDatasetReport", "listDatasetItems"), _IN_DATASET),
    Lead(_DATASETS, ("editDataset", "createDatasetVersion", "deleteDataset"), _IN_DATASET),
    Lead(_DATASETS, ("getJob", "streamJobEvents"), {"path.job_id": "$response.body#/job_id"}),
    Lead(_JOBS, (*_READING, *_ACTING, *_FILES), _IN_JOB),
    Lead(_MADE_BY_JOBS, ("getJob", "streamJobEvents"), _IN_JOB),
    Lead((*_TRAININGS, "createEvaluation"), ("listPlots", "reproduceJob"), _IN_JOB),
    Lead(_TRAININGS, ("getLossCurve",), _IN_JOB),
    Lead(("createLrFind",), ("getLrCurve",), _IN_JOB),
    Lead(("createFineTune", "createEvaluation"), _LEDGER, _IN_JOB),
    Lead(("createPrediction",), ("listPredictions",), _IN_JOB),
    Lead(("createPresizingPreview",), ("getPresizingPreview", "listPlots"), _IN_JOB),
    Lead(
        ("createUpload",),
        ("getUpload", "deleteUpload"),
        {"path.upload_id": _ID},
        status="201",
    ),
    Lead(
        ("createApiKey",),
        ("getApiKey", "revokeApiKey"),
        {"path.key_id": _ID},
        status="201",
    ),
    Lead(
        ("createWebhook",),
        ("getWebhook", "editWebhook", "testWebhook", "listDeliveries", "deleteWebhook"),
        {"path.webhook_id": _ID},
        status="201",
    ),
    Lead(
        ("testWebhook", "redeliver"),
        ("getDelivery", "redeliver"),
        {"path.webhook_id": "$response.body#/webhook_id", "path.delivery_id": _ID},
    ),
    Lead(
        ("createStreamToken",),
        ("streamJobEvents",),
        {"path.job_id": "$response.body#/job_id", "query.token": "$response.body#/token"},
        status="201",
    ),
    Lead(("getJob",), _MODEL, {"path.model_id": "$response.body#/model_id"}, status="200"),
)
"""Every answer that makes something leads on, and a job to its model."""


def add_links(document: Json) -> None:
    """The answers of the document have their links (OpenAPI 3.1, 4.8.20)."""
    operations = dict(_operations(document))
    for lead in LEADS:
        for source in lead.sources:
            answer = operations[source]["responses"][lead.status]
            answer.setdefault("links", {}).update(
                {target: _link(target, operations[target], lead) for target in lead.targets}
            )


def _link(target: str, operation: Json, lead: Lead) -> Json:
    return {
        "operationId": target,
        "parameters": dict(lead.parameters),
        "description": operation["summary"],
    }


def _operations(document: Json) -> Iterator[tuple[str, Json]]:
    for methods in document["paths"].values():
        for operation in methods.values():
            yield operation["operationId"], operation
