"""Lists and single things of a service as tables for people."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cli.show import bytes_text, number
from tunesmith_client import Dataset, Job, Model, Prediction, Sample

_STYLE_OF = {
    "succeeded": "green",
    "ready": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "importing": "cyan",
}
_SHOWN_CLASSES = 8


def jobs(found: Iterable[Job]) -> Table:
    """One row for each job."""
    table = _table("job", "type", "state", "loss", "accuracy", "age", "name")
    for job in found:
        table.add_row(
            job.id,
            job.type,
            _progress(job),
            number(job.latest.get("valid_loss")),
            number(job.latest.get("accuracy")),
            _age(job.created_at),
            job.name or "",
        )
    return table


def datasets(found: Iterable[Dataset]) -> Table:
    """One row for each dataset."""
    table = _table("dataset", "state", "photos", "classes", "age", "name")
    for entry in found:
        photos = "-" if entry.counts is None else str(entry.counts.usable)
        classes = "-" if entry.counts is None else str(entry.counts.classes)
        table.add_row(
            entry.id, _state(entry.state), photos, classes, _age(entry.created_at), entry.name
        )
    return table


def models(found: Iterable[Model]) -> Table:
    """One row for each model."""
    table = _table("model", "architecture", "classes", "accuracy", "size", "age", "name", "aliases")
    for model in found:
        table.add_row(
            model.id,
            model.architecture,
            str(len(model.classes)),
            number(model.card["metrics"].get("accuracy")),
            bytes_text(model.size_bytes),
            _age(model.created_at),
            model.name or "",
            ", ".join(model.aliases),
        )
    return table


def samples(found: Iterable[Sample]) -> Table:
    """One row for each photo of a ledger; p is what the model gives to the target."""
    table = _table("#", "file", "target", "predicted", "p", "loss")
    for sample in found:
        predicted = Text(sample.predicted, style="" if sample.correct else "red")
        table.add_row(
            str(sample.rank),
            sample.path,
            sample.label,
            predicted,
            _probability(sample.p_label),
            number(sample.loss),
        )
    return table


def predictions(found: Iterable[tuple[str, Prediction]]) -> Table:
    """One row for each photo, the likeliest class first."""
    table = _table("file", "predicted", "p", "then")
    for name, each in found:
        if each.top is None:
            reason = (each.error or {}).get("message", "no answer")
            table.add_row(name, Text(reason, style="red"), "-", "")
            continue
        first, *others = each.top
        then = ", ".join(f"{guess.label} {_probability(guess.p)}" for guess in others)
        table.add_row(name, first.label, _probability(first.p), then)
    return table


def dataset(found: Dataset) -> Table:
    """One dataset with its parts and largest classes."""
    shown = _facts(dataset=found.id, name=found.name, state=_state(found.state))
    if found.counts is not None:
        counts = found.counts
        shown.add_row("photos", f"{counts.usable} of {counts.files} files can be used")
        shown.add_row("parts", f"{counts.train} train, {counts.valid} valid, {counts.test} test")
        listed = [f"{entry.label} {entry.count}" for entry in found.classes[:_SHOWN_CLASSES]]
        more = counts.classes - len(listed)
        listed += [f"and {more} more"] if more > 0 else []
        shown.add_row("classes", f"{counts.classes}: {', '.join(listed)}")
    if found.error is not None:
        shown.add_row("error", Text(str(found.error), style="red"))
    return shown


def outcome(job: Job) -> Table:
    """What a job that succeeded has come to, as far as it has numbers."""
    shown = _facts(job=job.id, state=_state(job.state))
    for name, label in (
        ("train_loss", "train loss"),
        ("valid_loss", "valid loss"),
        ("mean_loss", "mean loss"),
        ("accuracy", "accuracy"),
    ):
        if name in job.latest:
            shown.add_row(label, number(job.latest[name]) + _best(job, name))
    rate = job.resolved.get("learning_rate")
    if rate is not None and isinstance(rate.get("value"), float):
        shown.add_row("learning rate", f"{rate['value']:.3g} ({rate['origin']})")
    if job.model_id is not None:
        shown.add_row("model", job.model_id)
    if job.stop_reason is not None:
        shown.add_row("ended early", job.stop_reason)
    return shown


def unfinished(job: Job) -> Table:
    """Why a job has come to nothing."""
    shown = _facts(job=job.id, state=_state(job.state))
    if job.error is not None:
        shown.add_row("error", Text(f"{job.error.message} ({job.error.code})", style="red"))
        if job.error.hint:
            shown.add_row("hint", job.error.hint)
    return shown


_NUMBERS = frozenset({"#", "p", "loss", "accuracy", "photos", "classes", "size"})
_BROKEN = frozenset({"file", "name", "aliases", "target", "predicted", "then"})
"""Columns of texts that may be long; everything else stays whole, ids above all."""


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(
            name,
            justify="right" if name in _NUMBERS else "left",
            no_wrap=name not in _BROKEN,
            overflow="fold",
            min_width=min(len(name) + 4, 12) if name in _BROKEN else None,
        )
    return table


def _facts(**rows: Any) -> Table:  # noqa: ANN401 - text in any style
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _state(state: str) -> Text:
    return Text(state, style=_STYLE_OF.get(state, ""))


def _progress(job: Job) -> Text:
    shown = _state(job.state)
    fraction = None if job.progress is None else job.progress.fraction
    if job.queue is not None:
        shown.append(f", place {job.queue.position}")
    elif fraction is not None and not job.is_terminal:
        shown.append(f" {100 * fraction:.0f} %")
    return shown


def _best(job: Job, name: str) -> str:
    best = job.best.get(name)
    if not best or best.get("value") == job.latest[name]:
        return ""
    return f" (best {number(best['value'])} in epoch {best['epoch']})"


def _probability(p: float | None) -> str:
    return "-" if p is None else f"{p:.4f}"


def _age(then: datetime) -> str:
    seconds = max((datetime.now(UTC) - then).total_seconds(), 0)
    for unit, size_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size_s:
            return f"{seconds // size_s:.0f} {unit}"
    return f"{seconds:.0f} s"
