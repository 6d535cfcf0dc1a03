"""names that lead to one model of an owner."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("alias", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=64), nullable=False),
        sa.Column("moved_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_model_aliases_model_id")
        ),
        sa.PrimaryKeyConstraint("owner", "alias", name=op.f("pk_model_aliases")),
    )
    op.create_index("ix_model_aliases_model", "model_aliases", ["model_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_model_aliases_model", "model_aliases")
    op.drop_table("model_aliases")
