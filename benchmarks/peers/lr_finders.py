"""The range tests of torch-lr-finder and of Lightning: seconds of each of their steps.

Run by `benchmarks/bench.py` in the peers' environment; prints one JSON object on its last line.
The whole network trains, in float32, as both do by default.
"""

import argparse
import json
import time
import warnings

import lightning
import torch
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader
from torch_lr_finder import LRFinder
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision_loop import TO_TENSOR, TRAIN


class Classifier(lightning.LightningModule):
    """The least that Lightning's tuner needs."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.lr = 1e-3

    def training_step(
        self, batch: tuple[torch.Tensor, torch.Tensor], batch_number: int
    ) -> torch.Tensor:
        """The batch's mean loss."""
        images, labels = batch
        return torch.nn.functional.cross_entropy(self.model(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW at the rate that the tuner sets."""
        return torch.optim.AdamW(self.model.parameters(), lr=self.lr)


def main() -> None:
    """The wished finder has run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--arch", default="squeezenet1_1")
    parser.add_argument("--finder", choices=FINDERS, required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(asked.seed)
    photos = ImageFolder(f"{asked.photos}/train", v2.Compose([*TRAIN, *TO_TENSOR]))
    loader = DataLoader(photos, batch_size=32, shuffle=True, num_workers=2, drop_last=True)
    model = models.get_model(asked.arch, weights=None, num_classes=len(photos.classes))
    began_s = time.perf_counter()
    steps = FINDERS[asked.finder](model, loader, asked.steps)
    print(json.dumps({"seconds": time.perf_counter() - began_s, "steps": steps}))


def torch_lr_finder(model: torch.nn.Module, loader: DataLoader, steps: int) -> int:
    """Steps until the end or the divergence."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-7)
    finder = LRFinder(model, optimizer, torch.nn.CrossEntropyLoss(), device="cpu")
    finder.range_test(loader, end_lr=1, num_iter=steps)
    return len(finder.history["lr"])


def lightning_tuner(model: torch.nn.Module, loader: DataLoader, steps: int) -> int:
    """Steps until the end or the divergence."""
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    finder = Tuner(trainer).lr_find(
        Classifier(model), train_dataloaders=loader, num_training=steps, attr_name="lr"
    )
    return len(finder.results["lr"])


FINDERS = {"torch-lr-finder": torch_lr_finder, "lightning": lightning_tuner}

if __name__ == "__main__":
    main()
