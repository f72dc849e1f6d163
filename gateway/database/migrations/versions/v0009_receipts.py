"""The keys that receipts are signed with, and the downloads of a customer.

PostgreSQL keeps no statistics of the attempts of downloads, because samples of them have clients' addresses
(see `v0003_no_statistics_of_persons`).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the index."""
    op.create_table(
        "signing_key",
        sa.Column("id", sa.String(length=43), nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("retired", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_signing_key"),
    )
    op.create_index("ix_download_customer", "download", ["customer"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE download ALTER COLUMN attempts SET STATISTICS 0")
