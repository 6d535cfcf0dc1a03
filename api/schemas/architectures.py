"""Architectures as clients see them."""

from typing import Literal

from pydantic import Field

from api.schemas.resource import ListOf, Resource, example
from ml.theory.architectures import Architecture


class LayerGroup(Resource):
    """Layers that share one learning rate; the head comes last."""

    name: str
    modules: list[str] = Field(
        description="modules and single weights, by torchvision's names; empty for the new head"
    )
    parameters: int | None = Field(description="number of weights; the head's depends on classes")


class ArchitectureResource(Resource):
    """One architecture that can be fine-tuned."""

    model_config = example(
        name="resnet34",
        object="architecture",
        family="resnet",
        features=512,
        smallest_image_px=32,
        fixed_image_px=None,
        weights=["IMAGENET1K_V1"],
        default_weights="IMAGENET1K_V1",
        blocks=17,
        layer_groups=[
            {"name": "body_0", "modules": ["conv1", "bn1", "layer1", "layer2"],
             "parameters": 1347904},
            {"name": "body_1", "modules": ["layer3", "layer4"], "parameters": 19936768},
            {"name": "head", "modules": [], "parameters": None},
        ],
    )  # fmt: skip

    name: str
    object: Literal["architecture"] = "architecture"
    family: str
    features: int = Field(description="channels (or length of the vector) that the body gives")
    smallest_image_px: int = Field(description="least `size`")
    fixed_image_px: int | None = Field(description="the only `size`, where there is only one")
    weights: list[str] = Field(description='names for `weights`, beside "DEFAULT" and "none"')
    default_weights: str
    layer_groups: list[LayerGroup]
    blocks: int = Field(
        description="blocks of the body, each with a rate of its own under `layer_decay`"
    )

    @classmethod
    def of(cls, architecture: Architecture) -> "ArchitectureResource":
        """The architecture as a client sees it."""
        body = [
            LayerGroup(name=f"body_{number}", modules=list(modules), parameters=parameters)
            for number, (modules, parameters) in enumerate(
                zip(architecture.groups, architecture.group_parameters, strict=True)
            )
        ]
        return cls(
            name=architecture.name,
            family=architecture.family,
            features=architecture.features,
            smallest_image_px=architecture.smallest_image_px,
            fixed_image_px=architecture.fixed_image_px,
            weights=list(architecture.weights),
            default_weights=architecture.default_weights,
            layer_groups=[*body, LayerGroup(name="head", modules=[], parameters=None)],
            blocks=architecture.blocks,
        )


class ArchitectureList(ListOf[ArchitectureResource]):
    """All architectures."""
