"""Writes the table of architectures from the rules and torchvision: ``make architectures``."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torchvision
from torch import nn

from ml.architecture_rules import RULES, FamilyRule
from ml.augment import MEAN, STD
from ml.layer_groups import block_paths
from ml.meta_device import weights_without_numbers
from ml.odd_families import BUILD_OPTIONS, make_body
from ml.theory.architectures import Architecture

TABLE = "architectures.json"
FIELDS = (
    *("family", "features", "vector_features", "signed_input", "body", "cut", "groups"),
    *(
        "group_parameters",
        "blocks",
        "smallest_image_px",
        "fixed_image_px",
        "weights",
        "default_weights",
    ),
)


def main() -> None:
    """The file beside ``ml.theory.architectures`` is what the rules say."""
    Path(str(resources.files("ml.theory").joinpath(TABLE))).write_text(table(), "utf-8")


def table() -> str:
    """The whole file: one row for each architecture, one line for each field."""
    rows = [_text_of(_row(name, rule)) for rule in RULES for name in rule.names]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _row(name: str, rule: FamilyRule) -> Architecture:
    with weights_without_numbers():
        options = BUILD_OPTIONS.get(rule.family, {})
        model = torchvision.models.get_model(name, weights=None, **options)
    groups = _groups(model, rule)
    weights = _weights(name, rule)
    default = torchvision.models.get_model_weights(name).DEFAULT.name
    draft = Architecture(
        name=name,
        family=rule.family,
        features=0,
        vector_features=rule.vector_features,
        signed_input=rule.signed_input,
        body=rule.body,
        cut=tuple(child for child, _ in model.named_children() if child not in rule.body),
        groups=tuple(tuple(sizes) for sizes in groups),
        group_parameters=tuple(sum(sizes.values()) for sizes in groups),
        blocks=0,
        smallest_image_px=rule.fixed_image_px or rule.smallest_image_px,
        fixed_image_px=rule.fixed_image_px,
        weights=MappingProxyType(weights),
        default_weights=default if default in weights else next(iter(weights)),
    )
    body = make_body(model, draft).to("meta").eval()
    return replace(draft, features=_features(body, draft), blocks=len(block_paths(body, draft)))


def _groups(model: nn.Module, rule: FamilyRule) -> tuple[dict[str, int], dict[str, int]]:
    """Numbers of weights of the modules in each layer group of the body."""
    paths = [path for name in rule.body for path in _opened(model, name, rule.opened)]
    second = paths.index(rule.second_group)
    sizes = {f"{name}.": weight.numel() for name, weight in model.named_parameters()}
    return _with_weights(paths[:second], sizes), _with_weights(paths[second:], sizes)


def _with_weights(paths: Sequence[str], sizes: Mapping[str, int]) -> dict[str, int]:
    totals = {
        path: sum(size for name, size in sizes.items() if name.startswith(f"{path}."))
        for path in paths
    }
    return {path: total for path, total in totals.items() if total}


def _opened(model: nn.Module, path: str, opened: tuple[str, ...]) -> Iterator[str]:
    if path not in opened:
        yield path
        return
    module = model.get_submodule(path)
    own = [name for name, _ in module.named_parameters(recurse=False)]
    for name in (*own, *(child for child, _ in module.named_children())):
        yield from _opened(model, f"{path}.{name}", opened)


def _weights(name: str, rule: FamilyRule) -> dict[str, str]:
    """The weight sets that take photos as this project prepares them."""
    return {
        weights.name: weights.url.rsplit("/", 1)[-1]
        for weights in torchvision.models.get_model_weights(name)
        if _fits(weights.meta, weights.transforms.keywords, rule)
    }


def _fits(meta: Mapping[str, Any], transforms: Mapping[str, Any], rule: FamilyRule) -> bool:
    """Whether size and colours are the network's: not so for some weights trained elsewhere."""
    right_size = rule.fixed_image_px in {None, meta["min_size"][0]}
    imagenet = (transforms.get("mean", MEAN), transforms.get("std", STD)) == (MEAN, STD)
    return right_size and (imagenet or rule.signed_input)


def _features(body: nn.Module, row: Architecture) -> int:
    images = torch.empty(1, 3, row.smallest_image_px, row.smallest_image_px, device="meta")
    return int(body(images).shape[1])


def _text_of(row: Architecture) -> str:
    values = {field: getattr(row, field) for field in FIELDS} | {"weights": dict(row.weights)}
    lines = [f"    {json.dumps(field)}: {json.dumps(value)}" for field, value in values.items()]
    return f"  {json.dumps(row.name)}: {{\n" + ",\n".join(lines) + "\n  }"


if __name__ == "__main__":
    main()
