"""Whole JPEG pictures, by libjpeg-turbo without Pillow's copies. Arrays are H x W x RGB, uint8."""

import numpy as np
import simplejpeg

from ml.images import Rgb

MOST_PX = 65_500
"""Of a side that the format can hold."""
QUALITY = 95


def jpeg_coder_name() -> str:
    """Name and version of what decides the bits of both functions."""
    return f"simplejpeg {simplejpeg.__version__}"


def decoded(data: bytes) -> Rgb:
    """The picture at its full size; the pixels are Pillow's own, in two thirds of the time.

    Raises:
        ValueError: The bytes are no whole and faultless JPEG of grey, RGB or YCbCr.
    """
    picture: Rgb = simplejpeg.decode_jpeg(data, "RGB")
    return picture


def encoded(image: Rgb) -> bytes:
    """The picture at quality 95 with colours at full resolution: about a fifth of its bytes."""
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=QUALITY, colorsubsampling="444"
    )
    return data
