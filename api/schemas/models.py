"""Trained models as clients see them."""

from typing import Any, Literal

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
from jobs.models import Model


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
        card={"size": 224, "valid_loss": 0.31},
        digest="9f2c",
        size_bytes=87_300_000,
        metadata={},
        version=1,
        created_at="2026-03-01T12:10:00.000Z",
        links={"self": f"/v1/models/{ModelIdExample}"},
    )

    id: str
    object: Literal["model"] = "model"
    name: str | None
    job_id: str
    dataset_id: str
    parent_id: str | None = Field(description="the model that its training began with")
    architecture: str
    classes: list[str] = Field(description="in the order of the outputs")
    card: dict[str, Any] = Field(description="how it was trained and how it did")
    digest: str = Field(description="SHA-256 of the file, hexadecimal")
    size_bytes: int
    metadata: dict[str, str]
    version: int
    created_at: Time
    links: dict[str, str]

    @classmethod
    def of(cls, model: Model) -> "ModelResource":
        """The model as a client sees it."""
        own, parent_id = f"/v1/models/{model.id}", model.card.get("parent_id")
        parent = {} if parent_id is None else {"parent": f"/v1/models/{parent_id}"}
        return cls(
            id=model.id,
            name=model.name,
            job_id=model.job_id,
            dataset_id=model.dataset_id,
            parent_id=parent_id,
            architecture=model.architecture,
            classes=list(model.classes),
            card=dict(model.card),
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
