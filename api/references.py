"""The things that a body names, as far as they exist for its caller; problems say where."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from api.auth import Caller, CallerDep
from api.dependencies import ModelIdPath, ServicesDep
from api.problems import FieldProblem, Problem
from jobs import aliases, datasets, store, uploads
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.errors import DatasetNotReadyError, NotFoundError
from jobs.job import Job, JobState, JobType
from jobs.models import Model
from jobs.uploads import Upload

_HOPELESS = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.CANCELLING})


@dataclass(frozen=True, slots=True)
class References:
    """Looks things up for one caller; what belongs to others does not exist."""

    database: Database
    caller: Caller

    def ready_dataset(self, pointer: str, dataset_id: str) -> Dataset:
        """The dataset, which can be trained on.

        Raises:
            Problem: there is no such dataset.
            DatasetNotReadyError: its import runs or has failed.
        """
        try:
            dataset = datasets.get(self.database, dataset_id)
            self._require("dataset", dataset)
        except NotFoundError as unknown:
            raise invalid(pointer, "not_found", f"{unknown}; see GET /v1/datasets") from unknown
        if dataset.state != "ready":
            raise DatasetNotReadyError(dataset.id, dataset.state)
        return dataset

    def model(self, pointer: str, name: str) -> Model:
        """The model of this id or alias.

        Raises:
            Problem: there is no such model.
        """
        try:
            model = aliases.named(self.database, name, owner=self.caller.owner)
            self._require("model", model)
        except NotFoundError as unknown:
            raise invalid(pointer, "not_found", f"{unknown}; see GET /v1/models") from unknown
        return model

    def upload(self, pointer: str, upload_id: str) -> Upload:
        """The upload.

        Raises:
            Problem: there is no such upload.
        """
        try:
            upload = uploads.get(self.database, upload_id)
            self._require("upload", upload)
        except NotFoundError as unknown:
            raise invalid(pointer, "not_found", f"{unknown}; see GET /v1/uploads") from unknown
        return upload

    def job(self, pointer: str, job_id: str) -> Job:
        """The job.

        Raises:
            Problem: there is no such job.
        """
        try:
            job = store.get(self.database, job_id)
            self._require("job", job)
        except NotFoundError as unknown:
            raise invalid(pointer, "not_found", f"{unknown}; see GET /v1/jobs") from unknown
        return job

    def hopeful_job(self, pointer: str, job_id: str) -> Job:
        """The job, which has succeeded or still may.

        Raises:
            Problem: there is no such job, or it will never succeed.
        """
        job = self.job(pointer, job_id)
        if job.state in _HOPELESS:
            detail = f"job {job.id} is {job.state}; name one that has succeeded or still may"
            raise invalid(pointer, "invalid", detail)
        return job

    def job_of_type(self, pointer: str, job_id: str, job_type: JobType, *, what: str) -> Job:
        """As `hopeful_job`; ``what`` can come from jobs of this type only.

        Raises:
            Problem: as there, or the job is of another type.
        """
        job = self.hopeful_job(pointer, job_id)
        if job.type != job_type:
            detail = f"job {job.id} is a {job.type}; {what} can come from a {job_type} only"
            raise invalid(pointer, "invalid", detail)
        return job

    def fine_tune(self, pointer: str, job_id: str) -> Job:
        """The job that weights can come from, whose model has not been deleted.

        Raises:
            Problem: as `job_of_type`, or the model was deleted.
        """
        job = self.job_of_type(pointer, job_id, JobType.FINE_TUNE, what="weights")
        if job.model_id is not None:
            self.model(pointer, job.model_id)
        return job

    def _require(self, kind: str, thing: Dataset | Model | Job | Upload) -> None:
        if not self.caller.sees(thing.owner):
            raise NotFoundError(kind, thing.id)


def _named_model(services: ServicesDep, caller: CallerDep, model_id: ModelIdPath) -> Model:
    return aliases.named(services.database, model_id, owner=caller.owner)


ModelDep = Annotated[Model, Depends(_named_model)]
"""The model that the path names by its id or by an alias of the caller's owner."""


def invalid(pointer: str, code: str, detail: str) -> Problem:
    """A value that does not fit what is there."""
    field = FieldProblem(pointer=pointer, code=code, detail=detail)
    return Problem("validation_failed", detail, errors=[field])
