"""A file that lines are appended to for months: it may be moved away, vanish, or be on a disk that fills up.

Rules:

1. `find_fault` looks at a path without changing anything. Commands call it before they start, so that a
   mistake in the settings is one line.
2. Afterwards nothing that happens to the file ends or delays a process. Lines that cannot be written are lost
   and counted. One line in the log tells of it, however long it lasts, and one tells of its end.
3. A file is opened again when the path names another file, as after logrotate's `create`, and when the path
   has named none for a second: logrotate moves the file first, and makes the new one next. Until there is a
   new file, lines go to the one that was open.
4. A FIFO is opened only if some program reads from it; without a reader, opening would wait for ever.
5. After a write that ended within a line, the next one begins with a line end, so that one line at most is
   damaged.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
import time
from pathlib import Path
from typing import Final

from gateway.runtime.system_errors import describe

CHECK_SECONDS: Final = 1.0
"""How often the path is compared with the file that is open, and how long a path may name no file."""

STANDARD_OUTPUT: Final = "-"

_log = logging.getLogger("gateway")


def find_fault(path: Path) -> str | None:
    """Say why lines cannot be appended to the file now, in one line with the remedy; None if they can."""
    folder = path.parent
    if not os.path.lexists(folder):
        return f"the folder {folder} does not exist: make it, or name another file"
    if not folder.is_dir():
        return f"{folder} is not a folder: name a file in a folder"
    try:
        if not path.exists():
            return _find_fault_of_folder(path)
        if path.is_dir():
            return f"{path} is a folder: name a file in it"
        return _find_fault_of_file(path)
    except OSError as error:
        return _describe(path, error)


def _find_fault_of_folder(path: Path) -> str | None:
    folder = path.resolve().parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        return f"{path} is a link to a file in {folder}, which does not exist: make that folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"no file can be made in {folder}: let this user write to the folder, or name another file"
    room = os.statvfs(folder)
    if _is_full(room) or (room.f_files and not (room.f_ffree if os.geteuid() == 0 else room.f_favail)):
        return f"the disk of {folder} is full: make room, or name a file on another disk"
    return None


def _find_fault_of_file(path: Path) -> str | None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            if _is_full(os.fstatvfs(descriptor)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:
            os.write(descriptor, b"")  # such as /dev/full
    finally:
        os.close(descriptor)
    return None


def _is_full(room: os.statvfs_result) -> bool:
    """Whether the disk has no block left. A file system without blocks, such as /proc, is not full."""
    return bool(room.f_blocks) and not (room.f_bfree if os.geteuid() == 0 else room.f_bavail)


def _describe(path: Path, error: OSError) -> str:
    if error.errno == errno.ENXIO:
        return f"{path} is a pipe or a socket that no program reads: start its reader first"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {path.parent} is full: make room, or name a file on another disk"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} cannot be written: let this user write to it, or name another file"
    return f"{path} cannot be written ({describe(error)}): name another file"


class LogFile:
    """The file of a setting (or standard output, for `-`), open for appending. For one thread at a time."""

    def __init__(self, setting: str, target: str) -> None:
        """Open the file. If that fails, it is tried again later. setting: its name, for the log."""
        self._setting = setting
        self._path = None if target == STANDARD_OUTPUT else target
        self._descriptor: int | None = None
        self._is_failing = False
        self._lost = 0
        self._is_within_line = False
        self._checked = time.monotonic()
        self._was_missing = False
        if self._path is None:
            self._descriptor = os.dup(sys.stdout.fileno())
        else:
            self.reopen()

    def write(self, data: bytes, lines: int) -> int:
        """Append `data`, which is so many whole lines. Returns how many of them were lost."""
        self._look_at_path()
        if self._descriptor is None:
            self._lost += lines
            return lines
        if self._is_within_line:
            data = b"\n" + data
        try:
            while data:
                written = os.write(self._descriptor, data)
                self._is_within_line = data[written - 1 : written] != b"\n"
                data = data[written:]
        except OSError as error:
            left = min(lines, data.count(b"\n"))
            self._lost += left
            self._fail(error)
            return left
        self._recover()
        return 0

    def reopen(self) -> None:
        """Open what the path names now. If that fails, what was open stays in use."""
        if self._path is None:
            return
        try:
            descriptor = _open(self._path)
        except OSError as error:
            self._fail(error)
            return
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._was_missing = False
        self._is_within_line = False

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _look_at_path(self) -> None:
        """Open the file again if the path does not name the open one any more (rule 3). Once a second."""
        now = time.monotonic()
        if self._path is None or now < self._checked + CHECK_SECONDS:
            return
        self._checked = now
        if self._descriptor is None:
            self.reopen()
            return
        try:
            is_same = os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except OSError:
            if self._was_missing:
                self.reopen()
            else:
                self._was_missing = True
            return
        self._was_missing = False
        if not is_same:
            self.reopen()

    def _fail(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            _log.error(
                "%s: %s cannot be written (%s): lines may be lost until it can be, and downloads go on",
                self._setting,
                self._path or "standard output",
                describe(error),
            )

    def _recover(self) -> None:
        if self._is_failing and not self._was_missing:
            text = "%s: %s is written again; lines that are lost: %d"
            _log.warning(text, self._setting, self._path or "standard output", self._lost)
            self._is_failing, self._lost = False, 0


def _open(path: str) -> int:
    """Open for appending, without waiting for the reader of a FIFO. Writes may wait: a thread makes them."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
    os.set_blocking(descriptor, True)
    return descriptor
