"""Which files and objects are to be published, and under which names. It reads no content.

Customers get exactly what is published, so nothing is left out silently: a link that leads elsewhere, a
socket or an unreadable file is an error. Only hidden files are skipped, and reported.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError, StorageError
from gateway.manifest import composed, hidden_part, is_hidden
from gateway.products.bucket_scanning import (
    ObjectAddress,
    ObjectFinder,
    Progress,
    ScannedObject,
    is_address,
    no_progress,
    stat_objects,
)
from gateway.runtime.system_errors import advise
from gateway.storage.catalog import ObjectMissing
from gateway.storage.registry import Storages
from gateway.storage.rules import ServingRules, refuse_key

HIDDEN_HELP: Final = (
    "In a folder, names that begin with a dot (.git, .env, .DS_Store), Thumbs.db and desktop.ini are left "
    "out; to publish such a file of this machine, name it."
)


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file to publish.

    name: for the customer, in the composed form of Unicode. path: absolute, with the links that the user
    gave. folder: the root of its storage, if it is in none yet. size: in bytes. modified: in nanoseconds
    since 1970. real: where `path` leads now, without links. alone: it was named by itself, and not found in a
    folder, so its storage is this one file.
    """

    name: str
    path: Path
    folder: Path
    size: int
    modified: int
    real: Path
    alone: bool = False

    @property
    def address(self) -> str:
        """The path, as it is shown to the user."""
        return printable(self.path)

    @property
    def in_bucket(self) -> bool:
        """Whether it is an object and not a file."""
        return False


@dataclass(frozen=True, slots=True)
class Publication:
    """What is going to be published, in order, and the hidden files left out (paths or addresses)."""

    scanned: tuple[ScannedFile | ScannedObject, ...]
    skipped: tuple[Path | str, ...] = ()

    @property
    def size(self) -> int:
        """How many bytes there are to read."""
        return sum(scanned_file.size for scanned_file in self.scanned)

    @property
    def without_digests(self) -> list[ScannedObject]:
        """The objects for which their storage has no digests."""
        return [each for each in self.scanned if isinstance(each, ScannedObject) and not each.has_digests]


class _NotPublishable(Exception):
    """A path cannot be published. The text continues a sentence that begins with the path."""


def plan_publication(
    paths: Sequence[Path | str],
    private: Path | None = None,
    storages: Storages | None = None,
    progress: Progress = no_progress,
) -> Publication:
    """Find the files of one version. Each path is a file, or a folder whose files are found recursively.

    A path that is an address (`s3://…`) means an object in one of the storages; with a slash at its end it
    means a folder of objects. A single file gets its base name; the files of a folder get their path below
    it, in sorted order. Links to files that stay below the folder are followed. A path given here may lead
    through links: it is kept as it was given, so that a link can be turned to the next release. private: the
    data folder, which is left out of a folder that contains it; `ServingRules` says what of it may be
    published. progress: shows how many objects have been described.

    Raises ConfigurationError with all errors at once: a path that is missing, unreadable, or neither file nor
    folder; a link to a folder or out of it; a name that is not UTF-8; two files of one name; a folder without
    files; an address in no storage.
    """
    faults: list[str] = []
    skipped: list[Path | str] = []
    data_folder = private.resolve() if private is not None else None
    finder = None if storages is None else ObjectFinder(storages)
    planned: list[ScannedFile | ObjectAddress] = []
    for path in paths:
        try:
            if finder is not None and isinstance(path, str) and is_address(path):
                planned += _objects_at(path, finder, skipped)
            else:
                planned += _files_at(Path(path), data_folder, faults, skipped)
        except StorageError as error:
            faults.append(str(error))
        except _NotPublishable as error:
            faults.append(f"{path if is_address(path) else printable(Path(path))} {error}")
    faults += _duplicate_names(planned)
    if not paths:
        faults.append("nothing to publish: name a file or a folder")
    scanned = list(_stat_planned(planned, faults, progress))
    if faults:
        raise ConfigurationError(faults)
    return Publication(tuple(scanned), tuple(skipped))


def _files_at(
    path: Path, data_folder: Path | None, faults: list[str], skipped: list[Path | str]
) -> list[ScannedFile]:
    """Find the file or files at a path. Raises _NotPublishable."""
    top = _resolve(path)
    if top == data_folder:
        raise _NotPublishable("is the gateway's own data folder")
    is_folder = top.is_dir()
    if fault := ServingRules(data_folder).refuse_path(top if is_folder else top.parent, top):
        raise _NotPublishable(fault)
    if not is_folder:
        given = _as_given(path, top)
        return [replace(_scan_file(utf8(path.absolute().name), given, given.parent, top), alone=True)]
    walk = _Walk(_as_given(path, top), top, data_folder, faults, skipped)
    scanned = walk.scanned()
    if not scanned and not walk.failed:
        raise _NotPublishable(f"has no files to publish. {HIDDEN_HELP}")
    return scanned


def _objects_at(address: str, finder: ObjectFinder, skipped: list[Path | str]) -> list[ObjectAddress]:
    """Find the objects at an address, without hidden ones below a folder.

    Raises _NotPublishable or StorageError.
    """
    found = finder.find(address)
    if not address.endswith("/") and len(found) == 1:
        if fault := refuse_key(found[0].key):
            raise _NotPublishable(f"{fault}; copy it to another key")
        return found
    kept = []
    for each in found:
        if refuse_key(each.key):
            skipped.append(each.address)
        else:
            kept.append(each)
    if not kept:
        raise _NotPublishable(f"has no objects to publish. {HIDDEN_HELP}")
    return kept


