"""Repeats the evaluation of a model with nothing but torch, torchvision, Pillow and safetensors.

    python evaluate.py --model model.safetensors --photos FOLDER [--device cuda] [--logits FILE]

It decodes each photo as the service did, builds the network from torchvision's parts, loads the
weights, and says how far the logits of the labels are from those in the ledger; the exit status
is 1 where that is more than 1e-4 (0.05 with a precision below float32, which rounds differently
with other batches and on other devices).

This file imports nothing of the service: `GET /v1/jobs/{id}/reproduce?format=script` sends it with
the facts of one job in place of those below. Shapes: B = batch, C = channels, S = side in pixels.
"""

import argparse
import json
import math
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own customary name
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

FACTS: dict[str, Any] = json.loads(r"""{}""")

MAX_STRIDE = 2.25
TRANSPOSE_OF = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HALF_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}
Image.MAX_IMAGE_PIXELS = None


def main() -> int:
    """Every photo has been evaluated again; 0 where the logits are those of the ledger."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", required=True, help="the safetensors file")
    parser.add_argument("--photos", default=FACTS["photos"], required=FACTS["photos"] is None)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--logits", help="a file for all logits, as JSON lines")
    asked = parser.parse_args()
    model = build(FACTS).to(asked.device)
    model.load_state_dict(load_file(asked.model, device=asked.device))
    rows = FACTS["rows"]
    logits = torch.cat(list(evaluated(model.eval(), rows, Path(asked.photos), asked.device)))
    if asked.logits:
        lines = [
            json.dumps({"path": row["path"], "logits": values})
            for row, values in zip(rows, logits.tolist(), strict=True)
        ]
        Path(asked.logits).write_text("\n".join(lines) + "\n")
    return told(rows, logits)


def told(rows: Sequence[dict[str, Any]], logits_NC: Tensor) -> int:
    """What the ledger says beside what was found; 1 where they differ by too much."""
    index = {name: place for place, name in enumerate(FACTS["classes"])}
    labels_N = torch.tensor([index[row["label"]] for row in rows])
    own_N = logits_NC.gather(1, labels_N[:, None])[:, 0]
    recorded_N = torch.tensor([row["logit_label"] for row in rows], dtype=torch.float64)
    furthest = (own_N - recorded_N).abs().max().item()
    losses_N = logits_NC.logsumexp(dim=1) - own_N
    recorded = sum(row["logsumexp"] - row["logit_label"] for row in rows) / len(rows)
    sys.stdout.write(
        f"{len(rows)} photos: mean cross-entropy {losses_N.mean().item():.6f}, in the ledger "
        f"{recorded:.6f}; the logits of the labels differ by {furthest:.2g} at most\n"
    )
    return int(furthest > (0.05 if FACTS["precision"] in HALF_PRECISION else 1e-4))


def evaluated(
    model: nn.Module, rows: Sequence[dict[str, Any]], folder: Path, device: str
) -> Iterator[Tensor]:
    """Logits of one batch after the other: shape (B, C), float64."""
    for start in range(0, len(rows), FACTS["batch_size"]):
        batch = rows[start : start + FACTS["batch_size"]]
        images = torch.stack([pixels(folder / row["path"]) for row in batch])
        images_BCSS = images.to(device, memory_format=torch.channels_last)
        with torch.inference_mode(), reduced(device):
            features = model.get_submodule("body")(images_BCSS)
        with torch.inference_mode():
            yield model.get_submodule("head")(features.float()).double().cpu()


def reduced(device: str) -> torch.autocast:
    """The number format that the body ran in."""
    dtype = HALF_PRECISION.get(FACTS["precision"])
    return torch.autocast(torch.device(device).type, dtype=dtype, enabled=dtype is not None)


# --- the network ----------------------------------------------------------------------------


class SignedInput(nn.Module):
    """Colours normalised with ImageNet's mean and deviation become colours from -1 to 1."""

    def forward(self, images_BCSS: Tensor) -> Tensor:
        """The same images on the other scale."""
        mean, std = channels(FACTS["mean"]), channels(FACTS["std"])
        return images_BCSS * (2 * std).to(images_BCSS) + (2 * mean - 1).to(images_BCSS)


