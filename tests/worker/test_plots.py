"""Plots as data: what is drawn, whatever a training came to. Pictures are in `test_export`."""

import json
from math import inf, nan
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.artifacts import Artifacts
from jobs.curves import CurvePoint, EpochRow
from ml.theory.calibration import Bin, reliability
from worker.plots import (
    calibration,
    confusion,
    loss_curve,
    lr_curve,
    lr_schedule,
    phases,
    theme,
    top_losses,
)
from worker.plots.confusion import Matrix
from worker.plots.ledger_rows import bins_of, ledger_table, matrix_of, picture_url, worst_of
from worker.plots.loss_curve import Training
from worker.plots.phases import Span
from worker.plots.rendering import render
from worker.plots.theme import Heading
from worker.plots.top_losses import Worst

HEADING = Heading("A title")
MARKUP = "<script>alert(1)</script> & \"'\n长长长"
LONG = "y" * 255
THREE_RATES = (1e-4, 1e-3, 1e-2)
SVG = "{http://www.w3.org/2000/svg}"


def point(step: int, loss: float | None = 1.0, **changes: Any) -> CurvePoint:  # noqa: ANN401
    """One step of a frozen epoch."""
    same = {"step": step, "global_step": step, "loss": loss, "smoothed": loss}
    usual = {"phase": "frozen", "epoch": 0, "lrs": THREE_RATES, "momentum": 0.9}
    return CurvePoint(**{**same, **usual, **changes})


def epoch(
    number: int, steps: int, valid_loss: float | None = 1.0, accuracy: float | None = 0.5
) -> EpochRow:
    """What an epoch came to that ended after so many steps."""
    return EpochRow(
        epoch=number,
        phase="frozen",
        global_step=steps,
        train_loss=1.0,
        valid_loss=valid_loss,
        accuracy=accuracy,
        error_rate=None,
        seconds=1.0,
    )


def sweep(lrs: list[float], losses: list[float | None], **changes: object) -> dict[str, Any]:
    """The result of a range test whose rules found nothing."""
    lines = {"losses": losses, "smoothed": losses, "zero_lag": losses}
    found: dict[str, Any] = {"suggestions": {}, "recommended": None, "diverged_at_step": None}
    return {"lrs": lrs, **lines, **found, **changes}


def texts_of(svg: bytes) -> list[str]:
    """All texts of a picture, which is well-formed."""
    root = ElementTree.fromstring(svg)  # noqa: S314  (the service's own)
    assert root.tag == f"{SVG}svg"
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


RATES = [1e-4, 1e-3, 1e-2]
ANSWERED = sweep(
    RATES,
    [3.0, 1.0, None],
    diverged_at_step=2,
    suggestions={
        "valley": {"lr": 1e-3, "marker": {"lr": 1e-2, "loss": 1.0}, "step": 1},
        "slide": None,
        "steepest": {"lr": 1e-9, "marker": None, "step": 1},
    },
    recommended={"lr": 1e-3, "range": [5e-4, 2e-3], "confidence": "low"},
)
TWO_CLASSES = Matrix(np.array([[3, 1], [0, 2]]), ["cat", "dog"])
THOUSAND_CLASSES = Matrix(np.ones((1000, 1000), np.int64), [f"class {n}" for n in range(1000)])

