"""The first tables: catalogue, API keys, customers, orders, entitlements, connections, audit.

The types are written out, because a migration must mean the same for ever, also when
`gateway.database.types` changes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "api_key",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=("pk_api_key")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_audit")),
    )
    op.create_table(
        "connection",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("last_event", sa.BigInteger(), nullable=True),
        sa.Column("last_refused", sa.BigInteger(), nullable=True),
        sa.Column("refused", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=("pk_connection")),
        sa.UniqueConstraint("name", name=("uq_connection_name")),
    )
    op.create_table(
        "customer",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("erased", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=("pk_customer")),
    )
    op.create_table(
        "fact",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fact_key", sa.Text(), nullable=False),
        sa.Column("reference_kind", sa.Text(), nullable=False),
        sa.Column("reference_value", sa.Text(), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "fact_key", name=("pk_fact")),
    )
    op.create_index(
        "ix_fact_source_reference_kind_reference_value",
        "fact",
        ["source", "reference_kind", "reference_value"],
        unique=False,
    )
    op.create_table(
        "manifest",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=("pk_manifest")),
    )
    op.create_table(
        "order_reference",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "kind", "value", "external_id", name=("pk_order_reference")),
    )
    op.create_index(
        "ix_order_reference_source_external_id", "order_reference", ["source", "external_id"], unique=False
    )
    op.create_table(
        "product",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("active", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_product")),
    )
    op.create_table(
        "removed",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_removed"),
    )
    op.create_table(
        "state",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=("pk_state")),
    )
    op.create_table(
        "customer_email",
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.String(length=26), nullable=False),
        sa.Column("written", sa.Text(), nullable=False),
        sa.Column("main", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customer.id"],
            name=("fk_customer_email_customer_id_customer"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("email", name=("pk_customer_email")),
    )
    op.create_index("ix_customer_email_customer_id", "customer_email", ["customer_id"], unique=False)
    op.create_table(
        "inbox",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("connection_id", sa.String(length=26), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("happened", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
            name=("fk_inbox_connection_id_connection"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=("pk_inbox")),
        sa.UniqueConstraint("connection_id", "dedupe_key", name=("uq_inbox_connection_id_dedupe_key")),
    )
    op.create_index(
        "ix_inbox_connection_id_state_id", "inbox", ["connection_id", "state", "id"], unique=False
    )
    op.create_index("ix_inbox_due", "inbox", ["due"], unique=False)
    op.create_table(
        "mapping",
        sa.Column("connection_id", sa.String(length=26), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("products", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
            name=("fk_mapping_connection_id_connection"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("connection_id", "key", "value", name=("pk_mapping")),
    )
    op.create_index("ix_mapping_key_value", "mapping", ["key", "value"], unique=False)
    op.create_table(
        "order",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.String(length=26), nullable=True),
        sa.Column("customer_id", sa.String(length=26), nullable=True),
        sa.Column("recipient_id", sa.String(length=26), nullable=True),
        sa.Column("customer_told", sa.Text(), nullable=True),
        sa.Column("recipient_told", sa.Text(), nullable=True),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("placed", sa.BigInteger(), nullable=False),
        sa.Column("test", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("erased", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["connection.id"],
            name=("fk_order_connection_id_connection"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=("fk_order_customer_id_customer"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["recipient_id"], ["customer.id"], name=("fk_order_recipient_id_customer"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=("pk_order")),
        sa.UniqueConstraint("source", "external_id", name=("uq_order_source_external_id")),
    )
    op.create_index("ix_order_customer_id", "order", ["customer_id"], unique=False)
    op.create_index("ix_order_placed_id", "order", ["placed", "id"], unique=False)
    op.create_index("ix_order_recipient_id", "order", ["recipient_id"], unique=False)
    op.create_index("ix_order_status_id", "order", ["status", "id"], unique=False)
    op.create_table(
        "version",
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("manifest", sa.String(length=64), nullable=False),
        sa.Column("trusted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("published", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest"], ["manifest.digest"], name=("fk_version_manifest_manifest"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["product"], ["product.id"], name=("fk_version_product_product"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("product", "version", name=("pk_version")),
    )
    op.create_table(
        "inbox_reference",
        sa.Column("inbox_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["inbox_id"], ["inbox.id"], name=("fk_inbox_reference_inbox_id_inbox"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("inbox_id", "kind", "value", name=("pk_inbox_reference")),
    )
    op.create_index("ix_inbox_reference_kind_value", "inbox_reference", ["kind", "value"], unique=False)
    op.create_table(
        "order_line",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("order_id", sa.String(length=26), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_key", sa.Text(), nullable=True),
        sa.Column("item_value", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("refunded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("waits", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("gone", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint("quantity >= 0 AND refunded >= 0", name=("ck_order_line_counts")),
        sa.ForeignKeyConstraint(
            ["order_id"], ["order.id"], name=("fk_order_line_order_id_order"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=("pk_order_line")),
        sa.UniqueConstraint("order_id", "external_id", name=("uq_order_line_order_id_external_id")),
    )
    op.create_index(
        "ix_order_line_waits_item_key_item_value",
        "order_line",
        ["waits", "item_key", "item_value"],
        unique=False,
    )
    op.create_table(
        "entitlement",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("customer_id", sa.String(length=26), nullable=False),
        sa.Column("line_id", sa.String(length=26), nullable=True),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("updates_until", sa.BigInteger(), nullable=True),
        sa.Column("bought", sa.Integer(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("override", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("test", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("enforced", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity >= 0", name=("ck_entitlement_count")),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customer.id"],
            name=("fk_entitlement_customer_id_customer"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["line_id"], ["order_line.id"], name=("fk_entitlement_line_id_order_line"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=("pk_entitlement")),
        sa.UniqueConstraint("line_id", "product_id", name=("uq_entitlement_line_id_product_id")),
    )
    op.create_index("ix_entitlement_customer_id", "entitlement", ["customer_id"], unique=False)
    op.create_index("ix_entitlement_product_id_id", "entitlement", ["product_id", "id"], unique=False)
    op.create_index(
        "ix_entitlement_unenforced",
        "entitlement",
        ["id"],
        unique=False,
        sqlite_where=sa.text("status <> enforced"),
        postgresql_where=sa.text("status <> enforced"),
    )
    op.create_table(
        "line_item",
        sa.Column("line_id", sa.String(length=26), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["line_id"], ["order_line.id"], name=("fk_line_item_line_id_order_line"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("line_id", "key", "value", name=("pk_line_item")),
    )
    op.create_index("ix_line_item_key_value", "line_item", ["key", "value"], unique=False)
    op.create_table(
        "link",
        sa.Column("token_id", sa.String(length=32), nullable=False),
        sa.Column("entitlement_id", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["entitlement_id"],
            ["entitlement.id"],
            name=("fk_link_entitlement_id_entitlement"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_id", name=("pk_link")),
    )
    op.create_index("ix_link_entitlement_id_expires", "link", ["entitlement_id", "expires"], unique=False)
    op.create_table(
        "seat",
        sa.Column("entitlement_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entitlement_id"],
            ["entitlement.id"],
            name=("fk_seat_entitlement_id_entitlement"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("entitlement_id", "number", name=("pk_seat")),
    )
