"""Medians, spreads and ratios of pairs that ran in turn."""

from collections.abc import Iterator
from math import sqrt
from statistics import fmean, median, stdev

from rich.console import Console
from rich.table import Table

from tunesmith_client import Json

QUALITY = ("valid_loss", "accuracy")


def summary(content: Json) -> list[Json]:
    """One row for each pair, set of photos and measure: theirs, ours, and how many times ours.

    A ratio is that of one run, where both sides ran minutes apart; its median and spread are
    over the runs. It is None for loss and accuracy, which are no cost: of them ``difference`` has
    the mean of ours - theirs over the runs, and its standard error.
    """
    return list(_rows(content["runs"]))


def _rows(runs: list[Json]) -> Iterator[Json]:
    for pair, photos in dict.fromkeys((run["pair"], run["photos"]) for run in runs):
        of_it = [run for run in runs if (run["pair"], run["photos"]) == (pair, photos)]
        for name in of_it[0]["ours"]:
            ours = [run["ours"][name] for run in of_it]
            theirs = [run["theirs"][name] for run in of_it]
            ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
            yield {
                "pair": pair,
                "photos": photos,
                "measure": name,
                "ours": _three(ours),
                "theirs": _three(theirs),
                "ratio": None if name in QUALITY else _three(ratios),
                "difference": _difference(ours, theirs) if name in QUALITY else None,
                "runs": len(of_it),
            }


def _difference(ours: list[float], theirs: list[float]) -> Json:
    """Run by run; the standard error of one run alone is not known."""
    each = [our - their for our, their in zip(ours, theirs, strict=True)]
    error = stdev(each) / sqrt(len(each)) if len(each) > 1 else None
    return {"mean": round(fmean(each), 4), "error": None if error is None else round(error, 4)}


def _three(values: list[float]) -> Json:
    return {
        "median": round(median(values), 4),
        "least": round(min(values), 4),
        "most": round(max(values), 4),
    }


def report(content: Json) -> None:
    """The table is on the terminal."""
    machine = content["machine"]
    table = Table(
        title=f"{machine['cpu']}, {machine['cores']} cores, load before {machine['load_before']}",
        title_justify="left",
    )
    for heading in ("pair", "photos", "measure", "theirs", "ours", "theirs / ours", "runs"):
        table.add_column(heading)
    for row in summary(content):
        ratio = _cell(row["ratio"]) if row["ratio"] else _by(row["difference"])
        cells = (row["pair"], row["photos"], row["measure"], _cell(row["theirs"]))
        table.add_row(*cells, _cell(row["ours"]), ratio, str(row["runs"]))
    console = Console()
    console.print(table)
    console.print(f"all of it took {content['took_s']} s; peers: {content['peers']}")


def _cell(value: Json) -> str:
    return f"{value['median']:.3g} ({value['least']:.3g}-{value['most']:.3g})"


def _by(difference: Json) -> str:
    error = "" if difference["error"] is None else f" ± {difference['error']:.2g}"
    return f"ours {difference['mean']:+.3f}{error}"
