"""What obstore's exceptions mean: the one place where they are turned into ours.

The class of an exception names the status where obstore has a class for it. All other statuses, the code in
the response, and the kind of a broken connection stand only in its text, and are searched for there. The
texts themselves are never passed on: they hold whole responses, requests and addresses, over many lines.
"""

from __future__ import annotations

import re
from typing import Final

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from gateway.errors import NotAsPublished, StorageError
from gateway.storage.catalog import ObjectMissing
from gateway.storage.proxies import proxy_hint
from gateway.storage.published import RESTORE
from gateway.storage.retries import RETRY_STATUSES, THROTTLED_STATUSES, TransientError

OBSTORE_ERRORS: Final = (BaseError, OSError, ValueError)
"""All that obstore raises: FileNotFoundError for a missing object, ValueError for a key that it cannot
use."""

_STATUSES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (UnauthenticatedError, 401),
    (PermissionDeniedError, 403),
    (FileNotFoundError, 404),
    (PreconditionError, 412),
)
"""The classes that stand for one status each; every other response is a GenericError."""
_STATUS: Final = re.compile(r"returned non-2xx status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_KIND: Final = re.compile(r"\bkind: (Connect|Timeout|Decode)\b")
_SOURCES: Final = re.compile(r"\bsource: ([A-Z][A-Za-z]+)\b")
"""Names of object_store's own errors, such as UnexpectedRange, or Header and MissingEtag."""
_KINDS: Final = {
    "Connect": "the storage cannot be reached",
    "Timeout": "the storage sends nothing in time (read_timeout)",
    "Decode": "the storage's response is damaged",
}
_ARCHIVED_CODES: Final = frozenset({"BlobArchived", "BlobBeingRehydrated", "InvalidObjectState"})
_CLOCK: Final = re.compile(r"Request date header too old|RequestTimeTooSkewed|Check your iat and exp values")
"""What Azure, S3's dialect and Google's token service say of a wrong clock."""
_MISSING_FIELDS: Final = {
    "MissingContentLength": "a length (Content-Length)",
    "MissingLastModified": "a modification time (Last-Modified)",
    "MissingEtag": "an ETag",
}
"""What object_store says of a response that lacks a field."""
_NO_RANGE: Final = re.compile(
    r"returned non-2xx status code: 416\b"
    r"|\b(?:NotPartial|NoContentRange|ParseContentRange|UnexpectedRange|InvalidRangeRequest)\b"
)
_NOW_EMPTY: Final = re.compile(r'CONTENT_RANGE header: "bytes [^"/]*/0"|object was only 0 bytes long')
"""What object_store says of a Content-Range such as `bytes 0--1/0` (Azurite) or `bytes */0`."""
_RETRY_STATUSES: Final = RETRY_STATUSES | {408}


def status_of(error: Exception) -> int:
    """Return the status of the response that an exception is about, 0 if it is about none."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    match = _STATUS.search(str(error))
    return int(match[1]) if match else 0


def gives_no_range(error: Exception) -> bool:
    """Whether a storage did not send the range that it was asked for, as for an object without bytes."""
    return _NO_RANGE.search(str(error)) is not None


def translate(error: Exception, subject: str, *, versioned: bool = False) -> TransientError | StorageError:
    """Return what to raise instead of one of OBSTORE_ERRORS.

    subject: what failed, as errors name it. versioned: a version was asked for.
    """
    text = str(error)
    status = status_of(error)
    found = _CODE.search(text)
    code = found[1] if found else ""
    answer = f"{status or ''} {'' if code == str(status) else code}".strip()
    if code in _ARCHIVED_CODES:
        return StorageError(f"{subject} is archived ({answer}): {RESTORE}")
    if _CLOCK.search(text):
        return StorageError(f"{subject} is refused ({answer}): this machine's clock is wrong: set it (NTP)")
    if "token request" in text or status == 401:
        return _no_credentials(subject, answer, status, text)
    if status in _RETRY_STATUSES:
        return TransientError(f"the storage answers {answer}", throttled=status in THROTTLED_STATUSES)
    if status:
        return _refused(subject, status, answer, versioned=versioned)
    if isinstance(error, ValueError):
        return StorageError(f"{subject} cannot be read: the key has empty parts, or parts such as '..'")
    if "HTTP error" in text:
        return TransientError(_broken_connection(text) or "the connection was lost")
    if _NOW_EMPTY.search(text):
        return NotAsPublished(f"{subject} has changed since it was published: it is empty now", differs=True)
    return StorageError(f"{subject} {_unusable(error, text)}")


def _refused(subject: str, status: int, answer: str, *, versioned: bool) -> StorageError:
    """Explain a status that will be the same when it is asked again."""
    if status == 404 and versioned:
        return NotAsPublished(
            f"{subject} is not there in the version that was published ({answer})", differs=True
        )
    if status == 404:
        return ObjectMissing(f"{subject} is missing ({answer})")
    if status in {412, 416}:
        return NotAsPublished(
            f"{subject} has changed since it was published, or is gone ({answer})", differs=True
        )
    if status == 403:
        return StorageError(
            f"{subject} is refused ({answer}): check that the credentials are right and may read it"
        )
    return StorageError(f"{subject} cannot be read: the storage answers {answer}")


def _unusable(error: Exception, text: str) -> str:
    """Explain a success that object_store does not accept."""
    if "non-partial response" in text:
        return "comes whole although a range was asked for: the storage has to support ranges"
    for name, field in _MISSING_FIELDS.items():
        if name in text:
            return (
                f"comes without {field}, which this type of storage needs: let the proxy before the storage "
                "pass it on"
            )
    what = " ".join(_SOURCES.findall(text)[:2]) or type(error).__name__
    return f"cannot be read: the storage's response cannot be used ({what})"


def _no_credentials(subject: str, answer: str, status: int, text: str) -> TransientError | StorageError:
    """No credentials were found, or the service that issues them gave none, or they were not accepted."""
    if 400 <= status < 500 and status not in _RETRY_STATUSES:
        return StorageError(f"{subject} cannot be read without valid credentials ({answer})")
    why = answer or _broken_connection(text) or "the connection was lost"
    return TransientError(f"the credentials cannot be fetched ({why})")


def _broken_connection(text: str) -> str:
    match = _KIND.search(text)
    if match is None:
        return ""
    return _KINDS[match[1]] + (proxy_hint() if match[1] == "Connect" else "")
