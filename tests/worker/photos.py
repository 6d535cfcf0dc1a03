"""Tiny photos whose class a network can see: red ones and blue ones."""

from pathlib import Path

import numpy as np
from PIL import Image

HUES = {"red": (200, 60, 50), "blue": (40, 70, 210)}


def write_photos(folder: Path, *, per_class: int = 12, side_px: int = 72) -> None:
    """The folder holds ``red_0.jpg`` … and ``blue_0.jpg`` …, each with noise of its own."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    for name, hue in HUES.items():
        for number in range(per_class):
            noise = rng.normal(0, 40, (side_px, side_px + 8, 3))
            pixels = np.clip(np.array(hue) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}_{number}.jpg", quality=90)
