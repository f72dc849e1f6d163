"""Which files and objects a publication has, and under which names. Looks, and reads no content.

What is published is what a customer will get, so nothing is left out in silence: a link that leads
elsewhere, a socket or an unreadable file is a fault. Only hidden files are skipped, and counted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError, StorageError
from gateway.products.bucket_scanning import (
    Finder,
    ObjectAddress,
    Progress,
    ScannedObject,
    is_address,
    look_at,
    no_progress,
)
from gateway.storage.catalog import ObjectMissing
from gateway.storage.registry import Storages

HIDDEN: Final = frozenset({"thumbs.db", "desktop.ini"})
HIDDEN_HELP: Final = (
    "In a folder, names that begin with a dot (.git, .env, .DS_Store), Thumbs.db and desktop.ini are left "
    "out; to publish such a file, name it."
)


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file to publish.

    name: for the customer. path: absolute, without links. folder: where its storage would be rooted, if it
    needs one of its own. size in bytes, modified in nanoseconds since 1970.
    """

    name: str
    path: Path
    folder: Path
    size: int
    modified: int

    @property
    def address(self) -> str:
        """What the user would call it."""
        return shown(self.path)


@dataclass(frozen=True, slots=True)
class Publication:
    """What is going to be published, in order, and the hidden files left out (as paths or addresses)."""

    scanned: tuple[ScannedFile | ScannedObject, ...]
    skipped: tuple[Path | str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(scanned_file.size for scanned_file in self.scanned)

    @property
    def unproven(self) -> list[ScannedObject]:
        """Objects whose digests their storage does not keep."""
        return [each for each in self.scanned if isinstance(each, ScannedObject) and not each.has_digests]


class _Unfit(Exception):
    """Why a path cannot be published."""


def plan_publication(
    paths: Sequence[Path | str],
    private: Path | None = None,
    storages: Storages | None = None,
    progress: Progress = no_progress,
) -> Publication:
    """Gather the files of one version: each path is a file, or a folder whose files are taken recursively.

    A path that is an address (`s3://…`) means an object in one of the storages, or with a final slash a
    folder of objects. A folder's files are named by their path below it, in sorted order; a single file by
    its base name. Links to files that stay below the folder are followed; a path given here may itself be a
    link. `private` (the data folder) is never published along with a folder that holds it.

    Raises ConfigurationError with every fault: missing, unreadable, neither file nor folder, a link to a
    folder or out of it, a name that is not UTF-8, two files of one name, a folder without files, an address
    in no storage.
    """
    faults: list[str] = []
    skipped: list[Path | str] = []
    secret = private.resolve() if private is not None else None
    finder = None if storages is None else Finder(storages)
    planned: list[ScannedFile | ObjectAddress] = []
    for path in paths:
        try:
            if finder is not None and isinstance(path, str) and is_address(path):
                planned += _below(path, finder, skipped)
            else:
                planned += _at(Path(path), secret, faults, skipped)
        except StorageError as error:
            faults.append(str(error))
        except _Unfit as unfit:
            faults.append(f"{path if is_address(path) else shown(Path(path))} {unfit}")
    faults += _same_names(planned)
    if not paths:
        faults.append("nothing to publish: name a file or a folder")
    scanned = list(_described(planned, faults, progress))
    if faults:
        raise ConfigurationError(faults)
    return Publication(tuple(scanned), tuple(skipped))


def _at(path: Path, secret: Path | None, faults: list[str], skipped: list[Path | str]) -> list[ScannedFile]:
    """Gather the files at a path. Raises _Unfit."""
    top = _resolve(path)
    if top == secret:
        raise _Unfit("is the gateway's own data folder")
    if not top.is_dir():
        return [_candidate(utf8(path.absolute().name), top, top.parent)]
    walk = _Walk(top, secret, faults, skipped)
    scanned = walk.scanned()
    if not scanned and not walk.failed:
        raise _Unfit(f"has no files to publish. {HIDDEN_HELP}")
    return scanned


def _below(address: str, finder: Finder, skipped: list[Path | str]) -> list[ObjectAddress]:
    """Gather the objects at an address, hidden ones below a folder left out. Raises _Unfit, StorageError."""
    found = finder.find(address)
    if not address.endswith("/") and len(found) == 1:
        return found
    kept = []
    for each in found:
        if any(_is_hidden(part) for part in each.name.split("/")):
            skipped.append(each.address)
        else:
            kept.append(each)
    if not kept:
        raise _Unfit(f"has no objects to publish. {HIDDEN_HELP}")
    return kept


def _same_names(planned: Sequence[ScannedFile | ObjectAddress]) -> Iterator[str]:
    first: dict[str, ScannedFile | ObjectAddress] = {}
    for each in planned:
        other = first.setdefault(each.name, each)
        if other is not each:
            yield f"{each.address} and {other.address} would both be named {each.name!r}; rename one"


def _described(
    planned: Sequence[ScannedFile | ObjectAddress], faults: list[str], progress: Progress
) -> Iterator[ScannedFile | ScannedObject]:
    """Look at the objects among them, many at once."""
    looked = iter(look_at([each for each in planned if isinstance(each, ObjectAddress)], progress))
    for each in planned:
        found = next(looked) if isinstance(each, ObjectAddress) else each
        if isinstance(found, ObjectMissing):
            faults.append(f"{each.address} does not exist; a folder's address ends with a slash")
        elif isinstance(found, StorageError):
            faults.append(str(found))
        else:
            yield found


class _Walk:
    """One folder, searched. Faults and skipped paths go to the lists it was given."""

    def __init__(self, top: Path, secret: Path | None, faults: list[str], skipped: list[Path | str]) -> None:
        self._top = top
        self._secret = secret if secret is not None and not top.is_relative_to(secret) else None
        self._faults = faults
        self._skipped = skipped
        self.failed = False

    def scanned(self) -> list[ScannedFile]:
        """All files below the folder, sorted by the parts of their names."""
        found = []
        for here, folders, files in os.walk(self._top, onerror=self._cannot_list):
            folder = Path(here)
            linked = [name for name in folders if (folder / name).is_symlink()]
            kept = [name for name in folders if name not in linked and not self._skip(folder / name)]
            folders[:] = kept  # where os.walk goes on
            for name in linked + files:
                path = folder / name
                if self._skip(path):
                    continue
                try:
                    found.append(self._look(path))
                except _Unfit as unfit:
                    self._fault(f"{shown(path)} {unfit}")
        return sorted(found, key=lambda scanned_file: scanned_file.name.split("/"))

    def _look(self, path: Path) -> ScannedFile:
        name = utf8(str(path.relative_to(self._top)))
        target = path
        if path.is_symlink():
            target = _resolve(path)
            if not target.is_relative_to(self._top):
                raise _Unfit(
                    "is a link that leads out of the folder; replace it with the file, or name the file"
                )
            if self._secret is not None and target.is_relative_to(self._secret):
                raise _Unfit("is a link into the gateway's own data folder")
            if target.is_dir():
                raise _Unfit("is a link to a folder, which is not followed; replace it with the folder")
        return _candidate(name, target, self._top)

    def _skip(self, path: Path) -> bool:
        hidden = _is_hidden(path.name) or path == self._secret
        if hidden:
            self._skipped.append(path)
        return hidden

    def _cannot_list(self, error: OSError) -> None:
        self._fault(f"{shown(Path(error.filename))} cannot be listed: {error.strerror}")

    def _fault(self, text: str) -> None:
        self.failed = True
        self._faults.append(text)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in HIDDEN


CIRCLE: Final = "is a link that goes round in a circle"


def _resolve(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except FileNotFoundError:
        raise _Unfit("is a broken link" if path.is_symlink() else "does not exist") from None
    except RuntimeError:  # Python before 3.13 says this of ELOOP
        raise _Unfit(CIRCLE) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _Unfit(CIRCLE) from None
        raise _Unfit(f"cannot be reached: {error.strerror}") from None


def _candidate(name: str, path: Path, folder: Path) -> ScannedFile:
    try:
        facts = path.lstat()
    except OSError as error:
        raise _Unfit(f"cannot be reached: {error.strerror}") from None
    if not stat.S_ISREG(facts.st_mode):
        raise _Unfit("is neither a file nor a folder (a socket, FIFO or device?)")
    if not os.access(path, os.R_OK, effective_ids=True):
        raise _Unfit("may not be read by the user this runs as")
    utf8(str(path))
    return ScannedFile(name, path, folder, facts.st_size, facts.st_mtime_ns)


def utf8(name: str) -> str:
    """Read a file's name as UTF-8, whatever the locale's encoding is; that other systems read it alike."""
    try:
        return os.fsencode(name).decode()
    except UnicodeDecodeError:
        raise _Unfit("has a name that is not valid UTF-8; rename it") from None


def shown(path: Path) -> str:
    """Write a path on one line, whatever it holds."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
