"""What a picture looks like in 64 bits that resizing and saving anew leave nearly as they are."""

import imagehash
import numpy as np
from PIL import Image

from ml.images import Rgb

FLAT = 8
"""Levels of 255 that a picture's lights and darks must differ in to be told from others."""

_LOOKED_AT_PX = 32


def fingerprint(image: Rgb) -> int | None:
    """The perceptual hash of an upright picture, 0 to 2**64 - 1; None where there is none to take.

    All pictures of one colour have the same signs, those of noise and rounding: a picture whose
    grey levels at 32 x 32 lie closer than `FLAT` is like others only byte for byte.

    The signs, about their median, of the 64 lowest frequencies of a cosine transform of the grey
    picture at 32 x 32 (Zauner 2010, "Implementation and benchmarking of perceptual image hash
    functions"). `ml.theory.duplicates` tells which belong together.
    """
    grey = Image.fromarray(image).convert("L")
    looked_at = grey.resize((_LOOKED_AT_PX, _LOOKED_AT_PX), Image.Resampling.LANCZOS)
    if np.ptp(np.asarray(looked_at)) < FLAT:
        return None
    return int(str(imagehash.phash(looked_at)), 16)
