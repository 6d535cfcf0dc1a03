"""One photo presized in three ways with the same draws, each beside what the original shows."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.augment import (
    NEUTRAL_BRIGHTNESS,
    NEUTRAL_CONTRAST,
    DrawKey,
    drawn,
    stream_of,
)
from ml.config import PreviewConfig
from ml.images import Rgb, decode_rgb, presize
from ml.photos import LabelledPhoto
from ml.presize_ways import as_fastai, from_original, single, step_by_step
from ml.presized_photo import unchanged
from ml.theory.fidelity import high_frequency_energy, psnr_db
from ml.theory.presize_geometry import AugmentDraws, Pair, map_points
from ml.theory.presize_ways import Route, Scene, Way

DETAILS_A_SIDE = 3
"""A detail is a third of the picture wide, so it is seen three times as large."""

_REPEATS = 3
_LEVELS = 255.0
_CENTRE_SPREAD = 0.2
"""Of what counts as near the centre of a picture, in shares of its side."""

Points = tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WayPreview:
    """What one way makes of a photo; not finite where a number has no value.

    Energies and the signal-to-noise ratio are those of the pixels that are not invented.
    """

    picture: Rgb
    original: Rgb
    """The same region without loss."""
    outline: Points
    """Where the picture's corners lie in the photo, in its pixels, clockwise from top left."""
    detail_xy: tuple[int, int]
    """Left and top of the detail in the picture."""
    interpolations: int
    energy: float
    original_energy: float
    psnr_db: float
    invented_share: float
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoPreview:
    """One photo in three ways."""

    photo: Rgb
    """The whole photo, upright."""
    stored_wh: tuple[int, int]
    draws: AugmentDraws
    detail_px: int
    ways: Mapping[Way, WayPreview]


def preview(photo: LabelledPhoto, position: int, config: PreviewConfig) -> PhotoPreview:
    """The photo as the first epoch of a training with this seed sees it, and in two other ways.

    Args:
        photo: A file that has not changed since its import.
        position: Its place in its part of the dataset, which its draws follow from.
        config: What is done to it.

    Raises:
        UnreadableImageError: It cannot be read (any more), or has another digest.
    """
    file = unchanged(photo)
    whole = decode_rgb(file)
    stored = presize(decode_rgb(file, min_short_side=config.presize), config.presize)
    scene = Scene(
        photo_wh=_wh(whole),
        stored_wh=_wh(stored),
        presize=config.presize,
        size=config.size,
        draws=_draws(config, position, _wh(stored)),
    )
    makers: Mapping[Way, Callable[[], Rgb]] = {
        "single": lambda: single(stored, scene),
        "fastai": lambda: as_fastai(decode_rgb(photo.path), scene),
        "step_by_step": lambda: step_by_step(stored, scene),
    }
    return _compared(whole, scene, makers)


def _compared(whole: Rgb, scene: Scene, makers: Mapping[Way, Callable[[], Rgb]]) -> PhotoPreview:
    routes = scene.routes()
    originals = {
        way: from_original(whole, route.matrix, scene.size) for way, route in routes.items()
    }
    detail_px = max(1, scene.size // DETAILS_A_SIDE)
    chosen = routes["single"]
    corner = _liveliest(originals["single"], ~chosen.invented(), detail_px)
    centre = map_points(chosen.matrix, [np.add(corner, detail_px / 2)])
    return PhotoPreview(
        photo=whole,
        stored_wh=scene.stored_wh,
        draws=scene.draws,
        detail_px=detail_px,
        ways={
            way: _measured(makers[way], originals[way], route, _corner_of(centre, route, detail_px))
            for way, route in routes.items()
        },
    )


def _measured(
    make: Callable[[], Rgb], original: Rgb, route: Route, detail_xy: tuple[int, int]
) -> WayPreview:
    picture, ms = _timed(make)
    invented = route.invented()
    shown, expected, real = picture / _LEVELS, original / _LEVELS, ~invented
    corners = [(0, 0), (route.size, 0), (route.size, route.size), (0, route.size)]
    return WayPreview(
        picture=picture,
        original=original,
        outline=tuple((x, y) for x, y in map_points(route.matrix, corners).tolist()),
        detail_xy=detail_xy,
        interpolations=route.interpolations,
        energy=high_frequency_energy(shown, real),
        original_energy=high_frequency_energy(expected, real),
        psnr_db=psnr_db(shown, expected, real),
        invented_share=float(invented.mean()),
        ms=ms,
    )


def _timed(make: Callable[[], Rgb]) -> tuple[Rgb, float]:
    """The picture and the least time that it took, in milliseconds."""
    times_s = []
    for _ in range(_REPEATS):
        begin_s = time.perf_counter()
        picture = make()
        times_s.append(time.perf_counter() - begin_s)
    return picture, 1000 * min(times_s)


def _draws(config: PreviewConfig, position: int, stored_wh: tuple[int, int]) -> AugmentDraws:
    fixed = config.fixed
    if fixed is None:
        stream = stream_of(DrawKey(config.seed, pass_number=0), position)
        return drawn(stream, config.augment, photo_wh=stored_wh)
    short = min(stored_wh)
    left, top = ((length - short) / 2 for length in stored_wh)
    return AugmentDraws(
        crop_xywh=(left, top, short, short),
        flip=fixed.flip,
        rotate_deg=fixed.rotate_deg,
        zoom=fixed.zoom,
        zoom_centre_xy=(0.5, 0.5),
        warp_xy=fixed.warp_xy,
        brightness=NEUTRAL_BRIGHTNESS,
        contrast=NEUTRAL_CONTRAST,
    )


def _liveliest(picture: Rgb, real: NDArray[np.bool_], side: int) -> tuple[int, int]:
    """Left and top of the window with the most detail, counted less towards the borders."""
    grey = picture.mean(axis=-1)
    distance = (np.arange(len(grey)) + 0.5) / len(grey) - 0.5
    nearness = np.exp(-np.square(distance / _CENTRE_SPREAD) / 2)
    slopes = np.square(np.gradient(grey, axis=0)) + np.square(np.gradient(grey, axis=1))
    detail = slopes * real * np.outer(nearness, nearness)
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    above, below = sums[:-side], sums[side:]
    windows = below[:, side:] - below[:, :-side] - above[:, side:] + above[:, :-side]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(left), int(top)


def _corner_of(centre: NDArray[np.float64], route: Route, side: int) -> tuple[int, int]:
    """Left and top of the window about this point of the photo, as far as it lies inside."""
    to_picture = np.asarray(np.linalg.inv(route.matrix), np.float64)
    (x, y), most = map_points(to_picture, centre)[0], route.size - side
    left, top = (int(np.clip(round(middle - side / 2), 0, most)) for middle in (x, y))
    return left, top


def _wh(photo: Rgb) -> tuple[int, int]:
    return photo.shape[1], photo.shape[0]
