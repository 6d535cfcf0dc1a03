"""what finished jobs have in a file beside the database."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_DUE = sa.text("record_wanted <> record_written")


def upgrade() -> None:
    for name in ("record_wanted", "record_written"):
        zero = sa.text("0")
        op.add_column("jobs", sa.Column(name, sa.BigInteger(), nullable=False, server_default=zero))
    # those that ended before have no file yet
    op.execute(
        "UPDATE jobs SET record_wanted = 1 WHERE state IN ('succeeded', 'failed', 'cancelled')"
    )
    op.create_index(
        "ix_jobs_record_due", "jobs", ["state"], sqlite_where=_DUE, postgresql_where=_DUE
    )


def downgrade() -> None:
    # not in a batch: on SQLite that makes the table anew, and its old rows take their events along
    op.drop_index("ix_jobs_record_due", "jobs")
    for name in ("record_written", "record_wanted"):
        op.drop_column("jobs", name)
