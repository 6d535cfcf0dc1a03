"""Compares the ways of presizing photo by photo: pictures into files, numbers into a result.

Importing this module loads the tensor library.
"""

import math
import platform
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image

from jobs import curves
from jobs.artifacts import published
from ml.config import PreviewConfig
from ml.errors import StoppedError, UnreadableImageError
from ml.images import Rgb
from ml.photos import LabelledPhoto
from ml.presize_preview import PhotoPreview, WayPreview, preview
from ml.theory.presize_ways import Way
from worker.context import Context
from worker.failures import JobFailedError
from worker.items import Item
from worker.plots.preview_tiles import ORIGINAL, PHOTO, PHOTO_PX, picture_file
from worker.progress import ProgressWriter

_EXAMPLES = 5


Chosen = tuple[Item, int]
"""A photo to compare, and its place in its part of the dataset."""


def compare(
    context: Context, config: PreviewConfig, chosen: Sequence[Chosen], folder: Path
) -> dict[str, Any]:
    """The numbers of all photos that can be read; their pictures are in the attempt's folder.

    Raises:
        JobFailedError: none can be read.
        StoppedError: it was broken off.
    """
    torch.set_num_threads(context.settings.compute_threads)
    writer = ProgressWriter(context, phase="comparing")
    images: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    for done, (item, position) in enumerate(chosen, start=1):
        if context.control.must_end:
            raise StoppedError("comparing", context.control.order.value)
        try:
            shown = preview(_readable(item, folder), position, config)
        except UnreadableImageError as problem:
            skipped.append(_skipped(context, item, problem.reason))
        else:
            _write(context.folder, len(images), shown)
            images.append(_numbers(item, shown))
        writer.count(done, len(chosen))
    _refuse_nothing(images, skipped)
    return {
        "presize": config.presize,
        "size": config.size,
        "images": images,
        "skipped": skipped,
        "means": {way: _means([image["ways"][way] for image in images]) for way in get_args(Way)},
        "measured_on": {
            "host": socket.gethostname(),
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
        },
    }


def _readable(item: Item, folder: Path) -> LabelledPhoto:
    path = folder / item.path
    if item.digest is None:
        raise UnreadableImageError(path, item.reason or "it was not imported")
    return LabelledPhoto(item_id=item.item_id, path=path, digest=item.digest, label=0)


def _skipped(context: Context, item: Item, reason: str) -> dict[str, Any]:
    context.tell(curves.record_warning, "unreadable_image", f"{item.path!r} is left out: {reason}")
    return {"item_id": item.item_id, "path": item.path, "reason": reason}


def _refuse_nothing(images: Sequence[Any], skipped: Sequence[Mapping[str, Any]]) -> None:
    if images:
        return
    examples = "; ".join(f"{each['path']!r}: {each['reason']}" for each in skipped[:_EXAMPLES])
    raise JobFailedError(
        "unreadable_images",
        f"none of the {len(skipped)} photos can be read ({examples})",
        "the files have changed since the import; register the dataset again",
    )


# --- pictures -------------------------------------------------------------------------------


def _write(folder: Path, number: int, shown: PhotoPreview) -> None:
    photo = Image.fromarray(shown.photo)
    photo.thumbnail((PHOTO_PX, PHOTO_PX), Image.Resampling.LANCZOS)
    _save(photo, picture_file(folder, number, PHOTO))
    pictures: dict[str, Rgb] = {way: made.picture for way, made in shown.ways.items()}
    for name, picture in {**pictures, ORIGINAL: shown.ways["single"].original}.items():
        _save(Image.fromarray(picture), picture_file(folder, number, name))


def _save(image: Image.Image, file: Path) -> None:
    with published(file) as temporary:
        image.save(temporary, "PNG")


# --- numbers --------------------------------------------------------------------------------


def _numbers(item: Item, shown: PhotoPreview) -> dict[str, Any]:
    height, width = shown.photo.shape[:2]
    draws = shown.draws
    scale_xy = (width / shown.stored_wh[0], height / shown.stored_wh[1])
    left, top, crop_width, crop_height = draws.crop_xywh
    return {
        "item_id": item.item_id,
        "path": item.path,
        "label": item.label,
        "split": item.split,
        "width": width,
        "height": height,
        "draws": {
            "crop": [
                left * scale_xy[0],
                top * scale_xy[1],
                crop_width * scale_xy[0],
                crop_height * scale_xy[1],
            ],
            "flip": draws.flip,
            "rotate_deg": draws.rotate_deg,
            "zoom": draws.zoom,
            "zoom_centre": list(draws.zoom_centre_xy),
            "warp": list(draws.warp_xy),
        },
        "detail_px": shown.detail_px,
        "ways": {way: _way(made) for way, made in shown.ways.items()},
    }


def _way(made: WayPreview) -> dict[str, Any]:
    kept = made.energy / made.original_energy if made.original_energy > 0 else math.nan
    return {
        "interpolations": made.interpolations,
        "high_frequency_energy": _finite(made.energy),
        "original_energy": _finite(made.original_energy),
        "energy_kept": _finite(kept),
        "psnr_db": _finite(made.psnr_db),
        "invented_pixels": made.invented_share,
        "ms_per_image": made.ms,
        "outline": [list(point) for point in made.outline],
        "detail": list(made.detail_xy),
    }


_AVERAGED = (
    "interpolations",
    "high_frequency_energy",
    "original_energy",
    "energy_kept",
    "psnr_db",
    "invented_pixels",
    "ms_per_image",
)


def _means(ways: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The mean of each number over the photos that have it."""
    means: dict[str, float | None] = {}
    for name in _AVERAGED:
        values = [way[name] for way in ways if way[name] is not None]
        means[name] = math.fsum(values) / len(values) if values else None
    return means


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
