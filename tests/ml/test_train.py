import contextlib
import dataclasses
import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.backbones import ImageClassifier
from ml.cache import Pixels
from ml.checkpoint import load, save
from ml.config import EarlyStopping, FineTuneConfig
from ml.device import cpu_kind, has_bf16, resolve_precision
from ml.errors import (
    EnvironmentChangedError,
    LossDivergedError,
    StoppedError,
    TooFewImagesError,
)
from ml.evaluate import Logits, predict_logits
from ml.photos import LabelledPhoto
from ml.progress import Command
from ml.resumption import Elsewhere
from ml.train import FineTuneOutcome, fine_tune
from ml.training_state import TrainingState
from tests.ml.fakes import RememberingListener, carry_on, pixels_of, tiny_data, tiny_model

Photos = list[LabelledPhoto]
Commands = dict[int, Command]

CONFIG = FineTuneConfig(
    model=tiny_model(),
    data=tiny_data(),
    epochs=2,
    freeze_epochs=1,
    frozen_peaks=(1e-4, 1e-4, 1e-3),
    unfrozen_peaks=(1e-5, 1e-4, 1e-3),
    label_smoothing=0.1,
    seed=3,
)
STEPS_PER_EPOCH = 2
OTHER_FORMAT = "fp32" if has_bf16(torch.device("cpu")) else "bf16"


class Bench:
    """Runs CONFIG or a variant over the tiny photos."""

    def __init__(self, train: Photos, valid: Photos, pixels: Pixels, valid_pixels: Pixels) -> None:
        self._run = functools.partial(
            fine_tune,
            train=train,
            valid=valid,
            pixels=pixels,
            valid_pixels=valid_pixels,
            device=torch.device("cpu"),
        )

    def __call__(
        self,
        listener: RememberingListener,
        *,
        config: FineTuneConfig = CONFIG,
        resume: TrainingState | None = None,
        elsewhere: Elsewhere = "fail",
    ) -> FineTuneOutcome:
        return self._run(config, listener=listener, resume=resume, elsewhere=elsewhere)


@pytest.fixture(scope="module")
def bench(train: Photos, valid: Photos, pixels: Pixels, valid_pixels: Pixels) -> Bench:
    return Bench(train, valid, pixels, valid_pixels)


@pytest.fixture(scope="module")
def undisturbed(bench: Bench) -> tuple[FineTuneOutcome, RememberingListener]:
    listener = RememberingListener()
    return bench(listener), listener


def weights_of(outcome: FineTuneOutcome) -> dict[str, bytes]:
    return {name: t.numpy().tobytes() for name, t in outcome.model.state_dict().items()}


def logits_of(model: ImageClassifier, photos: Photos, pixels: Pixels) -> Logits:
    return predict_logits(
        model,
        pixels,
        photos,
        size=CONFIG.data.size,
        batch_size=CONFIG.data.batch_size,
        precision=resolve_precision(CONFIG.precision, torch.device("cpu")),
        device=torch.device("cpu"),
        command=carry_on,
    )


def losses_of(listener: RememberingListener) -> list[float]:
    return [report.loss for report in listener.steps]


def test_a_run_trains_frozen_then_unfrozen_and_evaluates_after_each_epoch(
    undisturbed: tuple[FineTuneOutcome, RememberingListener],
) -> None:
    outcome, listener = undisturbed

    assert outcome.status == "finished"
    assert outcome.steps == 3 * STEPS_PER_EPOCH
    assert outcome.epochs_done == 3
    assert listener.phases == [
        "frozen", "evaluating", "unfrozen", "evaluating", "unfrozen", "evaluating"
    ]  # fmt: skip
    assert [report.step for report in listener.steps] == [0, 1, 0, 1, 2, 3]
    assert [report.epoch for report in listener.epochs] == [0, 1, 2]


def test_rates_start_at_the_frozen_peak_over_25_and_the_unfrozen_peak_over_5(
    undisturbed: tuple[FineTuneOutcome, RememberingListener],
) -> None:
    _, listener = undisturbed

    assert listener.steps[0].lrs == pytest.approx((4e-6, 4e-6, 4e-5))
    assert listener.steps[2].lrs == pytest.approx((2e-6, 2e-5, 2e-4))
    assert listener.steps[0].momentum == 0.95


