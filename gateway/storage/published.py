"""Whether an object is still the one that was published: one rule for all object storages. Pure.

A manifest keeps what identifies the bytes of an object: its size, its entity tag if the storage has a strong
one, else its version, else its modification time. A request is pinned to these where the storage allows it
(`If-Match`, a version in the URL), and every response is compared with them.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.manifest import ManifestFile
from gateway.storage.catalog import ObjectFacts

_NANOSECONDS: Final = 1_000_000_000
_SHOWN_CHARACTERS: Final = 80
"""How many characters of a storage's entity tag are quoted in an error message."""
_ENTITY_TAG: Final = re.compile(r'"[\x21\x23-\x7e]*"')
"""A strong entity tag (RFC 9110 section 8.8.3), without the bytes that are not ASCII."""
_PROXY_ADVICE: Final = (
    "a proxy before the storage changes its responses (compression?): let it pass them on unchanged"
)
_SUFFIXES: Final = {
    "gzip": (".gz", ".gzip", ".tgz", ".svgz", ".taz"),
    "br": (".br",),
    "zstd": (".zst", ".tzst"),
    "compress": (".z",),
    "deflate": (".zz",),
    "bzip2": (".bz2", ".tbz2", ".tbz"),
    "xz": (".xz", ".txz"),
}
"""Content codings by their names, and the ends of the names of files that are such bytes."""
_NO_CODINGS: Final = frozenset({"", "identity", "aws-chunked", "utf-8"})
"""What says nothing of the bytes: clients of S3 send, and some storages keep, how a request was framed."""
RESTORE: Final = "restore it, or store it in a class that can be read at once, such as STANDARD"
"""What helps an archived object."""


class Difference(NamedTuple):
    """How a response differs from what was published.

    changed: the object is another one. Otherwise only the response is at fault; what is stored may be right.
    text: continues a sentence that begins with the object.
    """

    text: str
    changed: bool = True


def is_strong(etag: str) -> bool:
    """Whether an entity tag identifies the exact bytes (RFC 9110 section 8.8.3)."""
    return bool(etag) and not etag.startswith("W/")


def condition(etag: str) -> str:
    """Return what `If-Match` may carry for an entity tag, "" if the tag cannot be sent.

    Some storages send tags without quotes. How they compare such a tag with one in a request is not known, so
    it is only compared with that of each response.
    """
    return etag if _ENTITY_TAG.fullmatch(etag) else ""


def difference(file: ManifestFile, etag: str, version_id: str, modified: int | None) -> Difference | None:
    """Say how an object differs from the published `file`, or return None if it is the same.

    etag, version_id: as the storage sent them, "" if it sent none. modified: seconds since 1970, None if the
    storage sent no readable date. Only the strongest of the marks that the manifest has is compared. A
    response without a version counts as the right version, because the request named it. Quotes around an
    entity tag do not count: a storage may begin or cease to send them.
    """
    if is_strong(file.etag):
        if etag != file.etag and etag.strip('"') != file.etag.strip('"'):
            return _other_tag(file.etag, etag)
    elif file.version_id:
        if version_id not in ("", file.version_id):
            return Difference("has changed since it was published: another version")
    elif modified is None:
        return Difference(
            f"comes without a modification time (Last-Modified): {_PROXY_ADVICE}", changed=False
        )
    elif modified != file.modified // _NANOSECONDS:
        return Difference("has changed since it was published: another modification time")
    return None


def _other_tag(published: str, etag: str) -> Difference:
    shown = etag[:_SHOWN_CHARACTERS]
    if not etag:
        return Difference(f"comes without its ETag {published}: {_PROXY_ADVICE}", changed=False)
    if etag.removeprefix("W/").strip('"') == published.strip('"'):
        return Difference(
            f"comes with the weak ETag {shown}, not {published}: {_PROXY_ADVICE}", changed=False
        )
    return Difference(f"has changed since it was published: ETag {shown}, not {published}")


def identity_fault(facts: ObjectFacts) -> str:
    """Say what an object lacks to be published: something that shows a change of it. "" if it has that."""
    if is_strong(facts.etag) or facts.version_id or facts.modified:
        return ""
    return (
        "has neither an ETag nor a version nor a modification time, so that a change of it could not be "
        f"noticed: {_PROXY_ADVICE}"
    )


def encoding_fault(facts: ObjectFacts) -> str:
    """Say why an object with a Content-Encoding cannot be published, or return "".

    Customers get the stored bytes, which are not the file of this name unless the name says so, as that of
    `samples.tar.gz` does.
    """
    codings = [each.strip().lower() for each in facts.encoding.split(",")]
    codings = [each.removeprefix("x-") for each in codings if each not in _NO_CODINGS]
    if not codings:
        return ""
    suffixes = _SUFFIXES.get(codings[0], ())
    if len(codings) == 1 and facts.key.lower().endswith(suffixes):
        return ""
    example = f", or under a name such as {facts.key.rpartition('/')[2]}{suffixes[0]}" if suffixes else ""
    return (
        f"is stored compressed (Content-Encoding: {facts.encoding[:_SHOWN_CHARACTERS]}), and customers would "
        f"get the compressed bytes under this name: upload it again without that field{example}"
    )
