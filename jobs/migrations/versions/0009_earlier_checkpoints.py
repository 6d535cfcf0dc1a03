"""the checkpoint before the newest one, for when that cannot be read."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("earlier_checkpoint", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("earlier_checkpoint_step", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for name in ("earlier_checkpoint_step", "earlier_checkpoint"):
        op.drop_column("jobs", name)
