"""Photos a second of a later epoch on one core: our batches alone, no net.

Run by `benchmarks/bench.py`; prints one JSON object on its last line.
"""

import argparse
import contextlib
import json
import tempfile
import time
from pathlib import Path

import torch
from stages import BATCH_SIZE, CPU, PRESIZE, SIZE, photos_in, presized

from ml.config import DataConfig
from ml.training_batches import TrainingBatches


def main() -> None:
    """The photos are presized, as the first epoch does it; the second epoch is timed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    photos = photos_in(Path(asked.photos) / "train")
    data = DataConfig(presize=PRESIZE, size=SIZE, batch_size=BATCH_SIZE)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(presized(photos, Path(folder))) as pixels,
    ):
        batches = TrainingBatches(photos, pixels, data, BATCH_SIZE, asked.seed, CPU)
        for key in batches.keys(epoch=1):
            batches.make(key)
        began_s = time.perf_counter()
        images = sum(len(batches.make(key).labels) for key in batches.keys(epoch=2))
        print(json.dumps({"seconds": time.perf_counter() - began_s, "images": images}))


if __name__ == "__main__":
    main()
