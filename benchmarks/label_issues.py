r"""How well wrong labels are found: photos of which some are labelled wrongly on purpose.

Start a stack, then name a folder whose folders are classes; without --folder the service draws its
sample photos, of which three in a hundred are wrong:

    tunesmith up --wait --dataset-root ~/photos
    python benchmarks/label_issues.py --name hymenoptera --folder ~/photos/hymenoptera \
        --into ~/photos/flipped

Every seed flips other labels (the same share), splits otherwise and trains anew; what is judged are
the photos of its valid part. Numbers go to benchmarks/results; all of them in one table:

    python benchmarks/label_issues.py --table benchmarks/results/label-issues-*.json
"""

import argparse
import random
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from study import arguments, ended, keep, kept, net, print_table, run_once

from jobs.client_key import client_key
from jobs.sources.sample import sample_plan
from tunesmith_client import Client, Json


def main() -> None:
    """The trials are run and kept, or kept ones are shown."""
    parser = arguments(__doc__)
    parser.add_argument("--into", help="folder inside an allowed root for the flipped copies")
    parser.add_argument("--flip", type=float, default=0.05, help="share of labels to flip")
    parser.add_argument("--seeds", type=int, default=5, help="trials")
    asked = parser.parse_args()
    if asked.table:
        show(kept(asked.table))
        return
    if not asked.name or bool(asked.folder) != bool(asked.into):
        parser.error("--name is needed, and --into with --folder")
    with Client(asked.url, key=client_key()) as client:
        content = {"trials": [trial(client, asked, seed) for seed in range(asked.seeds)]}
    del asked.into
    keep("label-issues", asked, content)
    show([{"settings": vars(asked), **content}])


def trial(client: Client, asked: argparse.Namespace, seed: int) -> Json:
    """How many wrong labels the valid part has, and how many of them are found in which way."""
    source, wrong = _flipped(asked, seed) if asked.folder else _drawn()
    labels = (
        {"rule": "parent_folder"}
        if asked.folder
        else {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"}
    )
    split = {"rule": "random", "valid_fraction": 0.25, "seed": seed}
    body = {"name": f"flipped {seed}", "source": source, "labels": labels, "split": split}
    created = client.post("/v1/datasets", body)
    ended(client, created["job_id"])
    training = {**net(asked), "dataset": created["id"], "epochs": asked.epochs, "seed": seed}
    job = run_once(client, "/v1/fine-tunes", training)
    rows = list(_rows(client, job["id"]))
    found = {"seed": seed, "accuracy": job["latest"]["accuracy"], **judged(rows, wrong)}
    print(found, flush=True)
    return found


def judged(rows: Sequence[Json], wrong: set[str]) -> Json:
    """Counts of photos, wrong labels and suspects, and of wrong ones among them and at the tops."""
    is_wrong = {row["item_id"]: row["path"] in wrong for row in rows}
    count = sum(is_wrong.values())
    suspects = [row for row in rows if row["is_label_issue"]]
    tops = {
        f"hits_by_{name}": sum(is_wrong[row["item_id"]] for row in sorted(rows, key=key)[:count])
        for name, key in RANKINGS.items()
    }
    return {
        "photos": len(rows),
        "wrong": count,
        "suspects": len(suspects),
        "hits": sum(is_wrong[row["item_id"]] for row in suspects),
        **tops,
    }


def margin(row: Json) -> float:
    """The label's probability less the largest other one."""
    others = [each["p"] for each in row["breakdown"]["top"] if each["label"] != row["label"]]
    return float(row["p_label"] - max(others))


RANKINGS: dict[str, Callable[[Json], float]] = {
    "score": lambda row: -row["label_issue_score"],
    "margin": margin,
}
"""Most suspect first."""


def show(studies: Sequence[Json]) -> None:
    """One row for each set of photos and net, over all its seeds."""
    headings = ("photos", "accuracy", "wrong of judged", "suspects", "precision", "recall")
    print_table([*headings, *(f"found at the top by {name}" for name in RANKINGS)], _table(studies))


def _table(studies: Sequence[Json]) -> list[list[str]]:
    rows = []
    for content in studies:
        trials = content["trials"]
        total = {name: sum(t[name] for t in trials) for name in trials[0] if name != "seed"}
        rows.append(
            [
                content["settings"]["name"],
                f"{statistics.mean(t['accuracy'] for t in trials):.2f}",
                f"{total['wrong']} of {total['photos']}",
                str(total["suspects"]),
                f"{total['hits'] / max(total['suspects'], 1):.2f}",
                f"{total['hits'] / max(total['wrong'], 1):.2f}",
                *(f"{total[f'hits_by_{name}']} of {total['wrong']}" for name in RANKINGS),
            ]
        )
    return rows


def _drawn() -> tuple[Json, set[str]]:
    return {"type": "sample"}, {photo.name for photo in sample_plan() if photo.is_mislabelled}


def _flipped(asked: argparse.Namespace, seed: int) -> tuple[Json, set[str]]:
    """Copies of the photos, by class, and the paths of those that lie with another class."""
    into = Path(asked.into) / f"{asked.name}-{seed}"
    shutil.rmtree(into, ignore_errors=True)
    photos = sorted(path for path in Path(asked.folder).rglob("*") if path.suffix == ".jpg")
    classes = sorted({path.parent.name for path in photos})
    lots = random.Random(seed)  # noqa: S311  (which labels are flipped is no secret)
    flipped = set(lots.sample(photos, round(asked.flip * len(photos))))
    wrong = set()
    for number, photo in enumerate(photos):
        others = [name for name in classes if name != photo.parent.name]
        label = lots.choice(others) if photo in flipped else photo.parent.name
        copy = into / label / f"{number}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, copy)
        if photo in flipped:
            wrong.add(str(copy.relative_to(into)))
    return {"type": "path", "path": str(into)}, wrong


def _rows(client: Client, job_id: str) -> Iterator[Json]:
    cursor = None
    while True:
        query = {"limit": 200, **({"after": cursor} if cursor else {})}
        page = client.get(f"/v1/jobs/{job_id}/samples", **query)
        yield from page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


if __name__ == "__main__":
    main()
