"""The totals of days, for pages that show a year; and the days of one product by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

LEVELS = ((0, ()), (1, ("client",)), (2, ("product",)), (3, ("product", "version")))
"""What each level keeps apart, as gateway.usage.day_totals had it when this was written."""


def upgrade() -> None:
    """Make them, and add up what there is."""
    op.create_table(
        "usage_total",
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("completed", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("level", "day", "product", "version", "client", name="pk_usage_total"),
        sqlite_with_rowid=False,
    )
    names, sums = ("product", "version", "client"), ("started", "completed", "bytes")
    days = sa.table("usage_day", *map(sa.column, ("day", *names, *sums)))
    totals = sa.table("usage_total", *map(sa.column, ("level", "day", *names, *sums)))
    for level, kept in LEVELS:
        columns = [days.c[name] if name in kept else sa.literal("").label(name) for name in names]
        added = sa.select(
            sa.literal(level), days.c.day, *columns, *(sa.func.sum(days.c[name]) for name in sums)
        ).group_by(days.c.day, *(days.c[name] for name in kept))
        op.execute(totals.insert().from_select([column.name for column in totals.columns], added))
    op.create_index("ix_usage_day_product_day", "usage_day", ["product", "day"])
