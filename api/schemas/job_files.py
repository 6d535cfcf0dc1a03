"""The files of a job, and the checkpoints of one that has not ended."""

from typing import Literal

from pydantic import Field

from api.schemas.resource import JobIdExample, ListOf, Resource, example


class ArtifactResource(Resource):
    """One file that a job has left."""

    model_config = example(
        object="artifact",
        job_id=JobIdExample,
        name="samples-valid.parquet",
        media_type="application/vnd.apache.parquet",
        size_bytes=182_734,
        sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        url=f"/v1/jobs/{JobIdExample}/artifacts/samples-valid.parquet",
    )

    object: Literal["artifact"] = "artifact"
    job_id: str
    name: str
    media_type: str
    size_bytes: int
    sha256: str = Field(description="of the file's bytes, hexadecimal")
    url: str


class ArtifactList(ListOf[ArtifactResource]):
    """One page of a job's files."""


class CheckpointResource(Resource):
    """Where a job's next attempt would go on."""

    model_config = example(
        object="checkpoint", job_id=JobIdExample, step=412, is_newest=True, size_bytes=93_412_004
    )

    object: Literal["checkpoint"] = "checkpoint"
    job_id: str
    step: int = Field(description="optimiser steps that were taken before it was written")
    is_newest: bool = Field(description="the job goes on from it; else only if that one is bad")
    size_bytes: int


class CheckpointList(ListOf[CheckpointResource]):
    """One page of a job's checkpoints."""
