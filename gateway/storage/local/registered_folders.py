"""The file `<data>/storages.json`: folders that publishing has made storages, by name.

One writer at a time writes the whole file under another name and renames it into place.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError, StorageError

REGISTRY: Final = "storages.json"
_NAME_CHARACTERS: Final = 40
_DIGEST_CHARACTERS: Final = 8


def read_registry(data: Path) -> dict[str, Path]:
    """Read the registered folders by name; an empty dict if there are none. Raises StorageError."""
    path = data / REGISTRY
    try:
        plain = json.loads(path.read_bytes())
        return {
            str(name): Path(table["root"]) for name, table in plain.items() if table.get("type") == "local"
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StorageError(
            f'{path} is damaged: it should hold {{"NAME": {{"type": "local", "root": "…"}}}}'
        ) from None


def name_for(folder: Path) -> str:
    """Make a name for a folder: its own name, and a digest that tells folders of the same name apart."""
    stem = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:_NAME_CHARACTERS].strip("-")
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{stem or 'files'}-{digest}"


def register(data: Path, folder: Path) -> str:
    """Write a folder into the file, unless it is there already; return the name of its storage.

    The file has mode 0600 and is replaced in one step, so a reader never sees half of it. Raises
    ConfigurationError when it cannot be written, or when the folder's path is not valid UTF-8.
    """
    folder = Path(os.path.abspath(folder))  # with its links, which may be turned to another folder later
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ConfigurationError([f"{str(folder)!r} is not valid UTF-8; rename the folder"]) from None
    name = name_for(folder)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _only_writer(data):
            known = read_registry(data)
            if known.get(name) != folder:
                _write(data / REGISTRY, known | {name: folder})
    except StorageError as error:
        raise ConfigurationError([str(error)]) from error
    except OSError as error:
        raise ConfigurationError([f"{data / REGISTRY} cannot be written: {error.strerror}"]) from error
    return name


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


def _write(path: Path, roots: Mapping[str, Path]) -> None:
    plain = {name: {"type": "local", "root": str(root)} for name, root in sorted(roots.items())}
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
