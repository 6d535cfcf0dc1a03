"""Photos a second of a later epoch on one core: fastai's batches alone, no net.

Run by `benchmarks/bench.py` in the peers' environment; prints one JSON object on its last line.
"""

import argparse
import json
import time

import torch
from fastai.vision.all import ImageDataLoaders, Resize, aug_transforms, set_seed


def main() -> None:
    """The first epoch warms up, the second is timed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    set_seed(asked.seed, reproducible=True)
    loaders = ImageDataLoaders.from_folder(
        asked.photos,
        train="train",
        valid="valid",
        item_tfms=Resize(460),
        batch_tfms=aug_transforms(size=224, min_scale=0.75),
        bs=32,
        num_workers=0,
    )
    for _ in loaders.train:
        pass
    began_s = time.perf_counter()
    images = sum(len(labels) for _, labels in loaders.train)
    print(json.dumps({"seconds": time.perf_counter() - began_s, "images": images}))


if __name__ == "__main__":
    main()
