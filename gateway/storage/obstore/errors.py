"""What obstore's exceptions mean: the one place where they are turned into ours.

The texts of obstore are never passed on: they hold whole responses, requests and addresses, over many lines.
What is worth reporting is searched for in them: the status, the code in the response, and the kind of a
broken connection.
"""

from __future__ import annotations

import re
from typing import Final

from obstore.exceptions import BaseError

from gateway.errors import StorageError
from gateway.storage.retries import RETRY_STATUSES, THROTTLED_STATUSES, TransientError

OBSTORE_ERRORS: Final = (BaseError, OSError, ValueError)
"""All that obstore raises: FileNotFoundError for a missing object, ValueError for a key that it cannot
use."""

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
_RETRY_STATUSES: Final = RETRY_STATUSES | {408}


def translate(error: Exception, subject: str) -> TransientError | StorageError:
    """Return what to raise instead of one of OBSTORE_ERRORS.

    subject: what failed, as errors name it.
    """
    text = str(error)
    match = _STATUS.search(text)
    status = int(match[1]) if match else 0
    code = _CODE.search(text)
    answer = f"{status or ''} {code[1] if code else ''}".strip()
    if "token request" in text or status == 401:
        return _no_credentials(subject, answer, status, text)
    if status == 404:
        return StorageError(f"{subject} is missing ({answer})")
    if status in {412, 416}:
        return StorageError(f"{subject} has changed since it was published, or is gone ({answer})")
    if status == 403:
        return StorageError(
            f"{subject} is refused ({answer}): check that the credentials are right and may read it"
        )
    if status in _RETRY_STATUSES:
        return TransientError(f"the storage answers {answer}", throttled=status in THROTTLED_STATUSES)
    if status:
        return StorageError(f"{subject} cannot be read: the storage answers {answer}")
    if "non-partial response" in text:
        return StorageError(
            f"{subject} comes whole although a range was asked for: the storage has to support ranges"
        )
    if isinstance(error, ValueError):
        return StorageError(f"{subject} cannot be read: the key has empty parts, or parts such as '..'")
    if "HTTP error" in text:
        return TransientError(_broken_connection(text) or "the connection was lost")
    what = " ".join(_SOURCES.findall(text)[:2]) or type(error).__name__
    return StorageError(f"{subject} cannot be read: the storage's response cannot be used ({what})")


def _no_credentials(subject: str, answer: str, status: int, text: str) -> TransientError | StorageError:
    """No credentials were found, or the service that issues them gave none, or they were not accepted."""
    if 400 <= status < 500 and status not in _RETRY_STATUSES:
        return StorageError(f"{subject} cannot be read without valid credentials ({answer})")
    why = answer or _broken_connection(text) or "the connection was lost"
    return TransientError(f"the credentials cannot be fetched ({why})")


def _broken_connection(text: str) -> str:
    match = _KIND.search(text)
    return _KINDS[match[1]] if match else ""
