"""jobs that wait for other jobs, and API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("parent_id", sa.String(length=64), nullable=True))
    op.create_index("ix_jobs_parent", "jobs", ["parent_id"], unique=False)

    op.create_table(
        "dependencies",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("on_job_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_dependencies_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["on_job_id"], ["jobs.id"], name=op.f("fk_dependencies_on_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "on_job_id", name=op.f("pk_dependencies")),
    )
    op.create_index("ix_dependencies_on", "dependencies", ["on_job_id"], unique=False)

    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_used_ms", sa.BigInteger(), nullable=True),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
    )


def downgrade() -> None:
    op.drop_table("api_keys")
    op.drop_table("dependencies")
    # not in a batch: on SQLite that makes the table anew, and its old rows take their events along
    op.drop_index("ix_jobs_parent", "jobs")
    op.drop_column("jobs", "parent_id")
