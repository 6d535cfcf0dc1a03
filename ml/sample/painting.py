"""Paints the parts of a sample cat onto a photo: fur, markings, rounding and shadows.

Shapes: 3 = RGB in 0 to 255, planes first, H, W = the photo's pixels, h, w = a crop's, P = points.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ml.sample.coats import Coat, Colour, Floats, Fur, Markings
from ml.sample.outlines import Part, Points, Surface
from ml.sample.scenes import noise_tile, smooth_noise, tile_crop

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the cat stands: its origin in pixels, pixels per cat unit, and its roll."""

    x_px: float
    y_px: float
    unit_px: float
    roll_rad: float

    def to_pixels(self, points_P2: Points) -> Points:
        """Cat units to pixels."""
        cos, sin = np.cos(self.roll_rad), np.sin(self.roll_rad)
        turn = np.array([[cos, sin], [-sin, cos]]) * self.unit_px
        return np.asarray(points_P2 @ turn + np.array([self.x_px, self.y_px]))

    def to_units(self, box: Box) -> tuple[Floats, Floats]:
        """Cat coordinates x and y of each pixel in the box."""
        left, top, right, bottom = box
        dx = (np.arange(left, right, dtype=np.float32) - self.x_px)[None, :] / self.unit_px
        dy = (np.arange(top, bottom, dtype=np.float32) - self.y_px)[:, None] / self.unit_px
        cos, sin = np.cos(self.roll_rad), np.sin(self.roll_rad)
        x, y = dx * cos + dy * sin, dy * cos - dx * sin
        return x.astype(np.float32), y.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Look:
    """One animal's colours, markings and light, settled before the first part is painted."""

    colours: dict[Surface, Colour]
    mark: Colour
    second: Colour
    markings: Markings
    noise_a: Floats
    noise_b: Floats
    fur: Floats
    light: tuple[float, float]


def animal_look(coat: Coat, size: tuple[int, int], rng: np.random.Generator) -> Look:
    """One individual of a coat: a palette with a little of its own tint."""
    palette = coat.palettes[rng.integers(len(coat.palettes))]
    tint = rng.normal(1.0, 0.06) * rng.normal(1.0, 0.03, 3)

    def own(colour: Colour) -> Colour:
        red, green, blue = np.clip(np.asarray(colour) * tint, 0, 255).astype(int).tolist()
        return red, green, blue

    collars: tuple[Colour, ...] = ((190, 40, 48), (40, 96, 160), (60, 120, 70), (220, 170, 50))
    return Look(
        colours={
            "coat": own(palette.base),
            "pale": own(palette.pale),
            "skin": (226, 164, 154),
            "nose": (206, 122, 118) if rng.random() < 0.7 else (82, 58, 56),
            "eye": palette.eye,
            "dark": (34, 28, 28),
            "glint": (250, 248, 242),
            "collar": collars[rng.integers(len(collars))],
        },
        mark=own(palette.mark),
        second=own(palette.second),
        markings=coat.markings(rng),
        noise_a=smooth_noise(*size, int(rng.integers(5, 8)), rng),
        noise_b=smooth_noise(*size, int(rng.integers(5, 8)), rng),
        fur=tile_crop(noise_tile(420, 130, 7), size[1], size[0], rng),
        light=(float(rng.uniform(-0.7, 0.7)), -0.8),
    )


