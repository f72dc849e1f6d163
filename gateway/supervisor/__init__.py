"""Runs workers, mint service and store as processes of its own, and keeps them running: see `core`."""

from gateway.supervisor.commands import run_mint, run_serve, run_up

__all__ = ["run_mint", "run_serve", "run_up"]
