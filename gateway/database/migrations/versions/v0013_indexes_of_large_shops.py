"""Indexes that spare sorting and joining: a customer's latest purchases, and what waits for a mapping."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Copy the sources of orders to their lines, and make the indexes in the place of those before."""
    op.add_column("order_line", sa.Column("source", sa.Text(), nullable=False, server_default=sa.text("''")))
    orders = sa.table("order", sa.column("id"), sa.column("source"))
    lines = sa.table("order_line", sa.column("order_id"), sa.column("source"))
    source = sa.select(orders.c.source).where(orders.c.id == lines.c.order_id).scalar_subquery()
    op.execute(lines.update().values(source=source))
    op.drop_index("ix_order_line_waiting", table_name="order_line")
    op.create_index(
        "ix_order_line_waiting",
        "order_line",
        ["source", "item_key", "item_value", "order_id"],
        sqlite_where=sa.text("waits = 1"),
        postgresql_where=sa.text("waits"),
    )
    op.drop_index("ix_order_id_source_recipient_id", table_name="order")
    op.create_index("ix_order_id_recipient_id", "order", ["id", "recipient_id"])
    for table, column, order in (
        ("entitlement", "customer_id", "id"),
        ("order", "customer_id", "placed"),
        ("order", "recipient_id", "placed"),
    ):
        op.create_index(f"ix_{table}_{column}_{order}", table, [column, order])
        op.drop_index(f"ix_{table}_{column}", table_name=table)
