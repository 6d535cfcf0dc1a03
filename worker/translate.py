"""From a job's spec to the plain configuration of a run; the only file that knows both."""

from dataclasses import dataclass
from pathlib import Path

import ml.config
from jobs.hyperparameters import (
    Augment,
    FixedDraws,
    LayerDecay,
    LearningRatePerGroup,
    LearningRateRange,
    LrMult,
    Weights,
    WeightsFile,
    WeightsFromJob,
    WeightsFromModel,
)
from jobs.settings import Settings
from jobs.sources import paths
from jobs.spec import FineTuneSpec, LrFindSpec, PresizingPreviewSpec
from ml.theory import architectures, layer_rates
from worker.findings import FoundModel, FoundRate


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What decides a run beside its spec."""

    num_classes: int
    settings: Settings
    model: FoundModel | None = None
    rate: FoundRate | None = None
    class_weights: tuple[float, ...] | None = None


def lr_range_config(spec: LrFindSpec, around: Surroundings) -> ml.config.LrRangeConfig:
    """The range test that the spec asks for.

    Raises:
        SourceForbiddenError, SourceUnreachableError: the weights file cannot be used.
    """
    return ml.config.LrRangeConfig(
        model=_model(spec, around),
        data=_data(spec),
        start_lr=spec.start_lr,
        end_lr=spec.end_lr,
        num_steps=spec.num_steps,
        sweep=spec.sweep,
        repeats=spec.repeats,
        weight_decay=spec.weight_decay,
        train_norm_layers=spec.train_norm_layers,
        precision=spec.precision,
        seed=spec.seed,
    )


def fine_tune_config(spec: FineTuneSpec, around: Surroundings) -> ml.config.FineTuneConfig:
    """The fine-tune that the spec asks for.

    Raises:
        SourceForbiddenError, SourceUnreachableError: the weights file cannot be used.
    """
    per_block = isinstance(spec.discriminative, LayerDecay)
    peaks = layer_rates.resolve_peaks(
        _learning_rate(spec, around.rate),
        num_groups=architectures.get(spec.architecture).num_rates(per_block=per_block),
        discriminative=_discriminative(spec),
    )
    return ml.config.FineTuneConfig(
        model=_model(spec, around),
        data=_data(spec),
        epochs=spec.epochs,
        freeze_epochs=spec.freeze_epochs,
        rate_per="block" if per_block else "layer_group",
        frozen_peaks=peaks.frozen,
        unfrozen_peaks=peaks.unfrozen,
        pct_start=spec.schedule.pct_start,
        div=spec.schedule.div,
        weight_decay=spec.weight_decay,
        label_smoothing=spec.label_smoothing,
        class_weights=around.class_weights,
        train_norm_layers=spec.train_norm_layers,
        accumulate=spec.accumulate,
        early_stopping=_early_stopping(spec),
        keep_best=spec.checkpoint.best_by if spec.checkpoint.keep_best else None,
        max_duration_s=spec.max_duration_s,
        precision=spec.precision,
        seed=spec.seed,
    )


def preview_config(spec: PresizingPreviewSpec) -> ml.config.PreviewConfig:
    """The comparison that the spec asks for."""
    return ml.config.PreviewConfig(
        presize=spec.presize,
        size=spec.size,
        augment=_augment(spec.augment),
        fixed=_fixed(spec.draws),
        seed=spec.seed,
    )


def _early_stopping(spec: FineTuneSpec) -> ml.config.EarlyStopping | None:
    asked = spec.early_stopping
    return None if asked is None else ml.config.EarlyStopping(**asked.model_dump())


def _model(spec: LrFindSpec | FineTuneSpec, around: Surroundings) -> ml.config.ModelConfig:
    return ml.config.ModelConfig(
        architecture=spec.architecture,
        weights=_weights(spec.weights, around),
        keep_head=around.model is not None and around.model.keeps_head,
        num_classes=around.num_classes,
    )


def _weights(weights: Weights, around: Surroundings) -> str | Path:
    if isinstance(weights, WeightsFile):
        return paths.resolve_inside(weights.path, around.settings.dataset_roots)
    if isinstance(weights, WeightsFromJob | WeightsFromModel):
        if around.model is None:
            raise ValueError(f"the model of {weights} was not looked up")
        return around.model.file
    return weights


def _data(spec: LrFindSpec | FineTuneSpec) -> ml.config.DataConfig:
    return ml.config.DataConfig(
        presize=spec.presize,
        size=spec.size,
        presize_mode=spec.presize_mode,
        batch_size=spec.batch_size,
        augment=_augment(spec.augment),
    )


def _augment(augment: Augment) -> ml.config.AugmentConfig:
    return ml.config.AugmentConfig(**augment.model_dump())


def _fixed(draws: FixedDraws | None) -> ml.config.FixedDraws | None:
    if draws is None:
        return None
    return ml.config.FixedDraws(
        rotate_deg=draws.rotate_deg,
        zoom=draws.zoom,
        warp_xy=(draws.warp[0], draws.warp[1]),
        flip=draws.flip,
    )


def _learning_rate(
    spec: FineTuneSpec, found: FoundRate | None
) -> float | layer_rates.LowestHighest | layer_rates.PerGroup:
    asked = spec.learning_rate
    if isinstance(asked, LearningRateRange):
        return layer_rates.LowestHighest(lowest=asked.lowest, highest=asked.highest)
    if isinstance(asked, LearningRatePerGroup):
        return layer_rates.PerGroup(per_group=tuple(asked.per_group))
    if isinstance(asked, float):
        return asked
    if found is None:
        raise ValueError(f"the learning rate {asked} was not looked up")
    return found.lr


def _discriminative(spec: FineTuneSpec) -> layer_rates.Discriminative | None:
    if isinstance(spec.discriminative, LrMult):
        return layer_rates.LrMult(lr_mult=spec.discriminative.lr_mult)
    if isinstance(spec.discriminative, LayerDecay):
        return layer_rates.LayerDecay(layer_decay=spec.discriminative.layer_decay)
    return spec.discriminative
