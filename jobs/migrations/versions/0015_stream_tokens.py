"""tokens that let a page watch one job."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream_tokens",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_stream_tokens_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_stream_tokens")),
    )
    op.create_index("ix_stream_tokens_job", "stream_tokens", ["job_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_stream_tokens_job", "stream_tokens")
    op.drop_table("stream_tokens")
