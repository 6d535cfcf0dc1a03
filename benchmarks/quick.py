"""Times the main job over HTTP on a stack of its own, each training cold and then warm.

    make bench-quick                           the table
    .venv/bin/python benchmarks/quick.py --out  also benchmarks/results/quick-<date>.json

Cold means that the photos must be decoded and presized first, warm that an equal job has left
their pixels. Both run the same steps on the same machine within minutes, so their ratio says
something where the seconds do not; close other programs all the same. A first training that is
not counted lets the worker's template finish its imports. About a minute on two cores.
Seconds are those of the service's own events; memory is the peak resident size, with the pages
that a trainer shares with the template it was forked from.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from job_times import JobTime, PhaseTime, timed
from machine import machine_facts
from rich.console import Console
from rich.table import Table
from stack_memory import peak_memory

from cli.stack import Stack
from jobs.artifacts import Artifacts
from tunesmith_client import Client, Json

RESULTS = Path(__file__).parent / "results"
DATASET: Json = {
    "name": "benchmark",
    "source": {"type": "sample", "photos_per_class": 60, "seed": 1},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    "split": {"rule": "random", "valid_fraction": 0.2, "seed": 42},
}
TRAINING: Json = {
    "architecture": "resnet18",
    "weights": "none",
    "presize": 128,
    "size": 96,
    "batch_size": 16,
}
LR_FIND: Json = {"sweep": "all", "start_lr": 1e-5, "end_lr": 0.1, "num_steps": 72}
WARM_UP: Json = {"size": 32, "num_steps": 20}
FINE_TUNE: Json = {"epochs": 4, "freeze_epochs": 0, "discriminative": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Everything that was measured in one run."""

    started_at: str
    machine: dict[str, Any]
    stack_ready_s: float
    jobs: list[JobTime]
    peak_resident_mib: dict[str, float]


# --- the run --------------------------------------------------------------------------------


def measure(say: Callable[[str], None]) -> Timings:
    """The main job has been run, cold and warm, on a stack that is gone again."""
    started_at, machine = datetime.now(UTC).isoformat(timespec="seconds"), machine_facts()
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder, peak_memory() as memory:
        begin_s = time.perf_counter()
        with Stack(Path(folder), port=0, dataset_roots=(), report=say) as stack:
            stack.wait_until_ready()
            ready_s = time.perf_counter() - begin_s
            pixels = Artifacts(stack.settings.artifacts).pixels_folder()
            with Client(stack.url) as client:
                jobs = list(_main_job(client, pixels, say))
    return Timings(
        started_at=started_at,
        machine=machine,
        stack_ready_s=ready_s,
        jobs=jobs,
        peak_resident_mib=dict(sorted(memory.items())),
    )


def _main_job(client: Client, pixels: Path, say: Callable[[str], None]) -> Iterator[JobTime]:
    say("import: photos are drawn and checked")
    total = 6 * int(DATASET["source"]["photos_per_class"])
    both = {"drawing": total, "checking": total}
    yield timed(client, "import", "/v1/datasets", DATASET, both)
    dataset = client.get("/v1/datasets")["data"][0]
    counts, body = dataset["counts"], {"dataset": dataset["id"], **TRAINING}
    say("a training that is not counted")
    timed(client, "warm-up", "/v1/lr-finds", body | WARM_UP, {})
    train, valid = counts["train"], counts["valid"]
    evaluated = FINE_TUNE["epochs"] * valid  # after every epoch
    for name, path, plan, decoded, images in (
        ("lr_find", "/v1/lr-finds", LR_FIND, train, {}),
        ("fine_tune", "/v1/fine-tunes", FINE_TUNE, train + valid, {"evaluating": evaluated}),
    ):
        shutil.rmtree(pixels)
        for kind, presized in (("cold", {"presizing": decoded}), ("warm", {})):
            say(f"{name}, {kind}")
            yield timed(client, f"{name} {kind}", path, body | plan, images | presized)


# --- the report -----------------------------------------------------------------------------


def show(timings: Timings, console: Console) -> None:
    """The timings are on the console, cold beside warm."""
    jobs = {job.name: job for job in timings.jobs}
    table = Table(title=f"main job on {timings.machine['cores']} cores", title_justify="left")
    for heading in ("job", "phase", "cold s", "img/s", "warm s", "img/s", "cold / warm"):
        table.add_column(heading, justify="left" if heading in {"job", "phase"} else "right")
    _add_rows(table, "import", jobs["import"], None)
    for name in ("lr_find", "fine_tune"):
        _add_rows(table, name, jobs[f"{name} cold"], jobs[f"{name} warm"])
    console.print(table)
    console.print(f"stack ready after {timings.stack_ready_s:.1f} s; peak resident MiB:", end=" ")
    console.print(", ".join(f"{role} {mib:.0f}" for role, mib in timings.peak_resident_mib.items()))
    load = timings.machine["load_before"]
    if load > 0.5:
        console.print(f"[yellow]other programs were running (load {load}); compare ratios only")


def _add_rows(table: Table, name: str, cold: JobTime, warm: JobTime | None) -> None:
    pairs = zip(_rows(cold), _rows(warm) if warm else [None] * 99, strict=False)
    for number, (one, other) in enumerate(pairs):
        ratio = f"{one.seconds / other.seconds:.2f}" if other and other.seconds else ""
        table.add_row(name if number == 0 else "", one.phase, *_cells(one), *_cells(other), ratio)
    table.add_section()


def _rows(job: JobTime) -> list[PhaseTime]:
    """The job's phases between its two ends, as if these were phases, too."""
    return [
        PhaseTime(phase="POST to answer", seconds=job.post_to_answer_s, images=None),
        PhaseTime(phase="POST to running", seconds=job.post_to_running_s, images=None),
        *job.phases,
        PhaseTime(phase="POST to end", seconds=job.total_s, images=None),
    ]


def _cells(row: PhaseTime | None) -> tuple[str, str]:
    if row is None:
        return "", ""
    return f"{row.seconds:.3f}", f"{row.images_per_s:.0f}" if row.images_per_s else ""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    wanted = parser.parse_args()
    console = Console()
    timings = measure(lambda line: console.print(line, style="dim"))
    show(timings, console)
    if wanted.out:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"quick-{timings.started_at[:10]}.json"
        file.write_text(json.dumps(asdict(timings), indent=1) + "\n")
        console.print(f"written: {file}")


if __name__ == "__main__":
    main()
