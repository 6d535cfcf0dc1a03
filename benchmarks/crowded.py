"""What trainings on the same cores take from each other: all cores for each, or a share.

    .venv/bin/python benchmarks/crowded.py --out

Processes take steps of a net side by side, two and three of them, once with a thread for each core
and once with a thread each, in turn; one process alone is what they are compared with.
"""

import argparse
import json
import multiprocessing
import os
import time
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

import torch
from machine import command_line, machine_facts
from stages import BATCH_SIZE, step_of

from tunesmith_client import Json

RESULTS = Path(__file__).parent / "results"
_CORES = os.cpu_count() or 1


def main() -> None:
    """The rates are printed and, if wanted, written."""
    asked = _asked()
    cases = [(count, threads) for count in (1, 2, 3) for threads in (_CORES, 1)]
    rates: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    for _ in range(asked.times):
        for count, threads in cases:
            rates[count, threads].append(_together(count, threads, asked))
    found: list[Json] = [
        {"processes": count, "threads_each": threads, "images_per_s": round(median(values), 1)}
        for (count, threads), values in rates.items()
    ]
    content: Json = {
        "command": command_line(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "architecture": asked.architecture,
        "together": found,
    }
    print(json.dumps(content, indent=1))
    if asked.out:
        (RESULTS / "crowded.json").write_text(json.dumps(content, indent=1) + "\n")


def _together(count: int, threads: int, asked: argparse.Namespace) -> float:
    """Images a second of all processes."""
    spawned = multiprocessing.get_context("spawn")
    ready, done = spawned.Barrier(count), spawned.Queue()
    work = (asked.architecture, threads, asked.seconds, ready, done)
    team = [spawned.Process(target=_steps, args=work) for _ in range(count)]
    for each in team:
        each.start()
    rates: list[float] = [done.get() for _ in team]
    for each in team:
        each.join()
    return sum(rates)


def _steps(
    architecture: str, threads: int, seconds: float, ready: Barrier, done: "Queue[float]"
) -> None:
    torch.set_num_threads(threads)
    step = step_of(architecture)
    step()
    ready.wait()
    began_s, steps = time.perf_counter(), 0
    while (took_s := time.perf_counter() - began_s) < seconds:
        step()
        steps += 1
    done.put(steps * BATCH_SIZE / took_s)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", default="squeezenet1_1")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
