"""Every value that a planned training would use, each with who decided it."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from api.planning.premises import Premises
from api.planning.rates import peaks_of
from api.schemas.plans import PlannedValue
from jobs.dataset_spec import DatasetSpec
from jobs.hyperparameters import (
    Augment,
    LearningRateFromJob,
    LearningRatePerGroup,
    LearningRateRange,
    Schedule,
    WeightsFromJob,
    WeightsFromModel,
)
from jobs.spec import FineTuneSpec
from ml.theory.layer_rates import DEFAULT_LR_MULT
from ml.theory.parts import PARTS

Values = dict[str, PlannedValue]


def values_of(premises: Premises, measured: Mapping[str, Any] | None) -> Values:
    """Each value by its name; ``measured`` is what a probe found, if there was one."""
    values = dict(_sent(premises.spec))
    values |= _presizing_values(premises, values)
    values |= _dataset_values(premises, values)
    values |= _architecture_values(premises, measured)
    if isinstance(premises.spec, FineTuneSpec):
        values |= _rate_values(premises, premises.spec, values)
    return values | _environment_values(premises, measured, values)


def _sent(spec: BaseModel, prefix: str = "") -> Iterator[tuple[str, PlannedValue]]:
    """Every field; those of the nested models that are not a choice of their own, one by one."""
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        origin = "request" if name in spec.model_fields_set else "default"
        if isinstance(value, Augment | Schedule):
            yield from _sent(value, prefix=f"{name}.")
        else:
            plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
            yield f"{prefix}{name}", PlannedValue(value=plain, origin=origin)


def _presizing_values(premises: Premises, sent: Values) -> Values:
    if premises.spec.presize_mode == "single":
        return {}
    note = "slow: every photo is decoded at full size in every epoch; nothing is stored"
    return {"presize_mode": sent["presize_mode"].model_copy(update={"note": note})}


def _dataset_values(premises: Premises, sent: Values) -> Values:
    counts = premises.counts
    photos = None if counts is None else {part: counts.get(part, 0) for part in PARTS}
    values = {
        "num_classes": PlannedValue(value=counts and counts["classes"], origin="dataset"),
        "photos": PlannedValue(value=photos, origin="dataset"),
    }
    if premises.batch_size != premises.spec.batch_size:
        values["batch_size"] = PlannedValue(value=premises.batch_size, origin="dataset")
    if isinstance(premises.spec, FineTuneSpec) and premises.accumulate != premises.spec.accumulate:
        values["accumulate"] = PlannedValue(value=premises.accumulate, origin="dataset")
    if isinstance(premises.spec.dataset, DatasetSpec):
        return values
    return values | {"dataset": sent["dataset"]}


def _architecture_values(premises: Premises, measured: Mapping[str, Any] | None) -> Values:
    row, weights = premises.architecture, premises.spec.weights
    name = row.default_weights if weights == "DEFAULT" else weights
    values = {"num_layer_groups": PlannedValue(value=row.layer_groups, origin="architecture")}
    if isinstance(weights, WeightsFromJob):
        values["weights"] = PlannedValue(
            value=weights.model_dump(), origin="fine_tune", job_id=weights.from_job
        )
    elif isinstance(weights, WeightsFromModel):
        values["weights"] = PlannedValue(value=weights.model_dump(), origin="request")
    if isinstance(name, str) and name in row.weights:
        origin = "architecture" if weights == "DEFAULT" else "request"
        values["weights_name"] = PlannedValue(value=name, origin=origin)
        values["weights_file"] = PlannedValue(value=row.weights[name], origin="architecture")
        is_cached = None if measured is None else measured["weights_cached"]
        values["weights_cached"] = PlannedValue(value=is_cached, origin="hardware")
    return values


def _rate_values(premises: Premises, spec: FineTuneSpec, sent: Values) -> Values:
    peaks, asked = peaks_of(premises), spec.learning_rate
    spread = isinstance(asked, LearningRateRange | LearningRatePerGroup)
    source = sent["learning_rate"]
    if isinstance(asked, LearningRateFromJob):
        source = PlannedValue(
            value=premises.rate, origin="lr_find", job_id=asked.from_job, rule=asked.rule
        )
    elif isinstance(asked, str):
        source = PlannedValue(value=None, origin="lr_find", rule="recommended")
    elif spread and peaks is not None:
        source = PlannedValue(value=max(peaks.unfrozen), origin=source.origin)
    follows = "lr_find" if peaks is None else "learning_rate"
    values = {
        "learning_rate": source,
        "frozen_peaks": PlannedValue(value=peaks and list(peaks.frozen), origin=follows),
        "unfrozen_peaks": PlannedValue(
            value=peaks and list(peaks.unfrozen), origin=source.origin if spread else follows
        ),
    }
    if spec.discriminative is None:
        # a rate for each group leaves nothing to spread
        value = None if spread else {"lr_mult": DEFAULT_LR_MULT}
        origin = "learning_rate" if spread else "default"
        values["discriminative"] = PlannedValue(value=value, origin=origin)
    return values


def _environment_values(
    premises: Premises, measured: Mapping[str, Any] | None, sent: Values
) -> Values:
    """Precision and device, which the hardware decides, and what else decides bits."""
    wished = premises.spec.precision
    if measured is None or not measured["environment"]:
        unknown = PlannedValue(value=None, origin="hardware")
        return {"device": unknown, **({"precision": unknown} if wished == "auto" else {})}
    environment = measured["environment"]
    values = {
        name: PlannedValue(value=value, origin="environment")
        for name, value in environment.items()
        if name not in {"batch_size", "precision", "device"}
    }
    values["device"] = PlannedValue(value=environment["device"], origin="hardware")
    if environment["precision"] != wished:
        values["precision"] = PlannedValue(value=environment["precision"], origin="hardware")
    return values
