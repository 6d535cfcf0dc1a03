"""Identifiers: a prefix that names the kind and a UUIDv7, sortable by time (TypeID)."""

import hashlib
from typing import NewType

from typeid import TypeID
from typeid.core.errors import TypeIDException

MODEL_PREFIX = "mdl_"
"""What a model's id begins with, and no alias of one."""

_TIME_BYTES = 6
"""A UUIDv7 begins with its time (RFC 9562)."""

JobId = NewType("JobId", str)
DatasetId = NewType("DatasetId", str)
ModelId = NewType("ModelId", str)
ItemId = NewType("ItemId", str)
KeyId = NewType("KeyId", str)
UploadId = NewType("UploadId", str)
WebhookId = NewType("WebhookId", str)
DeliveryId = NewType("DeliveryId", str)


def new_job_id() -> JobId:
    """A fresh ``job_…``."""
    return JobId(str(TypeID(prefix="job")))


def new_dataset_id() -> DatasetId:
    """A fresh ``ds_…``."""
    return DatasetId(str(TypeID(prefix="ds")))


def new_model_id() -> ModelId:
    """A fresh ``mdl_…``."""
    return ModelId(str(TypeID(prefix="mdl")))


def new_key_id() -> KeyId:
    """A fresh ``key_…``."""
    return KeyId(str(TypeID(prefix="key")))


def new_upload_id() -> UploadId:
    """A fresh ``upl_…``."""
    return UploadId(str(TypeID(prefix="upl")))


def new_webhook_id() -> WebhookId:
    """A fresh ``whk_…``."""
    return WebhookId(str(TypeID(prefix="whk")))


def new_delivery_id() -> DeliveryId:
    """A fresh ``dlv_…``."""
    return DeliveryId(str(TypeID(prefix="dlv")))


def made_ms(identifier: str) -> int | None:
    """When it was drawn, in milliseconds since 1970; None for what is no identifier of ours."""
    try:
        return int.from_bytes(TypeID.from_string(identifier).uuid_bytes[:_TIME_BYTES])
    except TypeIDException:
        return None


def new_request_id() -> str:
    """A fresh ``req_…``."""
    return str(TypeID(prefix="req"))


def item_id(lineage: DatasetId, path: str) -> ItemId:
    """The picture's stable name: 128 bits of a hash over (dataset lineage, relative path).

    A child version of a dataset keeps its parent's lineage, so the same picture keeps its id.
    """
    raw = path.encode("utf-8", "surrogateescape")
    digest = hashlib.blake2b(lineage.encode() + b"\0" + raw, digest_size=16)
    return ItemId(f"itm_{digest.hexdigest()}")
