"""What can be known to be wrong with a job before it is queued, and is refused at once."""

from collections.abc import Sequence
from pathlib import Path

from api.problems import FieldProblem, Problem, at
from api.services import Services
from jobs import datasets, models, store
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.errors import (
    DatasetNotReadyError,
    NotFoundError,
    ResultNotReadyError,
    SourceForbiddenError,
    SourceUnreachableError,
)
from jobs.job import Job, JobState, JobType
from jobs.models import Model
from jobs.sources.paths import resolve_inside
from jobs.spec import (
    EvaluationSpec,
    FineTuneSpec,
    LearningRateFromJob,
    LearningRatePerGroup,
    LrFindSpec,
    WeightsFile,
)
from ml.theory import architectures
from ml.theory.architectures import Architecture, UnknownArchitectureError
from ml.theory.parts import LEAST_TRAIN, PARTS

_NAMED = 5

TRAINING_PROBLEMS = (
    "malformed_json",
    "unsupported_media_type",
    "validation_failed",
    "unknown_architecture",
    "weights_unavailable",
    "source_forbidden",
    "too_few_images",
    "dataset_not_ready",
    "idempotency_key_reused",
)
"""Codes with which a learning-rate find or a fine-tune can be refused."""


def check_lr_find(services: Services, spec: LrFindSpec) -> None:
    """The learning-rate find could start now.

    Raises:
        Problem: it could not.
        DatasetNotReadyError: its dataset is not ready.
    """
    _check_training(services, spec)


def check_fine_tune(services: Services, spec: FineTuneSpec) -> None:
    """The fine-tune could start now.

    Raises:
        Problem: it could not.
        DatasetNotReadyError: its dataset is not ready.
        ResultNotReadyError: the job that its rate comes from has not finished.
    """
    architecture = _check_training(services, spec)
    rate = spec.learning_rate
    if isinstance(rate, LearningRateFromJob):
        _check_rate_from_job(services.database, rate)
    elif isinstance(rate, LearningRatePerGroup):
        _check_per_group(rate, architecture)


def check_evaluation(services: Services, spec: EvaluationSpec) -> None:
    """The evaluation could start now.

    Raises:
        Problem: it could not.
        DatasetNotReadyError: its dataset is not ready.
    """
    model = _model(services.database, spec.model)
    dataset = _ready_dataset(services.database, spec.dataset)
    _check_same_labels(model, dataset)
    part = "usable" if spec.split == "all" else spec.split
    if (dataset.counts or {}).get(part, 0) == 0:
        raise at(
            "/split",
            "too_few_images",
            f"dataset {dataset.id} has no photos in its {spec.split} part; it has "
            + _parts_of(dataset),
        )


def _check_training(services: Services, spec: LrFindSpec | FineTuneSpec) -> Architecture:
    architecture = _architecture(spec.architecture)
    if isinstance(spec.weights, WeightsFile):
        _check_weights_file(spec.weights, services.settings.dataset_roots)
    else:
        _check_weights_name(spec.weights, architecture)
    if not architecture.takes_image_px(spec.size):
        needs = f"{architecture.name}, which needs {architecture.image_px_wanted}"
        off = "small" if spec.size < architecture.smallest_image_px else "large"
        raise _invalid("/size", "out_of_range", f"size {spec.size} is too {off} for {needs}")
    dataset = _ready_dataset(services.database, spec.dataset)
    if (dataset.counts or {}).get("train", 0) < LEAST_TRAIN:
        detail = (
            f"dataset {dataset.id} has {_parts_of(dataset)}; "
            f"training needs {LEAST_TRAIN} photos or more"
        )
        raise at("/dataset", "too_few_images", detail)
    return architecture


def _architecture(name: str) -> Architecture:
    try:
        return architectures.get(name)
    except UnknownArchitectureError as unknown:
        raise at(
            "/architecture",
            "unknown_architecture",
            str(unknown),
            allowed=architectures.names(),
            did_you_mean=unknown.did_you_mean,
        ) from unknown


