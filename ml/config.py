"""What a run is asked to do; every value is checked when it is made."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ml.theory import architectures
from ml.theory.early_stopping import Metric
from ml.theory.lr_sweeps import Moving

Precision = Literal["auto", "bf16", "fp16", "fp32"]
PresizeMode = Literal["single", "fastai"]
RatePer = Literal["layer_group", "block"]

DEFAULT_WEIGHTS = "DEFAULT"
NO_WEIGHTS = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Ranges of the random changes to a training photo; the defaults are fastai's."""

    min_scale: float = 0.75
    """Smallest share of the photo's area that the crop keeps, above 0 to 1."""
    max_rotate: float = 10.0
    """Degrees either way, 0 to 180."""
    max_zoom: float = 1.1
    """Largest magnification, 1 or more."""
    max_lighting: float = 0.2
    """Strength of the change of brightness and contrast, 0 to below 1."""
    max_warp: float = 0.2
    """Strength of the perspective, 0 to below 0.5."""
    flip: bool = True
    """Whether half of the photos are mirrored left to right."""

    def __post_init__(self) -> None:
        """Refuse ranges that make no picture."""
        _require(0 < self.min_scale <= 1, "min_scale", self.min_scale, "above 0 and at most 1")
        _require(0 <= self.max_rotate <= 180, "max_rotate", self.max_rotate, "from 0 to 180")
        _require(1 <= self.max_zoom <= 10, "max_zoom", self.max_zoom, "from 1 to 10")
        _require(0 <= self.max_lighting < 1, "max_lighting", self.max_lighting, "0 to below 1")
        _require(0 <= self.max_warp < 0.5, "max_warp", self.max_warp, "0 to below 0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Which body with which weights, and how many classes the new head tells apart."""

    architecture: str
    weights: str | Path
    """``"DEFAULT"``, ``"none"``, torchvision's name of a weight set, or a file."""
    num_classes: int
    keep_head: bool = False
    """Whether the file is a classifier of the same classes whose head is taken too."""

    def __post_init__(self) -> None:
        """Refuse unknown architectures and weight names."""
        row = architectures.get(self.architecture)
        _require(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")
        choices = (DEFAULT_WEIGHTS, NO_WEIGHTS, *row.weights)
        if isinstance(self.weights, str):
            wish = f"one of {', '.join(choices)}, or a path"
            _require(self.weights in choices, "weights", self.weights, wish)
            _require(not self.keep_head, "keep_head", self.keep_head, "false without a file")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """How photos become batches."""

    presize: int = 460
    """Short side of the stored photos, in pixels; smaller photos keep their size."""
    size: int = 224
    """Side of the square the model sees, in pixels."""
    batch_size: int = 64
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    presize_mode: PresizeMode = "single"
    """Which pixels the run is given: stored ones, sampled once, or original photos as in fastai."""

    def __post_init__(self) -> None:
        """Refuse sizes that no model takes."""
        _require(8 <= self.size <= 2048, "size", self.size, "from 8 to 2048 px")
        wish = f"at least size ({self.size} px) and at most 4096 px"
        _require(self.size <= self.presize <= 4096, "presize", self.presize, wish)
        known = self.presize_mode in get_args(PresizeMode)
        _require(known, "presize_mode", self.presize_mode, "a known one")
        _require(2 <= self.batch_size <= 4096, "batch_size", self.batch_size, "from 2 to 4096")


@dataclass(frozen=True, slots=True, kw_only=True)
class LrRangeConfig:
    """One learning-rate range test."""

    model: ModelConfig
    data: DataConfig
    start_lr: float = 1e-7
    end_lr: float = 10.0
    num_steps: int = 100
    sweep: Moving = "frozen_body"
    """What moves: the head (and norm layers) alone, every layer, or one layer group at a time."""
    repeats: int = 1
    """How often, each time with the next seed."""
    weight_decay: float = 0.01
    train_norm_layers: bool = True
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse empty sweeps and images the body cannot take."""
        _require(_is_rate(self.start_lr), "start_lr", self.start_lr, "above 0 and finite")
        rising = _is_rate(self.end_lr) and self.end_lr > self.start_lr
        _require(rising, "end_lr", self.end_lr, f"finite and above start_lr ({self.start_lr})")
        _require(1 <= self.num_steps <= 100_000, "num_steps", self.num_steps, "1 to 100,000")
        _require(1 <= self.repeats <= 100, "repeats", self.repeats, "from 1 to 100")
        _check_run(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """When further unfrozen epochs are not worth their time."""

    patience: int = 3
    """Epochs in a row without anything better."""
    metric: Metric = "valid_loss"
    min_delta: float = 0.0
    """Better means by more than this."""

    def __post_init__(self) -> None:
        """Refuse no patience, and what would call something worse better."""
        _require(self.patience >= 1, "patience", self.patience, "1 or more")
        _require(self.metric in get_args(Metric), "metric", self.metric, "a known one")
        _require(0 <= self.min_delta < math.inf, "min_delta", self.min_delta, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneConfig:
    """One fine-tune: the head alone first, then everything."""

    model: ModelConfig
    data: DataConfig
    epochs: int
    freeze_epochs: int = 1
    rate_per: RatePer = "layer_group"
    """What has a rate of its own, the head aside."""
    frozen_peaks: tuple[float, ...]
    """Highest rate of each layer group or block while the body is frozen, the head's last."""
    unfrozen_peaks: tuple[float, ...]
    """The same afterwards."""
    pct_start: float = 0.3
    """Share of the unfrozen steps that warm up, 0 to 1."""
    div: float = 5.0
    """The unfrozen phase begins at its peak over this."""
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    """What a photo's loss weighs, by its class; None weighs all the same."""
    train_norm_layers: bool = True
    accumulate: int = 1
    """Batches whose gradients make one optimiser step."""
    early_stopping: EarlyStopping | None = None
    keep_best: Metric | None = None
    """The model of the epoch that is best by this is kept instead of the last one."""
    max_duration_s: float | None = None
    """The training ends after the step in which this time is over."""
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse runs without epochs and rates that do not match the layer groups."""
        _require(0 <= self.epochs <= 10_000, "epochs", self.epochs, "from 0 to 10,000")
        wish = "from 0 to 10,000"
        _require(0 <= self.freeze_epochs <= 10_000, "freeze_epochs", self.freeze_epochs, wish)
        total = self.epochs + self.freeze_epochs
        _require(total >= 1, "epochs", self.epochs, "at least 1 together with freeze_epochs")
        row = architectures.get(self.model.architecture)
        rates = row.num_rates(per_block=self.rate_per == "block")
        for name in ("frozen_peaks", "unfrozen_peaks"):
            peaks = getattr(self, name)
            right = len(peaks) == rates and all(map(_is_rate, peaks))
            _require(right, name, peaks, f"{rates} finite rates above 0")
        _require(0 <= self.pct_start <= 1, "pct_start", self.pct_start, "from 0 to 1")
        _require(1 <= self.div < math.inf, "div", self.div, "1 or more")
        _require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "0 to 1")
        _require(1 <= self.accumulate <= 4096, "accumulate", self.accumulate, "from 1 to 4096")
        weights, classes = self.class_weights, self.model.num_classes
        right = weights is None or (len(weights) == classes and all(map(_is_rate, weights)))
        _require(right, "class_weights", weights, f"{classes} finite numbers above 0")
        known = self.keep_best in {None, *get_args(Metric)}
        _require(known, "keep_best", self.keep_best, "a known metric")
        limit = self.max_duration_s
        _require(limit is None or 0 < limit < math.inf, "max_duration_s", limit, "above 0")
        _check_run(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedDraws:
    """Changes that are the same for every photo, of its whole centre square."""

    rotate_deg: float
    zoom: float
    warp_xy: tuple[float, float]
    flip: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewConfig:
    """How photos are presized and changed for a comparison; light is never changed."""

    presize: int
    """Short side at which photos are stored, in pixels."""
    size: int
    """Side of the pictures, in pixels; at most ``presize``."""
    augment: AugmentConfig
    fixed: FixedDraws | None
    """Instead of random draws."""
    seed: int


def _check_run(config: LrRangeConfig | FineTuneConfig) -> None:
    row = architectures.get(config.model.architecture)
    size = config.data.size
    _require(row.takes_image_px(size), "size", size, f"{row.image_px_wanted} for {row.name}")
    _require(0 <= config.weight_decay < 1, "weight_decay", config.weight_decay, "0 to below 1")
    _require(config.precision in get_args(Precision), "precision", config.precision, "a known one")
    _require(0 <= config.seed < 2**63, "seed", config.seed, "from 0 to 2**63 - 1")


def _is_rate(rate: float) -> bool:
    return 0 < rate < math.inf


def _require(holds: bool, name: str, value: object, wish: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {wish}")
