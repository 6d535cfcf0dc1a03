"""Seconds and bytes of a whole training, from the pace of a few pieces of it."""

from dataclasses import replace

import pytest

from api.planning.estimates import HIGH, LOW, Workload, duration_of, memory_of
from api.schemas.plans import PlannedPhase
from tests.api.test_plans import MIB, PROBE


def phase(name: str, epochs: int | None, steps: int) -> PlannedPhase:
    """So many steps; a sweep counts no epochs."""
    job = "lr_find" if epochs is None else "fine_tune"
    return PlannedPhase(name=name, job=job, epochs=epochs, steps_per_epoch=2, steps=steps)


SWEEP = phase("sweeping", None, 20)
FINE_TUNE = Workload(
    phases=[phase("frozen", 1, 2), phase("unfrozen", 3, 6)],
    swept_phase="frozen",
    to_presize=3,
    to_evaluate=3,
    batch_size=4,
    checkpoint_every_s=30.0,
)


def test_a_fine_tune_takes_what_its_parts_take() -> None:
    duration = duration_of(FINE_TUNE, PROBE)

    assert {part.name: (part.seconds, part.count) for part in duration.parts} == {
        # claimed 0.1, read 0.1, a model built 0.25
        "start": (0.45, 1),
        "presizing": (1.5, 3),
        # the first step takes 1.5 s more than the others
        "frozen": (2.5, 2),
        "unfrozen": (4.5, 6),
        # four evaluations of three photos, four in a batch
        "evaluation": (3.0, 12),
        # the ledger 0.1, the model 0.2, four epochs 0.02 each
        "ending": (0.38, 4),
    }
    assert duration.seconds == pytest.approx(12.33, abs=0.06)
    # eight steps may each be 0.1 s quicker, or half of that slower in the mean of four
    assert duration.low == pytest.approx(LOW * (12.33 - 0.8), abs=0.06)
    assert duration.high == pytest.approx(HIGH * (12.33 + 0.4), abs=0.06)


def test_photos_that_are_presized_already_cost_nothing() -> None:
    duration = duration_of(replace(FINE_TUNE, to_presize=0), PROBE)

    parts = {part.name: part.seconds for part in duration.parts}
    assert "presizing" not in parts
    assert parts["start"] == 0.45


def test_a_long_training_writes_checkpoints() -> None:
    # frozen, unfrozen and evaluation take 10 s
    duration = duration_of(replace(FINE_TUNE, checkpoint_every_s=5.0), PROBE)

    parts = {part.name: (part.seconds, part.count) for part in duration.parts}
    assert parts["checkpoints"] == (0.4, 2)


def test_a_step_of_two_batches_takes_twice_as_long() -> None:
    duration = duration_of(replace(FINE_TUNE, accumulate=2), PROBE)

    parts = {part.name: (part.seconds, part.count) for part in duration.parts}
    assert parts["frozen"] == (3.5, 2)
    assert parts["unfrozen"] == (7.5, 6)


def test_a_training_takes_no_longer_than_it_may() -> None:
    # frozen, unfrozen and evaluation would take 10 s
    duration = duration_of(replace(FINE_TUNE, longest_s=2.0), PROBE)

    parts = {part.name: part.seconds for part in duration.parts}
    assert parts["frozen"] == pytest.approx(0.5)
    assert parts["unfrozen"] == pytest.approx(0.9)
    assert duration_of(replace(FINE_TUNE, longest_s=99.0), PROBE) == duration_of(FINE_TUNE, PROBE)


def test_a_training_that_may_stop_early_may_be_quicker() -> None:
    whole = duration_of(FINE_TUNE, PROBE)
    early = duration_of(replace(FINE_TUNE, fewest_epochs=1), PROBE)

    assert early.seconds == whole.seconds
    assert early.low < whole.low


def test_a_sweep_may_diverge_half_way() -> None:
    find = replace(FINE_TUNE, phases=[SWEEP], to_presize=0, to_evaluate=0)

    duration = duration_of(find, PROBE)

    # 0.45 to start, then 1.5 and twenty times 0.5; ten of the quickest are 4
    assert duration.seconds == pytest.approx(11.95, abs=0.06)
    assert duration.low == pytest.approx(LOW * (0.45 + 1.5 + 4.0), abs=0.06)


def test_a_chain_starts_twice() -> None:
    chain = replace(FINE_TUNE, phases=[SWEEP, *FINE_TUNE.phases], to_presize=0)

    start = next(part for part in duration_of(chain, PROBE).parts if part.name == "start")

    assert (start.seconds, start.count) == (0.9, 2)


def test_every_later_sweep_builds_a_model_of_its_own() -> None:
    find = replace(FINE_TUNE, phases=[SWEEP], to_presize=0, to_evaluate=0)

    once, thrice = (duration_of(replace(find, sweeps=sweeps), PROBE) for sweeps in (1, 3))

    assert thrice.parts[0].seconds == pytest.approx(once.parts[0].seconds + 2 * PROBE["build_s"])


def test_mapped_pixels_stand_beside_the_memory() -> None:
    memory = memory_of(PROBE, photos=11)

    assert memory is not None
    assert (memory.peak_bytes, memory.page_cache_bytes) == (900 * MIB, 11_000)
    assert memory_of({**PROBE, "memory": None}, photos=11) is None
