"""Every refusal of the gateway in one table, and its exceptions.

A refusal is an answer, not a fault. Its code is part of the HTTP contract and never changes its meaning. The
exceptions:

    GatewayError                a command prints its text as one line, without a traceback
    ├── ConfigurationError      settings or manifests that cannot work; has every fault that was found
    ├── Declined                what the store holds forbids the operation; has a code
    ├── StoreUnavailable        Redis did not answer (in time)
    ├── DatabaseError           the database cannot be used now; has a kind
    └── StorageError            a blob is missing, changed or unreachable; answered as `storage_failed`
        ├── NotAsPublished      the blob is missing, or another one: putting the published one back helps
        └── StorageUnreachable  the blob may exist, and the cached parts of it may be served
    Refused                     a request is refused; has one Refusal of the table
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

RETRY_AFTER_SECONDS: Final = 2
"""How long a client is asked to wait when the store is away. The store is used again within a second after
its return."""
WEB_RETRY_AFTER_SECONDS: Final = 5
"""The same when the web process is away, which is started again within a second or two."""
RETRY_STEPS: Final = (1, 2, 5, 10, 20, 60, 120, 300)
"""The values of Retry-After while a file is compared: few, because answers are kept ready."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row of the table: the answer to a program, and its explanation for a person.

    title, detail: what is wrong, and what the reader can do. They claim nothing of what others do or know and
    promise no time at which it works again: the gateway tells nobody but its own log. headers: sent in
    addition to those that every refusal has.
    """

    code: str
    status: int
    title: str
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


def _row(code: str, status: int, title: str, detail: str, **headers: str) -> Refusal:
    return Refusal(
        code, status, title, detail, tuple((name.replace("_", "-"), value) for name, value in headers.items())
    )


TOKEN_MISSING: Final = _row(
    "token_missing",
    401,
    "A download token is needed",
    "Open the complete link you were sent, or pass the token as a bearer token or as a password.",
    WWW_Authenticate='Bearer realm="downloads"',
)
PASSWORD_MISSING: Final = replace(
    TOKEN_MISSING,
    headers=(*TOKEN_MISSING.headers, ("WWW-Authenticate", 'Basic realm="downloads", charset="UTF-8"')),
)
"""The same for programs that have a password and wait until they are asked for it (RFC 7617 section 2)."""
TOKEN_INVALID: Final = _row(
    "token_invalid",
    403,
    "This link is not valid",
    "It may have expired or been revoked. Ask the shop for a new one. With a new link for the same version, "
    "a download that has begun can be resumed.",
)
BOUND_ELSEWHERE: Final = _row(
    "bound_elsewhere",
    403,
    "This link works elsewhere",
    "It belongs to the device or network that used it first. Use it there, or ask the shop for a new one.",
)
LIMIT_REACHED: Final = _row(
    "limit_reached",
    403,
    "The download limit of this link is used up",
    "Ask the shop for a new link.",
)
TOO_MANY_CONNECTIONS: Final = _row(
    "too_many_connections",
    429,
    "Too many connections at once",
    "Close some of the running downloads and try again.",
    Retry_After="10",
)
TOO_MANY_ATTEMPTS: Final = _row(
    "too_many_attempts", 429, "Too many attempts", "Wait a little and try again.", Retry_After="60"
)
FILE_NOT_FOUND: Final = _row(
    "file_not_found", 404, "There is no such file", "This product version has no file of that name."
)
STORE_UNAVAILABLE: Final = _row(
    "store_unavailable",
    503,
    "Downloads are not available at the moment",
    "The link could not be checked. Try again in a moment.",
    Retry_After=str(RETRY_AFTER_SECONDS),
)
STORAGE_FAILED: Final = _row(
    "storage_failed",
    502,
    "The file cannot be read at the moment",
    "Try again later. If the file still cannot be read then, tell the shop.",
)
OVERLOADED: Final = _row(
    "overloaded", 503, "The server is busy", "Try again in a moment.", Retry_After=str(RETRY_AFTER_SECONDS)
)
WEB_UNAVAILABLE: Final = _row(
    "web_unavailable",
    503,
    "This page is not available at the moment",
    "Try again in a moment.",
    Retry_After=str(WEB_RETRY_AFTER_SECONDS),
)
REQUEST_TIMEOUT: Final = _row(
    "request_timeout", 408, "The request took too long", "Its body did not come in time. Send it again."
)
TOO_LARGE: Final = _row("too_large", 413, "The request is too large", "Send a shorter body.")
BAD_REQUEST: Final = _row(
    "bad_request", 400, "The request cannot be understood", "Check the link and try again."
)
URI_TOO_LONG: Final = _row(
    "uri_too_long", 414, "The link is too long", "Check the link: perhaps other text was copied with it."
)
HEAD_TOO_LARGE: Final = _row(
    "head_too_large",
    431,
    "The request has too many or too long header fields",
    "Send fewer fields. In a browser, deleting the cookies of this site may help.",
)
HTTP_VERSION_NOT_SUPPORTED: Final = _row(
    "http_version_not_supported", 505, "This version of HTTP is not spoken here", "Use HTTP/1.1."
)
METHOD_NOT_ALLOWED: Final = _row(
    "method_not_allowed", 405, "Method not allowed", "Only GET and HEAD are answered here.", Allow="GET, HEAD"
)
METHOD_NOT_ALLOWED_HERE: Final = replace(
    METHOD_NOT_ALLOWED,
    detail="Only GET, HEAD and OPTIONS are answered here.",
    headers=(("Allow", "GET, HEAD, OPTIONS"),),
)
"""The same where preflight requests of browsers are answered."""
PRECONDITION_FAILED: Final = _row(
    "precondition_failed",
    412,
    "The file is not the one that was asked for",
    "If-Match or If-Unmodified-Since does not hold for the current file.",
)
RANGE_NOT_SATISFIABLE: Final = _row(
    "range_not_satisfiable",
    416,
    "The file has no such bytes",
    "No byte of the range is in the file; Content-Range says how long the file is.",
)
NOT_FOUND: Final = _row("not_found", 404, "There is nothing here", "Check the link and try again.")

STORAGE_COMPARING: Final = replace(
    STORAGE_FAILED,
    title="The file is being checked",
    detail="It was moved or restored, and its content is being checked. Try again in a moment.",
)
"""The same while the content of a file is compared with what was published."""

TABLE: Final[tuple[Refusal, ...]] = (
    TOKEN_MISSING,
    TOKEN_INVALID,
    BOUND_ELSEWHERE,
    LIMIT_REACHED,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_ATTEMPTS,
    FILE_NOT_FOUND,
    STORE_UNAVAILABLE,
    STORAGE_FAILED,
    OVERLOADED,
    WEB_UNAVAILABLE,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    BAD_REQUEST,
    URI_TOO_LONG,
    HEAD_TOO_LARGE,
    HTTP_VERSION_NOT_SUPPORTED,
    METHOD_NOT_ALLOWED,
    PRECONDITION_FAILED,
    RANGE_NOT_SATISFIABLE,
    NOT_FOUND,
)


@lru_cache(maxsize=256)
def with_retry_after(refusal: Refusal, seconds: int) -> Refusal:
    """The same refusal, which asks the client to wait for so long."""
    return replace(refusal, headers=(("Retry-After", str(seconds)),))


def storage_failed(retry_after: int | None) -> Refusal:
    """The refusal for a StorageError. retry_after: seconds, if trying again will help."""
    if retry_after is None:
        return STORAGE_FAILED
    seconds = next((each for each in RETRY_STEPS if each >= retry_after), RETRY_STEPS[-1])
    return replace(STORAGE_COMPARING, headers=(("Retry-After", str(seconds)),))


class GatewayError(Exception):
    """A fault that a person can correct. Its text is one line that says what is wrong and what to do."""


class ConfigurationError(GatewayError):
    """Settings that cannot work. faults: one line for each fault; all of them are found in one pass."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Declined(GatewayError):
    """What the store holds forbids the operation. The text says why, and what to do about it.

    `code` is one of: product_unknown, product_exists, product_archived, version_unknown,
        active_version_unknown, version_conflict, version_missing, token_unknown, token_revoked, expiry_past,
    expiry_too_far, tokens_live, version_active, key_unknown, key_ambiguous, connection_exists,
    connection_unknown, event_unknown, event_emptied, mail_unknown, mail_gone, customer_unknown, invalid
    (with `faults`: pairs of field and message).
    """

    def __init__(self, code: str, message: str, faults: Sequence[tuple[str, str]] = ()) -> None:
        self.code = code
        self.faults = tuple(faults)
        super().__init__(message)

    @classmethod
    def invalid(cls, faults: Sequence[tuple[str, str]]) -> Declined:
        """Some values break the rules: each fault is a field and a message."""
        return cls("invalid", "; ".join(f"{field} {message}" for field, message in faults), faults)


