"""The cache's folder: ours alone, or one that can be made, on a disk with room for what it may hold.

Nothing is made or written: made by whoever runs `check`, it would not be the gateway's. Root looks on behalf
of the gateway's user, whom nobody names: a folder of another user is told, and no fault.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.config.units import format_size

SUBJECT: Final = "cache"
_BLOCK: Final = 512
"""What `st_blocks` counts, whatever the file system's blocks are (stat(2))."""


def check_cache(path: Path, max_bytes: int) -> Finding:
    """Look at the folder, as this user, or as root for another."""
    try:
        return _fault_of(path) or _owner(path) or _room(path, max_bytes)
    except OSError as error:
        return failed(
            SUBJECT, f"{path} cannot be looked at ({error.strerror})", "mend it, or change cache.path"
        )


def _fault_of(path: Path) -> Finding | None:
    """What would keep a gateway of this user from using it (as `SliceFiles.prepare` sees it)."""
    if not os.path.lexists(path):
        parent = _nearest(path)
        if not parent.is_dir():
            return failed(SUBJECT, f"{path} cannot be made: {parent} is no folder", "correct cache.path")
        if not os.access(parent, os.W_OK | os.X_OK):
            text = f"{path} cannot be made: {parent} cannot be written by this user"
            return failed(SUBJECT, text, "make the folder, owned by the user the gateway runs as")
        return None
    if not path.is_dir():
        return failed(SUBJECT, f"{path} is no folder", "remove it, or correct cache.path")
    facts = path.stat()
    if os.geteuid() not in (0, facts.st_uid):
        text = f"{path} belongs to another user"
        return failed(
            SUBJECT, text, "run check as the user the gateway runs as, or give the folder to this one"
        )
    if facts.st_mode & 0o022:
        return failed(SUBJECT, f"others may write to {path}", "take that from them (chmod 700)")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return failed(SUBJECT, f"{path} cannot be written by this user", "give it all rights (chmod 700)")
    return None


def _owner(path: Path) -> Finding | None:
    """What root has to be told of a folder of another user."""
    if not path.exists() or path.stat().st_uid == os.geteuid():
        return None
    try:
        user = path.owner()
    except KeyError:  # a user of a container, say
        user = str(path.stat().st_uid)
    mend = "that is right if the gateway runs as that user; else give it to the one it runs as"
    return warned(SUBJECT, f"{path} belongs to {user}", mend)


def _room(path: Path, max_bytes: int) -> Finding:
    """Whether the disk has what the cache may come to hold, with what it holds already."""
    facts = os.statvfs(_nearest(path))
    held = _held(path)
    room = facts.f_bavail * facts.f_frsize + held
    if room < max_bytes:
        text = (
            f"it may hold {format_size(max_bytes)}, and the disk of {path} has room for {format_size(room)}"
        )
        return warned(SUBJECT, text, "lower cache.max_bytes: downloads from a full disk are not cached")
    state = "holds " + format_size(held) if path.exists() else "can be made"
    return passed(SUBJECT, f"{path} {state}; there is room for its {format_size(max_bytes)}")


def _held(path: Path) -> int:
    """Bytes on the disk below the folder. What goes meanwhile (a gateway may run) is not counted."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * _BLOCK
            except FileNotFoundError:
                continue
    return total


def _nearest(path: Path) -> Path:
    """The path, or the closest above it that is there."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))
