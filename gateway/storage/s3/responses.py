"""The head of a storage's response: read strictly, and compared with what was asked for. Pure.

A response is refused if its end is not certain, or if its bytes could belong to another object, because the
bytes go to a customer who paid, and into a cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.http.fields import parse_date
from gateway.manifest import ManifestFile
from gateway.storage.published import difference
from gateway.storage.retries import RETRY_STATUSES, THROTTLED_STATUSES, TransientError

MAX_HEAD_BYTES: Final = 32 * 1024
"""S3 sends at most 2 KiB of metadata that belongs to an object, and about 1 KiB of fields of its own."""
MAX_RETRY_AFTER: Final = 60.0
"""Seconds. A storage that asks for a longer pause is asked again after this time."""
EXPIRED_KEY_CODES: Final = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
"""Codes that S3 sends with status 400 when temporary keys are no longer valid."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_NAMES: Final[dict[bytes, str]] = {}
"""Field names as they came, and in lower case: a storage sends the same few in every response."""
_MAX_NAMES: Final = 256


class CredentialsRefused(Exception):
    """The storage does not accept our keys. The text continues a sentence that begins with the object."""


class PermanentError(Exception):
    """The storage's response cannot be used, and asking again would not help.

    The text continues a sentence that begins with the object: the caller makes a StorageError of it.
    """


@dataclass(slots=True)
class Head:
    """The head of a response.

    fields: by name in lower case. length: of the body in bytes; None if the body ends with the connection, or
    is sent in chunks. keeps: whether the connection may carry another request once the body has been read.
    """

    status: int
    fields: Mapping[str, str]
    length: int | None
    keeps: bool


class ExpectedObject(NamedTuple):
    """What was asked for: the bytes of one published object from `start` up to `stop`."""

    file: ManifestFile
    start: int
    stop: int

    @property
    def whole(self) -> bool:
        """Whether these are all bytes of the object, which are requested without a range."""
        return self.start == 0 and self.stop == self.file.size


def parse_head(data: bytes, method: str) -> Head:
    """Parse a head that ends with its empty line.

    Raises ValueError, with a text that names what was found, for what HTTP/1.1 (RFC 9112) does not allow.
    """
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
    """Return the length of the body (RFC 9112 section 6.3, without the cases that do not occur here)."""
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
        raise ValueError("a Content-Length that is not a number")
    return int(text)


# Errors.


def error_code(body: bytes) -> str:
    """Return the code in the XML of an S3 error, "" if there is none."""
    match = _CODE.search(body)
    return "" if match is None else match[1].decode()


def error_of(head: Head, code: str) -> TransientError | CredentialsRefused | PermanentError:
    """Return what to raise for a response that is an error.

    code: what `error_code` found in the body.
    """
    status = head.status
    answer = f"{status} {code}".rstrip()
    if status in RETRY_STATUSES:
        after = retry_after(head.fields.get("retry-after", ""))
        return TransientError(f"the storage answers {answer}", after, throttled=status in THROTTLED_STATUSES)
    if status in {401, 403} or (status == 400 and (code in EXPIRED_KEY_CODES or not code)):
        clock = ", and that this machine's clock is right" if code == "RequestTimeTooSkewed" else ""
        return CredentialsRefused(
            f"is refused ({answer}): check that the keys are right and may read it{clock}"
        )
    if status in {404, 410}:
        return PermanentError(f"is missing ({answer})")
    if status in {412, 416}:
        return PermanentError(f"has changed since it was published ({answer})")
    region = head.fields.get("x-amz-bucket-region", "")
    if status in {301, 307, 308} or code == "AuthorizationHeaderMalformed":
        hint = f" to {region!r}" if region.replace("-", "").isalnum() else ""
        return PermanentError(f"is stored elsewhere ({answer}): set `region`{hint} or `endpoint`")
    return PermanentError(f"cannot be read: the storage answers {answer}")


def retry_after(text: str) -> float:
    """Return the seconds of a Retry-After, MAX_RETRY_AFTER at most; 0 if it is missing, or is a date."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), MAX_RETRY_AFTER)
    return 0.0


# Successes.


def check_body(head: Head, expected: ExpectedObject) -> None:
    """Raise PermanentError unless the body is exactly the expected bytes of the published object."""
    file = expected.file
    if "transfer-encoding" in head.fields:
        raise PermanentError("comes in chunks, so that a lost end could not be noticed")
    if head.status == 206:
        match = _CONTENT_RANGE.fullmatch(head.fields.get("content-range", ""))
        if match is None:
            raise PermanentError("comes with no range that can be read (Content-Range)")
        first, last, size = (int(part) for part in match.groups())
        if size != file.size:
            raise PermanentError(f"has changed since it was published: {size} bytes, not {file.size}")
        if (first, last) != (expected.start, expected.stop - 1):
            raise PermanentError(f"comes with bytes {first}-{last}, not {expected.start}-{expected.stop - 1}")
    elif head.status != 200:
        raise PermanentError(f"cannot be read: the storage answers {head.status}")
    elif not expected.whole:
        raise PermanentError("comes whole although a range was asked for: the storage has to support ranges")
    _check_identity(head, file)
    if head.length != expected.stop - expected.start:
        if head.status == 200:
            raise PermanentError(f"has changed since it was published: {head.length} bytes, not {file.size}")
        raise PermanentError(f"comes with {head.length} bytes, not {expected.stop - expected.start}")


def check_description(head: Head, file: ManifestFile) -> None:
    """Raise PermanentError unless the response to a HEAD request describes the published object."""
    if head.status != 200:
        raise PermanentError(f"cannot be read: the storage answers {head.status}")
    _check_identity(head, file)
    length = head.fields.get("content-length", "")
    if length != str(file.size):
        raise PermanentError(f"has changed since it was published: {length[:20]} bytes, not {file.size}")


def _check_identity(head: Head, file: ManifestFile) -> None:
    """Raise PermanentError unless the response is about the very object that was published."""
    fields = head.fields
    changed = difference(
        file,
        fields.get("etag", ""),
        fields.get("x-amz-version-id", ""),
        parse_date(fields.get("last-modified", "")),
    )
    if changed:
        raise PermanentError(f"has changed since it was published: {changed}")
