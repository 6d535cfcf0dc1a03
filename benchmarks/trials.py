r"""What a user gets: a find and a fine-tune, beside a fixed rate, in both presizing modes.

Start a stack, then name photos and a net; without --folder the service draws the photos:

    tunesmith up --wait --dataset-root ~/photos
    python benchmarks/trials.py --name pets-squeezenet --folder ~/photos/pets \
        --pattern '^(.+)_\d+\.jpg$' --arch squeezenet1_1

For every seed and mode a find is run, then two fine-tunes that differ in the rate alone. Numbers
go to benchmarks/results; all of them in one table:

    python benchmarks/trials.py --table benchmarks/results/trials-*.json
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import log

from study import (
    Outcome,
    arguments,
    dataset,
    fine_tuned,
    keep,
    kept,
    mean_and_spread,
    net,
    print_table,
    run_once,
)

from jobs.client_key import client_key
from tunesmith_client import Client, Json

MODES = ("single", "fastai")
FIXED = 2e-3
RATES = ("recommended", "fixed 2e-3")


def main() -> None:
    """The trials are run and kept, or kept ones are shown."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="trials of each kind")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    asked = parser.parse_args()
    if asked.table:
        show(kept(asked.table))
        return
    if not asked.name:
        parser.error("--name is needed: it names the results file")
    with Client(asked.url, key=client_key()) as client:
        content = {"trials": list(trials(client, asked))}
    keep("trials", asked, content)
    show([{"settings": vars(asked), **content}])


def trials(client: Client, asked: argparse.Namespace) -> Iterator[Json]:
    """Each fine-tune: its mode, seed, rate and outcome."""
    dataset_id = dataset(client, asked)
    classes = client.get(f"/v1/datasets/{dataset_id}")["counts"]["classes"]
    chance = Outcome(log(classes), 1 / classes)
    for mode in asked.modes:
        for seed in range(asked.seeds):
            body = {**net(asked), "dataset": dataset_id, "presize_mode": mode, "seed": seed}
            find = run_once(client, "/v1/lr-finds", body)
            found = client.get(f"/v1/jobs/{find['id']}/lr-curve")["recommended"]
            for name, lr in zip(RATES, (found["lr"], FIXED), strict=True):
                training = {**body, "epochs": asked.epochs, "learning_rate": lr}
                outcome = fine_tuned(client, training, chance=chance)
                trial = {"mode": mode, "seed": seed, "rate": name, "lr": lr, **asdict(outcome)}
                print(trial, flush=True)
                yield trial


def show(studies: Sequence[Json]) -> None:
    """One row for each net, photos, mode and kind of rate."""
    rows = [row for content in studies for row in _rows(content)]
    print_table(("trial", "presizing", "rate", "lr", "valid loss", "accuracy"), rows)


def _rows(content: Json) -> Iterator[list[str]]:
    modes = dict.fromkeys(trial["mode"] for trial in content["trials"])
    for mode in modes:
        for rate in RATES:
            found = [t for t in content["trials"] if (t["mode"], t["rate"]) == (mode, rate)]
            lrs = [trial["lr"] for trial in found]
            yield [
                content["settings"]["name"],
                mode,
                rate,
                f"{statistics.geometric_mean(lrs):.1e}",
                mean_and_spread([trial["loss"] for trial in found]),
                mean_and_spread([trial["accuracy"] for trial in found]),
            ]


if __name__ == "__main__":
    main()
