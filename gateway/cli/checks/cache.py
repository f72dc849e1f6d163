"""Checks the cache's folder: only this user may write to it, or it can be made, and its disk is large enough.

Nothing is made or written: a folder made by the user who runs `check` might not belong to the gateway's user.
When root runs `check`, the gateway's user is not known, so a folder of another user is reported as a warning.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.config.units import format_size
from gateway.runtime.system_errors import describe

SUBJECT: Final = "cache"
_BLOCK: Final = 512
"""The unit of `st_blocks` in bytes, which does not depend on the file system (stat(2))."""


def check_cache(path: Path, max_bytes: int) -> Finding:
    """Check the folder for this user; as root, for the gateway's user."""
    try:
        return _check_access(path) or _check_owner(path) or _check_room(path, max_bytes)
    except OSError as error:
        return failed(
            SUBJECT, f"{path} cannot be examined ({describe(error)})", "repair it, or change cache.path"
        )


def _check_access(path: Path) -> Finding | None:
    """Find what would prevent a gateway of this user from using the folder; see `SliceFiles.prepare`."""
    if not os.path.lexists(path):
        parent = _nearest(path)
        if not parent.is_dir():
            return failed(SUBJECT, f"{path} cannot be made: {parent} is not a folder", "correct cache.path")
        if not os.access(parent, os.W_OK | os.X_OK):
            text = f"{path} cannot be made: {parent} cannot be written by this user"
            return failed(SUBJECT, text, "make the folder, owned by the user the gateway runs as")
        return None
    if not path.is_dir():
        return failed(SUBJECT, f"{path} is not a folder", "remove it, or correct cache.path")
    facts = path.stat()
    if os.geteuid() not in (0, facts.st_uid):
        text = f"{path} belongs to another user"
        return failed(
            SUBJECT, text, "run check as the user the gateway runs as, or give the folder to this one"
        )
    if facts.st_mode & 0o022:
        return failed(SUBJECT, f"others may write to {path}", "remove that right (chmod 700)")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return failed(
            SUBJECT, f"{path} cannot be written by this user", "give this user all rights (chmod 700)"
        )
    return None


def _check_owner(path: Path) -> Finding | None:
    """Warn root about a folder that belongs to another user."""
    if not path.exists() or path.stat().st_uid == os.geteuid():
        return None
    try:
        user = path.owner()
    except KeyError:  # such as a user who exists only in a container
        user = str(path.stat().st_uid)
    remedy = "that is right if the gateway runs as that user; otherwise, make its user the owner"
    return warned(SUBJECT, f"{path} belongs to {user}", remedy)


def _check_room(path: Path, max_bytes: int) -> Finding:
    """Compare the cache's largest size with what it uses already and the free space of its disk."""
    facts = os.statvfs(_nearest(path))
    used = _used(path)
    room = facts.f_bavail * facts.f_frsize + used
    if room < max_bytes:
        most, free = format_size(max_bytes), format_size(room)
        text = f"it may grow to {most}, but the disk of {path} has room for {free}"
        return warned(SUBJECT, text, "lower cache.max_bytes: downloads from a full disk are not cached")
    state = "holds " + format_size(used) if path.exists() else "can be made"
    return passed(SUBJECT, f"{path} {state}; there is room for its {format_size(max_bytes)}")


def _used(path: Path) -> int:
    """Bytes on the disk below the folder, without files that a running gateway removes meanwhile."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * _BLOCK
            except FileNotFoundError:
                continue
    return total


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))
