"""Run by Alembic. The connection and its transaction are those of `gateway.database.migrating`."""

from __future__ import annotations

from alembic import context

from gateway.database.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # also true of SQLite, which Alembic does not assume
)
context.run_migrations()
