"""What can be known to be wrong with the weights that a training begins with."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from api.problems import at
from api.references import References
from jobs.errors import SourceForbiddenError, SourceUnreachableError
from jobs.hyperparameters import Weights, WeightsFile, WeightsFromJob, WeightsFromModel
from jobs.settings import Settings
from jobs.sources.paths import resolve_inside
from jobs.spec import FineTuneSpec, LrFindSpec
from ml.theory.architectures import Architecture

Training = TypeVar("Training", LrFindSpec, FineTuneSpec)


def check_weights(
    settings: Settings, named: References, weights: Weights, architecture: Architecture
) -> None:
    """The weights are there, or will be, and are of this architecture, as far as can be told.

    Raises:
        Problem: they are not.
    """
    if isinstance(weights, WeightsFile):
        _check_file(weights, settings.dataset_roots)
    elif isinstance(weights, WeightsFromJob):
        pointer = "/weights/from_job"
        job = named.fine_tune(pointer, weights.from_job)
        _check_same(pointer, f"job {job.id} trains", job.spec["architecture"], architecture)
    elif isinstance(weights, WeightsFromModel):
        pointer = "/weights/model"
        model = named.model(pointer, weights.model)
        _check_same(pointer, f"model {model.id} is a", model.architecture, architecture)
    else:
        _check_name(weights, architecture)


def with_model_id(named: References, spec: Training) -> Training:
    """The same training; weights that an alias names are those of the model it leads to now."""
    if not isinstance(spec.weights, WeightsFromModel):
        return spec
    model = named.model("/weights/model", spec.weights.model)
    return spec.model_copy(update={"weights": WeightsFromModel(model=model.id)})


def _check_name(name: str, architecture: Architecture) -> None:
    allowed = ("DEFAULT", "none", *architecture.weights)
    if name not in allowed:
        raise at(
            "/weights",
            "weights_unavailable",
            f"{architecture.name} has no weights named {name!r}; use {', '.join(allowed)}, "
            'a file as {"path": …}, or a model as {"model": …}',
            allowed=allowed,
        )


def _check_file(weights: WeightsFile, roots: Sequence[Path]) -> None:
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


def _check_same(pointer: str, whose: str, name: str, architecture: Architecture) -> None:
    if name != architecture.name:
        detail = f"{whose} {name}, which is not {architecture.name}"
        raise at(pointer, "weights_unavailable", detail)
