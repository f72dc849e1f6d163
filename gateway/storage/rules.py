"""What may be published and served: one object, for the commands, the admin API and every opening of a file.

An admin key, or a mistake, must not turn a storage into a way to any file of the machine. So:

1. Below a root nothing hidden is served (`gateway.manifest.is_hidden`), in whatever folder it lies. A hidden
   file is served only by a storage that is made for this one file.
2. Nothing in the gateway's data folder is served: it holds the store and the names of all storages. A root
   that lies inside the data folder was chosen on purpose (the demo does so) and may be served, unless it is
   in one of the folders that the gateway itself keeps there.
3. The same holds for other private places of the settings, such as the key of the TLS certificate.
4. A storage of a single file serves this file: no other name, and no link that has taken its place.

The rules are applied to the file that was opened, not to the name that was asked for: the kernel says where
an open file really lies, so links, "..", other cases of letters, bind mounts and later renames make no
difference. A hard link cannot be told from the file itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Final

from gateway.manifest import hidden_part

OWN_FOLDERS: Final = frozenset({"store", "cache", "mail", "database", "backup", "verified"})
"""Folders that the gateway keeps in its data folder. A root in one of them serves nothing."""

HIDDEN: Final = "is hidden: names that begin with a dot, Thumbs.db and desktop.ini are never served"
PRIVATE: Final = "lies in the gateway's own data folder, which is never served"
SETTINGS_FILE: Final = "is private to the gateway by its settings, and is never served"
MOVED: Final = "was moved while it was opened"

FOLDER_SECONDS: Final = 1.0
"""How long what was found about a folder is used: a version of 10,000 files asks about few folders."""
FOLDERS_KEPT: Final = 1024

_Identity = tuple[int, int]


class ServingRules:
    """The rules above, for one gateway. Every method returns "" or what is wrong, to follow a file's name.

    data: the data folder, which need not exist. private: other files and folders that are never served.
    """

    def __init__(self, data: Path | None = None, private: Iterable[Path] = ()) -> None:
        self._data = None if data is None else os.fsencode(data.absolute())
        self._private = [os.fsencode(path.absolute()) for path in private]
        self._folders: dict[tuple[bytes, bytes], tuple[float, str]] = {}

    def refuse_path(self, root: Path, path: Path) -> str:
        """Look at a file or folder that is to be published. Both paths are absolute and have no links."""
        return self.refuse_opened(os.fsencode(root), os.fsencode(path), path.stat())

    def refuse_opened(self, root: bytes, path: bytes, facts: os.stat_result) -> str:
        """Look at where an open file and its root really lie, as `real_path` says. Says nothing of names.

        What is found about the file's folder is used again for FOLDER_SECONDS.
        """
        if self._private and (facts.st_dev, facts.st_ino) in map(_identity, self._private):
            return SETTINGS_FILE
        folder = path if stat.S_ISDIR(facts.st_mode) else path.rpartition(b"/")[0]
        until, fault = self._folders.get((root, folder), (0.0, ""))
        now = monotonic()
        if now >= until:
            fault = self._refuse_folder(root, folder)
            if len(self._folders) >= FOLDERS_KEPT:
                self._folders.clear()
            self._folders[root, folder] = (now + FOLDER_SECONDS, fault)
        return fault

    def _refuse_folder(self, root: bytes, folder: bytes) -> str:
        """Compare a folder and all above it with the private ones, by what they are and not by name."""
        data = _identity(self._data)
        private = {found for each in self._private if (found := _identity(each))}
        parts = folder.split(b"/")
        for count in range(len(parts), 0, -1):
            found = _identity(b"/".join(parts[:count]) or b"/")
            if found is None:
                continue
            if found in private:
                return SETTINGS_FILE
            if found == data and self._is_own(root, parts, count):
                return PRIVATE
        return ""

    @staticmethod
    def _is_own(root: bytes, parts: list[bytes], data_length: int) -> bool:
        """Whether the gateway keeps this file. data_length: how many `parts` of its path lead to the data."""
        root_length = len(root.rstrip(b"/").split(b"/"))
        below = parts[data_length : data_length + 1]
        return root_length <= data_length or bool(below and os.fsdecode(below[0]).casefold() in OWN_FOLDERS)


def refuse_key(key: str) -> str:
    """Look at a key below a root or in a bucket. Returns "" or what is wrong, to follow the key."""
    return HIDDEN if hidden_part(key) else ""


def real_path(descriptor: int) -> bytes | None:
    """Where an open file lies now, without links; None when the kernel does not say."""
    try:
        return os.readlink(b"/proc/self/fd/%d" % descriptor)
    except OSError:
        return None


def _identity(path: bytes | None) -> _Identity | None:
    """The device and inode of a folder or file; None when there is none."""
    if path is None:
        return None
    try:
        facts = os.stat(path)
    except OSError:
        return None
    is_plain = stat.S_ISDIR(facts.st_mode) or stat.S_ISREG(facts.st_mode)
    return (facts.st_dev, facts.st_ino) if is_plain else None
