"""What a plan is made from before anything is measured: spec, architecture, photos, rate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.services import Services
from api.source_check import foreseen_counts
from jobs import datasets, store
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.hyperparameters import AUTO, LearningRateFromJob
from jobs.job import JobState
from jobs.spec import FineTuneSpec, LrFindSpec
from jobs.submission import lr_find_for
from ml.theory import architectures
from ml.theory.architectures import Architecture
from ml.theory.batch_counts import BatchCounts, fitting

Training = LrFindSpec | FineTuneSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """What is known of a planned training."""

    spec: Training
    architecture: Architecture
    dataset: Dataset | None
    """None while it is only described in the request."""
    counts: Mapping[str, int] | None
    """Photos by part, and classes; None when listing them would take too long."""
    rate: float | None
    """The base rate that another job has found."""
    child: LrFindSpec | None
    """The learning-rate find that runs first."""

    @property
    def batch_size(self) -> int:
        """Photos in one step: all there are where they are fewer than asked for."""
        wished = self.spec.batch_size
        return wished if self.counts is None else min(wished, self.counts["train"])

    @property
    def accumulate(self) -> int:
        """Batches in one step of the fine-tune: as many as there are where that is fewer."""
        wished = self.spec.accumulate if isinstance(self.spec, FineTuneSpec) else 1
        return wished if self.counts is None else self._fitting(wished).accumulate

    @property
    def batches_per_epoch(self) -> int | None:
        """Full batches in one pass over the training photos."""
        return None if self.counts is None else self.counts["train"] // self.batch_size

    @property
    def steps_per_epoch(self) -> int | None:
        """Full optimiser steps of the fine-tune in one pass over the training photos."""
        return None if self.counts is None else self._fitting(self.accumulate).steps_per_epoch

    def _fitting(self, accumulate: int) -> BatchCounts:
        photos = (self.counts or {})["train"]
        return fitting(photos, batch_size=self.batch_size, accumulate=accumulate)


def premises_of(services: Services, spec: Training) -> Premises:
    """What is known of the training, which has been admitted."""
    dataset = None
    counts: Mapping[str, int] | None
    if isinstance(spec.dataset, DatasetSpec):
        counts = foreseen_counts(spec.dataset, services.settings)
    else:
        dataset = datasets.get(services.database, spec.dataset)
        counts = dataset.counts
    finds = isinstance(spec, FineTuneSpec) and spec.learning_rate == AUTO
    return Premises(
        spec=spec,
        architecture=architectures.get(spec.architecture),
        dataset=dataset,
        counts=counts,
        rate=_found_rate(services, spec),
        child=lr_find_for(spec, spec.dataset) if isinstance(spec, FineTuneSpec) and finds else None,
    )


def _found_rate(services: Services, spec: Training) -> float | None:
    if not isinstance(spec, FineTuneSpec):
        return None
    asked = spec.learning_rate
    if not isinstance(asked, LearningRateFromJob):
        return None
    job = store.get(services.database, asked.from_job)
    if job.state != JobState.SUCCEEDED:
        return None
    curve: dict[str, Any] = job.result["lr_curve"]
    answers = {**curve["suggestions"], "recommended": curve["recommended"]}
    return float(answers[asked.rule]["lr"])
