"""PostgreSQL keeps no statistics of columns that tell of persons.

They are samples of the values, such as addresses, in a table of the system that an erasure cannot reach.
Every search by such a column is for one value by an index, so the planner does not need them.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = {
    "customer": ("name",),
    "customer_email": ("email", "written"),
    "entitlement": ("reason",),
    "fact": ("fact_key", "reference_value", "body"),
    "inbox": ("dedupe_key", "headers", "body"),
    "inbox_reference": ("value",),
    "line_item": ("value",),
    "order": ("customer_told", "recipient_told", "number", "details"),
    "order_line": ("external_id", "item_value", "title"),
    "order_reference": ("value",),
    "seat": ("email", "name"),
    "token": ("customer", "email", "name", "metadata"),
}


def upgrade() -> None:
    """Keep none from now on."""
    _set(0)


def downgrade() -> None:
    """Keep as many as of other columns."""
    _set(-1)


def _set(target: int) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in COLUMNS.items():
        changes = ", ".join(f'ALTER COLUMN "{column}" SET STATISTICS {target}' for column in columns)
        op.execute(f'ALTER TABLE "{table}" {changes}')
