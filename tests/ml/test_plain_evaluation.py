"""The script that repeats an evaluation without the service does what the service does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from api.reproduction_script import _BUILD_OPTIONS
from ml import plain_evaluation
from ml.backbones import empty_model
from ml.images import decode_as_stored, decode_rgb
from ml.odd_families import BUILD_OPTIONS
from ml.theory import architectures


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "squeezenet1_1", "densenet121", "googlenet", "inception_v3", "vit_b_16"),
        *("efficientnet_v2_l", "maxvit_t", "swin_t", "mobilenet_v3_small"),
    ],
)
@pytest.mark.slow
def test_its_network_has_the_weights_of_a_model_by_name_and_shape(name: str) -> None:
    row = architectures.get(name)
    facts = {
        "architecture": name,
        "build_options": BUILD_OPTIONS.get(row.family, {}),
        "classes": ["ant", "bee"],
        **{fact: getattr(row, fact) for fact in ("family", "features", "vector_features")},
        **{fact: getattr(row, fact) for fact in ("signed_input", "body", "cut")},
    }

    with torch.device("meta"):
        ours, plain = empty_model(name, 2), plain_evaluation.build(facts)

    shapes = [
        {key: tuple(value.shape) for key, value in model.state_dict().items()}
        for model in (ours, plain)
    ]
    assert shapes[0] == shapes[1]


def test_the_api_builds_networks_with_the_options_of_the_library() -> None:
    assert {family: dict(options) for family, options in BUILD_OPTIONS.items()} == _BUILD_OPTIONS


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Photos of every kind that is decoded in a way of its own."""
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (40, 52, 4), np.uint8)
    deep = rng.integers(0, 65536, (40, 52), np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colours[..., :3]).save(tmp_path / "plain.png")
    Image.fromarray(colours[..., :3]).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(colours[..., :3]).resize((520, 400)).save(tmp_path / "drafted.jpg")
    Image.fromarray(colours).save(tmp_path / "transparent.png")
    Image.fromarray(colours[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(colours[..., :3]).convert("CMYK").save(tmp_path / "cmyk.jpg")
    return sorted(tmp_path.iterdir())


def test_it_decodes_every_photo_as_the_service_does(photos: list[Path]) -> None:
    assert len(photos) == 7
    for path in photos:
        upright = plain_evaluation.upright(path, 48)
        assert np.array_equal(np.asarray(upright), decode_rgb(path, min_short_side=48)), path.name
        with Image.open(path) as opened:
            stored = plain_evaluation.plain(opened, heeds_transparency=False)
        assert np.array_equal(np.asarray(stored), decode_as_stored(path)), path.name
