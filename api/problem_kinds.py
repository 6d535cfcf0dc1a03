"""Every code of a refused request: its status, its title, and what a client can do about it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One code: its status, a title that never changes, and what a client can do about it."""

    status: int
    title: str
    remedy: str


KINDS: Mapping[str, Kind] = {
    "malformed_json": Kind(400, "Malformed JSON", "Send one JSON value, encoded in UTF-8."),
    "digest_mismatch": Kind(
        400, "Digest mismatch", "Send the bytes that Content-Digest was made from."
    ),
    "upload_interrupted": Kind(400, "Upload interrupted", "Send the whole body again."),
    "unauthenticated": Kind(401, "Unauthenticated", "Send Authorization: Bearer and a usable key."),
    "forbidden": Kind(
        403,
        "Forbidden",
        "Use a key with the scope that is named; call the service by a name of its own.",
    ),
    "not_found": Kind(404, "Not found", "Check the path and the id."),
    "method_not_allowed": Kind(405, "Method not allowed", "Use a method that Allow names."),
    "not_acceptable": Kind(406, "Not acceptable", "Accept one of the media types that are named."),
    "invalid_state_transition": Kind(
        409, "Invalid state transition", "Use one of the actions in allowed_actions."
    ),
    "result_not_ready": Kind(
        409, "Result not ready", "Wait until the job has succeeded, then ask again."
    ),
    "dataset_not_ready": Kind(
        409, "Dataset not ready", "Wait until the dataset is ready, then submit again."
    ),
    "dataset_in_use": Kind(409, "Dataset in use", "Cancel the jobs that need it, or wait."),
    "model_in_use": Kind(
        409,
        "Model in use",
        "Cancel the jobs that need it, or wait; give its aliases to another model.",
    ),
    "upload_in_use": Kind(409, "Upload in use", "Wait until the import that needs it has ended."),
    "last_admin_key": Kind(409, "Last admin key", "Make another admin key, then revoke this one."),
    "webhook_disabled": Kind(
        409, "Webhook disabled", "Enable it with PATCH, then send the request again."
    ),
    "idempotency_in_progress": Kind(
        409, "Request in progress", "Wait for the first answer, then send the request again."
    ),
    "precondition_failed": Kind(
        412, "Precondition failed", "Read the resource again and repeat the edit on it."
    ),
    "payload_too_large": Kind(413, "Payload too large", "Send a smaller body."),
    "unsupported_media_type": Kind(
        415, "Unsupported media type", "Send application/json in Content-Type."
    ),
    "range_not_satisfiable": Kind(416, "Range not satisfiable", "Ask for bytes within the file."),
    "validation_failed": Kind(422, "Validation failed", "Correct the fields that errors names."),
    "invalid_regex": Kind(422, "Invalid regular expression", "Correct the pattern."),
    "regex_no_group": Kind(
        422, "No such capture group", "Put the label in brackets, or name another group."
    ),
    "label_file_invalid": Kind(
        422, "Label file invalid", "Mend the file where the detail says, or name another one."
    ),
    "labels_unmatched": Kind(
        422, "Labels unmatched", "Change the rule, or let names without a match be skipped."
    ),
    "labels_mismatch": Kind(
        422,
        "Labels mismatch",
        "Give each label that is named a class of the model, or null, in label_mapping.",
    ),
    "too_few_classes": Kind(422, "Too few classes", "Provide photos of two classes or more."),
    "too_few_images": Kind(422, "Too few images", "Provide more photos."),
    "too_many_classes": Kind(
        422, "Too many classes", "Mend the rule that labels, or raise the limit that is named."
    ),
    "too_many_files": Kind(
        422, "Too many files", "Register parts of the source, or raise the limit that is named."
    ),
    "archive_invalid": Kind(422, "Archive invalid", "Make the archive anew, and send that."),
    "archive_too_large": Kind(
        422, "Archive too large", "Send smaller archives, or raise the limit that is named."
    ),
    "idempotency_key_reused": Kind(422, "Idempotency key reused", "Send a fresh key."),
    "source_forbidden": Kind(
        422,
        "Source forbidden",
        "Name a path inside an allowed root, or a public address.",
    ),
    "source_unreachable": Kind(
        422, "Source unreachable", "Name a folder or an upload that can be read."
    ),
    "weights_unavailable": Kind(
        422, "Weights unavailable", "Name weights that exist for the architecture."
    ),
    "unknown_architecture": Kind(422, "Unknown architecture", "Name one of GET /v1/architectures."),
    "rate_limited": Kind(
        429, "Rate limited", "Wait for Retry-After; RateLimit shows what is left beforehand."
    ),
    "quota_exceeded": Kind(
        429, "Quota exceeded", "Delete what is not needed, or wait for jobs to end: GET /v1/limits."
    ),
    "internal": Kind(500, "Internal error", "Tell the operator the request_id."),
    "no_workers": Kind(503, "No workers", "Start a worker of the queue that is named."),
    "unavailable": Kind(503, "Unavailable", "Try again in a moment."),
    "disk_full": Kind(507, "Disk full", "Free space where the artifacts lie, then try again."),
}
"""The only place that knows which code has which status."""

DATASET_PROBLEMS = (
    "archive_invalid",
    "archive_too_large",
    "disk_full",
    "quota_exceeded",
    "source_forbidden",
    "source_unreachable",
    "invalid_regex",
    "regex_no_group",
    "label_file_invalid",
    "labels_unmatched",
    "too_few_classes",
    "too_few_images",
    "too_many_classes",
    "too_many_files",
)
"""Codes with which a dataset can be refused, alone or inside another request."""

TRAINING_PROBLEMS = (
    "malformed_json",
    "unsupported_media_type",
    "validation_failed",
    "unknown_architecture",
    "weights_unavailable",
    *DATASET_PROBLEMS,
    "dataset_not_ready",
    "idempotency_key_reused",
)
"""Codes with which a learning-rate find or a fine-tune can be refused."""
