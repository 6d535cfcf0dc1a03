"""Trained models as clients see them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.resource import (
    DatasetIdExample,
    JobIdExample,
    ListOf,
    ModelIdExample,
    Resource,
    Time,
    example,
    time_of,
)
from jobs.dataset_spec import Metadata, Spec
from jobs.models import Model
from jobs.scoring_fields import ModelAlias
from ml.theory.preprocessing import preprocessing


class PreprocessingResource(Resource):
    """From a photo's file to the model's input."""

    mode: Literal["single", "fastai"] = Field(description="`presize_mode` of the training")
    orientation: Literal["exif", "as_stored"] = Field(
        description="whether photos are turned upright by their EXIF tag"
    )
    presize: int = Field(description="short side that a photo is reduced to first, pixels")
    size: int = Field(description="side of the square that the model sees, pixels")
    interpolation: str = Field(description="how a smaller picture is made of a larger one")
    mean: list[float] = Field(description="taken from each channel of values in [0, 1]; R, G, B")
    std: list[float] = Field(description="what each channel is divided by then")
    steps: list[str] = Field(description="the whole way, in order")


class Card(Resource):
    """How the model was made and how it did; what was not recorded is null."""

    dataset_digest: str | None = Field(description="SHA-256 of names, bytes, labels and parts")
    metrics: dict[str, float] = Field(description="of the valid part, as in the job's ledger")
    hyperparameters: dict[str, Any] | None = Field(description="as sent, with every default")
    resolved: dict[str, Any] | None = Field(description="what was used in the end, and why")
    versions: dict[str, str] | None = Field(
        description="of the service, torch, torchvision and the image decoder"
    )
    preprocessing: PreprocessingResource

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> "Card":
        """The card as a client sees it."""
        wanted = preprocessing(
            mode=card.get("presize_mode", "single"),
            presize=card["presize"],
            size=card["size"],
            mean=card["mean"],
            std=card["std"],
        )
        return cls(
            dataset_digest=card.get("dataset_digest"),
            metrics=card.get("metrics", {}),
            hyperparameters=card.get("hyperparameters"),
            resolved=card.get("resolved"),
            versions=card.get("versions"),
            preprocessing=PreprocessingResource.model_validate(asdict(wanted)),
        )


class ModelResource(Resource):
    """One trained model."""

    model_config = example(
        id=ModelIdExample,
        object="model",
        name=None,
        job_id=JobIdExample,
        dataset_id=DatasetIdExample,
        parent_id=None,
        architecture="resnet34",
        classes=["beagle", "pug"],
        aliases=["production"],
        card={
            "dataset_digest": "4c1d",
            "metrics": {"valid_loss": 0.31, "accuracy": 0.91, "count": 74},
            "hyperparameters": {"epochs": 6, "learning_rate": 0.002},
            "resolved": {"batch_size": {"value": 64, "origin": "request"}},
            "versions": {"service": "0.1.0", "torch": "2.11.0", "torchvision": "0.26.0",
                         "decoder": "pillow 11.3.0"},
            "preprocessing": {
                "mode": "single", "orientation": "exif", "presize": 460, "size": 224,
                "interpolation": "bilinear, antialiased", "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225], "steps": ["decode the first frame as RGB"],
            },
        },
        digest="9f2c",
        size_bytes=87_300_000,
        metadata={},
        version=1,
        created_at="2026-03-01T12:10:00.000Z",
        links={"self": f"/v1/models/{ModelIdExample}"},
    )  # fmt: skip

    id: str
    object: Literal["model"] = "model"
    name: str | None
    aliases: list[str] = Field(description="names that lead to this model")
    job_id: str
    dataset_id: str
    parent_id: str | None = Field(description="the model that its training began with")
    architecture: str
    classes: list[str] = Field(description="in the order of the outputs")
    card: Card
    digest: str = Field(description="SHA-256 of the file, hexadecimal")
    size_bytes: int
    metadata: dict[str, str]
    version: int
    created_at: Time
    links: dict[str, str]

    @classmethod
    def of(cls, model: Model, aliases: Sequence[str]) -> "ModelResource":
        """The model as a client sees it."""
        own, parent_id = f"/v1/models/{model.id}", model.card.get("parent_id")
        parent = {} if parent_id is None else {"parent": f"/v1/models/{parent_id}"}
        return cls(
            id=model.id,
            name=model.name,
            aliases=list(aliases),
            job_id=model.job_id,
            dataset_id=model.dataset_id,
            parent_id=parent_id,
            architecture=model.architecture,
            classes=list(model.classes),
            card=Card.of(model.card),
            digest=model.digest,
            size_bytes=model.size_bytes,
            metadata=dict(model.metadata),
            version=model.version,
            created_at=time_of(model.created_ms),
            links={
                "self": own,
                "download": f"{own}/download",
                "job": f"/v1/jobs/{model.job_id}",
                "dataset": f"/v1/datasets/{model.dataset_id}",
                **parent,
            },
        )


class ModelList(ListOf[ModelResource]):
    """One page of models."""


class ModelEdit(Spec):
    """What can be changed of a model; what is absent stays."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    aliases: Annotated[list[ModelAlias], Field(max_length=16)] | None = Field(
        default=None,
        description="all names that lead to this model, each of which leads to one of the owner's "
        "models only; lower-case letters, digits, `.` and `-`",
    )
    metadata: Metadata | None = Field(default=None, description="replaces all keys")
