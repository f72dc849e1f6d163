"""Outgoing webhooks: endpoints, what is announced, and the outbox; and which tokens and downloads have ended.

What ended before is not announced. The types are written out, because a migration must mean the same for
ever.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_PERSONAL = {"webhook_event": ("key", "data", "customer")}


def upgrade() -> None:
    """Make the tables and columns."""
    op.create_table(
        "webhook",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("paused_until", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("last_success", sa.BigInteger(), nullable=True),
        sa.Column("last_failure", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("disabled", sa.BigInteger(), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook"),
    )
    op.create_table(
        "webhook_event",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("happened", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_event"),
        sa.UniqueConstraint("key", name="uq_webhook_event_key"),
    )
    op.create_index("ix_webhook_event_created", "webhook_event", ["created"])
    op.create_index("ix_webhook_event_customer", "webhook_event", ["customer"])
    op.create_table(
        "outbox_webhook",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("webhook_id", sa.String(length=26), nullable=False),
        sa.Column("event_id", sa.String(length=26), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("claim", sa.String(length=26), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox_webhook"),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["webhook_event.id"],
            name="fk_outbox_webhook_event_id_webhook_event",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("event_id", "webhook_id", name="uq_outbox_webhook_event_id_webhook_id"),
    )
    op.create_index("ix_outbox_webhook_webhook_id_due", "outbox_webhook", ["webhook_id", "due"])
    op.create_index("ix_outbox_webhook_webhook_id_state_id", "outbox_webhook", ["webhook_id", "state", "id"])
    op.create_index("ix_outbox_webhook_webhook_id_id", "outbox_webhook", ["webhook_id", "id"])
    _add_endings()
    if op.get_bind().dialect.name == "postgresql":  # no samples of what tells of persons: see step 0003
        for table, columns in _PERSONAL.items():
            changes = ", ".join(f'ALTER COLUMN "{column}" SET STATISTICS 0' for column in columns)
            op.execute(f'ALTER TABLE "{table}" {changes}')


def _add_endings() -> None:
    op.add_column("token", sa.Column("expired", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("download", sa.Column("failed", sa.BigInteger(), nullable=True))
    clock = "extract(epoch from now()) * 1000"
    if op.get_bind().dialect.name == "sqlite":
        clock = "CAST(strftime('%s', 'now') AS INTEGER) * 1000"
    op.execute(f"UPDATE token SET expired = true WHERE expires < {clock}")  # noqa: S608 - no value from outside
    op.execute("UPDATE download SET failed = last WHERE completed IS NULL")
    alive = sa.text("NOT expired")
    op.create_index("ix_token_alive", "token", ["expires"], sqlite_where=alive, postgresql_where=alive)
    open_ = sa.text("completed IS NULL AND failed IS NULL")
    op.create_index("ix_download_open", "download", ["last"], sqlite_where=open_, postgresql_where=open_)


def downgrade() -> None:
    """Remove them."""
    op.drop_index("ix_download_open", "download")
    op.drop_index("ix_token_alive", "token")
    op.drop_column("download", "failed")
    op.drop_column("token", "expired")
    for table in ("outbox_webhook", "webhook_event", "webhook"):
        op.drop_table(table)
