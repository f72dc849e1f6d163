"""The rules for names and for the files of manifests, for both the APIs and the commands.

Every check returns all faults that it finds, pairs of field and message, so that they are reported together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from gateway.manifest import Manifest, ManifestFile

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""Ids of products, versions and names of storages: safe as a path segment, in a Redis key and in a log."""
NAME_HELP: Final = "1 to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit"

MAX_FILES: Final = 10_000
"""Files of one manifest. They make 4 MB of text, which a worker keeps in memory and parses in 50 ms."""
MAX_FILE_NAME: Final = 1024
"""Bytes of a file's name in UTF-8. A whole path is allowed, and it still fits in a response header."""
MAX_BLOB_KEY: Final = 4096
"""Bytes of a blob's key: PATH_MAX of Linux; object stores allow 1024."""
MAX_SIZE: Final = 2**53 - 1
"""Bytes of a file. The store's scripts count in doubles, which round larger numbers."""
MAX_DISPLAY_NAME: Final = 200
"""Characters of the name of a product, of an API key or of a customer."""

_TYPE_NAME: Final = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
MEDIA_TYPE_PATTERN: Final = rf"^{_TYPE_NAME}/{_TYPE_NAME}(?:; ?[ -~]{{1,200}})?$"
"""A media type and its parameters (RFC 6838 section 4.2 for the names), without what could break a header."""

_NAME: Final = re.compile(NAME_PATTERN[1:-1])
_MEDIA_TYPE: Final = re.compile(MEDIA_TYPE_PATTERN[1:-1])
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_CRC32: Final = re.compile(r"[0-9a-f]{8}")

Fault = tuple[str, str]
"""A field, and a message that says what is wrong with it."""


def is_name(text: str) -> bool:
    """Whether the text can be the id of a product, a version or the name of a storage."""
    return _NAME.fullmatch(text) is not None


def is_text(text: str) -> bool:
    """Whether the text can be stored and shown: no NUL, and no lone surrogate, which UTF-8 cannot encode."""
    return "\0" not in text and _SURROGATE.search(text) is None


def display_name_faults(field: str, name: str | None) -> list[Fault]:
    """What is wrong with a name that people read. None, for no name, is right."""
    if name is None or (0 < len(name) <= MAX_DISPLAY_NAME and is_text(name)):
        return []
    return [(field, f"must be 1 to {MAX_DISPLAY_NAME} characters without NUL")]


def manifest_faults(manifest: Manifest) -> list[Fault]:
    """Everything that is wrong with a manifest that is to be registered. A field is named `files[3].size`."""
    faults: list[Fault] = []
    for field, value in (("product", manifest.product), ("version", manifest.version)):
        if not is_name(value):
            faults.append((field, f"must be {NAME_HELP}"))
    if not 1 <= len(manifest.files) <= MAX_FILES:
        faults.append(("files", f"must hold 1 to {MAX_FILES} files"))
        return faults
    for index, file in enumerate(manifest.files):
        faults.extend((f"files[{index}].{field}", message) for field, message in _file_faults(file))
    faults.extend(_repeated_names(file.name for file in manifest.files))
    return faults


def _file_faults(file: ManifestFile) -> Iterator[Fault]:
    if not _is_bounded_text(file.name, MAX_FILE_NAME):
        yield "name", f"must be 1 to {MAX_FILE_NAME} bytes of UTF-8 without NUL"
    if not {".", ".."}.isdisjoint(file.name.split("/")):  # RFC 3986 section 5.2.4: no client would ask for it
        yield "name", 'must not have "." or ".." between slashes: clients take those out of a link'
    if not 0 <= file.size <= MAX_SIZE:
        yield "size", f"must be 0 to {MAX_SIZE} bytes"
    if not _MEDIA_TYPE.fullmatch(file.type):
        yield "type", "must be a media type such as application/zip"
    if not _SHA256.fullmatch(file.sha256):
        yield "sha256", "must be 64 lower-case hex digits"
    if not _CRC32.fullmatch(file.crc32):
        yield "crc32", "must be 8 lower-case hex digits"
    if not is_name(file.storage):
        yield "storage", f"must be {NAME_HELP}"
    if not _is_bounded_text(file.key, MAX_BLOB_KEY):
        yield "key", f"must be 1 to {MAX_BLOB_KEY} bytes of UTF-8 without NUL"
    if not -(2**63) <= file.modified < 2**63:
        yield "modified", "must be nanoseconds since 1970 in 64 bits"


def _is_bounded_text(text: str, limit: int) -> bool:
    return 0 < len(text) <= limit and is_text(text) and len(text.encode()) <= limit


def _repeated_names(names: Iterable[str]) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield f"files[{index}].name", "is the name of an earlier file too"
        seen.add(name)
