"""How a finished job is done again: the request that gives the same numbers."""

import json
import shlex
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from api.problems import Problem
from api.schemas.reproductions import RepeatedRequest, Reproduction
from api.services import Services
from jobs import datasets, models, retries
from jobs.errors import NotFoundError, ResultNotReadyError
from jobs.hyperparameters import AUTO
from jobs.job import Job, JobState, JobType

PATH_OF: Mapping[JobType, str] = {
    JobType.LR_FIND: "/v1/lr-finds",
    JobType.FINE_TUNE: "/v1/fine-tunes",
    JobType.EVALUATION: "/v1/evaluations",
}
"""Where jobs that compute with a model are submitted; others are not repeated."""

WITH_SCRIPT = frozenset({JobType.FINE_TUNE, JobType.EVALUATION})

_ENVIRONMENT = ("device", "cpu", "torch_threads", "torch", "torchvision", "decoder")
_LIBRARIES = ("torch", "torchvision", "decoder")


def reproduction(services: Services, job: Job, base_url: str) -> Reproduction:
    """The job as something to be done again, at the service that answers at ``base_url``.

    Raises:
        ResultNotReadyError: the job has not succeeded.
        Problem: jobs of this type are not repeated.
    """
    require_repeatable(job)
    resolved = {name: entry["value"] for name, entry in job.resolved.items()}
    request = RepeatedRequest(path=PATH_OF[job.type], body=dict(repeated_body(services, job)))
    loss = job.result.get("reported_valid_loss", job.result.get("reported_loss"))
    return Reproduction(
        job_id=job.id,
        request=request,
        curl=_curl(request, base_url, needs_key=services.settings.needs_keys),
        same_when={name: resolved[name] for name in _ENVIRONMENT if name in resolved},
        versions={
            "service": version("tunesmith"),
            **{name: resolved[name] for name in _LIBRARIES if name in resolved},
        },
        digests=dict(_digests(services, job)),
        expected={} if loss is None else {"loss": loss},
        notes=list(_notes(job)),
        links=_links(job),
    )


def require_repeatable(job: Job) -> None:
    """The job has computed something that can be computed again.

    Raises:
        ResultNotReadyError: it has not succeeded.
        Problem: it is of another type.
    """
    if job.type not in PATH_OF:
        kinds = ", ".join(kind.value for kind in PATH_OF)
        detail = f"job {job.id} is a {job.type}; only these can be reproduced: {kinds}"
        raise Problem("not_found", detail)
    if job.state != JobState.SUCCEEDED:
        raise ResultNotReadyError(job.id, "reproduction", job.state)


def repeated_body(services: Services, job: Job) -> Mapping[str, Any]:
    """The body of the job's request, where what the job decided itself is written out."""
    body = {**retries.body_of(services.database, job), "depends_on": []}
    for name in ("precision", "batch_size"):
        entry = job.resolved.get(name)
        # a batch that was halved still makes the steps of the whole one
        if entry is not None and "pieces" not in entry:
            body[name] = entry["value"]
    rate = body.get("learning_rate")
    if rate == AUTO or (isinstance(rate, dict) and "from_job" in rate):
        body["learning_rate"] = job.resolved["learning_rate"]["value"]
    return body


def _curl(request: RepeatedRequest, base_url: str, *, needs_key: bool) -> str:
    key = ' -H "Authorization: Bearer $TUNESMITH_API_KEY"' if needs_key else ""
    address = shlex.quote(f"{base_url.rstrip('/')}{request.path}")
    body = shlex.quote(json.dumps(request.body, ensure_ascii=False))
    return f"curl -s {address}{key} -H 'Content-Type: application/json' -d {body}"


def _digests(services: Services, job: Job) -> Iterator[tuple[str, str]]:
    try:
        dataset = datasets.get(services.database, str(job.dataset_id))
        yield "dataset", str(dataset.digest)
    except NotFoundError:
        pass
    model = models.made_by(services.database, job.id)
    if model is not None:
        yield "model", model.digest
    for entry in job.result.get("samples", {}).values():
        yield "ledger", entry["digest"]


def _notes(job: Job) -> Iterator[str]:
    if job.stop_reason in {"user", "max_duration"}:
        yield f"the training was ended early ({job.stop_reason}); a second one goes on to its end"
    pieces = job.resolved.get("batch_size", {}).get("pieces")
    if pieces is not None:
        yield f"a batch went through in {pieces} pieces for want of memory"
    if job.resolved.get("device", {}).get("value") == "cuda":
        yield "not every kernel of a GPU gives the same bits twice"


def _links(job: Job) -> dict[str, str]:
    own = f"/v1/jobs/{job.id}"
    model_id = job.model_id or job.spec.get("model")
    return {
        "job": own,
        **({"script": f"{own}/reproduce?format=script"} if job.type in WITH_SCRIPT else {}),
        **({"model": f"/v1/models/{model_id}/download"} if model_id is not None else {}),
    }
