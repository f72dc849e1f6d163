"""What this machine knows of the content of files: which fingerprint was seen with the published SHA-256.

A fingerprint is the modification time, the change time and the inode of a file. A backup, a copy, a hard link
or another owner changes it without changing a byte, and a file can be replaced by another one of the same
size and modification time. So a file is served if its fingerprint is one that was seen with the content of
the manifest. Otherwise its content is compared first (`comparisons.py`).

Why this is not in the manifest: a manifest is immutable and the same on all machines, but fingerprints differ
between machines and change. Each machine keeps a small file for each published file, below `<data>/verified`,
which all its processes share. Losing these files costs one comparison each, and never a wrong byte.

    verified     fingerprints seen with the published content, the newest first
    different    a fingerprint seen with other content; `at`: when (seconds since 1970)
    failures     comparisons in a row that did not end well; `again`: before this time no other is begun
    fault        how the last of them ended

A file of which nothing is known is taken as published if its modification time is the manifest's and can tell
contents apart: programs that set times (builds, archives, package managers) set whole seconds, and a file
that was written has a fraction.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.manifest import ManifestFile

FOLDER: Final = "verified"
KEPT_FINGERPRINTS: Final = 4
"""How many fingerprints of one file are kept: a link may be turned back and forth between releases."""
KEPT_IN_MEMORY: Final = 10_000
"""How many records a process also keeps in memory, in case the folder cannot be written: some 10 MB."""
_NANOSECONDS: Final = 1_000_000_000


class Fingerprint(NamedTuple):
    """What shows that a file was perhaps changed. Both times are in nanoseconds since 1970."""

    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, facts: os.stat_result) -> Fingerprint:
        """The fingerprint of a file from its stat."""
        return cls(facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)

    def difference(self, other: Fingerprint) -> str:
        """Say in which of the three this one differs from `other`, an earlier one."""
        names = ("modification time", "change time", "inode")
        return ", ".join(
            f"{name} {new} instead of {old}"
            for name, new, old in zip(names, self, other, strict=True)
            if new != old
        )


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of the content of one published file; see the top of the module."""

    verified: tuple[Fingerprint, ...] = ()
    different: Fingerprint | None = None
    at: float = 0.0
    failures: int = 0
    again: float = 0.0
    fault: str = ""


NOTHING_KNOWN: Final = Record()


def can_tell(modified: int) -> bool:
    """Whether a modification time (nanoseconds since 1970) tells contents apart: it has a fraction."""
    return modified % _NANOSECONDS != 0


class VerifiedFiles:
    """The records of one machine. Any thread may use them; each call reads or writes a small file.

    folder: None keeps them in memory only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._kept: OrderedDict[str, Record] = OrderedDict()
        self._lock = threading.Lock()

    def is_verified(self, file: ManifestFile, fingerprint: Fingerprint) -> bool:
        """Whether the file was seen with this fingerprint and the published content."""
        return fingerprint in self.read(file).verified

    def read(self, file: ManifestFile) -> Record:
        """Return what is known; NOTHING_KNOWN also when the record cannot be read."""
        name = record_name(file)
        with self._lock:
            kept = self._kept.get(name)
        if kept is None and self.folder is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                return _parse(self._path(self.folder, name).read_bytes())
        return kept or NOTHING_KNOWN

    def verify(self, file: ManifestFile, fingerprint: Fingerprint) -> None:
        """Record that the file has the published content."""
        others = (each for each in self.read(file).verified if each != fingerprint)
        self.write(file, Record((fingerprint, *others)[:KEPT_FINGERPRINTS]))

    def adopt(self, file: ManifestFile, fingerprint: Fingerprint) -> bool:
        """Take a file as published of which nothing is known, if its modification time allows that."""
        if fingerprint.modified != file.modified or not can_tell(file.modified):
            return False
        if self.read(file) != NOTHING_KNOWN:
            return False
        self.verify(file, fingerprint)
        return True

    def refuse(
        self, file: ManifestFile, fingerprint: Fingerprint | None, failures: int, pause: float, fault: str
    ) -> None:
        """Record a comparison that did not end well.

        fingerprint: of the file that has other content; None when that is not known. pause: seconds until
        another comparison may begin.
        """
        now = time.time()
        record = replace(self.read(file), failures=failures, again=now + pause, fault=fault)
        if fingerprint is not None:
            record = replace(record, different=fingerprint, at=now)
        self.write(file, record)

    def write(self, file: ManifestFile, record: Record) -> None:
        """Replace a record in one step. When the folder cannot be written, it is kept in memory."""
        name = record_name(file)
        if self.folder is not None:
            path = self._path(self.folder, name)
            fresh = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.new")
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                fresh.write_bytes(_text(record))
                fresh.replace(path)
                return
            except OSError:
                with suppress(OSError):
                    fresh.unlink()
        with self._lock:
            self._kept[name] = record
            self._kept.move_to_end(name)
            while len(self._kept) > KEPT_IN_MEMORY:
                self._kept.popitem(last=False)

    @staticmethod
    def _path(folder: Path, name: str) -> Path:
        return folder / name[:2] / name[2:]


def record_name(file: ManifestFile) -> str:
    """The name of the record: a digest of where the file is, and of what it must contain."""
    identity = "\0".join((file.storage, file.key, str(file.size), file.sha256))
    return sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _text(record: Record) -> bytes:
    plain = {
        "verified": record.verified,
        "different": record.different,
        "at": record.at,
        "failures": record.failures,
        "again": record.again,
        "fault": record.fault,
    }
    return json.dumps(plain).encode()


def _parse(text: bytes) -> Record:
    """Read a record. Raises ValueError, KeyError or TypeError when it is damaged."""
    plain: dict[str, Any] = json.loads(text)
    different = plain["different"]
    return Record(
        tuple(_fingerprint(each) for each in plain["verified"]),
        None if different is None else _fingerprint(different),
        float(plain["at"]),
        int(plain["failures"]),
        float(plain["again"]),
        str(plain["fault"]),
    )


def _fingerprint(plain: list[int]) -> Fingerprint:
    modified, changed, inode = plain
    return Fingerprint(int(modified), int(changed), int(inode))