CHARTS: dict[str, Any] = {
    "no step": lambda: loss_curve.draw(Training([], []), HEADING),
    "one step": lambda: loss_curve.draw(Training([point(0)], []), HEADING),
    "one epoch": lambda: loss_curve.draw(Training([point(0)], [epoch(0, 1)]), HEADING),
    "running": lambda: loss_curve.draw(Training([point(0), point(1)], [epoch(0, 1)]), HEADING),
    "no loss is finite": lambda: loss_curve.draw(
        Training([point(0, None)], [epoch(0, 1, None, None)]), HEADING
    ),
    "a gap": lambda: loss_curve.draw(Training([point(0), point(1, None), point(2)], []), HEADING),
    "no loss at all": lambda: loss_curve.draw(Training([point(0, 0.0)], []), HEADING),
    "many epochs": lambda: loss_curve.draw(
        Training([point(n, epoch=n) for n in range(1000)], [epoch(n, n + 1) for n in range(1000)]),
        HEADING,
    ),
    "rates of no step": lambda: lr_schedule.draw([], HEADING),
    "rates of one step": lambda: lr_schedule.draw([point(0)], HEADING),
    "one group": lambda: lr_schedule.draw([point(0, lrs=(1e-3,)), point(1, lrs=(0.0,))], HEADING),
    "eight groups": lambda: lr_schedule.draw([point(0, lrs=[10.0**-n for n in range(8)])], HEADING),
    "rules with answers": lambda: lr_curve.draw(ANSWERED, HEADING),
    "rules without": lambda: lr_curve.draw(sweep(RATES, [3.0, 2.0, 1.0]), HEADING),
    "a sweep of infinities": lambda: lr_curve.draw(sweep(RATES, [None] * 3), HEADING),
    "a sweep of one step": lambda: lr_curve.draw(sweep([1e-3], [1.0]), HEADING),
    "two classes": lambda: confusion.draw(TWO_CLASSES, HEADING),
    "one class": lambda: confusion.draw(Matrix(np.array([[1]]), ["cat"]), HEADING),
    "1000 classes": lambda: confusion.draw(THOUSAND_CLASSES, HEADING),
    "odd classes": lambda: confusion.draw(Matrix(np.eye(3, dtype=int), ["", "true", "1"]), HEADING),
    "one sample": lambda: top_losses.draw([Worst("cat", "dog", 2.0, 0.1, None)], HEADING),
    "always right": lambda: calibration.draw(reliability([1.0, 1.0], [True, True]), HEADING),
    "sure and wrong": lambda: calibration.draw(reliability([0.9, 0.2], [False, True]), HEADING),
    "no photo was sure": lambda: calibration.draw(reliability([], []), HEADING),
    "losses not finite": lambda: top_losses.draw([Worst("cat", "dog", nan, nan, None)], HEADING),
}


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_valid_whatever_there_is_to_draw(name: str) -> None:
    specification = CHARTS[name]().to_dict()

    assert specification["title"]["text"] == "A title"
    json.dumps(specification, allow_nan=False)


@pytest.mark.parametrize(
    "name", ["running", "eight groups", "rules with answers", "two classes", "sure and wrong"]
)
def test_every_chart_becomes_a_picture(name: str) -> None:
    files = render(CHARTS[name]())

    assert "A title" in texts_of(files["svg"])
    assert files["png"].startswith(b"\x89PNG\r\n\x1a\n")
    assert json.loads(files["json"])["$schema"].startswith("https://vega.github.io/schema/")


@pytest.mark.parametrize("label", [MARKUP, LONG])
def test_labels_are_text_in_a_picture_and_are_cut_when_they_are_long(label: str) -> None:
    matrix = Matrix(TWO_CLASSES.counts, [label, "dog"])

    for chart in (
        confusion.draw(matrix, Heading(label, (label,))),
        top_losses.draw([Worst(label, label, 1.0, 0.4, None)], Heading(label)),
    ):
        svg = render(chart)["svg"]

        texts = texts_of(svg)
        assert any(text.startswith(label[:8]) for text in texts)
        assert max(map(len, texts)) <= 110
        assert b"<script" not in svg


def test_the_loss_curve_has_one_row_for_each_step_counted_from_1() -> None:
    rows = loss_curve.step_rows([point(n, loss=3.0 - n, smoothed=3.0) for n in range(3)])

    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [row["raw"] for row in rows] == [3.0, 2.0, 1.0]
    assert {row["smoothed"] for row in rows} == {3.0}


def test_an_epoch_lies_at_the_number_of_steps_taken_when_it_ended() -> None:
    (first, second) = loss_curve.epoch_rows([epoch(0, 8, 0.5, 0.75), epoch(1, 16, None, None)])

    assert (first["step"], first["epoch"], first["accuracy_label"]) == (8, 1, "75.0%")
    assert (second["step"], second["valid_loss"], second["loss_label"]) == (16, None, None)


@pytest.mark.parametrize(
    ("losses", "shown"),
    [
        ([2.0, 1.0], (0.94, 2.06)),  # 6 % of the span of 1 below and above
        ([1.0] * 10 + [100.0] * 10, (0.94, 2.06)),  # diverged: ends at twice the first level
        ([1.0, 0.1], (0.0, 1.06)),  # near zero: begins there
        ([0.0], (0.0, 0.001)),
        ([None], (0.0, 1.0)),
    ],
)
def test_the_loss_axis_shows_the_descent(
    losses: list[float | None], shown: tuple[float, float]
) -> None:
    points = [point(step, loss) for step, loss in enumerate(losses)]

    assert loss_curve.loss_range(Training(points, [])) == pytest.approx(shown)


