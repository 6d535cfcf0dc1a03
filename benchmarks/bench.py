r"""Jobs over HTTP beside fastai, a plain torchvision loop, torch-lr-finder and Lightning.

    make bench                                      everything (an hour on two cores)
    make bench BENCH='--quick'                      a try of each peer (three minutes)
    make bench BENCH='--photos pets=~/photos/pets --only session --times 5 --out'
    make bench BENCH='--only "fine-tune squeezenet1_1" --times 6 --weights DEFAULT'

Both sides of a pair run in turn, in one go, on one machine, so the ratios say something where the
seconds do not; close other programs all the same. Without --photos the photos are those that the
service draws. Named ones lie in train/ and valid/ with a folder for each class, or in one folder
with names such as beagle_12.jpg.

Ours is measured from POST to terminal state on a warm worker; pixels are forgotten before each
session, so that its first job presizes them. Theirs is measured from the first call after the
import, in a new process each time; the import has its own line.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench_pairs import PAIRS, QUICK, Bench, Photos
from bench_peers import Peers
from bench_photos import laid_out
from bench_report import report, summary
from bench_service import a_service
from machine import command_line, machine_facts

from tunesmith_client import Json

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"


def main() -> None:
    """The pairs have run; ratios are printed and, if wanted, written."""
    asked = _asked()
    began_s = time.perf_counter()
    peers = Peers(asked.peers)
    content: Json = {
        "command": command_line(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "peers": peers.versions(),
        "runs": [],
    }
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        photos = Path(folder) / "photos"
        drawn = 24 if asked.quick else 60
        places = [
            (name, laid_out(source, photos / name, drawn_per_class=drawn))
            for name, source in asked.photos
        ]
        with a_service(Path(folder) / "stack", photos) as service:
            sets = [Photos(name, place, service.register(name, place)) for name, place in places]
            bench = Bench(service, peers, weights=asked.weights, quick=asked.quick)
            content["photos"] = {each.name: each.facts for each in sets}
            for run in _runs(bench, sets, asked):
                print(json.dumps(run), flush=True)
                content["runs"].append(run)
                content["took_s"] = round(time.perf_counter() - began_s)
                # should it be broken off, what it has measured is there
                _keep(content, asked)
    report(content)


def _keep(content: Json, asked: argparse.Namespace) -> None:
    if asked.out:
        file = RESULTS / f"bench-{asked.name}.json"
        file.write_text(json.dumps(content | {"summary": summary(content)}, indent=1) + "\n")


def _runs(bench: Bench, sets: list[Photos], asked: argparse.Namespace) -> Iterator[Json]:
    """Each pair, as often as wished; who goes first changes from one time to the next."""
    for name in asked.only:
        for photos in sets if PAIRS[name].on_every_set else sets[:1]:
            for number in range(asked.first_seed, asked.first_seed + asked.times):
                sides = [("ours", PAIRS[name].ours), ("theirs", PAIRS[name].theirs)]
                run: Json = {"pair": name, "photos": photos.name, "seed": number}
                for side, measure in sides[:: -1 if number % 2 else 1]:
                    run[side] = measure(bench, photos, number)
                yield run


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", nargs="+", type=_named, default=[("sample", None)])
    parser.add_argument("--only", nargs="+", choices=PAIRS, help="pairs (all; quick: some)")
    parser.add_argument("--times", type=int, help="runs of each pair (3; quick: 1)")
    parser.add_argument("--first-seed", type=int, default=0, help="later runs have the next ones")
    parser.add_argument(
        "--weights", default="none", help="of the nets on both sides: DEFAULT, none"
    )
    parser.add_argument("--quick", action="store_true", help="few steps, to try every peer")
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    parser.add_argument("--name", default="pairs", help="of the file")
    parser.add_argument("--peers", type=Path, default=ROOT.parent / ".venv-peers/bin/python")
    asked = parser.parse_args()
    asked.times = asked.times or (1 if asked.quick else 3)
    asked.only = asked.only or (QUICK if asked.quick else tuple(PAIRS))
    if not asked.peers.exists():
        parser.error(f"{asked.peers} is not there; `make bench` makes it")
    return asked


def _named(word: str) -> tuple[str, Path | None]:
    name, _, path = word.partition("=")
    return name, Path(path).expanduser().absolute() if path else None


if __name__ == "__main__":
    main()
