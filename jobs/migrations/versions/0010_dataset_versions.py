"""which dataset a version was made of."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("parent_id", sa.String(64)))
    op.create_index("ix_datasets_parent", "datasets", ["parent_id"])


def downgrade() -> None:
    op.drop_index("ix_datasets_parent", "datasets")
    op.drop_column("datasets", "parent_id")
