"""What the command line prints of the service's answers."""

import json
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

Json = dict[str, Any]

_SHOWN_CLASSES = 4


def bytes_text(size: int) -> str:
    """The number of bytes, such as ``1.2 GB``; a GB has 1,000,000,000 bytes."""
    for power, unit in enumerate(("B", "kB", "MB")):
        if size < 1000 ** (power + 1):
            return f"{size / 1000**power:.3g} {unit}"
    return f"{size / 1000**3:.1f} GB"


def one_line(body: Json) -> str:
    """The body as JSON on one line."""
    return json.dumps(body, ensure_ascii=False)


def dataset_line(dataset: Json) -> str:
    """How many photos and classes the dataset has."""
    counts = dataset["counts"]
    labels = ", ".join(escape(entry["label"]) for entry in dataset["classes"][:8])
    more = " …" if len(dataset["classes"]) > 8 else ""
    return (
        f"{counts['usable']} of {counts['files']} photos usable: {counts['train']} to train on, "
        f"{counts['valid']} to validate; {counts['classes']} classes ({labels}{more})"
    )


def suggestions_table(curve: Json) -> Table:
    """The rate of every rule, or why it has none."""
    table = Table(
        "rule", "learning rate", "read off the curve at", box=box.SIMPLE_HEAD, show_edge=False
    )
    reasons = {warning.get("rule"): warning["detail"] for warning in curve["warnings"]}
    for rule, suggestion in curve["suggestions"].items():
        if suggestion is None:
            table.add_row(rule, "-", reasons.get(rule, "no answer"))
            continue
        marker = suggestion.get("marker")
        where = "-" if marker is None else f"lr {marker['lr']:.2e}, loss {number(marker['loss'])}"
        table.add_row(rule, f"{suggestion['lr']:.2e}", where)
    return table


def recommendation_line(curve: Json) -> str:
    """The recommended rate with its reasons."""
    found = curve["recommended"]
    if found is None:
        return "recommended: none; the curve says nothing"
    low, high = found["range"]
    return (
        f"recommended: {found['lr']:.2e} ({found['rule']}, between {low:.1e} and {high:.1e}, "
        f"confidence {found['confidence']}: {', '.join(found['reasons'])})"
    )


def epoch_line(data: Json) -> str:
    """The losses and the accuracy of one epoch."""
    return (
        f"  epoch {data['epoch']} {data['phase']:<9} train loss {number(data['train_loss'])}  "
        f"valid loss {number(data['valid_loss'])}  accuracy {number(data['accuracy'])}  "
        f"{data['seconds']:.1f} s"
    )


def sample_lines(row: Json) -> str:
    """One photo's way from its activations to its loss."""
    breakdown, label = row["breakdown"], escape(row["label"])
    top = "  ".join(
        f"{escape(entry['label'])} {entry['logit']:+.2f} -> {entry['p']:.4f}"
        for entry in breakdown["top"][:_SHOWN_CLASSES]
    )
    return (
        f"\n[bold]{row['rank']}. {escape(row['path'])}[/bold]  labelled {label}, "
        f"predicted {escape(row['predicted'])} (p {row['p_predicted']:.3f})\n"
        f"   activations -> softmax   {top}\n"
        f"   p({label}) = exp({breakdown['logit_label']:.3f} - "
        f"{breakdown['logsumexp']:.3f}) = {row['p_label']:.5f}\n"
        f"   loss = -ln p = {row['loss']:.3f}, {100 * row['share_of_total_loss']:.1f} % "
        "of the total"
    )


def aggregate_line(aggregate: Json, job: Json) -> str:
    """What all rows together come to, beside chance."""
    classes = aggregate["chance_loss"]
    accuracy = job["latest"].get("accuracy")
    return (
        f"\n{aggregate['count']} photos: mean loss {aggregate['mean_loss']:.4f} "
        f"(reported {aggregate['reported_valid_loss']:.4f}, chance {classes:.3f}); "
        f"accuracy {number(accuracy)}"
    )


def number(value: float | None) -> str:
    """To three decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"