def _check_weights_name(name: str, architecture: Architecture) -> None:
    allowed = ("DEFAULT", "none", *architecture.weights)
    if name not in allowed:
        raise at(
            "/weights",
            "weights_unavailable",
            f"{architecture.name} has no weights named {name!r}; use {', '.join(allowed)}, "
            'or a file as {"path": …}',
            allowed=allowed,
        )


def _check_weights_file(weights: WeightsFile, roots: Sequence[Path]) -> None:
    try:
        file = resolve_inside(weights.path, roots)
    except SourceForbiddenError as forbidden:
        raise at("/weights/path", "source_forbidden", str(forbidden)) from forbidden
    except SourceUnreachableError as missing:
        raise at("/weights/path", "weights_unavailable", str(missing)) from missing
    if not file.is_file():
        raise at(
            "/weights/path",
            "weights_unavailable",
            f"{weights.path!r} is not a file; name a .safetensors file or a PyTorch state dict",
        )


def _ready_dataset(database: Database, dataset_id: str) -> Dataset:
    try:
        dataset = datasets.get(database, dataset_id)
    except NotFoundError as unknown:
        raise _invalid("/dataset", "not_found", f"{unknown}; see GET /v1/datasets") from unknown
    if dataset.state != "ready":
        raise DatasetNotReadyError(dataset.id, dataset.state)
    return dataset


def _model(database: Database, model_id: str) -> Model:
    try:
        return models.get(database, model_id)
    except NotFoundError as unknown:
        raise _invalid("/model", "not_found", f"{unknown}; see GET /v1/models") from unknown


def _check_same_labels(model: Model, dataset: Dataset) -> None:
    labels = {str(entry["label"]) for entry in dataset.classes}
    strange = sorted(labels - set(model.classes))
    if strange:
        raise at(
            "/dataset",
            "labels_mismatch",
            f"model {model.id} does not know the labels {_named(strange)} of dataset {dataset.id}; "
            f"it knows {_named(model.classes)}",
        )


def _check_rate_from_job(database: Database, rate: LearningRateFromJob) -> None:
    pointer = "/learning_rate/from_job"
    try:
        job = store.get(database, rate.from_job)
    except NotFoundError as unknown:
        raise _invalid(pointer, "not_found", f"{unknown}; name an lr_find job") from unknown
    if job.type != JobType.LR_FIND:
        detail = f"job {job.id} is a {job.type}; a rate can come from an lr_find only"
        raise _invalid(pointer, "invalid", detail)
    if not job.is_terminal:
        raise ResultNotReadyError(job.id, "learning rate", job.state)
    if job.state != JobState.SUCCEEDED:
        detail = f"job {job.id} is {job.state}; a rate can come from one that succeeded only"
        raise _invalid(pointer, "invalid", detail)
    _check_rule(job, rate.rule)


def _check_rule(job: Job, rule: str) -> None:
    curve = job.result["lr_curve"]
    answers = {"recommended": curve["recommended"], **curve["suggestions"]}
    able = tuple(name for name, answer in answers.items() if answer is not None)
    if rule not in able:
        raise Problem(
            "validation_failed",
            f"the rule {rule!r} found no rate in job {job.id}; "
            f"these did: {', '.join(able) or 'none'}",
            errors=[
                FieldProblem(
                    pointer="/learning_rate/rule",
                    code="not_allowed",
                    detail=f"{rule!r} found no rate",
                    allowed=able,
                )
            ],
        )


def _check_per_group(rate: LearningRatePerGroup, architecture: Architecture) -> None:
    given, groups = len(rate.per_group), architecture.layer_groups
    if given != groups:
        detail = f"{given} rates for the {groups} layer groups of {architecture.name}"
        raise _invalid("/learning_rate/per_group", "wrong_length", detail)


def _invalid(pointer: str, code: str, detail: str) -> Problem:
    field = FieldProblem(pointer=pointer, code=code, detail=detail)
    return Problem("validation_failed", detail, errors=[field])


def _parts_of(dataset: Dataset) -> str:
    counts = dataset.counts or {}
    return ", ".join(f"{counts.get(part, 0)} {part}" for part in PARTS)


def _named(labels: Sequence[str]) -> str:
    more = len(labels) - _NAMED
    shown = ", ".join(repr(label) for label in labels[:_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
