"""The script that repeats an evaluation without the service: `ml.plain_evaluation` with facts."""

import json
from importlib import resources
from typing import Any

from api.job_ledger import JobLedger, open_ledger
from api.problems import Problem
from api.reproduction import WITH_SCRIPT, require_repeatable
from api.services import Services
from jobs import datasets, models
from jobs.errors import NotFoundError
from jobs.job import Job
from jobs.models import Model
from ml.theory import architectures

MOST_ROWS = 10_000
_PLACE = 'r"""{}"""'
_COLUMNS = "path, label, logit_label, logsumexp"
# without the choice, torchvision warns that its slow way to draw weights will change
_BUILD_OPTIONS = {"googlenet": {"init_weights": False}, "inception": {"init_weights": False}}


def script(services: Services, job: Job) -> str:
    """Python source that needs torch, torchvision, Pillow, safetensors and the model's file.

    Of a ledger with more than `MOST_ROWS` photos those with the largest losses are in it.

    Raises:
        ResultNotReadyError: the job has not succeeded.
        Problem: it evaluates nothing, or its model was deleted.
    """
    require_repeatable(job)
    if job.type not in WITH_SCRIPT:
        raise Problem("not_found", f"job {job.id} is a {job.type}, which evaluates nothing")
    ledger = open_ledger(services, job.id, None)
    source = resources.files("ml").joinpath("plain_evaluation.py").read_text(encoding="utf-8")
    # in JSON no three quotes stand side by side, so they end the text nowhere but behind it
    facts = json.dumps(_facts(services, job, ledger))
    return source.replace(_PLACE, f'r"""{facts}"""')


def _facts(services: Services, job: Job, ledger: JobLedger) -> dict[str, Any]:
    model = _model(services, job)
    row, card = architectures.get(model.architecture), model.card
    tail = f"ORDER BY rank LIMIT {MOST_ROWS:d}"
    return {
        "job": job.id,
        "model": model.id,
        "model_digest": model.digest,
        "architecture": row.name,
        "family": row.family,
        "features": row.features,
        "vector_features": row.vector_features,
        "signed_input": row.signed_input,
        "body": list(row.body),
        "cut": list(row.cut),
        "build_options": _BUILD_OPTIONS.get(row.family, {}),
        "classes": list(model.classes),
        **{name: card[name] for name in ("presize", "size", "mean", "std")},
        "mode": card.get("presize_mode", "single"),
        "precision": job.resolved["precision"]["value"],
        "batch_size": job.resolved["batch_size"]["value"],
        "photos": _photos(services, job),
        "rows": services.ledgers.select(ledger.file, _COLUMNS, ledger.within, tail),
    }


def _model(services: Services, job: Job) -> Model:
    model_id = str(job.model_id or job.spec.get("model"))
    try:
        return models.get(services.database, model_id)
    except NotFoundError as deleted:
        raise Problem("not_found", f"model {model_id} of job {job.id} was deleted") from deleted


def _photos(services: Services, job: Job) -> str | None:
    """The folder of the photos, where the client named one."""
    try:
        source = datasets.get(services.database, str(job.dataset_id)).spec["source"]
    except NotFoundError:
        return None
    path: str | None = source.get("path")
    return path
