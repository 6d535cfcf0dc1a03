"""What the studies share: the photos, the net, jobs that run once, numbers over seeds."""

import argparse
import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith_client import Client, Json

RESULTS = Path(__file__).parent / "results"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows the service, the photos and the net."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--name", help="names the results file and the rows of the tables")
    parser.add_argument("--folder", help="folder of photos inside an allowed root")
    parser.add_argument("--pattern", help="regular expression that finds a photo's label")
    parser.add_argument("--folders", action="store_true", help="the first folder is the part")
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--weights", default="DEFAULT")
    parser.add_argument("--presize", type=int, default=256)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3, help="after one frozen epoch")
    parser.add_argument("--table", nargs="+", help="no run: the tables of these results files")
    return parser


def dataset(client: Client, asked: argparse.Namespace) -> str:
    """The id of a ready dataset of the photos; without a folder, of photos drawn by the service.

    Without a pattern a photo's label is its folder. ``asked`` has folder, pattern and folders.
    """
    pattern = asked.pattern or (None if asked.folder else r"^(.+)_\d+\.jpg$")
    source = {"type": "path", "path": asked.folder} if asked.folder else {"type": "sample"}
    body = {
        "name": "benchmark",
        "source": source,
        "labels": {"rule": "regex", "pattern": pattern} if pattern else {"rule": "parent_folder"},
        "split": {"rule": "folders" if asked.folders else "random"},
    }
    created = client.post("/v1/datasets", body, idempotency_key=_key("/v1/datasets", body))
    ended(client, created["job_id"])
    return str(created["id"])


def net(asked: argparse.Namespace) -> Json:
    """What every training of a study has in common."""
    names = ("weights", "presize", "size", "batch_size")
    return {"architecture": asked.arch, **{name: getattr(asked, name) for name in names}}


def run_once(client: Client, path: str, body: Json) -> Json:
    """The ended job; a study that is started again on the same stack finds it there."""
    return ended(client, client.post(path, body, idempotency_key=_key(path, body))["id"])


def ended(client: Client, job_id: str) -> Json:
    """The job, once it has ended.

    Raises:
        SystemExit: it failed otherwise than by a loss that diverged.
    """
    for _ in client.jobs.events(job_id):
        pass
    job = client.get(f"/v1/jobs/{job_id}")
    if job["state"] != "succeeded" and (job["error"] or {}).get("code") != "loss_diverged":
        raise SystemExit(f"{job_id} is {job['state']}: {job['error']}")
    return job


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fine-tune reached: mean cross-entropy in nats and share of right answers."""

    loss: float
    accuracy: float


def fine_tuned(client: Client, body: Json, *, chance: Outcome) -> Outcome:
    """The fine-tune has run; worse than chance, or diverged, counts as chance."""
    job = run_once(client, "/v1/fine-tunes", body)
    if job["state"] != "succeeded":
        return chance
    latest = job["latest"]
    return Outcome(min(latest["valid_loss"], chance.loss), latest["accuracy"])


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation, as a cell of a table."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


def keep(kind: str, asked: argparse.Namespace, content: Json) -> None:
    """The numbers are in benchmarks/results, with what was asked for."""
    settings = {key: value for key, value in vars(asked).items() if key not in {"url", "table"}}
    # a path says where the photos lie on one machine
    settings["folder"] = Path(asked.folder).name if asked.folder else None
    path = RESULTS / f"{kind}-{asked.name}.json"
    path.write_text(json.dumps({"settings": settings, **content}, indent=1) + "\n")
    print(f"kept in {path}")


def kept(paths: Sequence[str]) -> list[Json]:
    """What these results files hold."""
    return [json.loads(Path(path).read_text()) for path in paths]


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in Markdown."""
    for row in (headings, ["---"] * len(headings), *rows):
        print("| " + " | ".join(row) + " |")


def _key(path: str, body: Json) -> str:
    return hashlib.sha256(f"{path} {json.dumps(body, sort_keys=True)}".encode()).hexdigest()
