r"""How long a job waits on a warm stack: from POST to `running`, and to its first step.

Start a stack, register a folder of photos, then:

    tunesmith up --wait --dataset-root ~/photos
    python benchmarks/first_step.py --folder ~/photos/pets --pattern '^(.+)_\d+\.jpg$'

The first job presizes the photos and is not counted. A row is what the event stream tells, with
the time at which it told it; the pause lets the worker become idle before the next POST.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from study import dataset

from jobs.client_key import client_key
from tunesmith_client import Client, Json

_PHASES = {"sweeping", "frozen", "unfrozen"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """Seconds from the POST to each moment of one job."""

    answered_s: float
    running_s: float
    first_step_s: float
    ended_s: float


def main() -> None:
    """A table of medians and 90th percentiles is printed."""
    asked = _asked()
    with Client(asked.url, key=client_key()) as client:
        body = {
            "dataset": dataset(client, asked),
            "architecture": asked.arch,
            "weights": asked.weights,
            "size": asked.size,
            "presize": asked.size,
            "batch_size": asked.batch_size,
            "num_steps": 20,
        }
        _job(client, body)
        waits = []
        for _ in range(asked.times):
            time.sleep(asked.pause_s)
            waits.append(_job(client, body))
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    print(f"{asked.arch}, weights {asked.weights}, {asked.size} px, batches of {asked.batch_size}; "
          f"{asked.times} jobs; load average {load}")  # fmt: skip
    print(f"{'seconds from POST to':<22}{'median':>8}{'p90':>8}")
    for name in ("answered", "running", "first_step", "ended"):
        _print_row(name, [getattr(waited, f"{name}_s") for waited in waits])


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--folder", required=True, help="folder of photos inside an allowed root")
    parser.add_argument("--pattern", default=r"^(.+)_\d+\.jpg$")
    parser.add_argument("--folders", action="store_true", help="the first folder is the part")
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--pause-s", type=float, default=0.3)
    return parser.parse_args()


def _job(client: Client, body: Json) -> Waited:
    began_s = time.perf_counter()
    job = client.post("/v1/lr-finds", body)
    answered_s = time.perf_counter() - began_s
    running_s = first_step_s = None
    for event in client.jobs.events(job["id"]):
        now_s = time.perf_counter() - began_s
        if event.type == "job.phase_changed":
            running_s = running_s or now_s
        elif event.type == "job.progress" and event.data["phase"] in _PHASES:
            first_step_s = first_step_s or now_s
    ended_s = time.perf_counter() - began_s
    if running_s is None or first_step_s is None:
        raise SystemExit(f"job {job['id']} took no step; see GET /v1/jobs/{job['id']}")
    return Waited(
        answered_s=answered_s, running_s=running_s, first_step_s=first_step_s, ended_s=ended_s
    )


def _print_row(name: str, values_s: Sequence[float]) -> None:
    ordered = sorted(values_s)
    p90_s = ordered[min(len(ordered) - 1, round(0.9 * (len(ordered) - 1)))]
    print(f"{name.replace('_', ' '):<22}{statistics.median(ordered):>8.3f}{p90_s:>8.3f}")


if __name__ == "__main__":
    main()
