"""What an answer of the API costs beside a bare FastAPI route that returns the same bytes.

    .venv/bin/python benchmarks/api.py           the table (ten minutes or so)
    .venv/bin/python benchmarks/api.py --out     also benchmarks/results/api.json
    .venv/bin/python benchmarks/api.py --short   a try of every part (two minutes)

A stack of its own trains all the while. Fifty clients ask four servers in turn: the stack's API
and a bare application, each behind h11, which the service uses, and behind httptools. Latencies
depend on what else runs, ratios less so; the CPU time of a request hardly does. Then the stack's
API goes on to many requests, and its memory is looked at on the way.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from api_load import Asked, Cost, Server
from machine import command_line, machine_facts
from process_cost import resident_mib
from rich.console import Console
from rich.table import Table
from stack_memory import descendants, parents

from cli.redis_server import free_port
from cli.stack import Stack
from jobs.settings import Settings, child_environment
from tunesmith_client import Client, Json

RESULTS = Path(__file__).parent / "results"
DATASET: Json = {
    "name": "benchmark",
    "source": {"type": "sample", "photos_per_class": 30, "seed": 1},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    "split": {"rule": "random", "valid_fraction": 0.2, "seed": 42},
}
TRAINING: Json = {
    "architecture": "resnet18",
    "weights": "none",
    "presize": 96,
    "size": 64,
    "batch_size": 16,
    "freeze_epochs": 0,
    "discriminative": "off",
}
OURS, BARE = "tunesmith, h11", "bare, h11"
OURS_HTTPTOOLS, BARE_HTTPTOOLS = "tunesmith, httptools", "bare, httptools"
_SUBMIT = "submit"
_READY_WITHIN_S = 120.0


def main() -> None:
    """The table is printed and, if wanted, the numbers are written."""
    asked = _asked()
    found: Json = {
        "command": command_line(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "clients": asked.clients,
    }
    with (
        tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder,
        Stack(Path(folder), port=0, dataset_roots=(), report=print, is_private=True) as stack,
    ):
        stack.wait_until_ready()
        with Client(stack.url) as client:
            found |= _measured(stack, client, Path(folder), asked)
    _show(found)
    if asked.out:
        file = RESULTS / "api.json"
        file.write_text(json.dumps(found, indent=1) + "\n")
        print(f"written: {file}")


def _measured(stack: Stack, client: Client, folder: Path, asked: argparse.Namespace) -> Json:
    kinds = _kinds(client)
    answers = folder / "answers.json"
    answers.write_text(json.dumps([_answer(stack.url, kind) for kind in kinds]))
    api = next(pid for pid, role in descendants(dict(parents())) if role == "api")
    ours = Server(name=OURS, port=stack.settings.port, pid=api)
    with ExitStack() as others:
        servers = [
            ours,
            *(
                others.enter_context(_serving(name, stack.settings, http, same))
                for name, http, same in (
                    (BARE, "h11", answers),
                    (OURS_HTTPTOOLS, "httptools", None),
                    (BARE_HTTPTOOLS, "httptools", answers),
                )
            ),
        ]
        costs = {kind.name: {each.name: Cost() for each in servers} for kind in kinds}
        for number in range(asked.rounds):
            for kind in kinds:
                # who goes first changes, so that a drift of the machine counts for nobody
                for server in servers[:: -1 if number % 2 else 1]:
                    cost = costs[kind.name][server.name]
                    server.load(kind, cost, clients=asked.clients, requests=asked.requests)
            print(f"round {number + 1} of {asked.rounds}", flush=True)
    return {
        "routes": {
            name: {server: cost.summary() for server, cost in by_server.items()}
            for name, by_server in costs.items()
        },
        "memory": _memory(ours, [kind for kind in kinds if kind.method == "GET"], asked),
    }


def _kinds(client: Client) -> list[Asked]:
    """What is asked, of a finished training, while another one runs for as long as we measure."""
    created = client.post("/v1/datasets", DATASET)
    _follow(client, created["job_id"])
    body = {"dataset": created["id"], **TRAINING}
    done = client.post("/v1/fine-tunes", {**body, "epochs": 1})["id"]
    _follow(client, done)
    running = client.post("/v1/fine-tunes", {**body, "epochs": 1000})["id"]
    while client.get(f"/v1/jobs/{running}")["phase"] != "unfrozen":
        time.sleep(0.2)
    return [
        Asked(name="GET job", method="GET", path=f"/v1/jobs/{done}", status=200),
        Asked(name="list", method="GET", path="/v1/jobs", status=200),
        Asked(name="samples page", method="GET", path=f"/v1/jobs/{done}/samples", status=200),
        Asked(name=_SUBMIT, method="POST", path="/v1/fine-tunes", status=202, body=body),
    ]


def _follow(client: Client, job_id: str) -> None:
    for _ in client.jobs.events(job_id):
        pass
    state = client.get(f"/v1/jobs/{job_id}")["state"]
    if state != "succeeded":
        raise RuntimeError(f"{job_id} is {state}")


def _answer(url: str, kind: Asked) -> Json:
    got = httpx.request(kind.method, f"{url}{kind.path}", json=kind.body, timeout=60)
    if got.status_code != kind.status:
        raise RuntimeError(f"{kind.path} answers {got.status_code} {got.text}")
    return {"method": kind.method, "path": kind.path, "status": kind.status, "body": got.text}


@contextmanager
def _serving(name: str, settings: Settings, http: str, same: Path | None) -> Iterator[Server]:
    """The server of another process, which has ended afterwards."""
    port = free_port()
    program = Path(__file__).with_name("api_server.py")
    # -P: beside the program lies this file, which is not the package of its name
    arguments = [sys.executable, "-P", str(program), "--port", str(port), "--http", http]
    arguments += [] if same is None else ["--same", str(same)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            arguments, env=child_environment(settings), stdout=log, stderr=log
        )
        try:
            _wait_for(port)
            yield Server(name=name, port=port, pid=process.pid)
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int) -> None:
    until_s = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < until_s:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5)
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"nobody answers on port {port}")


def _memory(server: Server, kinds: list[Asked], asked: argparse.Namespace) -> Json:
    """Resident MiB after the first and after the last of many requests of all kinds."""
    mib, answered = [], 0
    for goal in asked.memory:
        while answered < goal:
            for kind in kinds:
                server.load(kind, Cost(), clients=asked.clients, requests=asked.requests)
                answered += asked.requests
        mib.append(resident_mib(server.pid))
        print(f"{answered} requests: {mib[-1]:.1f} MiB", flush=True)
    return {
        "requests": asked.memory,
        "resident_mib": [round(each, 1) for each in mib],
        "growth": round(mib[-1] / mib[0] - 1, 4),
    }


def _show(found: Json) -> None:
    table = Table(title=f"{found['clients']} clients, beside a training", title_justify="left")
    for heading in ("request", "server", "p50 ms", "p99 ms", "requests/s", "CPU ms", "CPU / bare"):
        table.add_column(heading, justify="left" if heading in {"request", "server"} else "right")
    for name, servers in found["routes"].items():
        for server, cost in servers.items():
            bare = servers[BARE if server.endswith("h11") else BARE_HTTPTOOLS]
            times = cost["cpu_ms_per_request"] / bare["cpu_ms_per_request"]
            figures = (cost["p50_ms"], cost["p99_ms"], cost["requests_per_s"])
            table.add_row(name, server, *map(str, figures), str(cost["cpu_ms_per_request"]),
                          f"{times:.1f}")  # fmt: skip
    Console(width=110).print(table)
    print(f"memory: {found['memory']}")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    parser.add_argument("--short", action="store_true", help="small numbers, to try it out")
    parser.add_argument("--clients", type=int, default=50, help="that ask at the same time")
    parser.add_argument("--rounds", type=int, default=4, help="over all servers")
    parser.add_argument("--requests", type=int, default=500, help="of a kind, in a round")
    parser.add_argument(
        "--memory", type=int, nargs=2, default=[20_000, 60_000], help="requests before each look"
    )
    asked = parser.parse_args()
    if asked.short:
        asked.rounds, asked.requests, asked.memory = 1, 100, [300, 600]
    return asked


if __name__ == "__main__":
    main()
