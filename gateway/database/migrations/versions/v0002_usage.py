"""Tables of usage: tokens that were known, downloads, days.

The types are written out, because a migration must mean the same for ever.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "token",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("entitlement_id", sa.String(length=26), nullable=True),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("max_downloads", sa.BigInteger(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("test", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
    )
    op.create_index("ix_token_email", "token", ["email"], unique=False)
    op.create_index("ix_token_entitlement_id", "token", ["entitlement_id"], unique=False)
    op.create_table(
        "usage_file",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_usage_file"),
    )
    op.create_index("ix_usage_file_product_version", "usage_file", ["product", "version"], unique=False)
    op.create_table(
        "series",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("file_id", sa.String(length=26), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
    )
    op.create_index("ix_series_holder", "series", ["holder"], unique=False)
    op.create_table(
        "token_series",
        sa.Column("token_id", sa.String(length=32), nullable=False),
        sa.Column("series_id", sa.String(length=26), nullable=False),
        sa.PrimaryKeyConstraint("token_id", "series_id", name="pk_token_series"),
    )
    op.create_table(
        "download",
        sa.Column("series_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("file_id", sa.String(length=26), nullable=False),
        sa.Column("token_id", sa.String(length=32), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("test", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("covered", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Text(), nullable=False),
        sa.Column("privacy", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("series_id", "number", name="pk_download"),
    )
    op.create_index("ix_download_first_series_id_number", "download", ["first", "series_id", "number"])
    op.create_index("ix_download_privacy_last", "download", ["privacy", "last"])
    op.create_table(
        "usage_day",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "product", "version", "client", "outcome", name="pk_usage_day"),
    )
    op.create_table(
        "usage_customer",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day", "product", "version", "client", "customer", name="pk_usage_customer"),
    )
    op.create_table(
        "usage_position",
        sa.Column("worker", sa.String(length=32), nullable=False),
        sa.Column("applied", sa.Text(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker", name="pk_usage_position"),
    )
    op.create_index("ix_usage_position_updated", "usage_position", ["updated"], unique=False)
