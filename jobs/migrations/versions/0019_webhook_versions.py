"""how often webhooks were edited."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    one = sa.text("1")
    op.add_column(
        "webhooks", sa.Column("version", sa.Integer(), nullable=False, server_default=one)
    )


def downgrade() -> None:
    op.drop_column("webhooks", "version")
