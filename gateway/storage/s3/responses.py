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
from gateway.storage.published import RESTORE, difference, is_strong
from gateway.storage.retries import RETRY_STATUSES, THROTTLED_STATUSES, TransientError

MAX_HEAD_BYTES: Final = 32 * 1024
"""S3 sends at most 2 KiB of metadata that belongs to an object, and about 1 KiB of fields of its own."""
MAX_RETRY_AFTER: Final = 60.0
"""Seconds. A storage that asks for a longer pause is asked again after this time."""
EXPIRED_KEY_CODES: Final = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
"""Codes that S3 sends with status 400 when temporary keys are no longer valid."""

KEY_FAULTS: Final = {
    "InvalidAccessKeyId": "does not know the access key",
    "SignatureDoesNotMatch": "does not accept the secret key",
    "ExpiredToken": "says that the keys have expired",
    "ExpiredTokenException": "says that the keys have expired",
    "InvalidToken": "does not accept the session token",
    "TokenRefreshRequired": "says that the keys have expired",
}
"""Codes about the keys themselves: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
ARCHIVED_CODES: Final = frozenset({"InvalidObjectState"})
"""Codes for an object in an archive class (S3 Glacier and its like), which no request can read at once."""
MAX_CLOCK_SECONDS: Final = 300.0
"""A clock that is wrong by less is not the cause: S3 accepts signatures for 15 minutes, others for 5."""
_CLOCK_CODES: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_NO_VERSION_CODES: Final = frozenset({"InvalidArgument", "NoSuchVersion", "InvalidVersionId"})
"""Codes with status 400 for a version of another bucket, or of a bucket without versions."""
NO_RANGES: Final = (
    "comes whole although a range was asked for: the storage, or a proxy before it, has to support ranges"
)
_CHUNKED: Final = (
    "comes in chunks (Transfer-Encoding), so that a lost end could not be noticed: let the proxy before the "
    "storage pass Content-Length on, without compressing"
)
_NO_LENGTH: Final = (
    "comes without a length (Content-Length), so that a lost end could not be noticed: let the proxy before "
    "the storage pass it on"
)

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_REGION: Final = re.compile(rb"<Region>([a-z0-9-]{1,64})</Region>")
_NAMES: Final[dict[bytes, str]] = {}
"""Field names as they came, and in lower case: a storage sends the same few in every response."""
_MAX_NAMES: Final = 256


class PermanentError(Exception):
    """The storage's response cannot be used, and asking again would not help.

    The text continues a sentence that begins with the object: the caller makes a StorageError of it. status,
    code: those of the storage's answer, where it was an error.
    """

    def __init__(self, text: str, status: int = 0, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class CredentialsRefused(PermanentError):
    """The storage does not accept our keys: fresh ones may help."""


class Missing(PermanentError):
    """There is no such object."""


class Differs(PermanentError):
    """The object is not the one that was asked for: its size, ETag, version or time is another."""


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


class ErrorBody(NamedTuple):
    """What the XML of an S3 error says. region: where the bucket is, if the error is about that."""

    code: str = ""
    region: str = ""


def read_error(body: bytes) -> ErrorBody:
    """Find the code, and the region, in the XML of an S3 error."""
    code, region = _CODE.search(body), _REGION.search(body)
    return ErrorBody(code[1].decode() if code else "", region[1].decode() if region else "")


def error_of(head: Head, body: ErrorBody, now: float, *, versioned: bool = False) -> Exception:
    """Return the TransientError or PermanentError to raise for a response that is an error.

    body: what `read_error` found. now: seconds since 1970. versioned: the request named a version.
    """
    status, code = head.status, body.code
    answer = f"{status} {code}" if code not in ("", str(status)) else str(status)
    if status in RETRY_STATUSES:
        after = retry_after(head.fields.get("retry-after", ""))
        return TransientError(f"the storage answers {answer}", after, throttled=status in THROTTLED_STATUSES)
    text = _refusal(head, body, answer, now)
    if text:
        return PermanentError(text, status, code)
    if status in {401, 403} or (status == 400 and (code in EXPIRED_KEY_CODES or not code)):
        why = KEY_FAULTS.get(code)
        advice = (
            f"the storage {why}: correct the keys" if why else "check that the keys are right and may read it"
        )
        return CredentialsRefused(f"is refused ({answer}): {advice}", status, code)
    if versioned and (status in {404, 405, 410} or (status == 400 and code in _NO_VERSION_CODES)):
        return Differs(f"is not there in the version that was published ({answer})", status, code)
    if status in {404, 410}:
        return Missing(f"is missing ({answer})", status, code)
    if status in {412, 416}:
        return Differs(f"has changed since it was published ({answer})", status, code)
    return PermanentError(f"cannot be read: the storage answers {answer}", status, code)


def _refusal(head: Head, body: ErrorBody, answer: str, now: float) -> str:
    """Explain an error that has a cause of its own and that fresh keys cannot help; else return ""."""
    code = body.code
    if code in ARCHIVED_CODES:
        return f"is archived ({answer}): {RESTORE}"
    if code == "NoSuchBucket":
        return f"is in a bucket that does not exist ({answer}): correct `bucket` or `endpoint`"
    region = head.fields.get("x-amz-bucket-region", "") or body.region
    if head.status in {301, 307, 308} or code == "AuthorizationHeaderMalformed":
        hint = f" to {region!r}" if region.replace("-", "").isalnum() else ""
        return f"is stored elsewhere ({answer}): set `region`{hint} or `endpoint`"
    if head.status in {400, 401, 403}:
        wrong = clock_fault(parse_date(head.fields.get("date", "")), now)
        if code in _CLOCK_CODES or (wrong and code in ("", "SignatureDoesNotMatch")):
            wrong = wrong or "this machine or the storage has a wrong clock"
            return f"is refused ({answer}): {wrong}: set it (NTP)"
    return ""


def clock_fault(theirs: int | None, now: float) -> str:
    """Say by how much this machine's clock differs from the storage's; "" if signatures allow it.

    theirs: the storage's time, None if it is not known; now: ours; both in seconds since 1970.
    """
    if theirs is None or abs(now - theirs) <= MAX_CLOCK_SECONDS:
        return ""
    minutes = round(abs(now - theirs) / 60)
    return (
        f"this machine's clock is {minutes} minutes {'ahead of' if now > theirs else 'behind'} the storage's"
    )


def retry_after(text: str) -> float:
    """Return the seconds of a Retry-After, MAX_RETRY_AFTER at most; 0 if it is missing, or is a date."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), MAX_RETRY_AFTER)
    return 0.0


