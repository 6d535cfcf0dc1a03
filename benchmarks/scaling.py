"""What limits a large installation, without training: jobs through the engine, and bytes.

    export PYTHONPATH=.
    .venv/bin/python benchmarks/scaling.py            the numbers (ten minutes or so)
    .venv/bin/python benchmarks/scaling.py --out      also benchmarks/results/scaling.json
    .venv/bin/python benchmarks/scaling.py --short    a try of every part (a minute)

PostgreSQL is a server of its own that ends with this program (Debian's package postgresql), with
the settings that it comes with. What is compared runs one after the other in one go.
"""

import argparse
import json
import logging
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog
from machine import machine_facts
from scaling_bytes import database_bytes, ledger_bytes
from scaling_claims import claim_cost, engine_rates

from jobs.database import Database
from tests.jobs import postgresql
from tunesmith_client import Json

RESULTS = Path(__file__).parent / "results"
_KINDS = ("sqlite", "postgresql")
_CLASSES = (2, 37, 100, 1000)
Found = Iterator[tuple[str, Json]]
_NUMBERS = {"jobs": (1000, 100), "queued": (100_000, 2_000), "steps": (1000, 100)}


def main() -> None:
    """The numbers are printed and, if wanted, written."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asked = _asked()
    began_s = time.perf_counter()
    measured: Json = {
        "command": shlex.join(["python", "benchmarks/scaling.py", *sys.argv[1:]]),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        **{part: {} for part in asked.only},
    }
    for part in asked.only:
        for name, found in _PARTS[part](asked):
            measured[part][name] = found
            print(part, name, json.dumps(found), flush=True)
    measured["took_s"] = round(time.perf_counter() - began_s, 1)
    if asked.out:
        target = RESULTS / "scaling.json"
        target.write_text(json.dumps(measured, indent=1) + "\n")
        print(f"written: {target}")


def _rates(asked: argparse.Namespace) -> Found:
    for kind in _KINDS:
        for claimers in (1, 2):
            with _empty_database(kind) as database:
                rates = engine_rates(database, jobs=asked.jobs, claimers=claimers)
            yield f"{kind}, {claimers} claiming", rates


def _claims(asked: argparse.Namespace) -> Found:
    for kind in _KINDS:
        with _empty_database(kind) as database:
            yield kind, claim_cost(database, few=100, many=asked.queued)


def _database(asked: argparse.Namespace) -> Found:
    for kind in _KINDS:
        with _empty_database(kind) as database:
            yield kind, database_bytes(database, jobs=asked.jobs, steps=asked.steps)


def _ledger(asked: argparse.Namespace) -> Found:
    for classes in _CLASSES:
        yield f"{classes} classes", ledger_bytes(classes)


_PARTS: dict[str, Callable[[argparse.Namespace], Found]] = {
    "rates": _rates,
    "claims": _claims,
    "database": _database,
    "ledger": _ledger,
}


@contextmanager
def _empty_database(kind: str) -> Iterator[Database]:
    with ExitStack() as stack:
        if kind == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tunesmith-bench-"))
            url = f"sqlite:///{folder}/tunesmith.db"
        else:
            programs = postgresql.binaries()
            if programs is None:
                sys.exit("no PostgreSQL programs: apt-get install postgresql")
            server = stack.enter_context(postgresql.server(programs, is_durable=True))
            url = server.migrated_database()
        database = Database(url)
        stack.callback(database.close)
        database.migrate()
        yield database


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    parser.add_argument("--short", action="store_true", help="small numbers, to try it out")
    parser.add_argument(
        "--only", nargs="+", choices=_PARTS, default=tuple(_PARTS), help="these parts"
    )
    parser.add_argument("--jobs", type=int, help="through the engine, and into the database")
    parser.add_argument("--queued", type=int, help="among which the next one is found")
    parser.add_argument("--steps", type=int, help="of each training in the database")
    asked = parser.parse_args()
    for name, (usual, short) in _NUMBERS.items():
        if getattr(asked, name) is None:
            setattr(asked, name, short if asked.short else usual)
    return asked


if __name__ == "__main__":
    main()