def test_an_epoch_report_is_consistent_with_itself(
    undisturbed: tuple[FineTuneOutcome, RememberingListener], valid: Photos
) -> None:
    _, listener = undisturbed
    report = listener.epochs[-1]

    assert report.sample_losses is not None
    assert report.valid_loss == report.sample_losses.mean()
    assert report.sample_predictions is not None
    labels = [photo.label for photo in valid]
    assert report.accuracy is not None
    assert report.accuracy == (report.sample_predictions == labels).mean()
    assert report.error_rate == 1 - report.accuracy
    assert report.train_loss == pytest.approx(np.mean(losses_of(listener)[-2:]))


def test_two_runs_with_one_seed_agree_bit_by_bit(
    bench: Bench, undisturbed: tuple[FineTuneOutcome, RememberingListener]
) -> None:
    listener = RememberingListener()
    outcome = bench(listener)

    assert losses_of(listener) == losses_of(undisturbed[1])
    assert weights_of(outcome) == weights_of(undisturbed[0])


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6])
def test_a_run_left_after_any_step_and_resumed_equals_one_never_left(
    bench: Bench,
    undisturbed: tuple[FineTuneOutcome, RememberingListener],
    tmp_path_factory: pytest.TempPathFactory,
    steps: int,
) -> None:
    path = tmp_path_factory.mktemp("left") / "checkpoint"
    before = RememberingListener({steps: Command.LEAVE})
    left = bench(before)
    save(path, before.states[-1])
    after = RememberingListener()
    resumed = bench(after, resume=load(path))

    assert left.status == "left"
    assert left.steps == steps
    assert losses_of(before) + losses_of(after) == losses_of(undisturbed[1])
    assert [r.smoothed for r in before.steps + after.steps] == [
        r.smoothed for r in undisturbed[1].steps
    ]
    assert [r.valid_loss for r in before.epochs + after.epochs] == [
        r.valid_loss for r in undisturbed[1].epochs
    ]
    assert [r.train_loss for r in before.epochs + after.epochs] == [
        r.train_loss for r in undisturbed[1].epochs
    ]
    assert weights_of(resumed) == weights_of(undisturbed[0])


def test_a_run_with_a_rate_per_block_resumes_to_the_bit(bench: Bench) -> None:
    peaks = tuple(1e-5 * (block + 1) for block in range(10))
    config = dataclasses.replace(
        CONFIG, rate_per="block", frozen_peaks=peaks, unfrozen_peaks=peaks, epochs=1
    )
    _assert_resumes(bench, config, steps=3)


BEST = dataclasses.replace(CONFIG, epochs=3, keep_best="valid_loss")
# at such a rate what the head has learned is soon lost
WILD = dataclasses.replace(BEST, unfrozen_peaks=(0.1, 0.1, 0.1), pct_start=0.0)


def test_the_best_epoch_is_kept_also_after_a_resumption(bench: Bench) -> None:
    listener = RememberingListener()
    outcome = bench(listener, config=WILD)

    losses = [report.valid_loss for report in listener.epochs]
    best = losses.index(min(loss for loss in losses if loss is not None))
    assert outcome.kept_epoch == best < len(losses) - 1
    steps = (best + 1) * STEPS_PER_EPOCH
    at_best = RememberingListener({steps: Command.SAVE})
    bench(at_best, config=WILD)
    state = at_best.states[0]
    assert weights_of(outcome) == {
        name: tensor.numpy().tobytes() for name, tensor in state.model.items()
    }
    _assert_resumes(bench, WILD, steps=steps + 1)


@pytest.mark.parametrize("config", [CONFIG, WILD, dataclasses.replace(CONFIG, max_duration_s=1e-9)])
@pytest.mark.parametrize("ending", [{}, {3: Command.FINISH}])
def test_the_logits_are_those_of_the_model_that_is_kept(
    bench: Bench, valid: Photos, valid_pixels: Pixels, config: FineTuneConfig, ending: Commands
) -> None:
    outcome = bench(RememberingListener(ending), config=config)

    assert np.array_equal(outcome.valid_logits, logits_of(outcome.model, valid, valid_pixels))


