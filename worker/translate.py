"""From a job's spec to the plain configuration of a run; the only file that knows both."""

from pathlib import Path

import ml.config
from jobs.settings import Settings
from jobs.sources import paths
from jobs.spec import (
    Augment,
    FineTuneSpec,
    LearningRateFromJob,
    LearningRatePerGroup,
    LearningRateRange,
    LrFindSpec,
    LrMult,
    Weights,
    WeightsFile,
)
from ml.theory import architectures, layer_rates


def lr_range_config(
    spec: LrFindSpec, *, num_classes: int, settings: Settings
) -> ml.config.LrRangeConfig:
    """The range test that the spec asks for.

    Raises:
        SourceForbiddenError, SourceUnreachableError: the weights file cannot be used.
    """
    return ml.config.LrRangeConfig(
        model=_model(spec, num_classes, settings),
        data=_data(spec),
        start_lr=spec.start_lr,
        end_lr=spec.end_lr,
        num_steps=spec.num_steps,
        sweep=spec.sweep,
        weight_decay=spec.weight_decay,
        train_norm_layers=spec.train_norm_layers,
        precision=spec.precision,
        seed=spec.seed,
    )


def fine_tune_config(
    spec: FineTuneSpec, *, num_classes: int, found_lr: float | None, settings: Settings
) -> ml.config.FineTuneConfig:
    """The fine-tune that the spec asks for; ``found_lr`` is the rate that another job found.

    Raises:
        SourceForbiddenError, SourceUnreachableError: the weights file cannot be used.
    """
    peaks = layer_rates.resolve_peaks(
        _learning_rate(spec, found_lr),
        num_groups=architectures.get(spec.architecture).layer_groups,
        discriminative=_discriminative(spec),
    )
    return ml.config.FineTuneConfig(
        model=_model(spec, num_classes, settings),
        data=_data(spec),
        epochs=spec.epochs,
        freeze_epochs=spec.freeze_epochs,
        frozen_peaks=peaks.frozen,
        unfrozen_peaks=peaks.unfrozen,
        pct_start=spec.schedule.pct_start,
        div=spec.schedule.div,
        weight_decay=spec.weight_decay,
        label_smoothing=spec.label_smoothing,
        train_norm_layers=spec.train_norm_layers,
        precision=spec.precision,
        seed=spec.seed,
    )


def _model(
    spec: LrFindSpec | FineTuneSpec, num_classes: int, settings: Settings
) -> ml.config.ModelConfig:
    return ml.config.ModelConfig(
        architecture=spec.architecture,
        weights=_weights(spec.weights, settings),
        num_classes=num_classes,
    )


def _weights(weights: Weights, settings: Settings) -> str | Path:
    if isinstance(weights, WeightsFile):
        return paths.resolve_inside(weights.path, settings.dataset_roots)
    return weights


def _data(spec: LrFindSpec | FineTuneSpec) -> ml.config.DataConfig:
    return ml.config.DataConfig(
        presize=spec.presize,
        size=spec.size,
        batch_size=spec.batch_size,
        augment=_augment(spec.augment),
    )


def _augment(augment: Augment) -> ml.config.AugmentConfig:
    return ml.config.AugmentConfig(**augment.model_dump())


def _learning_rate(
    spec: FineTuneSpec, found_lr: float | None
) -> float | layer_rates.LowestHighest | layer_rates.PerGroup:
    asked = spec.learning_rate
    if isinstance(asked, LearningRateRange):
        return layer_rates.LowestHighest(lowest=asked.lowest, highest=asked.highest)
    if isinstance(asked, LearningRatePerGroup):
        return layer_rates.PerGroup(per_group=tuple(asked.per_group))
    if isinstance(asked, LearningRateFromJob):
        if found_lr is None:
            raise ValueError(f"job {asked.from_job} has no rate by the rule {asked.rule}")
        return found_lr
    return asked


def _discriminative(spec: FineTuneSpec) -> layer_rates.Discriminative | None:
    if isinstance(spec.discriminative, LrMult):
        return layer_rates.LrMult(lr_mult=spec.discriminative.lr_mult)
    return spec.discriminative
