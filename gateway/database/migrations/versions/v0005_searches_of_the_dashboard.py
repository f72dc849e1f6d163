"""Indexes for what the dashboard searches: customers, orders, and tokens that have expired."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_order_status_placed_id", "order", ["status", "placed", "id"]),
    ("ix_order_number", "order", ["number"]),
    ("ix_order_external_id", "order", ["external_id"]),
    ("ix_token_expires_id", "token", ["expires", "id"]),
    ("ix_token_product_expires_id", "token", ["product", "expires", "id"]),
)
BEGINNING = "ix_customer_email_beginning"


def upgrade() -> None:
    """Make them."""
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)
    op.create_index(BEGINNING, "customer_email", ["email"], postgresql_ops={"email": "text_pattern_ops"})


def downgrade() -> None:
    """Remove them."""
    op.drop_index(BEGINNING, "customer_email")
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table)
