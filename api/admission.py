"""What can be known to be wrong with a job before it is queued, and is refused at once."""

from collections.abc import Sequence

from api.auth import Caller, forbidden
from api.device_admission import check_devices
from api.problems import FieldProblem, Problem, at, escaped
from api.references import References, invalid
from api.services import Services
from api.source_check import check_dataset
from api.weights_admission import check_weights, with_model_id
from jobs.dataset_spec import DatasetSpec, NoLabels, UploadSource
from jobs.datasets import Dataset
from jobs.hyperparameters import (
    LearningRateFromJob,
    LearningRatePerGroup,
)
from jobs.job import Job, JobState, JobType
from jobs.keys import Scope
from jobs.models import Model
from jobs.spec import FineTuneSpec, LrFindSpec
from ml.theory import architectures
from ml.theory.architectures import Architecture, UnknownArchitectureError
from ml.theory.parts import LEAST_TRAIN, PARTS

_NAMED = 5


def checked_lr_find(services: Services, caller: Caller, spec: LrFindSpec) -> LrFindSpec:
    """The learning-rate find, which could start now, of the very model that an alias leads to.

    Raises:
        Problem: it could not.
        DatasetNotReadyError: its dataset is not ready.
    """
    named = References(services.database, caller)
    _check_training(services, named, spec)
    return with_model_id(named, spec)


def checked_fine_tune(services: Services, caller: Caller, spec: FineTuneSpec) -> FineTuneSpec:
    """The fine-tune, which could start, at the latest when the jobs that it names have succeeded.

    Its weights name the very model that an alias leads to.

    Raises:
        Problem: it could not.
        DatasetNotReadyError: its dataset is not ready.
    """
    named = References(services.database, caller)
    architecture = _check_training(services, named, spec)
    rate = spec.learning_rate
    if isinstance(rate, LearningRateFromJob):
        _check_rate_from_job(named, rate)
    elif isinstance(rate, LearningRatePerGroup):
        _check_per_group(rate, architecture)
    if not isinstance(spec.dataset, DatasetSpec):
        dataset = named.ready_dataset("/dataset", spec.dataset)
        _check_wishes(spec, dataset)
        _check_class_weights(spec, dataset)
    return with_model_id(named, spec)


def check_import(services: Services, caller: Caller, spec: DatasetSpec) -> None:
    """The import could succeed, as far as names can tell, and the caller may start it.

    Raises:
        Problem: it could not, or the caller may not.
    """
    check_access(services, caller, spec)
    check_dataset(spec, services.settings)


def check_access(services: Services, caller: Caller, spec: DatasetSpec) -> None:
    """The caller may register datasets, and use this source.

    Raises:
        Problem: the caller may not.
    """
    if not caller.may(Scope.DATASETS_WRITE):
        raise forbidden(Scope.DATASETS_WRITE)
    if isinstance(spec.source, UploadSource):
        named = References(services.database, caller)
        named.upload("/source/upload_id", spec.source.upload_id)


def check_training_on(services: Services, caller: Caller, spec: FineTuneSpec, model: Model) -> None:
    """The admitted fine-tune, which begins with the model, can keep its head.

    Raises:
        Problem: the dataset has other classes.
    """
    named = References(services.database, caller)
    dataset = named.ready_dataset("/dataset", str(spec.dataset))
    labels = labels_of(dataset)
    if list(labels) != list(model.classes):
        raise at(
            "/dataset",
            "labels_mismatch",
            f"dataset {dataset.id} has the classes {names_of(list(labels))}; training on needs "
            f"those of model {model.id}, {names_of(model.classes)}",
        )


def _check_training(
    services: Services, named: References, spec: LrFindSpec | FineTuneSpec
) -> Architecture:
    architecture = _architecture(spec.architecture)
    check_weights(services.settings, named, spec.weights, architecture)
    check_devices(services, spec.devices)
    if not architecture.takes_image_px(spec.size):
        needs = f"{architecture.name}, which needs {architecture.image_px_wanted}"
        off = "small" if spec.size < architecture.smallest_image_px else "large"
        raise invalid("/size", "out_of_range", f"size {spec.size} is too {off} for {needs}")
    check_dependencies(named, spec.depends_on)
    if isinstance(spec.dataset, DatasetSpec):
        check_labelled(spec.dataset)
        check_inline_dataset(services, named.caller, spec.dataset)
    else:
        _check_enough_photos(named.ready_dataset("/dataset", spec.dataset), spec.devices)
    return architecture


