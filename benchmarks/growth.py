"""How a session grows with its photos: the same ones once, four times and sixteen times.

    .venv/bin/python benchmarks/growth.py --photos ~/photos/pets --out

Copies have other names and a byte more at their ends, so nothing takes them for one file. Each
size is imported into a stack of its own and goes through a find, a fine-tune and an evaluation;
seconds of a thousand photos should stay what they are. The stacks end with this program.
"""

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench_photos import laid_out
from bench_service import (
    EVALUATION,
    FINE_TUNE,
    LR_FIND,
    Service,
    a_service,
    stack_memory,
    training,
)
from machine import command_line, machine_facts

from tunesmith_client import Json

RESULTS = Path(__file__).parent / "results"
SQUEEZENET = "squeezenet1_1"


def main() -> None:
    """The table is printed and, if wanted, written."""
    asked = _asked()
    content: Json = {
        "command": command_line(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "sizes": [],
    }
    for copies in asked.copies:
        content["sizes"].append(_measured(asked.photos, copies, asked.epochs))
        print(json.dumps(content["sizes"][-1]), flush=True)
    if asked.out:
        file = RESULTS / "growth.json"
        file.write_text(json.dumps(content, indent=1) + "\n")
        print(f"written: {file}")


def _measured(source: Path, copies: int, epochs: int) -> Json:
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        photos = laid_out(source, Path(folder) / "photos", copies=copies)
        with a_service(Path(folder) / "stack", photos) as service, stack_memory() as peak:
            dataset = service.register("photos", photos)
            seconds = {"import": dataset["import_s"], **_session(service, dataset, epochs)}
    counts = dataset["counts"]
    seen = {
        "import": counts["files"],
        "fine_tune": epochs * counts["train"] + counts["train"],
        "samples": counts["valid"],
    }
    return {
        "copies": copies,
        "counts": counts,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "seconds_per_1000_photos": {
            name: round(1000 * seconds[name] / number, 2) for name, number in seen.items()
        },
        "peak_mib": round(peak.mib),
    }


def _session(service: Service, dataset: Json, epochs: int) -> Json:
    body = training(dataset, SQUEEZENET, weights="none", seed=0)
    found = service.run(LR_FIND, body)
    tuned = service.run(FINE_TUNE, body | {"epochs": epochs})
    model = service.job(tuned.job_id)["model_id"]
    scored = service.run(EVALUATION, {"dataset": dataset["id"], "model": model})
    return {"lr_find": found.total_s, "fine_tune": tuned.total_s, "samples": scored.total_s}


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--copies", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--epochs", type=int, default=1, help="unfrozen ones, after a frozen one")
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
