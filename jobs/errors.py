"""What can go wrong between a request and a finished job, free of HTTP.

JobsError
├── NotFoundError                 the thing named does not exist
├── InvalidTransitionError        the job's state does not allow this move
├── LeaseLostError                another attempt owns the job now
├── ResultNotReadyError           the job has not produced this yet
├── DatasetNotReadyError          the dataset is still importing, or its import failed
├── DatasetInUseError             a job that is not finished still needs the dataset
├── ModelInUseError               a job that is not finished still needs the model
├── UploadInUseError              a dataset that is importing still needs the upload
├── ArchiveInvalidError           the archive is broken, hostile, or none
├── ArchiveTooLargeError          unpacking the archive would take more than is allowed
├── LabelFileInvalidError         a label file is absent, or a line of it cannot be used
├── QuotaExceededError            an owner would have more than one may
├── DiskFullError                 the disk has less space than the work needs
├── SourceForbiddenError          the source lies where nobody may read from
├── SourceUnreachableError        the source cannot be listed or fetched
│   ├── SourceInterruptedError    a network or a server failed; it may be over soon
│   └── SourceTimeoutError        fetching took longer than is allowed
├── DigestMismatchError           what was fetched has another digest than was expected
├── IdempotencyKeyReusedError     the key belongs to a different request
├── IdempotencyInProgressError    the first request with this key has not answered yet
├── LastAdminKeyError             without this key nobody could manage keys
├── UnstorableValueError          the database cannot hold or compare with a value
└── StoreUnavailableError         the database does not answer
    └── NewerDatabaseError        a newer version of the service has migrated it
"""

from collections.abc import Sequence


class JobsError(Exception):
    """Something about jobs, datasets or models cannot be done as asked."""


class NotFoundError(JobsError):
    """No thing of this kind has this id."""

    def __init__(self, kind: str, identifier: str) -> None:
        super().__init__(f"no {kind} has the id {identifier!r}")
        self.kind = kind
        self.identifier = identifier


class InvalidTransitionError(JobsError):
    """The job's state does not allow the move that was asked for."""

    def __init__(
        self, job_id: str, action: str, state: str, allowed_actions: Sequence[str]
    ) -> None:
        allowed = ", ".join(allowed_actions) or "nothing"
        super().__init__(f"job {job_id} is {state}: it cannot {action}; it allows {allowed}")
        self.job_id = job_id
        self.action = action
        self.state = state
        self.allowed_actions = tuple(allowed_actions)


class LeaseLostError(JobsError):
    """The job's fence has moved on: whoever holds the old one must stop writing."""

    def __init__(self, job_id: str, fence: int) -> None:
        super().__init__(f"job {job_id} no longer belongs to the attempt with fence {fence}")
        self.job_id = job_id
        self.fence = fence


class ResultNotReadyError(JobsError):
    """The job has not produced this result (yet, or ever)."""

    def __init__(self, job_id: str, what: str, state: str) -> None:
        super().__init__(f"job {job_id} is {state} and has no {what}")
        self.job_id = job_id
        self.what = what
        self.state = state


class DatasetNotReadyError(JobsError):
    """The dataset cannot be trained on: its import is running or has failed."""

    def __init__(self, dataset_id: str, state: str) -> None:
        super().__init__(f"dataset {dataset_id} is {state}; a job needs a dataset that is ready")
        self.dataset_id = dataset_id
        self.state = state


class DatasetInUseError(JobsError):
    """A job that is not finished needs the dataset, so it cannot be deleted."""

    def __init__(self, dataset_id: str, users: Sequence[str]) -> None:
        super().__init__(f"dataset {dataset_id} is in use by {', '.join(users)}")
        self.dataset_id = dataset_id
        self.users = tuple(users)


class ModelInUseError(JobsError):
    """An unfinished job needs the model, or an alias leads to it, so it cannot be deleted."""

    def __init__(self, model_id: str, users: Sequence[str]) -> None:
        super().__init__(f"model {model_id} is in use by {', '.join(users)}")
        self.model_id = model_id
        self.users = tuple(users)


class UploadInUseError(JobsError):
    """A dataset that is still importing needs the upload, so it cannot be deleted."""

    def __init__(self, upload_id: str, users: Sequence[str]) -> None:
        super().__init__(f"upload {upload_id} is being imported by {', '.join(users)}")
        self.upload_id = upload_id
        self.users = tuple(users)


class ArchiveInvalidError(JobsError):
    """The file is no archive that can be read, or one whose members nobody should write."""


class ArchiveTooLargeError(JobsError):
    """Unpacking would take more bytes or members than the settings allow."""


class LabelFileInvalidError(JobsError):
    """A file of labels or parts is absent, or says nothing that can be used.

    ``field`` is the field of the rule that it is about, such as ``label_column``.
    """

    def __init__(
        self, file: str, problem: str, line: int | None = None, *, field: str = "file"
    ) -> None:
        where = file if line is None else f"{file}, line {line}"
        super().__init__(f"{where}: {problem}")
        self.field = field


class DiskFullError(JobsError):
    """The disk has less free space than is needed beside what must stay free."""


class QuotaExceededError(JobsError):
    """An owner would have more of something than one may; nothing was made."""

    def __init__(self, thing: str, limit: int) -> None:
        super().__init__(
            f"this would be more than the {limit} {thing.replace('_', ' ')} that one owner may have"
        )
        self.thing = thing
        self.limit = limit


class WebhookDisabledError(JobsError):
    """Nothing is sent to a webhook that is disabled."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"webhook {webhook_id} is disabled; enable it first")
        self.webhook_id = webhook_id


class SourceForbiddenError(JobsError):
    """The source lies outside the allow-listed roots, or at an address nobody may call."""


class SourceUnreachableError(JobsError):
    """The source does not exist, or cannot be listed or fetched."""


class SourceInterruptedError(SourceUnreachableError):
    """A network or a server on the way failed, which may be over soon."""


class SourceTimeoutError(SourceUnreachableError):
    """The source took longer than the settings allow."""


class DigestMismatchError(JobsError):
    """The bytes that were fetched are not those that the client expects."""


class IdempotencyKeyReusedError(JobsError):
    """The Idempotency-Key was first sent with a different request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency-Key {key!r} was already used for a different request; send a new key"
        )


class IdempotencyInProgressError(JobsError):
    """The first request with this Idempotency-Key has not been answered yet."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the first request with Idempotency-Key {key!r} is still being answered")


class LastAdminKeyError(JobsError):
    """No other usable key has the scope admin, so this one cannot be revoked."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"{key_id} is the last usable key with the scope admin: without it nobody could make "
            "another; create one first, then revoke this one"
        )
        self.key_id = key_id


class StoreUnavailableError(JobsError):
    """The database cannot be reached or is not at the expected revision."""


class UnstorableValueError(JobsError):
    """A value cannot be in the database: text with the character NUL, a number too large."""


class NewerDatabaseError(StoreUnavailableError):
    """The database is at a revision that this version does not know."""