def check_labelled(dataset: DatasetSpec | Dataset) -> None:
    """The dataset has labels, or a rule for them.

    Raises:
        Problem: it can be predicted only.
    """
    only = "its photos have no labels, so a model can predict them and nothing else"
    if isinstance(dataset, Dataset):
        if not dataset.classes:
            raise at("/dataset", "too_few_classes", f"dataset {dataset.id}: {only}")
    elif isinstance(dataset.labels, NoLabels):
        raise at("/dataset/labels/rule", "too_few_classes", f"dataset {dataset.name!r}: {only}")


def _check_enough_photos(dataset: Dataset, devices: int) -> None:
    check_labelled(dataset)
    needed = max(LEAST_TRAIN, devices)
    if (dataset.counts or {}).get("train", 0) < needed:
        shared = f" on {devices} devices" if devices > LEAST_TRAIN else ""
        detail = (
            f"dataset {dataset.id} has {parts_of(dataset)}; "
            f"training{shared} needs {needed} photos or more"
        )
        raise at("/dataset", "too_few_images", detail)


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


def _check_rate_from_job(named: References, rate: LearningRateFromJob) -> None:
    pointer = "/learning_rate/from_job"
    job = named.job_of_type(pointer, rate.from_job, JobType.LR_FIND, what="a rate")
    if job.state == JobState.SUCCEEDED:
        _check_rule(job, rate.rule)


def check_dependencies(named: References, job_ids: Sequence[str]) -> None:
    """Every job that is waited for has succeeded or still may.

    Raises:
        Problem: one has not, or does not exist.
    """
    for place, job_id in enumerate(job_ids):
        named.hopeful_job(f"/depends_on/{place}", job_id)


def check_inline_dataset(services: Services, caller: Caller, spec: DatasetSpec) -> None:
    """As `check_import`, for a dataset inside another request."""
    try:
        check_import(services, caller, spec)
    except Problem as problem:
        raise problem.below("/dataset") from problem


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
        raise invalid("/learning_rate/per_group", "wrong_length", detail)


def _check_class_weights(spec: FineTuneSpec, dataset: Dataset) -> None:
    labels = labels_of(dataset)
    named = spec.class_weights if isinstance(spec.class_weights, dict) else {}
    for label in sorted(named.keys() - labels.keys()):
        pointer = f"/class_weights/{escaped(label)}"
        detail = f"dataset {dataset.id} has no label {label!r}; it has {names_of(sorted(labels))}"
        raise invalid(pointer, "not_allowed", detail)


def _check_wishes(spec: FineTuneSpec, dataset: Dataset) -> None:
    """What needs photos for validation has some."""
    wishes = {
        "/early_stopping": spec.early_stopping is not None,
        "/checkpoint/keep_best": spec.checkpoint.keep_best,
    }
    if (dataset.counts or {}).get("valid", 0) > 0:
        return
    for pointer, is_wished in wishes.items():
        if is_wished:
            detail = f"it needs photos for validation; dataset {dataset.id} has "
            raise invalid(pointer, "not_allowed", detail + parts_of(dataset))


def labels_of(dataset: Dataset) -> dict[str, int]:
    """The dataset's labels, in the order of their indices, with their photos."""
    return {str(entry["label"]): int(entry["count"]) for entry in dataset.classes}


def parts_of(dataset: Dataset) -> str:
    """How many photos each part has, in words."""
    counts = dataset.counts or {}
    return ", ".join(f"{counts.get(part, 0)} {part}" for part in PARTS)


def names_of(labels: Sequence[str]) -> str:
    """The first few labels, in words, and how many more there are."""
    more = len(labels) - _NAMED
    shown = ", ".join(repr(label) for label in labels[:_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
