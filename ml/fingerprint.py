"""What a picture looks like in 64 bits that resizing and saving anew leave nearly as they are."""

import imagehash
from PIL import Image

from ml.images import Rgb


def fingerprint(image: Rgb) -> int:
    """The perceptual hash of an upright picture, 0 to 2**64 - 1.

    The signs, about their median, of the 64 lowest frequencies of a cosine transform of the grey
    picture at 32 x 32 (Zauner 2010, "Implementation and benchmarking of perceptual image hash
    functions"). `ml.theory.duplicates` tells which belong together.
    """
    return int(str(imagehash.phash(Image.fromarray(image))), 16)
