"""What the service answers, as typed objects.

Members that a newer service adds are kept: they are in ``model_extra`` and in every dump, so that
``resource.json_body()`` is what the service sent.
"""

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer

Json = dict[str, Any]

Entry = TypeVar("Entry")


def _rfc_3339(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(_rfc_3339, return_type=str, when_used="json")]
"""An instant in UTC, to the millisecond."""


class Resource(BaseModel):
    """Base of all answers: frozen, and open to members that came later."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    def json_body(self) -> Json:
        """The answer as it was sent."""
        return self.model_dump(mode="json", exclude_unset=True)


class FieldProblem(Resource):
    """One field of a request that is wrong."""

    pointer: str
    code: str = ""
    detail: str = ""
    allowed: tuple[str, ...] | None = None
    did_you_mean: tuple[str, ...] | None = None


class Failure(Resource):
    """Why a job or an import failed."""

    code: str
    message: str
    hint: str = ""
    phase: str | None = None
    retryable: bool = False
    cause: Json | None = None

    def __str__(self) -> str:
        """The reason with its code, and what would be right."""
        return f"{self.message} ({self.code})" + (f". {self.hint}" if self.hint else "")


class Progress(Resource):
    """How far a job is; what it does not count is None. ``fraction`` is in [0, 1]."""

    fraction: float | None = None
    phase: str | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    samples_per_second: float | None = None
    bytes: int | None = None
    total_bytes: int | None = None


class QueuePlace(Resource):
    """Where a queued job stands; position 1 is next."""

    position: int
    waiting_for: list[str]


class Eta(Resource):
    """Seconds until a running job ends, with the range they are likely to lie in."""

    seconds: float
    low: float
    high: float


class Job(Resource):
    """One job of any type; losses and accuracies are in ``latest`` and ``best``."""

    id: str
    type: str
    state: str
    phase: str | None
    name: str | None
    is_terminal: bool
    allowed_actions: list[str]
    dataset_id: str | None
    depends_on: list[str]
    parent_id: str | None
    retry_of: str | None
    attempt: int
    priority: int
    progress: Progress | None
    queue: QueuePlace | None
    eta: Eta | None
    version: int
    hyperparameters: Json
    resolved: Json
    latest: Json
    best: Json
    model_id: str | None
    stop_reason: str | None
    error: Failure | None
    metadata: dict[str, str]
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    links: dict[str, str]

    @property
    def has_succeeded(self) -> bool:
        """Whether it ended well."""
        return self.state == "succeeded"


class Event(Resource):
    """One thing that happened to a job; ``seq`` counts from 1 without gaps."""

    job_id: str
    seq: int
    type: str
    at: Time
    data: Json


class ClassCount(Resource):
    """A class with the number of its photos."""

    label: str
    count: int


class Counts(Resource):
    """Files of a source, and photos of each part."""

    files: int
    usable: int
    train: int
    valid: int
    test: int
    classes: int


class Dataset(Resource):
    """One dataset; ``counts`` is None until it is ready."""

    id: str
    name: str
    state: str
    job_id: str
    digest: str | None
    counts: Counts | None
    classes: list[ClassCount]
    parent_id: str | None
    source: Json
    labels: Json
    split: Json
    error: Failure | None
    metadata: dict[str, str]
    version: int
    created_at: Time
    links: dict[str, str]


class Upload(Resource):
    """An archive that was sent; ``digest`` is of its bytes."""

    id: str
    filename: str | None
    format: str
    size_bytes: int
    digest: str
    created_at: Time
    last_used_at: Time
    expires_at: Time
    links: dict[str, str]


class Model(Resource):
    """A trained model; ``classes`` are in the order of its outputs."""

    id: str
    name: str | None
    aliases: list[str]
    job_id: str
    dataset_id: str
    parent_id: str | None
    architecture: str
    classes: list[str]
    card: Json
    digest: str
    size_bytes: int
    metadata: dict[str, str]
    version: int
    created_at: Time
    links: dict[str, str]


class Page(Resource, Generic[Entry]):
    """One page of a list; ``next_cursor`` leads to the next one."""

    data: list[Entry]
    has_more: bool
    next_cursor: str | None
