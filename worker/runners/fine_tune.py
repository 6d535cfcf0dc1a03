"""Fine-tunes a classifier, then writes its loss ledger and its model."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from jobs import curves, models
from jobs.artifacts import sha256_of
from jobs.database import db_now_ms
from jobs.ids import new_model_id
from jobs.spec import FineTuneSpec
from ml.config import FineTuneConfig
from ml.device import environment
from ml.errors import StoppedError
from ml.model_file import ModelCard, save_model
from ml.progress import Command
from ml.theory import batch_counts
from ml.train import FineTuneOutcome, fine_tune
from ml.training_batches import devices_of
from ml.training_state import TrainingState
from worker.class_weights import class_weights_of, class_weights_values
from worker.context import Context, Ending
from worker.epoch_samples import read_epochs
from worker.findings import DEFAULT_RULE, found_model, found_rate
from worker.halving import halved_if_too_large, pieces_of, pieces_values
from worker.ledger import Evaluated, Totals, samples_entry, write_ledger
from worker.listener import Course, JobListener
from worker.model_card import card_values
from worker.resolved import (
    accumulate_values,
    environment_values,
    kept_values,
    learning_rate_values,
    weights_values,
)
from worker.runners.pixels import (
    opened_in_turn,
    photos_named,
    pixels_to_train,
    stored_as,
    validation_pixels,
)
from worker.runners.training import (
    Material,
    Workplace,
    newest_checkpoint,
    prepare_device,
    read_material,
    take_place,
    tell_precision,
)
from worker.translate import Surroundings, fine_tune_config


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Everything one fine-tune is made of."""

    context: Context
    spec: FineTuneSpec
    around: Surroundings
    config: FineTuneConfig
    material: Material
    listener: JobListener


def run(context: Context) -> Ending:
    """A model, its per-sample losses and its curve exist.

    Raises:
        MlError: the training could not be made.
        StoppedError: it was broken off; when it is to go on later, with a checkpoint.
    """
    task = _task(context)
    with halved_if_too_large(context, task.spec, len(task.material.part("train").photos)):
        outcome = _trained(task)
    return _ending(task, outcome) if context.seat.is_first else Ending()


def _task(context: Context) -> _Task:
    spec = FineTuneSpec.model_validate(context.job.spec)
    material = read_material(context)
    around = Surroundings(
        num_classes=len(material.classes),
        settings=context.settings,
        model=found_model(context, spec, material.classes),
        rate=found_rate(context, spec),
        class_weights=class_weights_of(spec, material.classes, material.part("train").photos),
    )
    return _Task(
        context=context,
        spec=spec,
        around=around,
        config=fine_tune_config(spec, around),
        material=material,
        listener=JobListener(context),
    )


def _tell_default_rate(task: _Task) -> None:
    rate = task.around.rate
    if rate is not None and rate.rule == DEFAULT_RULE:
        task.listener.warning(
            "learning_rate_default",
            f"the learning-rate find {rate.job_id} recommends nothing; {rate.lr} is used",
        )


def _trained(task: _Task) -> FineTuneOutcome:
    """The trained model and its logits of the valid part."""
    context, listener, spec = task.context, task.listener, task.spec
    place = take_place(context)
    before = newest_checkpoint(context, place.ranks)
    device = prepare_device(context, place, before)
    _freeze(task, before, place)
    _tell_default_rate(task)
    train, valid = task.material.part("train"), task.material.part("valid")
    listener.phase("presizing")
    in_turn = partial(opened_in_turn, context, listener, place.ranks)
    with (
        photos_named([train, valid]),
        closing(
            pixels_to_train(context, train, spec, listener=listener, ranks=place.ranks)
        ) as pixels,
        closing(in_turn(lambda: validation_pixels(context, valid, spec))) as valid_pixels,
    ):
        listener.follow(_course(spec, len(train.photos)))
        outcome = fine_tune(
            task.config,
            train=train.photos,
            valid=valid.photos,
            pixels=pixels,
            valid_pixels=valid_pixels,
            listener=listener,
            device=device,
            resume=before,
            pieces=pieces_of(context.job),
            elsewhere=spec.on_environment_change,
            ranks=place.ranks,
            step_times=context.artifacts.step_times_folder() if spec.compile == "auto" else None,
        )
    listener.finish()
    if outcome.status == "left":
        raise StoppedError("training", Command.LEAVE.value)
    return outcome


def _course(spec: FineTuneSpec, photos: int) -> Course:
    epochs = spec.freeze_epochs + spec.epochs
    counts = batch_counts.fitting(photos, batch_size=spec.batch_size, accumulate=spec.accumulate)
    return Course(epochs=epochs, steps=epochs * counts.steps_per_epoch)


