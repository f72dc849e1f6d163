"""The outbox of mails, announcements of new versions, and when orders were ready first.

Orders that are known already were ready when they were made, so that nobody is told of them now.

The types are written out, because a migration must mean the same for ever.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make tables and columns."""
    op.create_table(
        "outbox_mail",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=True),
        sa.Column("customer_id", sa.String(length=26), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tried", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name="fk_outbox_mail_customer_id_customer", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_outbox_mail"),
        sa.UniqueConstraint("dedupe_key", name="uq_outbox_mail_dedupe_key"),
    )
    for columns in (
        ["customer_id"],
        ["state", "priority", "due"],
        ["recipient", "created"],
        ["tried"],
        ["created"],
    ):
        op.create_index(f"ix_outbox_mail_{'_'.join(columns)}", "outbox_mail", columns)
    op.create_table(
        "announcement",
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("last_customer", sa.Text(), nullable=False),
        sa.Column("mails", sa.Integer(), server_default="0", nullable=False),
        sa.Column("finished", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("product", "version", name="pk_announcement"),
    )
    op.add_column("connection", sa.Column("mail", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("order", sa.Column("ready", sa.BigInteger(), nullable=True))
    op.execute(
        'UPDATE "order" SET ready = created WHERE id IN ('
        "SELECT order_line.order_id FROM order_line "
        "JOIN entitlement ON entitlement.line_id = order_line.id)"
    )
    if op.get_bind().dialect.name == "postgresql":  # see step 0003
        for column in ("recipient", "error"):
            op.execute(f'ALTER TABLE outbox_mail ALTER COLUMN "{column}" SET STATISTICS 0')


def downgrade() -> None:
    """Remove them."""
    op.drop_column("order", "ready")
    op.drop_column("connection", "mail")
    op.drop_table("announcement")
    op.drop_table("outbox_mail")