def test_phases_and_epochs_end_where_the_next_begin() -> None:
    unfrozen: dict[str, Any] = {"phase": "unfrozen", "epoch": 1}
    points = [point(0), point(1), point(2, **unfrozen), point(3, **unfrozen)]

    assert phases.phase_spans(points) == [Span("frozen", 0, 2), Span("unfrozen", 2, 4)]
    assert phases.epoch_spans(points) == [Span("1", 0, 2), Span("2", 2, 4)]
    assert phases.epoch_spans([]) == []


def test_sweeps_that_follow_each_other_are_lines_of_their_own() -> None:
    rates = [1e-7, 1e-4, 1e-1, 1e-7, 1e-4]
    points = [point(n, phase="sweeping", lrs=(rate,)) for n, rate in enumerate(rates)]

    names = ["sweep 1"] * 3 + ["sweep 2"] * 2
    assert [row["phase"] for row in loss_curve.step_rows(points)] == names
    assert [row["phase"] for row in lr_schedule.rate_rows(points)] == names
    assert [row["phase"] for row in lr_schedule.momentum_rows(points)] == names
    assert phases.phase_spans(points) == [Span("sweep 1", 0, 3), Span("sweep 2", 3, 5)]
    assert phases.phase_names(points[:3]) == ["sweeping"] * 3
    assert phases.phase_names([]) == []


def test_names_of_very_many_sweeps_stay_apart() -> None:
    rates = [1e-7, 1e-1] * 30
    points = [point(n, phase="sweeping", lrs=(rate,)) for n, rate in enumerate(rates)]

    drawn = json.dumps(loss_curve.draw(Training(points, []), HEADING).to_dict())

    shown = {n for n in range(1, 31) if f'"label": "sweep {n}"' in drawn}
    assert shown == {1, *range(4, 31, 3)}


@pytest.mark.parametrize(("phase", "corner"), [("sweeping", "top-left"), ("frozen", "top-right")])
def test_the_legend_stands_where_the_losses_do_not(phase: str, corner: str) -> None:
    chart = loss_curve.draw(Training([point(0, phase=phase)], []), HEADING)

    drawn = json.dumps(chart.to_dict())

    assert f'"orient": "{corner}"' in drawn


@pytest.mark.parametrize(
    ("further", "told"),
    [
        ({}, None),
        ({"repeats": [{}]}, None),
        ({"repeats": [{}] * 5}, "the first of 5 sweeps is drawn; recommended is the median of all"),
        ({"repeats": [{}], "groups": [{}] * 3}, "the sweep of the head is drawn"),
    ],
)
def test_a_plot_of_several_sweeps_says_which_one_it_is(
    further: dict[str, Any], told: str | None
) -> None:
    chart = lr_curve.draw({**ANSWERED, **further}, HEADING).to_dict()

    _, *lines = chart["title"]["subtitle"]
    assert lines == ([] if told is None else [told])


def test_lines_of_very_many_epochs_stay_apart() -> None:
    points = [point(n, epoch=n) for n in range(1000)]

    epochs, _ = phases.boundaries(points, phases.step_axis(points, title=None))

    (rows,) = epochs.to_dict()["datasets"].values()
    assert [row["step"] for row in rows] == list(range(16, 1000, 16))


def test_the_schedule_has_one_row_for_each_step_and_group() -> None:
    rows = lr_schedule.rate_rows([point(0), point(1, phase="unfrozen", lrs=(0.0, 1e-3, 1e-2))])

    assert [row["rate"] for row in rows] == [1e-4, 1e-3, 1e-2, None, 1e-3, 1e-2]
    assert [row["is_idle"] for row in rows] == [True, True, False, False, False, False]
    assert [row["group"] for row in rows[:3]] == [
        *("body 1 (first layers)", "body 2 (last layers)", "head")
    ]


def test_groups_that_share_every_rate_are_one_line() -> None:
    rows = lr_schedule.rate_rows([point(0, lrs=(1e-3,) * 3), point(1, lrs=(1e-2,) * 3)])

    assert [(row["group"], row["rate"]) for row in rows] == [
        ("all layers", 1e-3),
        ("all layers", 1e-2),
    ]


