"""A session of fastai as its users write it: find a rate, fine-tune, look at each loss.

Run by `benchmarks/bench.py` in the peers' environment; prints one JSON object on its last line.
Photos lie in train/ and valid/, a folder for each class. Seconds are those of each call; the first
one makes data loaders and learner, too. Importing fastai has a line of its own.
"""

import argparse
import json
import time
from functools import partial

_began_s = time.perf_counter()
from fastai.vision.all import (  # noqa: E402  # its import is timed
    ImageDataLoaders,
    L,
    Learner,
    Resize,
    accuracy,
    aug_transforms,
    default_split,
    model_meta,
    models,
    params,
    set_seed,
    valley,
    vision_learner,
)
from torch import nn  # noqa: E402
from torchvision.models import MobileNet_V2_Weights  # noqa: E402

_imported_s = time.perf_counter() - _began_s

# its own search for the end of the body fails here, and it passes no `cut` on
model_meta[models.mobilenet_v2] = {
    **model_meta[models.resnet18],
    "cut": -1,
    "split": default_split,
    "weights": MobileNet_V2_Weights.DEFAULT,
}


def main() -> None:
    """The wished steps have run, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--body-groups-at", type=int, help="first block of a second body group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--sweep-steps", type=int, default=100)
    parser.add_argument("--steps", nargs="+", default=["lr_find", "fine_tune", "samples"])
    asked = parser.parse_args()
    seconds = {"import": _imported_s}
    told = {}
    before_s = time.perf_counter()
    learner = make_learner(asked)
    for step in asked.steps:
        told |= STEPS[step](learner, asked)
        now_s = time.perf_counter()
        seconds[step], before_s = now_s - before_s, now_s
    counts = {"train": len(learner.dls.train_ds), "valid": len(learner.dls.valid_ds)}
    print(json.dumps({"seconds": seconds, "photos": counts, **told}))


def make_learner(asked: argparse.Namespace) -> Learner:
    """The defaults of the book: presized to 460, augmented to 224, batches of 32."""
    set_seed(asked.seed, reproducible=True)
    loaders = ImageDataLoaders.from_folder(
        asked.photos,
        train="train",
        valid="valid",
        item_tfms=Resize(460),
        batch_tfms=aug_transforms(size=224, min_scale=0.75),
        bs=32,
        num_workers=2,
    )
    return vision_learner(
        loaders,
        getattr(models, asked.arch),
        metrics=accuracy,
        pretrained=asked.pretrained,
        splitter=asked.body_groups_at and partial(split_body, block=asked.body_groups_at),
    )


def split_body(net: nn.Sequential, block: int) -> L:
    """Three layer groups for a body that is one chain of blocks, where fastai would have two."""
    chain = net[0][0]
    return L(chain[:block], chain[block:], net[1:]).map(params)


def lr_find(learner: Learner, asked: argparse.Namespace) -> dict[str, object]:
    """Its default sweep, of so many steps."""
    with learner.no_bar(), learner.no_logging():
        found = learner.lr_find(num_it=asked.sweep_steps, suggest_funcs=(valley,), show_plot=False)
    # the recorder of a learner forgets a find's losses with the next fit
    return {"valley": float(found.valley), "sweep_steps": len(learner.recorder.lrs)}


def fine_tune(learner: Learner, asked: argparse.Namespace) -> dict[str, object]:
    """One frozen epoch and the wished number of unfrozen ones, at its default rate."""
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(asked.epochs)
    _, loss, right = learner.recorder.values[-1]
    return {"valid_loss": float(loss), "accuracy": float(right)}


def samples(learner: Learner, asked: argparse.Namespace) -> dict[str, object]:
    """The loss of every photo of the valid part."""
    with learner.no_bar(), learner.no_logging():
        _, _, losses = learner.get_preds(with_loss=True)
    return {"samples": len(losses), "mean_loss": float(losses.mean())}


STEPS = {"lr_find": lr_find, "fine_tune": fine_tune, "samples": samples}

if __name__ == "__main__":
    main()
