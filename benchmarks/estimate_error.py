r"""How far a dry run's estimate is off: plans trainings, runs them, and compares.

Start a stack, then name a folder of photos and what is to be trained on it:

    tunesmith up --wait --dataset-root ~/photos
    python benchmarks/estimate_error.py --folder ~/photos/pets --pattern '^(.+)_\d+\.jpg$' \
        --train lr-finds '{"architecture": "squeezenet1_1", "batch_size": 32}' \
        --train fine-tunes '{"architecture": "squeezenet1_1", "batch_size": 32, "epochs": 3}'

Without --pattern a photo's label is its folder; with --folders the first folder is its part. Each
plan has a probe of its own. Seconds are those from a job's start to its end; "cold" are those
that had to presize photos. Memory is the trainer's high-water mark with all pixels that it maps,
read from /proc where the stack is on this machine.
"""

import argparse
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import httpx
from rich.console import Console
from rich.table import Table
from stack_memory import leads_a_session, looking, parents, peak_mib
from study import dataset, ended

from tunesmith_client import Client, Json

_MIB = 1 << 20
_PLAN_TIMEOUT_S = 60
_HEADINGS = ("training", "pixels", "load", "low", "estimate", "high", "real s", "off", "inside",
             "MiB estimate", "real MiB", "off")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One training: what its plan had said, and what happened."""

    name: str
    estimate: Json
    real_s: float
    phases_s: dict[str, float]
    """Seconds of the job's phases."""
    real_mib: float | None
    load: float
    """Mean of the load averages before and after."""


@contextmanager
def trainer_memory(workers: Sequence[int]) -> Iterator[list[float]]:
    """High-water marks, MiB, of these workers' trainers, gathered while the block lasts."""
    marks: list[float] = []

    def look() -> None:
        marks.extend(peak_mib(pid) for pid in _trainers(workers))

    with looking(look):
        yield marks


# --- one training ---------------------------------------------------------------------------


def compared(client: Client, plans: httpx.Client, path: str, body: Json) -> Compared:
    """The training has been planned by a fresh probe, and has run.

    Raises:
        SystemExit: it could not be planned, or did not succeed.
    """
    load = os.getloadavg()[0]
    _forget_probes(client, plans, body["dataset"])
    estimate = _estimate(client, plans, path, body)
    with trainer_memory(_worker_pids(client)) as marks:
        job_id = client.post(path, body)["id"]
        job = ended(client, job_id)
    return Compared(
        name=f"{path.rpartition('/')[2]} {body.get('architecture', '')}",
        estimate=estimate,
        real_s=_unix_s(job["finished_at"]) - _unix_s(job["started_at"]),
        phases_s=_phases_s(client, job),
        real_mib=max(marks, default=None),
        load=(load + os.getloadavg()[0]) / 2,
    )


def _forget_probes(client: Client, plans: httpx.Client, dataset_id: str) -> None:
    known = client.get("/v1/jobs", type="probe", dataset_id=dataset_id, limit=200)
    for probe in known["data"]:
        plans.delete(f"/v1/jobs/{probe['id']}").raise_for_status()


def _estimate(client: Client, plans: httpx.Client, path: str, body: Json) -> Json:
    for _ in range(2):
        answer = plans.post(path, params={"dry_run": True}, json=body)
        answer.raise_for_status()
        plan: Json = answer.json()
        estimate: Json | None = plan["estimate"]
        if estimate is not None and estimate["fits"]:
            return estimate
        probe = plan["links"].get("probe")
        if estimate is not None or probe is None:
            break
        ended(client, probe.rpartition("/")[2])
    raise SystemExit(f"no estimate: {plan['no_estimate'] or 'the memory does not suffice'}")


def _phases_s(client: Client, job: Json) -> dict[str, float]:
    marks = [(_unix_s(job["started_at"]), "start")]
    for event in _events(client, job["id"]):
        if event["type"] == "job.phase_changed":
            marks.append((_unix_s(event["at"]), event["data"]["phase"]))
    marks.append((_unix_s(job["finished_at"]), ""))
    spent: dict[str, float] = {}
    for (begin_s, phase), (end_s, _) in pairwise(marks):
        spent[phase] = spent.get(phase, 0.0) + end_s - begin_s
    return spent