def _freeze(task: _Task, before: TrainingState | None, place: Workplace) -> None:
    """What decides bits is shown from the start; a later attempt finds it in its checkpoint."""
    train, spec = task.material.part("train"), task.spec
    precision = tell_precision(spec.precision, place.device, task.listener)
    batch_size = batch_counts.fitting(len(train.photos), batch_size=spec.batch_size).batch_size
    now = environment(precision=precision, batch_size=batch_size, device=place.device)
    now |= {**devices_of(place.ranks), "pixels": stored_as(task.context, train, spec)}
    used = now if before is None else before.environment
    task.context.tell(curves.record_resolved, {**_used(task, used), **_decided(task)})


def _resolved(task: _Task, outcome: FineTuneOutcome) -> Mapping[str, Any]:
    return {**_used(task, outcome.resolved), **_decided(task), **kept_values(outcome.kept_epoch)}


def _used(task: _Task, used: Mapping[str, str | int]) -> Mapping[str, Any]:
    spec = task.spec
    return environment_values(used, batch_size=spec.batch_size, precision=spec.precision)


def _decided(task: _Task) -> Mapping[str, Any]:
    """What is known before the first step."""
    photos = len(task.material.part("train").photos)
    return {
        **weights_values(task.around.model),
        **learning_rate_values(task.spec, task.config, task.around.rate),
        **accumulate_values(task.spec, photos),
        **class_weights_values(task.spec, task.material.classes, task.config.class_weights),
        **pieces_values(task.spec, photos, pieces_of(task.context.job)),
    }


# --- what is kept ---------------------------------------------------------------------------


def _ending(task: _Task, outcome: FineTuneOutcome) -> Ending:
    context = task.context
    totals, ledger = _write_samples(task, outcome)
    model = _write_model(task, outcome, totals)
    context.artifacts.store.keep(
        [context.artifacts.absolute(model.path), *([] if totals is None else [ledger])]
    )
    samples = {} if totals is None else {"valid": samples_entry(context.artifacts, ledger, totals)}
    return Ending(
        values={
            "model_id": model.id,
            "resolved": _resolved(task, outcome),
            "stop_reason": outcome.stop_reason,
            "result": {
                "classes": list(task.material.classes),
                "samples": samples,
                "reported_valid_loss": None if totals is None else totals.mean_loss,
            },
        },
        also=lambda connection: models.add(connection, _dated(connection, model)),
    )


def _write_samples(task: _Task, outcome: FineTuneOutcome) -> tuple[Totals | None, Path]:
    part = task.material.part("valid")
    path = task.context.folder / "samples-valid.parquet"
    if not part.items:
        return None, path
    evaluated = Evaluated(
        items=part.items,
        classes=task.material.classes,
        labels=np.array([photo.label for photo in part.photos], np.int64),
        logits=outcome.valid_logits,
        label_smoothing=task.spec.label_smoothing,
        class_weights=task.config.class_weights,
        history=read_epochs(
            task.context.artifacts,
            task.context.job,
            epochs=outcome.epochs_done,
            photos=len(part.items),
        ),
        kept_epoch=outcome.kept_epoch,
    )
    return write_ledger(path, evaluated), path


def _write_model(task: _Task, outcome: FineTuneOutcome, totals: Totals | None) -> models.Model:
    context, spec = task.context, task.spec
    model_id = new_model_id()
    card = ModelCard(
        architecture=spec.architecture,
        classes=task.material.classes,
        size=spec.size,
        presize=spec.presize,
        presize_mode=spec.presize_mode,
    )
    path = context.artifacts.model_file(model_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, outcome.model, card)
    return models.Model(
        id=model_id,
        name=spec.name,
        owner=context.job.owner,
        job_id=context.job.id,
        dataset_id=str(context.job.dataset_id),
        architecture=spec.architecture,
        classes=list(task.material.classes),
        card=card_values(
            card,
            context.job,
            totals,
            resolved=_resolved(task, outcome),
            dataset_digest=task.material.dataset_digest,
            parent_id=None if task.around.model is None else task.around.model.model_id,
        ),
        path=context.artifacts.relative(path),
        digest=sha256_of(path),
        size_bytes=path.stat().st_size,
        metadata=dict(spec.metadata),
        version=1,
        created_ms=0,
    )


def _dated(connection: Connection, model: models.Model) -> models.Model:
    return replace(model, created_ms=db_now_ms(connection))