def test_the_kept_models_logits_are_found_again_after_a_resumption(
    bench: Bench, valid: Photos, valid_pixels: Pixels
) -> None:
    before = RememberingListener({7: Command.LEAVE})
    left = bench(before, config=WILD)
    outcome = bench(RememberingListener(), config=WILD, resume=before.states[-1])

    assert left.valid_logits.shape == (0, 2)
    assert outcome.kept_epoch is not None
    assert outcome.kept_epoch < 3, "it was evaluated before the run was left"
    assert np.array_equal(outcome.valid_logits, logits_of(outcome.model, valid, valid_pixels))


def test_a_run_ends_when_its_unfrozen_epochs_bring_nothing_better(bench: Bench) -> None:
    # nothing is better by so much, so that the first unfrozen epoch stays the best
    early = EarlyStopping(patience=2, metric="accuracy", min_delta=2.0)
    config = dataclasses.replace(CONFIG, epochs=9, early_stopping=early)
    listener = RememberingListener()
    outcome = bench(listener, config=config)

    assert (outcome.status, outcome.stop_reason) == ("stopped", "early_stopping")
    assert [report.phase for report in listener.epochs] == ["frozen"] + 3 * ["unfrozen"]
    assert listener.steps[-1].lrs[-1] > 5e-4, "the schedule is still that of nine epochs"
    _assert_resumes(bench, config, steps=5)


def test_patience_that_ends_with_the_last_epoch_stops_nothing(bench: Bench) -> None:
    early = EarlyStopping(patience=2, min_delta=100.0)
    config = dataclasses.replace(CONFIG, epochs=3, early_stopping=early)

    assert bench(RememberingListener(), config=config).status == "finished"


def test_a_run_whose_time_is_over_evaluates_and_keeps_its_model(bench: Bench) -> None:
    listener = RememberingListener()
    outcome = bench(listener, config=dataclasses.replace(CONFIG, max_duration_s=1e-9))

    assert (outcome.status, outcome.stop_reason, outcome.steps) == ("stopped", "max_duration", 1)
    assert len(listener.epochs) == 1


def test_the_time_of_earlier_attempts_counts(bench: Bench) -> None:
    config = dataclasses.replace(CONFIG, max_duration_s=1e6)
    before = RememberingListener({3: Command.LEAVE})
    bench(before, config=config)
    late = dataclasses.replace(before.states[0], trained_s=1e6)
    outcome = bench(RememberingListener(), config=config, resume=late)

    assert 0 < before.states[0].trained_s < 1e6
    assert (outcome.stop_reason, outcome.steps) == ("max_duration", 4)


def test_accumulated_batches_make_fewer_steps_that_resume_to_the_bit(bench: Bench) -> None:
    config = dataclasses.replace(CONFIG, accumulate=2, data=tiny_data(batch_size=2))
    listener = RememberingListener()
    outcome = bench(listener, config=config)

    # ten photos are two steps of two batches of two
    assert outcome.steps == 3 * 2
    assert {report.images for report in listener.steps} == {4}
    _assert_resumes(bench, config, steps=3)


def test_more_batches_in_a_step_than_there_are_become_all_with_a_warning(bench: Bench) -> None:
    config = dataclasses.replace(CONFIG, accumulate=9, epochs=1, freeze_epochs=0)
    listener = RememberingListener()
    outcome = bench(listener, config=config)

    assert listener.warnings == ["accumulate_reduced"]
    assert (outcome.steps, listener.steps[0].images) == (1, 8)


def test_class_weights_count_in_training_and_validation(bench: Bench, valid: Photos) -> None:
    config = dataclasses.replace(
        CONFIG, class_weights=(1.0, 5.0), accumulate=2, data=tiny_data(batch_size=2)
    )
    listener, plain = RememberingListener(), RememberingListener()
    bench(listener, config=config)
    bench(plain, config=dataclasses.replace(config, class_weights=None))

    report = listener.epochs[0]
    assert report.sample_losses is not None
    weights = [(1.0, 5.0)[photo.label] for photo in valid]
    assert report.valid_loss == pytest.approx(np.average(report.sample_losses, weights=weights))
    assert losses_of(listener)[0] != losses_of(plain)[0]
    _assert_resumes(bench, config, steps=3)


