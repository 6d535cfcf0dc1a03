"""Training as torchvision's references do it: random crops, flips, SGD, float32, two loaders.

Run by `benchmarks/bench.py` in the peers' environment; prints one JSON object on its last line.
"""

import argparse
import json
import time

import torch
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRAIN = [v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip()]
TO_TENSOR = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]


def main() -> None:
    """The first epoch warms up; the others are timed together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    photos = ImageFolder(f"{asked.photos}/train", v2.Compose([*TRAIN, *TO_TENSOR]))
    loader = DataLoader(photos, batch_size=32, shuffle=True, num_workers=2, drop_last=True)
    model = models.get_model(asked.arch, weights=None, num_classes=len(photos.classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    train_epoch(model, loader, optimizer)
    began_s = time.perf_counter()
    images = sum(train_epoch(model, loader, optimizer) for _ in range(asked.epochs))
    seconds = time.perf_counter() - began_s
    print(json.dumps({"seconds": seconds, "images": images}))


def train_epoch(
    model: torch.nn.Module,
    loader: DataLoader[tuple[torch.Tensor, int]],
    optimizer: torch.optim.Optimizer,
) -> int:
    """One pass over the photos; how many there were."""
    model.train()
    images = 0
    for batch, labels in loader:
        loss = torch.nn.functional.cross_entropy(model(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        images += len(labels)
    return images


if __name__ == "__main__":
    main()
