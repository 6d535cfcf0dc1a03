"""jobs that do another job again."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("retry_of", sa.String(length=64), nullable=True))
    op.create_index("ix_jobs_retry_of", "jobs", ["retry_of"], unique=False)


def downgrade() -> None:
    # not in a batch: on SQLite that makes the table anew, and its old rows take their events along
    op.drop_index("ix_jobs_retry_of", "jobs")
    op.drop_column("jobs", "retry_of")