class DatabaseError(GatewayError):
    """The database cannot be used now. The text says which one, why, and what to do.

    kind: "unreachable", "locked", "full", "refused" (name, password or permission), "damaged", "outdated"
    (its tables must be migrated), "newer" (than this program), "foreign" (the store is another database's),
    "secrets" (they cannot be decrypted) or
    "failed".
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class StoreUnavailable(GatewayError):
    """The store (Redis) is not connected, did not answer in time, or answered that it cannot serve.

    reason: why the whole store cannot be used, which /readyz shows to anybody, and which was logged where it
    was noticed. Empty where nobody has logged the error, as for one damaged record.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class StorageError(GatewayError):
    """A blob is missing, changed, unreachable or not a regular file below its root.

    retry_after: seconds after which the client should try again; None where nothing says that it would help.
    """

    retry_after: int | None = None


class NotAsPublished(StorageError):
    """A blob is missing, or is not the one that was published.

    differs: there is a blob, so its bytes may still be those that were published.
    """

    def __init__(self, text: str, *, differs: bool = False) -> None:
        super().__init__(text)
        self.differs = differs


class StorageUnreachable(StorageError):
    """A storage did not answer, or not with the blob, but may do so later: the blob may exist."""


class Refused(Exception):
    """A request is refused. refusal: the row of the table to answer with. detail: replaces the row's own."""

    def __init__(self, refusal: Refusal, detail: str | None = None) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.detail = detail
