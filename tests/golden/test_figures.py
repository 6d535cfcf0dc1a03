"""Every recorded case is recomputed, and every figure of it is compared.

A figure counts as compared when a test of its case turns red once the figure is changed a little.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from tests.golden.claims import (
    Change,
    GoldenTest,
    changed,
    golden_tests,
    one_place_of_each_field,
    passes,
)
from tests.golden.figures import Case, files, read

CHANGES = {
    "cross_entropy": Change(1e-9),
    "cross_entropy expected.fastai": Change(1e-4),
    "cross_entropy published": Change(1e-3),
    "discriminative": Change(1e-8),
    "head_optimizer": Change(1e-8),
    "head_optimizer params": Change(0.1, at_least=1.0),  # means and deviations of random weights
    "interpretation": Change(1e-4, at_least=0.1),
    "label_issues": Change(1e-8),
    "lr_schedule": Change(1e-4),
    "lr_schedule lrs": Change(1e-8),
    "lr_schedule recorded_lrs": Change(1e-8),
    "lr_suggestions": Change(1e-4),
    "one_cycle": Change(5e-4),
    "presize_geometry": Change(1e-4, at_least=1.0),
    "presize_geometry output_hwc_uint8": Change(3),
    "regex_labels": Change(1),
    "splits_vocab": Change(1),
}
"""The change of a figure that a test must see, about ten times the file's tolerance.

For a file, or for its fields that begin like this; the longest that fits counts.
"""

INPUTS = {
    "cross_entropy": "logits targets weight label_smoothing ignore_index p",
    "discriminative": "value args arch in_model_meta",
    "head_optimizer": "args x p0 grads train_bn steps.lr steps.mom",
    "interpretation": "vocab logits targets",
    "label_issues": "logits targets",
    "lr_schedule": "start end n beta raw args batches_per_epoch",
    "lr_suggestions": "tie_or_rounding_sensitive num_it recorded_lrs recorded_losses",
    "one_cycle": "groups batches_per_epoch epochs lr_max args learner_args",
    "presize_geometry": "image_wh image_hw size args method pad_mode align_corners params pcts"
    " seed split_idx brightness contrast rotate_deg zoom warp_xy transforms_in_order"
    " input_chw_uint8 input_hwc_uint8",
    "regex_labels": "pattern input match os_sep",
    "splits_vocab": "n valid_pct seed labels",
}
"""The fields that a case of each file begins with; all others are what must come out."""


class Uncompared(NamedTuple):
    """Fields that begin like this, of cases whose id begins like this, and why they are left."""

    file: str
    field: str
    because: str
    case: str = ""


NOT_COMPARED = (
    Uncompared("discriminative", "groups.", "no network of torchvision", "timm_vit_tiny"),
    Uncompared("discriminative", "groups.", "no network of torchvision", "timm_convnext_atto"),
    Uncompared("head_optimizer", "max_abs_difference", "between two other programs"),
    Uncompared("interpretation", "expected.confusion_layout", "words"),
    Uncompared("interpretation", "expected.classification_report_text", "a layout of text"),
    Uncompared("interpretation", "expected.top_3.indices", "all losses are equal", "perfect"),
    Uncompared("lr_suggestions", "weights_restored", "of a model that is not in the file"),
    Uncompared("presize_geometry", "expected.valid_unchanged", "of a batch not in the file"),
    Uncompared("presize_geometry", "after_item", "names of objects", "pipeline"),
    Uncompared("presize_geometry", "after_batch.order", "its order is compared", "pipeline"),
    Uncompared("presize_geometry", "after_batch.affine.fn", "names of objects", "pipeline"),
    Uncompared("presize_geometry", "after_batch.coord.fn", "names of objects", "pipeline"),
    Uncompared("presize_geometry", "after_batch.fs.fn", "names of objects", "pipeline"),
    Uncompared("presize_geometry", "after_batch.p", "its parts have their own", "pipeline"),
    Uncompared("presize_geometry", "vocab", "of photos not in the file", "pipeline"),
    Uncompared("splits_vocab", "observed.value", "words of an error"),
)


def fields(case: Case) -> Iterator[str]:
    """The fields of what must come out, without those whose answer turns on a last bit."""
    inputs = tuple(INPUTS[case.file].split())
    turning = tuple(f"expected.{rule}" for rule in case.get("tie_or_rounding_sensitive", []))
    for name in one_place_of_each_field(case):
        if not _begins(name, inputs) and not _begins(name, turning):
            yield name


def unseen(
    case: Case, tests: Sequence[GoldenTest], request: pytest.FixtureRequest
) -> Iterator[str]:
    """The fields of the case in which another figure turns none of these tests red."""
    mine = [test for test in tests if _has(test, case)]
    places = one_place_of_each_field(case)
    for name in fields(case):
        other = changed(case, places[name], _change(case.file, name))
        if all(passes(test, other, request) for test in mine):
            yield name


def missed(tests: Sequence[GoldenTest]) -> set[tuple[str, str]]:
    """The cases, by file and id, that none of these tests is given."""
    given = {(case.file, case["id"]) for test in tests for case in test.cases}
    return {(case.file, case["id"]) for file in files() for case in read(file)} - given


def test_every_case_is_recomputed_by_a_test() -> None:
    assert missed(golden_tests()) == set()


@pytest.mark.parametrize("file", files())
def test_a_test_turns_red_when_a_figure_changes(file: str, request: pytest.FixtureRequest) -> None:
    tests = golden_tests()
    excused = [each for each in NOT_COMPARED if each.file == file]

    found = [(case["id"], name) for case in read(file) for name in unseen(case, tests, request)]

    assert [each for each in found if not any(_excuses(row, *each) for row in excused)] == []
    assert [row for row in excused if not any(_excuses(row, *each) for each in found)] == []


def test_a_case_without_its_test_is_missed() -> None:
    fewer = [test for test in golden_tests() if not test.name.endswith("the_sweep_is_fastais")]

    assert missed(fewer) == {
        ("lr_schedule", case["id"]) for case in read("lr_schedule") if case["kind"] == "sched_exp"
    }


def test_a_figure_without_its_test_is_unseen(request: pytest.FixtureRequest) -> None:
    case = next(case for case in read("interpretation") if case["id"] == "pets6_40")
    fewer = [test for test in golden_tests() if "top_losses" not in test.name]

    assert set(unseen(case, fewer, request)) > {"expected.top_3.values", "expected.top_3.indices"}


def _begins(name: str, keys: tuple[str, ...]) -> bool:
    return f"{name}.".startswith(tuple(f"{key}." for key in keys))


def _has(test: GoldenTest, case: Case) -> bool:
    return any((each.file, each["id"]) == (case.file, case["id"]) for each in test.cases)


def _change(file: str, name: str) -> Change:
    return CHANGES[max((key for key in CHANGES if f"{file} {name}".startswith(key)), key=len)]


def _excuses(row: Uncompared, case: str, name: str) -> bool:
    return case.startswith(row.case) and name.startswith(row.field)
