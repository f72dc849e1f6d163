"""What a storage answers: the head of a response, read strictly, and what it means for what was asked. Pure.

A response whose end could be misjudged, or whose bytes could be another object's, is refused: these bytes go
to a customer who paid, and to a cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.http.fields import parse_date
from gateway.manifest import ManifestFile
from gateway.storage.retries import TransientError

MAX_HEAD_BYTES: Final = 32 * 1024
"""Of a response's head; S3 sends at most 2 KiB of an object's own metadata and about 1 KiB of its own."""
MAX_RETRY_AFTER: Final = 60.0
"""Seconds; a storage that asks for more is asked again sooner."""
AGAIN: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses of a storage that may well answer the next time."""
STALE_KEYS: Final = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
"""Codes that S3 sends with status 400 when temporary credentials are no longer good."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_NAMES: Final[dict[bytes, str]] = {}
"""Field names as they came, in small letters: a storage sends the same ones for ever."""
_MAX_NAMES: Final = 256


class KeysRefused(Exception):
    """The storage does not accept our credentials."""


class Unusable(Exception):
    """What the storage answers cannot be used, now or later. The text is the end of a StorageError's."""


@dataclass(slots=True)
class Head:
    """A response's head. length: of the body in bytes, None: until the connection ends, or not known."""

    status: int
    fields: Mapping[str, str]
    length: int | None
    keeps: bool
    """Whether the connection may carry another request once the body has been read."""


class ExpectedObject(NamedTuple):
    """What was asked for: the bytes of one object from `start` up to `stop`."""

    file: ManifestFile
    start: int
    stop: int

    @property
    def whole(self) -> bool:
        """Whether that is the object from end to end, asked for without a range."""
        return self.start == 0 and self.stop == self.file.size


def parse_head(data: bytes, method: str) -> Head:
    """Read a head, up to its empty line. Raises ValueError for what HTTP/1.1 (RFC 9112) does not allow."""
    first, *lines = data[:-4].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise ValueError("no status line of HTTP/1.1")
    fields: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise ValueError("a malformed header field")
        raw = field[1]
        name = _NAMES.get(raw)
        if name is None:
            name = raw.decode().lower()
            if len(_NAMES) < _MAX_NAMES:
                _NAMES[raw] = name
        value = field[2].rstrip(b" \t").decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    status = int(match[2])
    length = _length(status, fields, method)
    options = fields.get("connection", "").lower()
    keeps = "close" not in options if match[1] == b"1" else "keep-alive" in options
    return Head(status, fields, length, keeps and length is not None)


def _length(status: int, fields: Mapping[str, str], method: str) -> int | None:
    """RFC 9112 section 6.3, without what is not used here."""
    if method == "HEAD" or status in {204, 304}:
        return 0
    text = fields.get("content-length")
    if "transfer-encoding" in fields:
        if text is not None:
            raise ValueError("both Content-Length and Transfer-Encoding")
        return None
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise ValueError("a Content-Length that is no number")
    return int(text)


def error_code(body: bytes) -> str:
    """The code in an S3 error's XML, if there is one."""
    match = _CODE.search(body)
    return "" if match is None else match[1].decode()


def judge_error(head: Head, code: str) -> None:
    """Raise what a status other than success means: TransientError, KeysRefused or Unusable."""
    status = head.status
    said = f"{status} {code}".rstrip()
    if status in AGAIN:
        after = retry_after(head.fields.get("retry-after", ""))
        raise TransientError(f"the storage answers {said}", after, throttled=status in {429, 503})
    if status in {401, 403} or (status == 400 and (code in STALE_KEYS or not code)):
        raise KeysRefused(
            f"is refused ({said}): see that the keys are right and may read it"
            + (", and that this machine's clock is" if code == "RequestTimeTooSkewed" else "")
        )
    if status in {404, 410}:
        raise Unusable(f"is missing ({said})")
    if status in {412, 416}:
        raise Unusable(f"has changed since it was published ({said})")
    region = head.fields.get("x-amz-bucket-region", "")
    if status in {301, 307, 308} or code == "AuthorizationHeaderMalformed":
        hint = f" to {region!r}" if region.replace("-", "").isalnum() else ""
        raise Unusable(f"lies elsewhere ({said}): set `region`{hint} or `endpoint`")
    raise Unusable(f"cannot be had: the storage answers {said}")


def retry_after(text: str) -> float:
    """The seconds of a Retry-After, bounded; 0 for none (a date is not worth its clock)."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), MAX_RETRY_AFTER)
    return 0.0


def judge_body(head: Head, wanted: ExpectedObject) -> None:
    """Raise Unusable unless the body is the wanted bytes of the published object, and ends where it says."""
    file = wanted.file
    if "transfer-encoding" in head.fields:
        raise Unusable("comes in chunks, of which the end is not known: not usable")
    if head.status == 206:
        match = _CONTENT_RANGE.fullmatch(head.fields.get("content-range", ""))
        if match is None:
            raise Unusable("comes with no range that can be read (Content-Range)")
        first, last, size = (int(part) for part in match.groups())
        if size != file.size:
            raise Unusable(f"has changed since it was published: {size} bytes, not {file.size}")
        if (first, last) != (wanted.start, wanted.stop - 1):
            raise Unusable(f"comes with bytes {first}-{last}, not {wanted.start}-{wanted.stop - 1}")
    elif head.status != 200:
        raise Unusable(f"cannot be had: the storage answers {head.status}")
    elif not wanted.whole:
        raise Unusable("comes whole where a range was asked for: the storage has to answer ranges")
    judge_version(head, file)
    if head.length != wanted.stop - wanted.start:
        if head.status == 200:
            raise Unusable(f"has changed since it was published: {head.length} bytes, not {file.size}")
        raise Unusable(f"comes with {head.length} bytes, not {wanted.stop - wanted.start}")


def judge_version(head: Head, file: ManifestFile) -> None:
    """Raise Unusable unless the answer is about the very object that was published."""
    tag = head.fields.get("etag", "")
    if is_strong(file.etag):
        if tag != file.etag:
            raise Unusable(f"has changed since it was published: ETag {tag[:80]}, not {file.etag}")
        return
    version = head.fields.get("x-amz-version-id", "")
    if file.version_id:
        if version and version != file.version_id:
            raise Unusable("comes in another version than was published")
        return
    modified = parse_date(head.fields.get("last-modified", ""))
    if modified != file.modified // 1_000_000_000:
        raise Unusable("has changed since it was published: another modification time")


def is_strong(tag: str) -> bool:
    """Whether an entity tag stands for the very bytes (RFC 9110 section 8.8.3)."""
    return bool(tag) and not tag.startswith("W/")


def judge_head(head: Head, file: ManifestFile) -> None:
    """Raise Unusable unless the answer to HEAD describes the published object."""
    if head.status != 200:
        raise Unusable(f"cannot be had: the storage answers {head.status}")
    judge_version(head, file)
    length = head.fields.get("content-length", "")
    if length != str(file.size):
        raise Unusable(f"has changed since it was published: {length[:20]} bytes, not {file.size}")
