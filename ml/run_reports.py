"""What a fine-tune under way tells of its steps and epochs."""

from ml.evaluate import Metrics
from ml.pending import TakenStep
from ml.progress import EpochReport, StepReport
from ml.training_run import TrainingRun, entered


def step_report(run: TrainingRun, taken: TakenStep, loss: float, smoothed: float) -> StepReport:
    """A step whose loss is known."""
    phase, _ = entered(run)
    return StepReport(
        phase=phase.name,
        epoch=taken.epoch,
        step=taken.step,
        global_step=taken.global_step,
        loss=loss,
        smoothed=smoothed,
        lrs=taken.lrs,
        momentum=taken.momentum,
        images=run.batches.photos_per_step,
    )


def epoch_report(run: TrainingRun, validation: Metrics | None, seconds: float) -> EpochReport:
    """The epoch that was just evaluated."""
    phase, _ = entered(run)
    losses = run.losses[-run.steps_in_epoch :] if run.steps_in_epoch else []
    return EpochReport(
        phase=phase.name,
        epoch=run.epochs_done,
        global_step=run.global_step,
        train_loss=sum(losses) / len(losses) if losses else None,
        valid_loss=validation.loss if validation else None,
        accuracy=validation.accuracy if validation else None,
        error_rate=1 - validation.accuracy if validation else None,
        seconds=seconds,
        sample_losses=validation.sample_losses if validation else None,
        sample_predictions=validation.sample_predictions if validation else None,
    )