def cast_shadow(canvas: Floats, placement: Placement, half_width: float, depth: float) -> None:
    """Darkens the ground under a cat of this half width (cat units), softly."""
    height, width = canvas.shape[1:]
    shade = Image.new("L", (width // 4, height // 4))
    x, y = placement.x_px / 4, placement.y_px / 4
    rx, ry = half_width * placement.unit_px / 4, 0.075 * placement.unit_px / 4
    ImageDraw.Draw(shade).ellipse((x - rx, y - ry, x + rx, y + ry), fill=255)
    soft = shade.filter(ImageFilter.GaussianBlur(0.05 * placement.unit_px / 4))
    full = np.asarray(soft.resize((width, height), Image.Resampling.BILINEAR))
    canvas *= 1.0 - full * np.float32(depth / 255)


def paint_part(
    canvas: Floats, cat_mask: Floats, part: Part, *, look: Look, placement: Placement
) -> None:
    """Paints one part over what is there; ``cat_mask`` (H x W) learns what the cat covers.

    A part with relief shades the cat behind it, never the background.
    """
    outline_P2 = placement.to_pixels(part.outline)
    reach = part.relief * placement.unit_px
    box = _box_around(outline_P2, margin=round(reach) + 2, shape=cat_mask.shape)
    if box is None:
        return
    mask = _mask(outline_P2, box)
    window = np.s_[box[1] : box[3], box[0] : box[2]]
    behind, covered = canvas[:, *window], cat_mask[window]
    colour = _colours(part, box, look, placement)
    if part.relief:
        soft = _softened(mask, reach)
        behind *= 1.0 - np.float32(0.3) * soft * covered
        colour = colour * _rounding(soft, reach, look.light)
    behind += (colour - behind) * mask
    np.maximum(covered, mask, out=covered)


def _box_around(outline_P2: Points, *, margin: int, shape: tuple[int, ...]) -> Box | None:
    left, top = np.floor(outline_P2.min(axis=0)).astype(int) - margin
    right, bottom = np.ceil(outline_P2.max(axis=0)).astype(int) + margin
    box = max(int(left), 0), max(int(top), 0), min(int(right), shape[1]), min(int(bottom), shape[0])
    return box if box[0] < box[2] and box[1] < box[3] else None


def _mask(outline_P2: Points, box: Box) -> Floats:
    """How much of each pixel in the box the outline covers, in [0, 1]."""
    width, height = box[2] - box[0], box[3] - box[1]
    twice = Image.new("L", (2 * width, 2 * height))
    corners = (outline_P2 - np.asarray(box[:2])) * 2.0
    ImageDraw.Draw(twice).polygon([(x, y) for x, y in corners.tolist()], fill=255)
    return np.asarray(twice.reduce(2), dtype=np.float32) / np.float32(255)


def _softened(mask: Floats, reach_px: float) -> Floats:
    grey = Image.fromarray((mask * 255).astype(np.uint8))
    soft = grey.filter(ImageFilter.BoxBlur(reach_px * 0.5)).filter(
        ImageFilter.BoxBlur(reach_px * 0.5)
    )
    return np.asarray(soft, dtype=np.float32) / np.float32(255)


def _rounding(soft: Floats, reach_px: float, light: tuple[float, float]) -> Floats:
    """Brightness of a rounded body: its edge towards the light bright, the far edge dark."""
    step = max(1, round(reach_px * 0.45))
    down = np.zeros_like(soft)
    down[step:-step] = soft[2 * step :] - soft[: -2 * step]
    side = np.zeros_like(soft)
    side[:, step:-step] = soft[:, 2 * step :] - soft[:, : -2 * step]
    slope = -np.float32(light[0]) * side - np.float32(light[1]) * down
    return np.asarray(0.8 + 0.24 * soft + 0.26 * slope)


def _colours(part: Part, box: Box, look: Look, placement: Placement) -> Floats:
    """The part's own colours, 3 x h x w or 3 x 1 x 1, before light falls on it."""
    plain = _plain(look.colours[part.surface])
    if part.surface not in ("coat", "pale"):
        return plain
    window = np.s_[box[1] : box[3], box[0] : box[2]]
    hairs = np.float32(1.0) + np.float32(0.065) * look.fur[window]
    if part.surface == "pale":
        return plain * hairs
    first, second = look.markings(_fur(part, box, look, placement))
    colour = plain + first * (_plain(look.mark) - plain)
    if second is not None:
        colour += second * (_plain(look.second) - colour)
    colour *= hairs
    return colour


def _plain(colour: Colour) -> Floats:
    """The colour as 3 x 1 x 1, to spread over any crop."""
    return np.asarray(colour, dtype=np.float32)[:, None, None]


def _fur(part: Part, box: Box, look: Look, placement: Placement) -> Fur:
    window = np.s_[box[1] : box[3], box[0] : box[2]]
    x, y = placement.to_units(box)
    run, rim = _stripe_run(part, x, y)
    return Fur(run, rim, x, y, look.noise_a[window], look.noise_b[window], look.fur[window])


def _stripe_run(part: Part, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Distance across the stripes, and where on the part stripes are seen at all."""
    if part.grain == "bands":
        across = x * np.float32(np.cos(part.grain_rad)) + y * np.float32(np.sin(part.grain_rad))
        return across, np.ones_like(across)
    dx, dy = x - np.float32(part.heart[0]), y - np.float32(part.heart[1])
    distance = np.hypot(dx, dy)
    if part.grain == "rings":
        return distance, np.ones_like(distance)
    return np.arctan2(dx, -dy) * np.float32(0.16), np.clip(distance * 12.0 - 0.9, 0.0, 1.0)
