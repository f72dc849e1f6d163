"""What obstore's exceptions mean: asked again, or a StorageError for good.

Their own texts are never passed on: they hold whole answers, requests and addresses, over many lines. What is
worth telling is found in them: the status, the code in the answer, the kind of a broken connection.
"""

from __future__ import annotations

import re
from typing import Final

from obstore.exceptions import BaseError

from gateway.errors import StorageError
from gateway.storage.retries import TransientError

FAULTS: Final = (BaseError, OSError, ValueError)
"""All that obstore raises: missing objects are FileNotFoundError, keys it cannot use ValueError."""

_STATUS: Final = re.compile(r"returned non-2xx status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_KIND: Final = re.compile(r"\bkind: (Connect|Timeout|Decode)\b")
_SOURCES: Final = re.compile(r"\bsource: ([A-Z][A-Za-z]+)\b")
"""Names of object_store's own errors, such as UnexpectedRange, or Header and MissingEtag."""
_KINDS: Final = {
    "Connect": "the storage cannot be reached",
    "Timeout": "the storage sends nothing in time (read_timeout)",
    "Decode": "the storage's answer is damaged",
}
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_THROTTLED: Final = frozenset({429, 503})


def judge(error: Exception, subject: str) -> TransientError | StorageError:
    """What to raise instead of one of FAULTS; `subject` is what failed, as a StorageError names it."""
    text = str(error)
    match = _STATUS.search(text)
    status = int(match[1]) if match else 0
    code = _CODE.search(text)
    said = f"{status or ''} {code[1] if code else ''}".strip()
    if "token request" in text or status == 401:
        return _without_credentials(subject, said, status, text)
    if status == 404:
        return StorageError(f"{subject} is missing ({said})")
    if status in {412, 416}:
        return StorageError(f"{subject} has changed since it was published, or is gone ({said})")
    if status == 403:
        return StorageError(
            f"{subject} is refused ({said}): see that the credentials are right and may read it"
        )
    if status in _AGAIN:
        return TransientError(f"the storage answers {said}", throttled=status in _THROTTLED)
    if status:
        return StorageError(f"{subject} cannot be had: the storage answers {said}")
    if "non-partial response" in text:
        return StorageError(
            f"{subject} comes whole where a range was asked for: the storage has to answer ranges"
        )
    if isinstance(error, ValueError):
        return StorageError(f"{subject} cannot be had: the key has empty parts, or parts such as '..'")
    if "HTTP error" in text:
        return TransientError(_kind(text) or "the connection was lost")
    what = " ".join(_SOURCES.findall(text)[:2]) or type(error).__name__
    return StorageError(f"{subject} cannot be had: the storage's answer is of no use ({what})")


def _without_credentials(subject: str, said: str, status: int, text: str) -> TransientError | StorageError:
    """No credentials were found, or the service that issues them gave none, or these are not accepted."""
    if 400 <= status < 500 and status not in _AGAIN:
        return StorageError(f"{subject} cannot be had without valid credentials ({said})")
    return TransientError(f"no credentials can be had ({said or _kind(text) or 'the connection was lost'})")


def _kind(text: str) -> str:
    match = _KIND.search(text)
    return _KINDS[match[1]] if match else ""
