"""Checks how many files the processes may open: each connection needs several descriptors."""

from __future__ import annotations

from gateway.cli.checks import Finding, passed, warned
from gateway.config.settings import Settings
from gateway.runtime.descriptors import hard_limit, needed_limit, share_descriptors


def check_descriptors(settings: Settings, limit: int | None = None) -> Finding:
    """Compare the hard limit of this process with the settings. limit: instead of the real one."""
    limit = hard_limit() if limit is None else limit
    each = settings.descriptors_each
    shares = share_descriptors(limit, settings.max_connections, settings.open_files, each)
    if shares == (settings.max_connections, settings.open_files):
        return passed("open files", f"the limit of {limit} is enough for max_connections")
    needed = needed_limit(settings.max_connections, settings.open_files, each)
    return warned(
        "open files",
        f"a process may open {limit} files: a worker can have {shares.connections} connections instead of "
        f"{settings.max_connections}, and keep {shares.files} files open instead of {settings.open_files}",
        f"raise the hard limit to {needed} (LimitNOFILE= of systemd, --ulimit nofile= of Docker), or lower "
        "max_connections and open_files",
    )
