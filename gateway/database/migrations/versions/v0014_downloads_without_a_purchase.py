"""Mark the downloads by tokens of no purchase, which *paid and never downloaded* looks for by customer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TOKEN_ID_LENGTH = 32
"""The holder of such a series is a token; every other one is an entitlement, whose id has 26 characters."""


def upgrade() -> None:
    """Mark the downloads, and make indexes of these tokens and downloads alone."""
    op.add_column("download", sa.Column("direct", sa.Boolean(), server_default=sa.false(), nullable=False))
    series = sa.table("series", sa.column("id"), sa.column("holder"))
    downloads = sa.table("download", sa.column("series_id"), sa.column("direct", sa.Boolean()))
    theirs = sa.select(series.c.id).where(sa.func.length(series.c.holder) == TOKEN_ID_LENGTH)
    op.execute(downloads.update().where(downloads.c.series_id.in_(theirs)).values(direct=True))
    op.create_index(
        "ix_download_direct",
        "download",
        ["customer", "file_id"],
        sqlite_where=sa.text("direct = 1"),
        postgresql_where=sa.text("direct"),
    )
    without = sa.text("entitlement_id IS NULL")
    op.create_index(
        "ix_token_direct",
        "token",
        ["email", "created"],
        sqlite_where=without,
        postgresql_where=without,
    )
