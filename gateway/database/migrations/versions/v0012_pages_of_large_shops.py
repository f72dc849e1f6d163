"""For the pages of large shops: totals of blocks of days, and indexes of tokens and of what waits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

DAYS = 16
LEVELS = ((4, ("product", "version")), (5, ("product", "version", "client")))
"""What each level keeps apart, as gateway.usage.day_totals had it when this was written."""


def upgrade() -> None:
    """Add up what there is, and make the indexes."""
    names, sums = ("product", "version", "client"), ("started", "completed", "bytes")
    days = sa.table("usage_day", sa.column("day", sa.Integer()), *map(sa.column, (*names, *sums)))
    totals = sa.table("usage_total", *map(sa.column, ("level", "day", *names, *sums)))
    block = days.c.day - days.c.day % sa.literal_column(str(DAYS))
    for level, kept in LEVELS:
        columns = [days.c[name] if name in kept else sa.literal("").label(name) for name in names]
        added = sa.select(
            sa.literal(level), block, *columns, *(sa.func.sum(days.c[name]) for name in sums)
        ).group_by(block, *(days.c[name] for name in kept))
        op.execute(totals.insert().from_select([column.name for column in totals.columns], added))
    op.drop_index("ix_download_customer", table_name="download")
    op.create_index("ix_download_customer_file_id", "download", ["customer", "file_id"])
    op.drop_index("ix_token_email", table_name="token")
    op.create_index("ix_token_email_expires_id", "token", ["email", "expires", "id"])
    op.drop_index("ix_order_line_waits_item_key_item_value", table_name="order_line")
    op.create_index(
        "ix_order_line_waiting",
        "order_line",
        ["item_key", "item_value", "order_id"],
        sqlite_where=sa.text("waits = 1"),
        postgresql_where=sa.text("waits"),
    )
    op.create_index("ix_order_id_source_recipient_id", "order", ["id", "source", "recipient_id"])