def _events(client: Client, job_id: str) -> Iterator[Json]:
    page = client.get(f"/v1/jobs/{job_id}/events", limit=200)
    yield from page["data"]
    while page["has_more"]:
        page = client.get(f"/v1/jobs/{job_id}/events", limit=200, after=page["next_cursor"])
        yield from page["data"]


def _unix_s(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


# --- processes ------------------------------------------------------------------------------


def _worker_pids(client: Client) -> list[int]:
    """The train workers that run on this machine; their ids end with their process ids."""
    workers = client.get("/v1/queue")["workers"]
    here = [w for w in workers if w["queue"] == "train" and w["hostname"] == socket.gethostname()]
    return [int(worker["id"].rpartition(":")[2]) for worker in here]


def _trainers(workers: Sequence[int]) -> Iterator[int]:
    """Descendants that lead a session of their own: the trainers, not what they come from."""
    by_process = dict(parents())
    for pid in by_process:
        above = by_process.get(pid, 0)
        while above and above not in workers:
            above = by_process.get(above, 0)
        if above and leads_a_session(pid):
            yield pid


# --- the report -----------------------------------------------------------------------------


def _show(rows: Sequence[Compared], console: Console) -> None:
    table = Table()
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in {"training", "pixels"} else "right")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)


def _cells(row: Compared) -> list[str]:
    said = row.estimate
    low, seconds, high = said["low"], said["seconds"], said["high"]
    is_cold = any(part["name"] == "presizing" for part in said["parts"])
    cells = [row.name, "cold" if is_cold else "warm", f"{row.load:.1f}"]
    cells += [f"{low:.1f}", f"{seconds:.1f}", f"{high:.1f}", f"{row.real_s:.1f}"]
    cells += [_off(seconds, row.real_s), "yes" if low <= row.real_s <= high else "no"]
    memory = said["memory"]
    if memory is None or memory["kind"] != "resident" or row.real_mib is None:
        return [*cells, "", "", ""]
    mib = (memory["peak_bytes"] + memory["page_cache_bytes"]) / _MIB
    return [*cells, f"{mib:.0f}", f"{row.real_mib:.0f}", _off(mib, row.real_mib)]


def _off(estimate: float, real: float) -> str:
    return f"{(estimate - real) / real:+.0%}"


def _details(row: Compared) -> str:
    """What was foreseen and what happened, part by part."""
    parts = {part["name"]: part["seconds"] for part in row.estimate["parts"]}
    said = ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
    real = ", ".join(f"{name} {seconds:.2f}" for name, seconds in row.phases_s.items())
    return f"{row.name}\n  estimate: {said}\n  real:     {real}"


# --- the command ----------------------------------------------------------------------------


def main() -> None:
    """A row for each training is printed."""
    asked = _asked()
    # wide enough for the table where the output is no terminal
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    rows: list[Compared] = []
    with (
        Client(asked.url) as client,
        httpx.Client(base_url=asked.url, timeout=_PLAN_TIMEOUT_S) as plans,
    ):
        dataset_id = dataset(client, asked)
        for _ in range(asked.times):
            for noun, fields in asked.train:
                body = {"dataset": dataset_id, **json.loads(fields)}
                rows.append(compared(client, plans, f"/v1/{noun}", body))
                console.print(_details(rows[-1]), style="dim")
    _show(rows, console)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--folder", required=True, help="folder of photos inside an allowed root")
    parser.add_argument("--pattern", help="regular expression that finds a photo's label")
    parser.add_argument("--folders", action="store_true", help="the first folder is the part")
    parser.add_argument(
        "--train",
        nargs=2,
        action="append",
        required=True,
        metavar=("NOUN", "JSON"),
        help="lr-finds or fine-tunes, and the body without its dataset",
    )
    parser.add_argument("--times", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
