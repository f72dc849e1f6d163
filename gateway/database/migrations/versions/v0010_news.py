"""Which customers want no news of versions, and the secrets in the links by which they say so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "news",
        sa.Column("customer_id", sa.String(length=26), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("declined", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name="fk_news_customer_id_customer", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("customer_id", name="pk_news"),
        sa.UniqueConstraint("secret", name="uq_news_secret"),
    )
