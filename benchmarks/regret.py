r"""Which rule to recommend: what each rule's learning rate costs beside the best rate.

Start a stack, then name photos and a net; without --folder the service draws the photos:

    tunesmith up --wait --dataset-root ~/photos
    python benchmarks/regret.py --name pets-squeezenet --folder ~/photos/pets \
        --pattern '^(.+)_\d+\.jpg$' --arch squeezenet1_1

Learning-rate finds with several seeds say what each rule suggests. A grid of rates is fine-tuned,
each with several seeds; between the rates the mean loss is interpolated in log rate. A rule's
regret is the relative excess of the loss at its rate over the lowest of the grid; a find is bad
for a rule when that is over 25 %. A loss above chance, ln(classes), counts as chance, and a rate
outside the grid as the grid's end. Numbers go to benchmarks/results; all of them in one table:

    python benchmarks/regret.py --table benchmarks/results/regret-*.json
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log

import numpy as np
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

RATES = (1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 8e-3, 2e-2, 6e-2, 2e-1)
FIXED = {"fixed 1e-3": 1e-3, "fixed 2e-3": 2e-3, "fixed 3e-3": 3e-3}
BAD = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """What a rule's rate costs: excess loss, relative; accuracy below the best of the grid."""

    rule: str
    study: str
    lr: float
    excess: float
    accuracy_lost: float


def main() -> None:
    """The study is run and kept, or kept ones are shown."""
    parser = arguments(__doc__)
    parser.add_argument("--finds", type=int, default=5, help="finds, with seeds 0, 1, …")
    parser.add_argument("--seeds", type=int, default=2, help="fine-tunes at each rate")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    asked = parser.parse_args()
    if asked.table:
        show(kept(asked.table))
        return
    if not asked.name:
        parser.error("--name is needed: it names the results file")
    with Client(asked.url, key=client_key()) as client:
        content = study(client, asked)
    keep("regret", asked, content)
    show([{"settings": vars(asked), **content}])


# --- the run --------------------------------------------------------------------------------


def study(client: Client, asked: argparse.Namespace) -> Json:
    """Every find's suggestions, and every grid rate's outcomes by seed."""
    dataset_id = dataset(client, asked)
    classes = client.get(f"/v1/datasets/{dataset_id}")["counts"]["classes"]
    body = {**net(asked), "dataset": dataset_id}
    finds = []
    for seed in range(asked.finds):
        finds.append(suggested(client, {**body, "seed": seed}, weights=asked.weights))
        print(f"find {seed}: {finds[-1]}", flush=True)
    grid = []
    for rate in asked.rates:
        outcomes = [
            fine_tuned(
                client,
                {**body, "seed": seed, "epochs": asked.epochs, "learning_rate": rate},
                chance=Outcome(log(classes), 1 / classes),
            )
            for seed in range(asked.seeds)
        ]
        grid.append({"lr": rate, "outcomes": [asdict(outcome) for outcome in outcomes]})
        print(f"rate {rate:g}: {outcomes}", flush=True)
    return {"classes": classes, "finds": finds, "grid": grid}


def suggested(client: Client, body: Json, *, weights: str) -> dict[str, float | None]:
    """The rate of every rule by one find, None where a rule had no answer."""
    # random weights have nothing to freeze
    sweep = "all" if weights == "none" else "frozen_body"
    job = run_once(client, "/v1/lr-finds", {**body, "sweep": sweep})
    curve = client.get(f"/v1/jobs/{job['id']}/lr-curve")
    rules = {**curve["suggestions"], "recommended": curve["recommended"]}
    return {rule: answer and answer["lr"] for rule, answer in rules.items()}


# --- the table ------------------------------------------------------------------------------


def show(studies: Sequence[Json]) -> None:
    """The grids, then what each rule cost over all finds of these studies."""
    for content in studies:
        print(f"\n{_title(content)}\n")
        print_table(("rate", "valid loss", "accuracy"), [_grid_row(row) for row in content["grid"]])
    by_rule: defaultdict[str, list[Regret]] = defaultdict(list)
    for content in studies:
        for regret in regrets(content):
            by_rule[regret.rule].append(regret)
    finds = sum(len(content["finds"]) for content in studies)
    ordered = sorted(by_rule.values(), key=lambda found: _mean_excess(found))
    print()
    print_table(
        ("rule", "regret", "worst", "bad", "accuracy points lost", "rates"),
        [_rule_row(found, finds) for found in ordered],
    )


def regrets(content: Json) -> Iterator[Regret]:
    """The regret of every rule for every find of one study."""
    log_rates = [log(row["lr"]) for row in content["grid"]]
    losses = [_mean(row, "loss") for row in content["grid"]]
    accuracies = [_mean(row, "accuracy") for row in content["grid"]]
    for find in content["finds"]:
        for rule, lr in {**find, **FIXED}.items():
            if lr is not None:
                loss = float(np.interp(log(lr), log_rates, losses))
                accuracy = float(np.interp(log(lr), log_rates, accuracies))
                yield Regret(
                    rule=rule,
                    study=content["settings"]["name"],
                    lr=lr,
                    excess=loss / min(losses) - 1,
                    accuracy_lost=max(accuracies) - accuracy,
                )


def _mean(row: Mapping[str, list[Mapping[str, float]]], metric: str) -> float:
    return statistics.mean(outcome[metric] for outcome in row["outcomes"])


def _mean_excess(found: Sequence[Regret]) -> float:
    return statistics.mean(regret.excess for regret in found)


def _title(content: Json) -> str:
    asked = content["settings"]
    return (
        f"{asked['name']}: {asked['arch']}, weights {asked['weights']}, {asked['size']} px, "
        f"1 + {asked['epochs']} epochs, {asked['seeds']} seeds a rate"
    )


def _grid_row(row: Json) -> list[str]:
    outcomes = row["outcomes"]
    return [
        f"{row['lr']:g}",
        mean_and_spread([outcome["loss"] for outcome in outcomes]),
        mean_and_spread([outcome["accuracy"] for outcome in outcomes]),
    ]


def _rule_row(found: Sequence[Regret], finds: int) -> list[str]:
    excesses = [regret.excess for regret in found]
    rates = [regret.lr for regret in found]
    silent = f", {finds - len(found)} silent" if len(found) < finds else ""
    return [
        found[0].rule,
        f"{statistics.mean(excesses):.0%}",
        f"{max(excesses):.0%}",
        f"{sum(excess > BAD for excess in excesses)}/{len(found)}{silent}",
        f"{100 * statistics.mean(regret.accuracy_lost for regret in found):.1f}",
        f"{min(rates):.1e} to {max(rates):.1e}",
    ]


if __name__ == "__main__":
    main()
