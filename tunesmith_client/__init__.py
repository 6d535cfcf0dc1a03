"""A typed client of Tunesmith's HTTP interface; docs/client.md shows it."""

from tunesmith_client import sources
from tunesmith_client.client import Client
from tunesmith_client.errors import (
    BadRequestError,
    BrokenFileError,
    ConflictError,
    ForbiddenError,
    JobCancelledError,
    JobFailedError,
    LimitExceededError,
    NotFoundError,
    ProblemError,
    ServiceError,
    StillRunningError,
    TunesmithError,
    UnauthenticatedError,
    UnexpectedAnswerError,
    UnreachableError,
)
from tunesmith_client.resources import Dataset, Event, Job, Json, Model, Upload
from tunesmith_client.result_resources import LossCurve, LrCurve, Prediction, Sample
from tunesmith_client.transport import Retries

__all__ = [
    "BadRequestError",
    "BrokenFileError",
    "Client",
    "ConflictError",
    "Dataset",
    "Event",
    "ForbiddenError",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "Json",
    "LimitExceededError",
    "LossCurve",
    "LrCurve",
    "Model",
    "NotFoundError",
    "Prediction",
    "ProblemError",
    "Retries",
    "Sample",
    "ServiceError",
    "StillRunningError",
    "TunesmithError",
    "UnauthenticatedError",
    "UnexpectedAnswerError",
    "UnreachableError",
    "Upload",
    "sources",
]