# Successes.


def check_body(head: Head, expected: ExpectedObject) -> None:
    """Raise PermanentError unless the body is exactly the expected bytes of the published object.

    A 200 with a Content-Range is a range: some storages answer so. A body without a length ends with the
    connection. It is accepted where the range or a strong ETag says how long it is, because every byte of it
    is counted.
    """
    file = expected.file
    if "transfer-encoding" in head.fields:
        raise PermanentError(_CHUNKED)
    text = head.fields.get("content-range", "")
    if head.status == 206 or (head.status == 200 and text and not expected.whole):
        _check_range(head, expected, text)
    elif head.status != 200:
        raise PermanentError(f"cannot be read: the storage answers {head.status}")
    elif not expected.whole and head.length != 0:
        raise PermanentError(NO_RANGES)
    _check_identity(head, file)
    if head.length == expected.stop - expected.start:
        return
    if head.length is None:
        if not text and not is_strong(file.etag):
            raise PermanentError(_NO_LENGTH)
    elif head.status == 200:
        raise Differs(f"has changed since it was published: {head.length} bytes, not {file.size}")
    else:
        raise PermanentError(f"comes with {head.length} bytes, not {expected.stop - expected.start}")


def _check_range(head: Head, expected: ExpectedObject, text: str) -> None:
    """Raise PermanentError unless a Content-Range, whose value is `text`, names the expected bytes."""
    published = expected.file.size
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None:
        if head.length == 0 and text.endswith("/0"):  # `bytes */0`, or `bytes 0--1/0`
            raise Differs(f"has changed since it was published: 0 bytes, not {published}")
        raise PermanentError("comes with no range that can be read (Content-Range)")
    first, last, size = (int(part) for part in match.groups())
    if size != published:
        raise Differs(f"has changed since it was published: {size} bytes, not {published}")
    if (first, last) != (expected.start, expected.stop - 1):
        raise PermanentError(f"comes with bytes {first}-{last}, not {expected.start}-{expected.stop - 1}")


def size_of_range(head: Head) -> int:
    """Return an object's size from the answer to a request for its first byte, or for all of an empty one.

    Raises PermanentError when it does not tell, or a download could not be served from such an answer.
    """
    if "transfer-encoding" in head.fields:
        raise PermanentError(_CHUNKED)
    text = head.fields.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(text)
    if match is not None and match.groups()[:2] == ("0", "0") and head.length in (1, None):
        return int(match[3])
    if head.status == 206 or text:
        raise PermanentError("comes with no range that can be read (Content-Range)")
    if head.length is None:
        raise PermanentError(_NO_LENGTH)
    if head.length > 1:
        raise PermanentError(NO_RANGES)
    return head.length


def check_description(head: Head, file: ManifestFile) -> None:
    """Raise PermanentError unless the response to a HEAD request describes the published object."""
    if head.status != 200:
        raise PermanentError(f"cannot be read: the storage answers {head.status}")
    _check_identity(head, file)
    length = head.fields.get("content-length")
    if length is None:
        if not is_strong(file.etag):
            raise PermanentError(_NO_LENGTH)
    elif length != str(file.size):
        raise Differs(f"has changed since it was published: {length[:20]} bytes, not {file.size}")


def _check_identity(head: Head, file: ManifestFile) -> None:
    """Raise PermanentError unless the response is about the very object that was published."""
    fields = head.fields
    found = difference(
        file,
        fields.get("etag", ""),
        fields.get("x-amz-version-id", ""),
        parse_date(fields.get("last-modified", "")),
    )
    if found is not None:
        raise Differs(found.text) if found.changed else PermanentError(found.text)