def _assert_resumes(bench: Bench, config: FineTuneConfig, *, steps: int) -> None:
    """A run that is left after so many steps and resumed ends as one that is never left."""
    whole, before, after = (RememberingListener() for _ in range(3))
    undisturbed = bench(whole, config=config)
    before.commands = {steps: Command.LEAVE}
    assert bench(before, config=config).status == "left"
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "checkpoint", before.states[-1])
        state = load(Path(folder) / "checkpoint")
    resumed = bench(after, config=config, resume=state)

    assert losses_of(before) + losses_of(after) == losses_of(whole)
    assert weights_of(resumed) == weights_of(undisturbed)
    assert resumed.kept_epoch == undisturbed.kept_epoch
    assert resumed.steps == undisturbed.steps
    assert resumed.status == undisturbed.status
    assert [r.valid_loss for r in before.epochs + after.epochs] == [
        r.valid_loss for r in whole.epochs
    ]


def test_saving_changes_nothing(
    bench: Bench, undisturbed: tuple[FineTuneOutcome, RememberingListener]
) -> None:
    listener = RememberingListener({3: Command.SAVE})
    outcome = bench(listener)

    assert [state.global_step for state in listener.states] == [3]
    assert weights_of(outcome) == weights_of(undisturbed[0])


def test_finish_ends_training_evaluates_and_keeps_the_model(bench: Bench) -> None:
    listener = RememberingListener({3: Command.FINISH})
    outcome = bench(listener)

    assert (outcome.status, outcome.stop_reason) == ("stopped", "user")
    assert outcome.steps == 3
    assert outcome.epochs_done == 1
    assert [report.epoch for report in listener.epochs] == [0, 1]


def test_abandon_stops_at_once(bench: Bench) -> None:
    listener = RememberingListener({1: Command.ABANDON})

    with pytest.raises(StoppedError, match="abandon"):
        bench(listener)
    assert listener.states == []


def test_a_loss_that_is_not_finite_ends_the_run_with_its_step(bench: Bench) -> None:
    wild = dataclasses.replace(CONFIG, frozen_peaks=(1e30, 1e30, 1e30))

    with pytest.raises(LossDivergedError, match="a lower learning rate usually helps") as caught:
        bench(RememberingListener(), config=wild)
    assert caught.value.step == 1


def test_leaving_during_an_evaluation_evaluates_again_on_resumption(
    bench: Bench, undisturbed: tuple[FineTuneOutcome, RememberingListener]
) -> None:
    before = LeavesWhileEvaluating()
    left = bench(before)
    after = RememberingListener()
    resumed = bench(after, resume=before.states[-1])

    assert (left.status, left.steps, left.epochs_done) == ("left", STEPS_PER_EPOCH, 0)
    assert [report.epoch for report in before.epochs + after.epochs] == [0, 1, 2]
    assert after.epochs[0].global_step == STEPS_PER_EPOCH
    assert weights_of(resumed) == weights_of(undisturbed[0])


class LeavesWhileEvaluating(RememberingListener):
    """Wants to leave as soon as an evaluation is under way."""

    def command(self) -> Command:
        return Command.LEAVE if self.phases[-1] == "evaluating" else Command.CONTINUE


def test_another_configuration_cannot_resume(bench: Bench) -> None:
    listener = RememberingListener({1: Command.LEAVE})
    bench(listener)
    other = dataclasses.replace(CONFIG, seed=4)

    with pytest.raises(EnvironmentChangedError, match="run was"):
        bench(RememberingListener(), config=other, resume=listener.states[0])


