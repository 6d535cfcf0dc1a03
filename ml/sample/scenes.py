"""The rooms and gardens behind the sample photos' cats, out of focus.

Shapes: 3 = RGB in 0 to 255, planes first (three times faster here), H, W = the photo's pixels.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ml.sample.coats import Colour, Floats

Ground = Literal["planks", "grass", "plaid", "rug"]


@dataclass(frozen=True, slots=True)
class Scene:
    """A place: colours of the wall from top to bottom, of the ground, and of what stands about."""

    wall: tuple[Colour, Colour]
    floor: tuple[Colour, Colour]
    things: tuple[Colour, ...]
    ground: Ground
    lights: bool


SCENES: tuple[Scene, ...] = (
    Scene(((206, 196, 178), (178, 160, 138)), ((160, 112, 72), (120, 78, 48)),
          ((92, 120, 110), (200, 150, 96), (238, 230, 214), (120, 70, 52)), "planks", lights=False),
    Scene(((120, 158, 96), (66, 104, 58)), ((112, 142, 66), (70, 104, 44)),
          ((54, 84, 46), (160, 190, 110), (226, 214, 120), (198, 120, 140)), "grass", lights=True),
    Scene(((92, 104, 128), (62, 70, 92)), ((134, 62, 60), (96, 42, 46)),
          ((198, 176, 128), (52, 60, 78), (150, 100, 70), (232, 208, 160)), "plaid", lights=True),
    Scene(((226, 222, 214), (198, 190, 182)), ((196, 186, 170), (150, 138, 122)),
          ((150, 172, 182), (214, 168, 150), (120, 134, 104), (250, 248, 240)), "rug",
          lights=False),
    Scene(((150, 190, 206), (196, 206, 196)), ((190, 168, 132), (150, 124, 92)),
          ((246, 240, 220), (96, 128, 120), (212, 130, 90), (70, 92, 110)), "planks", lights=False),
    Scene(((86, 70, 62), (58, 46, 42)), ((72, 92, 112), (44, 58, 76)),
          ((232, 172, 90), (140, 60, 50), (196, 150, 110), (34, 30, 32)), "plaid", lights=True),
)  # fmt: skip


@cache
def noise_tile(width: int, height: int, seed: int) -> Floats:
    """Gaussian noise of 512 x 512 pixels, stretched from ``width`` x ``height`` grains."""
    grains = np.random.default_rng(seed).standard_normal((height, width), dtype=np.float32)
    return np.asarray(Image.fromarray(grains).resize((512, 512), Image.Resampling.BILINEAR))


def tile_crop(tile: Floats, height: int, width: int, rng: np.random.Generator) -> Floats:
    """A window of the tile at a random place, ``height`` x ``width`` of at most 512 each."""
    top, left = rng.integers(0, 513 - height), rng.integers(0, 513 - width)
    return tile[top : top + height, left : left + width]


def smooth_noise(width: int, height: int, grains: int, rng: np.random.Generator) -> Floats:
    """A smooth random landscape, about -1 to 1, with ``grains`` hills along the height."""
    columns = max(2, round(grains * width / height))
    grid = rng.normal(0.0, 0.6, (grains, columns)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def planes(picture: Image.Image) -> Floats:
    """The RGB picture as 3 x H x W."""
    return np.stack([np.asarray(band, dtype=np.float32) for band in picture.split()])


def draw_scene(
    scene: Scene, size: tuple[int, int], horizon: float, rng: np.random.Generator
) -> Floats:
    """The empty place, 3 x H x W; the ground begins at ``horizon`` of the height."""
    backdrop = _backdrop(scene, (size[0] // 4, size[1] // 4), horizon, rng)
    soft = backdrop.filter(ImageFilter.GaussianBlur(rng.uniform(1.8, 4.0)))
    canvas = planes(soft.resize(size, Image.Resampling.BICUBIC))
    ground_y = int(horizon * size[1])
    canvas[:, ground_y:] *= _ground_texture(scene.ground, size, ground_y, rng)
    return canvas


def _backdrop(
    scene: Scene, size: tuple[int, int], horizon: float, rng: np.random.Generator
) -> Image.Image:
    width, height = size
    ground_y = int(horizon * height)
    wall = _gradient(scene.wall, width, ground_y)
    floor = _gradient(scene.floor, width, height - ground_y)
    picture = Image.fromarray(np.concatenate([wall, floor]).astype(np.uint8))
    brush = ImageDraw.Draw(picture)
    for _ in range(rng.integers(2, 6)):
        _draw_thing(brush, scene, width, ground_y, rng)
    if scene.lights:
        _draw_lights(brush, width, ground_y, rng)
    return picture


def _gradient(colours: tuple[Colour, Colour], width: int, height: int) -> Floats:
    t = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
    top, bottom = (np.asarray(colour, dtype=np.float32) for colour in colours)
    return np.broadcast_to((1 - t) * top + t * bottom, (height, width, 3))


def _draw_thing(
    brush: ImageDraw.ImageDraw, scene: Scene, width: int, ground_y: int, rng: np.random.Generator
) -> None:
    """A cushion, a frame, a cupboard or a bush: at this blur nobody can tell."""
    colour = scene.things[rng.integers(len(scene.things))]
    x, wide, high = rng.integers(-10, width), rng.integers(8, 40), rng.integers(10, 50)
    low = ground_y + rng.integers(-22, 8)
    box = (int(x), int(low - high), int(x + wide), int(low))
    if scene.ground == "grass" or rng.random() < 0.35:
        brush.ellipse(box, fill=colour)
    else:
        brush.rectangle(box, fill=colour)


def _draw_lights(
    brush: ImageDraw.ImageDraw, width: int, ground_y: int, rng: np.random.Generator
) -> None:
    warm = np.array([255, 226, 170]) if rng.random() < 0.6 else np.array([236, 246, 226])
    for _ in range(rng.integers(4, 14)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, ground_y), rng.uniform(1.5, 5.0)
        red, green, blue = (warm * rng.uniform(0.75, 1.0)).astype(int).tolist()
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(red, green, blue))


def _ground_texture(
    ground: Ground, size: tuple[int, int], ground_y: int, rng: np.random.Generator
) -> Floats:
    """A factor around 1 for each pixel of the ground, stronger towards the viewer."""
    width, height = size[0], size[1] - ground_y
    nearness = np.linspace(0.25, 1.0, height, dtype=np.float32)[:, None]
    if ground == "grass":
        blades = tile_crop(noise_tile(300, 60, 3), height, width, rng)
        return 1.0 + np.float32(0.2) * blades * nearness
    if ground == "rug":
        pile = tile_crop(noise_tile(256, 256, 4), height, width, rng)
        return 1.0 + np.float32(0.09) * pile * nearness
    if ground == "planks":
        return _planks(width, height, nearness, rng)
    return _plaid(width, height, nearness, rng)


def _perspective(width: int, height: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Floor coordinates of each pixel: to the side (H x W) and into depth (H x 1)."""
    y = np.linspace(0.3, 1.0, height, dtype=np.float32)[:, None]
    middle = rng.uniform(-0.4, 0.4)
    x = np.linspace(middle - 0.5, middle + 0.5, width, dtype=np.float32)[None, :]
    return x / y, 1.0 / y


def _planks(width: int, height: int, nearness: Floats, rng: np.random.Generator) -> Floats:
    side, _ = _perspective(width, height, rng)
    at = side * np.float32(rng.uniform(5.0, 9.0)) + np.float32(50.0)
    tone = rng.uniform(0.88, 1.1, 128).astype(np.float32)[at.astype(np.int32) % 128]
    joint = 1.0 - np.float32(0.3) * (np.abs(at % 1.0 - 0.5) > 0.47)
    veins = tile_crop(noise_tile(60, 300, 5), height, width, rng)
    return np.asarray(tone * joint * (1.0 + 0.05 * nearness * veins))


def _plaid(width: int, height: int, nearness: Floats, rng: np.random.Generator) -> Floats:
    side, depth = _perspective(width, height, rng)
    wide = np.float32(rng.uniform(3.0, 6.0))
    weft = np.where((side * wide) % 1.0 < 0.4, np.float32(1.16), np.float32(0.92))
    warp = np.where((depth * wide) % 1.0 < 0.4, np.float32(1.14), np.float32(0.9))
    threads = tile_crop(noise_tile(256, 256, 4), height, width, rng)
    return np.asarray(weft * warp * (1.0 + 0.06 * nearness * threads))
