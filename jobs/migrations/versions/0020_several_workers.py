"""where workers show their metrics; an index that finds the next job among 100,000."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("metrics", sa.String(length=300), nullable=True))
    op.drop_index("ix_jobs_claim", table_name="jobs")
    op.create_index("ix_jobs_claim", "jobs", ["queue", "state", "priority", "owner", "id"])


def downgrade() -> None:
    op.drop_index("ix_jobs_claim", table_name="jobs")
    op.create_index("ix_jobs_claim", "jobs", ["queue", "state", "priority", "id"])
    op.drop_column("workers", "metrics")
