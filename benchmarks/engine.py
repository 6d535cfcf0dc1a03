"""What the job engine costs, and how fast it is back after a kill, on a stack of its own.

    .venv/bin/python benchmarks/engine.py               the numbers (ten minutes or so)
    .venv/bin/python benchmarks/engine.py --out         also benchmarks/results/engine.json
    .venv/bin/python benchmarks/engine.py --short       a try of every part (three minutes)

What is compared runs in one go on one machine, one after the other in turn, so the ratios say
something where the seconds do not; close other programs all the same. The killed worker's time
is mostly its lease. The stack ends with this program.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from engine_recovery import kill_to_resumed, post_to_running
from engine_store import progress_cost, sweep_cost
from engine_streams import stream_cost
from engine_training import overhead
from machine import command_line, machine_facts

from cli.stack import Stack
from tunesmith_client import Client, Json

RESULTS = Path(__file__).parent / "results"
DATASET: Json = {
    "name": "benchmark",
    "source": {"type": "sample", "photos_per_class": 60, "seed": 1},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    "split": {"rule": "random", "valid_fraction": 0.2, "seed": 42},
}
Part = Callable[[], Json]


def main() -> None:
    """The numbers are printed and, if wanted, written."""
    asked = _asked()
    began_s = time.perf_counter()
    measured: Json = {
        "command": command_line(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
    }
    if set(asked.only) & set(_STACK_PARTS):
        measured |= _on_a_stack(asked)
    measured |= _all_done(_on_a_database(asked), asked)
    measured["took_s"] = round(time.perf_counter() - began_s, 1)
    print(f"all of it took {measured['took_s']:.0f} s; load before: "
          f"{measured['machine']['load_before']}")  # fmt: skip
    if asked.out:
        file = RESULTS / "engine.json"
        file.write_text(json.dumps(measured, indent=1) + "\n")
        print(f"written: {file}")


def _on_a_stack(asked: argparse.Namespace) -> Json:
    with (
        tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder,
        Stack(Path(folder), port=0, dataset_roots=(), report=print, is_private=True) as stack,
    ):
        stack.wait_until_ready()
        with Client(stack.url) as client:
            dataset = _dataset(client)
            parts: dict[str, Part] = {
                "overhead": lambda: overhead(client, stack.settings, dataset, asked),
                "post_to_running": lambda: post_to_running(client, dataset, times=asked.posts),
                "streams": lambda: stream_cost(
                    stack, dataset, readers=asked.readers, seconds=asked.stream_s
                ),
                "kill_to_resumed": lambda: kill_to_resumed(
                    stack, client, dataset, times=asked.kills
                ),
            }
            lease_s, checkpoint_s = stack.settings.lease_s, stack.settings.checkpoint_s
            settings = {"lease_s": lease_s, "checkpoint_s": checkpoint_s}
            return {"settings": settings} | _all_done(parts, asked)


def _on_a_database(asked: argparse.Namespace) -> dict[str, Part]:
    return {
        "sweeps": lambda: sweep_cost(few=100, many=asked.history, times=asked.looks),
        "progress": lambda: progress_cost(times=asked.looks),
    }


def _all_done(parts: dict[str, Part], asked: argparse.Namespace) -> Json:
    return {name: _done(name, part) for name, part in parts.items() if name in asked.only}


def _done(name: str, part: Part) -> Json:
    began_s = time.perf_counter()
    found = part()
    print(f"{name} ({time.perf_counter() - began_s:.0f} s)", flush=True)
    print(json.dumps(found, indent=1), flush=True)
    return found


def _dataset(client: Client) -> Json:
    created = client.post("/v1/datasets", DATASET)
    for _ in client.jobs.events(created["job_id"]):
        pass
    return client.get(f"/v1/datasets/{created['id']}")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    parser.add_argument("--short", action="store_true", help="small numbers, to try it out")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="these parts")
    parser.add_argument("--times", type=int, help="pairs of a job and a training by ml alone")
    parser.add_argument("--epochs", type=int, help="of each of these")
    parser.add_argument("--posts", type=int, help="jobs from POST to running")
    parser.add_argument("--kills", type=int, help="of trainers, and as many of workers")
    parser.add_argument("--readers", type=int, help="of one stream")
    parser.add_argument("--stream-s", type=float, help="seconds of events")
    parser.add_argument("--history", type=int, help="finished jobs")
    parser.add_argument("--looks", type=int, help="repetitions of each database figure")
    asked = parser.parse_args()
    for name, (usual, short) in _NUMBERS.items():
        if getattr(asked, name) is None:
            setattr(asked, name, short if asked.short else usual)
    return asked


_STACK_PARTS = ("overhead", "post_to_running", "streams", "kill_to_resumed")
_PARTS = (*_STACK_PARTS, "sweeps", "progress")
_NUMBERS: dict[str, tuple[float, float]] = {
    "times": (6, 2),
    "epochs": (6, 1),
    "posts": (20, 3),
    "kills": (3, 1),
    "readers": (200, 20),
    "stream_s": (15, 3),
    "history": (100_000, 2_000),
    "looks": (200, 20),
}
"""The usual and the short number of each."""


if __name__ == "__main__":
    main()
