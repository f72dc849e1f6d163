"""Which files a publication has, and under which names. Looks, and reads no content.

What is published is what a customer will get, so nothing is left out in silence: a link that leads
elsewhere, a socket or an unreadable file is a fault. Only hidden files are skipped, and counted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError

HIDDEN: Final = frozenset({"thumbs.db", "desktop.ini"})
HIDDEN_HELP: Final = (
    "In a folder, names that begin with a dot (.git, .env, .DS_Store), Thumbs.db and desktop.ini are left "
    "out; to publish such a file, name it."
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to publish.

    name: for the customer. path: absolute, without links. folder: where its storage would be rooted, if it
    needs one of its own. size in bytes, modified in nanoseconds since 1970.
    """

    name: str
    path: Path
    folder: Path
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Publication:
    """What is going to be published, in order, and the hidden files left out (as paths)."""

    candidates: tuple[Candidate, ...]
    skipped: tuple[Path, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(candidate.size for candidate in self.candidates)


class _Unfit(Exception):
    """Why a path cannot be published."""


def plan_publication(paths: Sequence[Path], private: Path | None = None) -> Publication:
    """Gather the files of one version: each path is a file, or a folder whose files are taken recursively.

    A folder's files are named by their path below it, in sorted order; a single file by its base name. Links
    to files that stay below the folder are followed; a path given here may itself be a link. `private` (the
    data folder) is never published along with a folder that holds it.

    Raises ConfigurationError with every fault: missing, unreadable, neither file nor folder, a link to a
    folder or out of it, a name that is not UTF-8, two files of one name, a folder without files.
    """
    faults: list[str] = []
    found: dict[str, Candidate] = {}
    skipped: list[Path] = []
    secret = private.resolve() if private is not None else None
    for path in paths:
        try:
            top = _resolve(path)
            if top == secret:
                raise _Unfit("is the gateway's own data folder")
            if top.is_dir():
                walk = _Walk(top, secret, faults, skipped)
                candidates = walk.candidates()
                if not candidates and not walk.failed:
                    raise _Unfit(f"has no files to publish. {HIDDEN_HELP}")
            else:
                candidates = [_candidate(utf8(path.absolute().name), top, top.parent)]
        except _Unfit as unfit:
            faults.append(f"{shown(path)} {unfit}")
            continue
        for candidate in candidates:
            if candidate.name in found:
                faults.append(
                    f"{shown(candidate.path)} and {shown(found[candidate.name].path)} "
                    f"would both be named {candidate.name!r}; rename one"
                )
            found[candidate.name] = candidate
    if not paths:
        faults.append("nothing to publish: name a file or a folder")
    if faults:
        raise ConfigurationError(faults)
    return Publication(tuple(found.values()), tuple(skipped))


class _Walk:
    """One folder, searched. Faults and skipped paths go to the lists it was given."""

    def __init__(self, top: Path, secret: Path | None, faults: list[str], skipped: list[Path]) -> None:
        self._top = top
        self._secret = secret if secret is not None and not top.is_relative_to(secret) else None
        self._faults = faults
        self._skipped = skipped
        self.failed = False

    def candidates(self) -> list[Candidate]:
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
        return sorted(found, key=lambda candidate: candidate.name.split("/"))

    def _look(self, path: Path) -> Candidate:
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
        hidden = path.name.startswith(".") or path.name.lower() in HIDDEN or path == self._secret
        if hidden:
            self._skipped.append(path)
        return hidden

    def _cannot_list(self, error: OSError) -> None:
        self._fault(f"{shown(Path(error.filename))} cannot be listed: {error.strerror}")

    def _fault(self, text: str) -> None:
        self.failed = True
        self._faults.append(text)


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


def _candidate(name: str, path: Path, folder: Path) -> Candidate:
    try:
        facts = path.lstat()
    except OSError as error:
        raise _Unfit(f"cannot be reached: {error.strerror}") from None
    if not stat.S_ISREG(facts.st_mode):
        raise _Unfit("is neither a file nor a folder (a socket, FIFO or device?)")
    if not os.access(path, os.R_OK, effective_ids=True):
        raise _Unfit("may not be read by the user this runs as")
    utf8(str(path))
    return Candidate(name, path, folder, facts.st_size, facts.st_mtime_ns)


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
