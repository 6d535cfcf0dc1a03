"""The database's tables. Times are integer milliseconds since 1970, UTC, from the database."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from jobs.metadata import metadata as metadata

_DUE = text("record_wanted <> record_written")

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("type", String(32), nullable=False),
    Column("queue", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("phase", String(32)),
    Column("name", String(200)),
    Column("owner", String(64), nullable=False),
    Column("dataset_id", String(64)),
    Column("parent_id", String(64)),
    Column("retry_of", String(64)),
    Column("priority", Integer, nullable=False),
    Column("spec_version", Integer, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("resolved", JSON, nullable=False),
    Column("progress", JSON(none_as_null=True)),
    Column("latest", JSON, nullable=False),
    Column("best", JSON, nullable=False),
    Column("result", JSON, nullable=False),
    Column("model_id", String(64)),
    Column("error", JSON(none_as_null=True)),
    Column("metadata", JSON, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("lost", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("crash_step", BigInteger),
    Column("worker_id", String(128)),
    Column("lease_until_ms", BigInteger),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("stop_reason", String(32)),
    Column("checkpoint", Text),
    Column("checkpoint_step", BigInteger, nullable=False),
    Column("earlier_checkpoint", Text),
    Column("earlier_checkpoint_step", BigInteger),
    Column("event_seq", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("cause", JSON(none_as_null=True)),
    Column("record_wanted", BigInteger, nullable=False, server_default=text("0")),
    Column("record_written", BigInteger, nullable=False, server_default=text("0")),
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Index("ix_jobs_claim", "queue", "state", "priority", "owner", "id"),
    Index("ix_jobs_lease", "state", "lease_until_ms"),
    Index("ix_jobs_dataset", "dataset_id"),
    Index("ix_jobs_parent", "parent_id"),
    Index("ix_jobs_retry_of", "retry_of"),
    Index("ix_jobs_record_due", "state", sqlite_where=_DUE, postgresql_where=_DUE),
)

dependencies = Table(
    "dependencies",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("on_job_id", String(64), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_dependencies_on", "on_job_id"),
)

events = Table(
    "events",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("type", String(48), nullable=False),
    Column("data", JSON, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

curve_points = Table(
    "curve_points",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("phase", String(32), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("global_step", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("loss", Float(53)),
    Column("smoothed", Float(53)),
    Column("lrs", JSON, nullable=False),
    Column("momentum", Float(53), nullable=False),
    Index("ix_curve_points_order", "job_id", "global_step"),
)

epochs = Table(
    "epochs",
    metadata,
    Column("job_id", String(64), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("phase", String(32), nullable=False),
    Column("global_step", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("train_loss", Float(53)),
    Column("valid_loss", Float(53)),
    Column("accuracy", Float(53)),
    Column("error_rate", Float(53)),
    Column("seconds", Float(53), nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("parent_id", String(64)),
    Column("spec", JSON, nullable=False),
    Column("digest", String(128)),
    Column("counts", JSON(none_as_null=True)),
    Column("classes", JSON, nullable=False),
    Column("report", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("metadata", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_datasets_parent", "parent_id"),
)

models = Table(
    "models",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200)),
    Column("owner", String(64), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("dataset_id", String(64), nullable=False),
    Column("architecture", String(100), nullable=False),
    Column("classes", JSON, nullable=False),
    Column("card", JSON, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", String(128), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_models_dataset", "dataset_id"),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("model_id", String(64), ForeignKey("models.id"), nullable=False),
    Column("moved_ms", BigInteger, nullable=False),
    Index("ix_model_aliases_model", "model_id"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("filename", String(255)),
    Column("format", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
    Index("ix_uploads_digest", "digest"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("scope", String(200), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer),
    Column("body", Text),
    Column("headers", JSON(none_as_null=True)),
    Column("created_ms", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)

stream_tokens = Table(
    "stream_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("job_id", String(64), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_stream_tokens_job", "job_id"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("description", String(200)),
    Column("events", JSON, nullable=False),
    Column("secret", String(80), nullable=False),
    Column("old_secret", String(80)),
    Column("old_secret_until_ms", BigInteger),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", String(200)),
    Column("last_delivered_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Index("ix_webhooks_owner", "owner"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("webhook_id", String(64), ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("type", String(48), nullable=False),
    Column("job_id", String(64)),
    Column("payload", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tries_left", Integer, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("status", Integer),
    Column("error", String(500)),
    Column("tried_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_webhook_deliveries_due", "state", "due_ms"),
    Index("ix_webhook_deliveries_webhook", "webhook_id", "id"),
)

cursor_keys = Table(
    "cursor_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("secret", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("queue", String(32), nullable=False),
    Column("device", String(64), nullable=False),
    Column("hostname", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("metrics", String(300)),
    Column("started_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last_ms", BigInteger, nullable=False),
)
