"""Seats are found by the address that has them, when its owner signs in."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index(op.f("ix_seat_email"), "seat", ["email"])


def downgrade() -> None:
    """Take it away."""
    op.drop_index(op.f("ix_seat_email"), table_name="seat")
