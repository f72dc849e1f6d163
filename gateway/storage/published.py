"""Whether an object is still the one that was published: one rule for all object storages. Pure.

A manifest keeps what identifies the bytes of an object: its size, its entity tag if the storage has a strong
one, else its version, else its modification time. A request is pinned to these where the storage allows it
(`If-Match`, a version in the URL), and every response is compared with them.
"""

from __future__ import annotations

from typing import Final

from gateway.manifest import ManifestFile

_NANOSECONDS: Final = 1_000_000_000
_SHOWN_CHARACTERS: Final = 80
"""How many characters of a storage's entity tag are quoted in an error message."""


def is_strong(etag: str) -> bool:
    """Whether an entity tag identifies the exact bytes (RFC 9110 section 8.8.3)."""
    return bool(etag) and not etag.startswith("W/")


def difference(file: ManifestFile, etag: str, version_id: str, modified: int | None) -> str:
    """Say how an object differs from the published `file`, or return "" if it is the same.

    etag, version_id: as the storage sent them, "" if it sent none. modified: seconds since 1970, None if the
    storage sent no readable date. Only the strongest of the marks that the manifest has is compared. A
    response without a version counts as the right version, because the request named it.
    """
    if is_strong(file.etag):
        if etag != file.etag:
            return f"ETag {etag[:_SHOWN_CHARACTERS] or 'none'}, not {file.etag}"
    elif file.version_id:
        if version_id not in ("", file.version_id):
            return "another version"
    elif modified != file.modified // _NANOSECONDS:
        return "another modification time"
    return ""