def left_elsewhere(bench: Bench, **environment: str | int) -> TrainingState:
    """A state after a step, as if it had been taken in this environment."""
    listener = RememberingListener({1: Command.LEAVE})
    bench(listener)
    state = listener.states[0]
    return dataclasses.replace(state, environment={**state.environment, **environment})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("torch_threads", 77),
        ("cpu", "another CPU"),
        ("device", "cuda"),
        ("torch", "1.0"),
        ("torchvision", "0.1"),
        ("decoder", "pillow 1"),
        ("batch_size", 99),
    ],
)
def test_a_run_does_not_go_on_where_its_numbers_cannot_be_the_same(
    bench: Bench, name: str, value: str | int
) -> None:
    state = left_elsewhere(bench, **{name: value})

    with pytest.raises(EnvironmentChangedError, match=f"{name} was {value!r}"):
        bench(RememberingListener(), resume=state)


def test_a_run_that_shall_go_on_elsewhere_says_so_and_takes_its_remaining_steps(
    bench: Bench, undisturbed: tuple[FineTuneOutcome, RememberingListener]
) -> None:
    state, listener = left_elsewhere(bench, cpu="another CPU"), RememberingListener()

    outcome = bench(listener, resume=state, elsewhere="continue")

    assert listener.warnings == ["environment_changed"]
    assert outcome.steps == undisturbed[0].steps
    assert outcome.resolved["cpu"] == cpu_kind()


def test_another_configuration_cannot_resume_even_where_a_run_may_go_on_elsewhere(
    bench: Bench,
) -> None:
    other = dataclasses.replace(CONFIG, seed=4)

    with pytest.raises(EnvironmentChangedError, match="run was"):
        bench(RememberingListener(), config=other, resume=left_elsewhere(bench),
              elsewhere="continue")  # fmt: skip


def test_a_run_goes_on_in_the_number_format_it_began_with(bench: Bench) -> None:
    """A configuration's "auto" is another format on another CPU."""
    outcome = bench(RememberingListener(), resume=left_elsewhere(bench, precision=OTHER_FORMAT))

    assert outcome.resolved["precision"] == OTHER_FORMAT


def test_a_state_that_knows_less_than_this_version_can_resume(bench: Bench) -> None:
    state = left_elsewhere(bench)
    known = {name: state.environment[name] for name in ("precision", "torch_threads")}

    outcome = bench(RememberingListener(), resume=dataclasses.replace(state, environment=known))

    assert outcome.status == "finished"


def test_a_run_without_validation_photos_reports_none(
    train: Photos, pixels: Pixels, cache_folder: Path, cpu: torch.device
) -> None:
    listener = RememberingListener()
    config = dataclasses.replace(CONFIG, epochs=1, freeze_epochs=0)

    with contextlib.closing(pixels_of([], cache_folder)) as none:
        fine_tune(
            config,
            train=train,
            valid=[],
            pixels=pixels,
            valid_pixels=none,
            listener=listener,
            device=cpu,
        )

    assert listener.epochs[0].valid_loss is None
    assert listener.epochs[0].sample_losses is None


def test_a_batch_larger_than_the_set_shrinks_with_a_warning(bench: Bench) -> None:
    listener = RememberingListener({1: Command.FINISH})
    outcome = bench(listener, config=dataclasses.replace(CONFIG, data=tiny_data(batch_size=64)))

    assert "batch_size_reduced" in listener.warnings
    assert outcome.resolved["batch_size"] == 10
    assert listener.steps[0].images == 10


def test_one_photo_is_too_few(
    train: Photos, pixels: Pixels, valid: Photos, valid_pixels: Pixels, cpu: torch.device
) -> None:
    with pytest.raises(TooFewImagesError, match="at least 2 photos, found 1"):
        fine_tune(
            CONFIG,
            train=train[:1],
            valid=valid,
            pixels=pixels,
            valid_pixels=valid_pixels,
            listener=RememberingListener(),
            device=cpu,
        )


def test_a_run_leaves_the_random_numbers_of_torch_alone(bench: Bench) -> None:
    torch.manual_seed(5)
    untouched = torch.rand(3)
    torch.manual_seed(5)
    bench(RememberingListener({1: Command.FINISH}))

    assert torch.equal(torch.rand(3), untouched)
