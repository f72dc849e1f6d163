"""The file `<data>/storages.json`: folders and single files that publishing has made storages, by name.

    {"type": "local", "root": "/srv/drums", "whole": true}               a folder that was published
    {"type": "local", "root": "/home/ann/Music", "only": "drums.zip"}    a file that was published by itself
    {"type": "local", "root": "/home/ann/Music"}                         written by a version before these two

Versions before these two registered the whole folder of a single file. Nobody can tell what such an entry was
made for. So what was published from it is still served, and nothing new is published from it; publishing the
folder or the file again makes one of the other two.

One writer at a time writes the whole file under another name and renames it into place.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.errors import ConfigurationError, StorageError
from gateway.runtime.system_errors import advise


@dataclass(frozen=True, slots=True)
class Registered:
    """One entry. only: the name of the one file below `root` that it stands for. whole: the whole folder."""

    root: Path
    only: str | None = None
    whole: bool = False

    @property
    def path(self) -> Path:
        """The file or the folder that it stands for."""
        return self.root if self.only is None else self.root / self.only

    @property
    def takes_new(self) -> bool:
        """Whether files may be published from it."""
        return self.whole or self.only is not None


REGISTRY: Final = "storages.json"
_NAME_CHARACTERS: Final = 40
_DIGEST_CHARACTERS: Final = 8


def read_registry(data: Path) -> dict[str, Registered]:
    """Read the entries by name; an empty dict if there are none. Raises StorageError."""
    path = data / REGISTRY
    try:
        plain = json.loads(path.read_bytes())
        return {str(name): _read(table) for name, table in plain.items() if table.get("type") == "local"}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {advise(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StorageError(
            f'{path} is damaged: it should hold {{"NAME": {{"type": "local", "root": "…"}}}}'
        ) from None


def _read(table: Mapping[str, Any]) -> Registered:
    only = table.get("only")
    return Registered(Path(table["root"]), None if only is None else str(only), table.get("whole") is True)


def name_for(path: Path) -> str:
    """Make a name for a folder or file: its own name, and a digest that tells those of one name apart."""
    stem = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[:_NAME_CHARACTERS].strip("-")
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{stem or 'files'}-{digest}"


def register(data: Path, folder: Path) -> str:
    """Write a folder into the file, unless it is there already; return the name of its storage.

    Raises what `register_entries` raises.
    """
    folder = Path(os.path.abspath(folder))  # with its links, which may be turned to another folder later
    register_entries(data, [Registered(folder, whole=True)])
    return name_for(folder)


def register_entries(data: Path, entries: Iterable[Registered]) -> None:
    """Write entries into the file that are not there yet, each under `name_for` its path.

    The roots are absolute; links in them are followed at each opening. The file has mode 0600 and is replaced
    in one step, so a reader never sees half of it. Raises ConfigurationError when it cannot be written, or
    when a path is not valid UTF-8.
    """
    wanted = {name_for(entry.path): entry for entry in entries}
    for entry in wanted.values():
        try:
            str(entry.path).encode()
        except UnicodeEncodeError:
            raise ConfigurationError([f"{str(entry.path)!r} is not valid UTF-8; rename it"]) from None
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _only_writer(data):
            known = read_registry(data)
            if any(known.get(name) != entry for name, entry in wanted.items()):
                _write(data / REGISTRY, known | wanted)
    except StorageError as error:
        raise ConfigurationError([str(error)]) from error
    except OSError as error:
        raise ConfigurationError([f"{data / REGISTRY} cannot be written: {advise(error)}"]) from error


@contextmanager
def _only_writer(data: Path) -> Iterator[None]:
    lock = os.open(
        data / (REGISTRY + ".lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # closing releases it
        yield
    finally:
        os.close(lock)


def _plain(entry: Registered) -> dict[str, str | bool]:
    plain: dict[str, str | bool] = {"type": "local", "root": str(entry.root)}
    if entry.only is not None:
        plain["only"] = entry.only
    if entry.whole:
        plain["whole"] = True
    return plain


def _write(path: Path, entries: Mapping[str, Registered]) -> None:
    plain = {name: _plain(entry) for name, entry in sorted(entries.items())}
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(fd)
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            os.unlink(fresh)
        raise