def test_the_momentum_has_one_row_for_each_step() -> None:
    rows = lr_schedule.momentum_rows([point(0, momentum=0.95), point(1, momentum=0.85)])

    assert [(row["step"], row["momentum"]) for row in rows] == [(1, 0.95), (2, 0.85)]


def test_the_rate_curve_has_one_row_for_each_recorded_step() -> None:
    rows = lr_curve.curve_rows(ANSWERED)

    assert [(row["step"], row["lr"], row["raw"]) for row in rows] == [
        *((0, 1e-4, 3.0), (1, 1e-3, 1.0), (2, 1e-2, None))
    ]


def test_every_rule_has_a_row_and_one_that_found_nothing_says_so() -> None:
    rows = {row["rule"]: row for row in lr_curve.suggestion_rows(ANSWERED)}

    assert len(rows) == 6
    assert rows["valley"]["text"] == "1.0e-3"
    assert (rows["valley"]["loss"], rows["valley"]["marker"]) == (pytest.approx(1.0), 1e-2)
    assert (rows["slide"]["lr"], rows["slide"]["text"]) == (None, "no answer")
    assert (rows["steepest"]["lr"], rows["steepest"]["loss"]) == (1e-9, None)


def test_a_loss_between_two_steps_is_read_off_on_the_axis_of_logarithms() -> None:
    curve = sweep([1e-4, 1e-2], [3.0, 1.0], suggestions={"valley": {"lr": 1e-3}})

    assert lr_curve.suggestion_rows(curve)[0]["loss"] == pytest.approx(2.0)


def test_the_explosion_leaves_the_rate_curve() -> None:
    curve = sweep(RATES, [3.0, 1.0, 99.0])

    # the descent of 2, with 12 % of it below and 45 % above
    assert lr_curve.loss_range(curve) == pytest.approx((0.76, 3.9))


def test_the_heading_tells_the_recommendation() -> None:
    with_one, without = (
        lr_curve.draw(curve, HEADING).to_dict()["title"]["subtitle"]
        for curve in (ANSWERED, sweep(RATES, [3.0, 2.0, 1.0]))
    )

    assert with_one == ["recommended: 1.0e-3 (from 5.0e-4 to 2.0e-3), confidence low"]
    assert without == ["no rate can be recommended: none of the rules has an answer"]


def test_cells_are_shares_of_the_actual_class_and_empty_ones_are_left_out() -> None:
    rows = confusion.cell_rows(TWO_CLASSES, [0, 1])

    assert [(row["actual"], row["predicted"], row["share"]) for row in rows] == [
        *(("cat", "cat", 0.75), ("cat", "dog", 0.25), ("dog", "dog", 1.0))
    ]


def test_of_many_classes_those_with_the_most_errors_are_drawn() -> None:
    counts = np.eye(1000, dtype=np.int64) * 5
    counts[range(500, 540, 2), range(501, 541, 2)] = 1

    assert confusion.shown_classes(counts) == list(range(500, 540))
    told = confusion.draw(THOUSAND_CLASSES, HEADING).to_dict()["title"]["subtitle"]
    assert told[0].startswith("the 40 most confused of 1000 classes")


def test_a_matrix_without_errors_has_no_scale_of_errors() -> None:
    perfect = Matrix(np.array([[3, 0], [0, 2]]), ["cat", "dog"])

    assert "wrong, share" in json.dumps(confusion.draw(TWO_CLASSES, HEADING).to_dict())
    assert "wrong, share" not in json.dumps(confusion.draw(perfect, HEADING).to_dict())


def test_the_worst_photos_lie_row_by_row_and_are_at_most_nine() -> None:
    photos = [Worst("cat", "dog", 2.0, 0.5, None)] * 10

    rows = top_losses.tile_rows(photos[:4])

    assert [(row["x"], row["y"]) for row in rows] == [(0, 0), (220, 0), (440, 0), (0, 270)]
    drawn = top_losses.draw(photos, HEADING).to_dict()["datasets"].values()
    assert max(map(len, drawn)) == 9