def _duplicate_names(planned: Sequence[ScannedFile | ObjectAddress]) -> Iterator[str]:
    first: dict[str, ScannedFile | ObjectAddress] = {}
    for each in planned:
        other = first.setdefault(each.name, each)
        if other is not each:
            yield f"{each.address} and {other.address} would both be named {each.name!r}; rename one"


def _stat_planned(
    planned: Sequence[ScannedFile | ObjectAddress], faults: list[str], progress: Progress
) -> Iterator[ScannedFile | ScannedObject]:
    """Ask the storages for what describes the objects, many at once; files are described already."""
    described = iter(stat_objects([each for each in planned if isinstance(each, ObjectAddress)], progress))
    for each in planned:
        found = next(described) if isinstance(each, ObjectAddress) else each
        if isinstance(found, ObjectMissing):
            faults.append(f"{each.address} does not exist; a folder's address ends with a slash")
        elif isinstance(found, StorageError):
            faults.append(str(found))
        else:
            yield found


class _Walk:
    """The search of one folder. Errors and skipped paths are added to the lists it was given."""

    def __init__(
        self, given: Path, top: Path, data_folder: Path | None, faults: list[str], skipped: list[Path | str]
    ) -> None:
        """given: the folder as the user named it. top: where that leads, without links."""
        self._given = given
        self._top = top
        self._data_folder = (
            data_folder if data_folder is not None and not top.is_relative_to(data_folder) else None
        )
        self._faults = faults
        self._skipped = skipped
        self.failed = False

    def scanned(self) -> list[ScannedFile]:
        """Return all files below the folder, sorted by the parts of their names."""
        found = []
        for here, folders, files in os.walk(self._given, onerror=self._cannot_list):
            folder = Path(here)
            linked = [name for name in folders if (folder / name).is_symlink()]
            kept = [name for name in folders if name not in linked and not self._skip(folder / name)]
            folders[:] = kept  # the folders that os.walk enters next
            for name in linked + files:
                path = folder / name
                if self._skip(path):
                    continue
                try:
                    found.append(self._scan(path))
                except _NotPublishable as error:
                    self._fault(f"{printable(path)} {error}")
        return sorted(found, key=lambda scanned_file: scanned_file.name.split("/"))

    def _scan(self, path: Path) -> ScannedFile:
        relative = path.relative_to(self._given)
        name = utf8(str(relative))
        target = self._top / relative
        if path.is_symlink():
            target = _resolve(path)
            if not target.is_relative_to(self._top):
                raise _NotPublishable(
                    "is a link that leads out of the folder; replace it with the file, or name the file"
                )
            if self._data_folder is not None and target.is_relative_to(self._data_folder):
                raise _NotPublishable("is a link into the gateway's own data folder")
            if hidden_part(str(target.relative_to(self._top))):
                raise _NotPublishable(
                    "is a link to a hidden file, which is never served; replace it with the file"
                )
            if target.is_dir():
                raise _NotPublishable(
                    "is a link to a folder, which is not followed; replace it with the folder"
                )
        return _scan_file(name, self._given / target.relative_to(self._top), self._given, target)

    def _skip(self, path: Path) -> bool:
        real = self._top / path.relative_to(self._given)
        hidden = is_hidden(path.name) or real == self._data_folder
        if hidden:
            self._skipped.append(path)
        return hidden

    def _cannot_list(self, error: OSError) -> None:
        self._fault(f"{printable(Path(error.filename))} cannot be listed: {advise(error)}")

    def _fault(self, text: str) -> None:
        self.failed = True
        self._faults.append(text)


_CIRCLE: Final = "is part of a circle of links"


def _resolve(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except FileNotFoundError:
        raise _NotPublishable("is a broken link" if path.is_symlink() else "does not exist") from None
    except RuntimeError:  # Python before 3.13 raises this instead of ELOOP
        raise _NotPublishable(_CIRCLE) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _NotPublishable(_CIRCLE) from None
        raise _NotPublishable(f"cannot be reached: {advise(error)}") from None


def _as_given(path: Path, real: Path) -> Path:
    """The absolute path without "." and "..", with its links; `real`, if it would lead elsewhere then."""
    given = Path(os.path.normpath(path.absolute()))
    try:
        return given if given.samefile(real) else real
    except OSError:
        return real


def _scan_file(name: str, path: Path, folder: Path, real: Path) -> ScannedFile:
    try:
        facts = real.lstat()
    except OSError as error:
        raise _NotPublishable(f"cannot be reached: {advise(error)}") from None
    if not stat.S_ISREG(facts.st_mode):
        raise _NotPublishable("is neither a file nor a folder (a socket, FIFO or device?)")
    if not os.access(real, os.R_OK, effective_ids=True):
        raise _NotPublishable("may not be read by the user this runs as")
    utf8(str(path))
    return ScannedFile(composed(name), path, folder, facts.st_size, facts.st_mtime_ns, real)


def utf8(name: str) -> str:
    """Decode the name of a file as UTF-8, whatever the locale is, so that it is the same on all systems.

    Raises _NotPublishable when that is not possible.
    """
    try:
        return os.fsencode(name).decode()
    except UnicodeDecodeError:
        raise _NotPublishable("has a name that is not valid UTF-8; rename it") from None


def printable(path: Path) -> str:
    """Return a path as text on one line; characters that cannot be printed are escaped."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