class ConcatPool(nn.Module):
    """The largest value of each channel, then the mean of each channel."""

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Pool to shape (B, 2 C, 1)."""
        x_BCP = x_BCSS.flatten(2)
        return torch.cat([x_BCP.max(-1, keepdim=True).values, x_BCP.mean(-1, keepdim=True)], dim=1)


def build(facts: dict[str, Any]) -> nn.Module:
    """The classifier without its weights: torchvision's body, fastai's head."""
    whole = torchvision.models.get_model(
        facts["architecture"], weights=None, **facts["build_options"]
    )
    width = facts["features"] * (1 if facts["vector_features"] else 2)
    pooling = [] if facts["vector_features"] else [ConcatPool(), nn.Flatten()]
    head = nn.Sequential(
        *pooling,
        *(nn.BatchNorm1d(width), nn.Dropout(), nn.Linear(width, 512, bias=False), nn.ReLU()),
        *(nn.BatchNorm1d(512), nn.Dropout(), nn.Linear(512, len(facts["classes"]), bias=False)),
    )
    parts = nn.ModuleDict({"body": body_of(whole, facts), "head": head})
    return parts.to(memory_format=torch.channels_last)


def body_of(whole: nn.Module, facts: dict[str, Any]) -> nn.Module:
    """The network without its classifier."""
    if facts["family"] == "vision_transformer":
        # its class token is put in front in its forward, so that has to stay
        for name in facts["cut"]:
            setattr(whole, name, nn.Identity())
        return whole
    signed = [("signed_input", SignedInput())] if facts["signed_input"] else []
    children = [(name, as_chain(whole.get_submodule(name))) for name in facts["body"]]
    # DenseNet's last ReLU is part of its forward, no child
    last = [("relu", nn.ReLU())] if facts["family"] == "densenet" else []
    return nn.Sequential(OrderedDict([*signed, *children, *last]))


def as_chain(module: nn.Module) -> nn.Module:
    """A bare list of modules (MaxViT's) as a chain."""
    return nn.Sequential(*module) if isinstance(module, nn.ModuleList) else module


# --- the photos -----------------------------------------------------------------------------


def pixels(path: Path) -> Tensor:
    """The network's input for one photo: shape (C, S, S)."""
    values_CSS = single(path) if FACTS["mode"] == "single" else fastai(path)
    normalised = (values_CSS - channels(FACTS["mean"])) / channels(FACTS["std"])
    return normalised.float()


def single(path: Path) -> Tensor:
    """Stored at the presized size, then the centre square in one antialiased sampling."""
    presize, size = FACTS["presize"], FACTS["size"]
    photo = shrunk(upright(path, presize), presize)
    step = min(photo.size) / size
    if step > MAX_STRIDE:
        factor = MAX_STRIDE / step
        smaller = [max(1, round(side * factor)) for side in photo.size]
        scaled = [new / old for new, old in zip(smaller, photo.size, strict=True)]
        origin = [
            (side - min(photo.size)) / 2 * s for side, s in zip(photo.size, scaled, strict=True)
        ]
        steps = [step * s for s in scaled]
        photo = photo.resize((smaller[0], smaller[1]), Image.Resampling.BOX)
    else:
        origin, steps = [(side - min(photo.size)) / 2 for side in photo.size], [step, step]
    levels = sampled(photo, origin, steps, size)
    return (levels.double() / 255).clamp(1e-7, 1 - 1e-7)


def sampled(photo: Image.Image, origin: list[float], steps: list[float], size: int) -> Tensor:
    """Whole levels: each output pixel is the mean of four samples spread over its area."""
    spans = [
        (max(0, math.floor(o) - 1), min(length, math.ceil(o + s * size) + 1))
        for o, s, length in zip(origin, steps, photo.size, strict=True)
    ]
    part = photo.crop((spans[0][0], spans[1][0], spans[0][1], spans[1][1]))
    spread = math.sqrt(max(0.0, 1 - 1 / (steps[0] * steps[1])) / 12)
    offsets = [-spread, spread] if spread > 0 else [0.0]
    corner = [o - span[0] for o, span in zip(origin, spans, strict=True)]
    grids = [
        grid(part.size, [corner[0] + steps[0] * x, corner[1] + steps[1] * y], steps, size)
        for x in offsets
        for y in offsets
    ]
    levels_CRS = F.grid_sample(
        pil_to_tensor(part)[None].float(),
        torch.cat(grids)[None],
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    return (levels_CRS.view(3, len(grids), size, size).mean(dim=1) + 0.5).floor()


def grid(wh: tuple[int, int], corner: list[float], steps: list[float], size: int) -> Tensor:
    """Where each output pixel reads: shape (S, S, 2), from -1 to 1 inside."""
    centres_S = torch.arange(size, dtype=torch.float32) + 0.5
    x_S, y_S = (
        torch.tensor(2 * step / length) * centres_S + torch.tensor(2 * start / length - 1)
        for start, step, length in zip(corner, steps, wh, strict=True)
    )
    return torch.stack(torch.meshgrid(x_S, y_S, indexing="xy"), dim=-1)


def fastai(path: Path) -> Tensor:
    """Resized to a square at the presized size as by fastai, then sampled bilinearly."""
    side, size = FACTS["presize"], FACTS["size"]
    with Image.open(path) as opened:
        photo = plain(opened, heeds_transparency=False)
    scale = min(length / side for length in photo.size)
    window = max(1, int(scale * side))
    left, top = (int((length - window) / 2) for length in photo.size)
    square = photo.crop((left, top, left + window, top + window))
    square = square.resize((side, side), Image.Resampling.BILINEAR)
    values = pil_to_tensor(square)[None].float() / 255
    reduction = side / size / 2
    if reduction > 1:
        values = F.interpolate(
            values, scale_factor=1 / reduction, mode="area", recompute_scale_factor=True
        )
    still = torch.eye(2, 3)[None]
    places = F.affine_grid(still, [1, 3, size, size], align_corners=True)
    return F.grid_sample(values, places, padding_mode="reflection", align_corners=True)[0]


def upright(path: Path, least_side: int) -> Image.Image:
    """The first frame as RGB, transparency over white, turned by its EXIF orientation."""
    with Image.open(path) as opened:
        by_pillow = opened.format == "TIFF"
        orientation = 1 if by_pillow else opened.getexif().get(0x0112, 1)
        # a JPEG may be decoded at a half, a quarter or an eighth of its size
        opened.draft(None, (least_side, least_side))
        opened.load()
        photo = plain(opened, heeds_transparency=True)
    turn = TRANSPOSE_OF.get(orientation)
    return photo if turn is None else photo.transpose(turn)


def plain(image: Image.Image, *, heeds_transparency: bool) -> Image.Image:
    """The image as RGB; samples of 16 bits keep their high byte."""
    if image.mode.startswith("I"):
        levels = pil_to_tensor(image.convert("I")).clamp(0, 65535) // 256
        image = to_pil_image(levels.to(torch.uint8))
    transparent = image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info
    if heeds_transparency and transparent:
        canvas = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(canvas, image.convert("RGBA"))
    return image.convert("RGB")


def shrunk(photo: Image.Image, short_side: int) -> Image.Image:
    """The short side at most so long, aspect kept."""
    if min(photo.size) <= short_side:
        return photo
    scale = short_side / min(photo.size)
    width, height = (max(1, round(length * scale)) for length in photo.size)
    return photo.resize((width, height), Image.Resampling.BILINEAR)


def channels(values: Sequence[float]) -> Tensor:
    """One value for each channel: shape (C, 1, 1), float64."""
    return torch.tensor(values, dtype=torch.float64).view(3, 1, 1)


if __name__ == "__main__":
    sys.exit(main())