@pytest.mark.parametrize(
    ("loss", "p", "text"),
    [
        (2.0, 0.13534, "loss 2.00 · p 0.135"),
        (9.21, 1e-4, "loss 9.21 · p 1e-4"),
        (inf, 0.0, "loss not finite · p 0.000"),
        (nan, nan, "loss not finite · p unknown"),
        (None, None, "loss not finite · p unknown"),
    ],
)
def test_a_photo_tells_its_loss_and_the_probability_of_its_label(
    loss: float | None, p: float | None, text: str
) -> None:
    (row,) = top_losses.tile_rows([Worst("cat", "dog", loss, p, None)])

    assert (row["label"], row["predicted"], row["numbers"]) == ("cat", "→ dog", text)


@pytest.mark.parametrize(
    ("accuracy", "confidence", "pieces"),
    [
        (0.5, 0.75, [("as right as sure", 0.0, 0.5), ("too sure", 0.5, 0.75)]),
        (1.0, 0.75, [("as right as sure", 0.0, 0.75), ("not sure enough", 0.75, 1.0)]),
        (0.75, 0.75, [("as right as sure", 0.0, 0.75)]),
        (0.0, 0.75, [("as right as sure", 0.0, 0.0), ("too sure", 0.0, 0.75)]),
        (None, None, []),
    ],
)
def test_a_bar_ends_at_how_sure_and_at_how_right_its_photos_are(
    accuracy: float | None, confidence: float | None, pieces: list[tuple[str, float, float]]
) -> None:
    rows = calibration.piece_rows([Bin(0.7, 0.8, 4, confidence, accuracy)])

    assert [(row["piece"], row["low"], row["high"]) for row in rows] == pieces


def test_photos_without_a_finite_probability_are_in_no_bin() -> None:
    columns = {"p_predicted": [0.9, None, nan], "correct": [True, True, False]}

    assert sum(each.count for each in bins_of(pa.table(columns))) == 1


def test_a_ledger_of_all_parts_holds_each_of_them(artifacts: Artifacts) -> None:
    artifacts.root.mkdir()
    rows = {"label": ["a", "b", "b"], "predicted": ["a", "a", "b"]}
    file = artifacts.root / "all.parquet"
    pq.write_table(pa.table({**rows, "split": ["valid", "valid", "train"]}), file)
    samples = {"all": {"path": "all.parquet"}}

    def counts(split: str) -> list[list[int]]:
        table = ledger_table(artifacts, samples, split, ["label", "predicted"])
        found: list[list[int]] = matrix_of(table, ["a", "b"]).counts.tolist()
        return found

    assert counts("all") == [[1, 0], [1, 1]]
    assert counts("valid") == [[1, 0], [1, 0]]
    assert counts("train") == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("count", "cell_px", "fits"),
    # a digit is 5 px wide in the smallest cells, and a little more than a fifth of large ones
    [(9, 16, True), (99, 16, True), (9999, 16, False), (9999, 24, True), (123456, 110, True)],
)
def test_counts_are_written_where_the_widest_has_room_in_its_cell(
    count: int, cell_px: int, fits: bool
) -> None:
    assert confusion.counts_fit([{"count": 1}, {"count": count}], cell_px) is fits


def test_a_loss_that_is_not_finite_is_the_worst(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    artifacts.thumbnails_folder("ds_1").mkdir(parents=True)
    artifacts.thumbnail("ds_1", "itm_2", 256).write_bytes(b"\xff\xd8")
    columns = {name: ["a", "b", "c"] for name in ("label", "predicted")}
    numbers = {"loss": [1.0, 5.0, None], "p_label": [0.3, 0.01, None]}
    table = pa.table({"item_id": ["itm_0", "itm_1", "itm_2"], **columns, **numbers})

    worst = worst_of(table, artifacts, "ds_1")

    assert [(photo.label, photo.loss) for photo in worst] == [("c", None), ("b", 5.0), ("a", 1.0)]
    assert worst[0].picture_url == "data:image/jpeg;base64,/9g="
    assert picture_url(artifacts.thumbnail("ds_1", "itm_1", 256)) is None


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [("cat", 3, "cat"), ("cats", 3, "ca…"), ("a\n b", 9, "a b"), ("ab cd", 4, "ab…"), ("", 3, "")],
)
def test_a_text_that_is_too_long_ends_with_an_ellipsis(text: str, most: int, expected: str) -> None:
    assert theme.shortened(text, most) == expected


def test_the_axis_of_rates_has_the_powers_of_ten_around_them() -> None:
    assert theme.decades([2e-3, 0.5]) == pytest.approx([1e-3, 1e-2, 1e-1, 1.0])
    assert theme.as_rate(0.0019) == "1.9e-3"
