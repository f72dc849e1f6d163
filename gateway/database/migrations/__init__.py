"""The chain of migrations. `env.py` is what Alembic runs; `versions/` has the steps, in their order."""
