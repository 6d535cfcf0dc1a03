"""Draws the service's own sample photos: cats of two builds and three coats, seen by a camera.

A class is a build and a coat, so neither shape nor fur alone tells it: ``round_tabby`` shares its
fur with ``slim_tabby`` and its shape with ``round_spotted``.
"""

import io
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ml.sample.builds import BUILDS, grown
from ml.sample.cats import POSES, cat_parts
from ml.sample.coats import COATS, Floats
from ml.sample.painting import Placement, animal_look, cast_shadow, paint_part
from ml.sample.scenes import SCENES, draw_scene, noise_tile, planes, tile_crop

DRAWABLE_CLASSES: tuple[str, ...] = tuple(f"{build}_{coat}" for build in BUILDS for coat in COATS)
LANDSCAPE, PORTRAIT = (500, 375), (375, 500)
JPEG_QUALITY = 88


def draw_photo(drawn_class: str, seed: int) -> Image.Image:
    """A photo-like RGB picture of this class, 500 x 375 or (one in four) 375 x 500 pixels.

    The same class and seed give the same pixels.

    Raises:
        ValueError: ``drawn_class`` is not one of ``DRAWABLE_CLASSES``.
    """
    if drawn_class not in DRAWABLE_CLASSES:
        raise ValueError(f"cannot draw {drawn_class!r}; drawable: {', '.join(DRAWABLE_CLASSES)}")
    build, coat = drawn_class.split("_")
    rng = np.random.default_rng(seed)
    size = PORTRAIT if rng.random() < 0.25 else LANDSCAPE
    canvas = _posed_cat(build, coat, size, rng)
    if rng.random() < 0.15:
        canvas = _with_something_in_front(canvas, rng)
    return _photographed(canvas, rng)


def write_photo(path: Path, *, drawn_class: str, seed: int) -> Path:
    """The photo stands at ``path`` as a whole JPEG, never in part, even for readers meanwhile."""
    photo = draw_photo(drawn_class, seed)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        # straight to a file Pillow does not say why it cannot write, such as a full disk
        content = io.BytesIO()
        photo.save(content, format="JPEG", quality=JPEG_QUALITY)
        temporary.write_bytes(content.getvalue())
        return temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _posed_cat(build: str, coat: str, size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """A cat of this build and coat somewhere in a random scene, 3 x H x W."""
    pose = str(rng.choice(list(POSES), p=[0.5, 0.25, 0.25]))
    placement = _placement(size, pose, rng)
    horizon = float(np.clip(placement.y_px / size[1] - rng.uniform(0.12, 0.4), 0.25, 0.85))
    canvas = draw_scene(SCENES[rng.integers(len(SCENES))], size, horizon, rng)
    individual = grown(BUILDS[build], rng)
    parts = cat_parts(individual, pose, rng)
    body_half = individual.girth * 1.1 if pose == "sitting" else individual.half_length * 1.1
    cast_shadow(canvas, placement, body_half, depth=float(rng.uniform(0.35, 0.6)))
    look = animal_look(COATS[coat], size, rng)
    cat_mask = np.zeros(canvas.shape[1:], dtype=np.float32)
    for part in parts:
        paint_part(canvas, cat_mask, part, look=look, placement=placement)
    return canvas


def _placement(size: tuple[int, int], pose: str, rng: np.random.Generator) -> Placement:
    width, height = size
    largest = min(height * 0.81, width * (0.86 if pose == "sitting" else 0.74))
    unit_px = largest * float(rng.uniform(0.82, 1.0))
    lowest = height * 0.96
    highest = min(lowest, unit_px * 1.15)
    return Placement(
        x_px=width * float(rng.uniform(0.42, 0.58)),
        y_px=float(rng.uniform(highest, lowest)),
        unit_px=unit_px,
        roll_rad=float(rng.normal(0.0, 0.06)),
    )


def _with_something_in_front(canvas: Floats, rng: np.random.Generator) -> Floats:
    """The scene with blurred leaves or twigs between it and the lens."""
    height, width = canvas.shape[1:]
    cover = Image.new("L", (width // 4, height // 4))
    brush = ImageDraw.Draw(cover)
    for _ in range(rng.integers(2, 6)):
        x, lean = rng.uniform(0, width / 4), rng.uniform(-25, 25)
        top, half = rng.uniform(height * 0.13, height * 0.21), rng.uniform(1.5, 4.5)
        base = height / 4 + 4
        brush.polygon(((x - half, base), (x + lean, top), (x + half, base)), fill=235)
    soft = cover.filter(ImageFilter.GaussianBlur(1.6)).resize((width, height))
    veil = np.asarray(soft, dtype=np.float32) / np.float32(255)
    colour = np.array([(70, 104, 52), (112, 84, 60), (48, 62, 50)])[rng.integers(3)]
    return np.asarray(canvas + (colour.astype(np.float32)[:, None, None] - canvas) * veil)


def _photographed(canvas: Floats, rng: np.random.Generator) -> Image.Image:
    """What the sensor keeps: light, focus, vignette, noise; half the pictures are mirrored."""
    height, width = canvas.shape[1:]
    white_balance = rng.uniform(0.8, 1.14) * rng.normal(1.0, 0.045, 3)
    focus = ImageFilter.BoxBlur(rng.uniform(0.2, 0.9))
    exposed = planes(_picture(canvas).filter(focus)) * _fall_off(height, width, rng)
    exposed *= white_balance.astype(np.float32)[:, None, None]
    grain = tile_crop(noise_tile(512, 512, 11), height, width, rng)
    exposed += grain * np.float32(rng.uniform(1.5, 7.0))
    return _picture(exposed[:, :, ::-1] if rng.random() < 0.5 else exposed)


def _fall_off(height: int, width: int, rng: np.random.Generator) -> Floats:
    """Light from one side and darker corners, H x W, about 1 in the middle."""
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    corner, side, above = rng.uniform(0.02, 0.14), rng.normal(0.0, 0.09), rng.normal(0.0, 0.05)
    row = 1.0 + np.float32(side) * x - np.float32(corner) * x * x
    column = np.float32(above) * y - np.float32(corner) * y * y
    return np.asarray(row + column)


def _picture(canvas: Floats) -> Image.Image:
    pixels = np.clip(canvas, 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(np.ascontiguousarray(band)) for band in pixels])
