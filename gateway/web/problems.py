"""Problems (RFC 9457): how a control-plane service refuses a request, and the one table of its codes.

    {"type": "about:blank", "title": …, "status": 400, "code": "invalid_request", "detail": …,
     "error": …, "success": false, "errors": [{"field": "files[0].size", "message": …}]}

`error` repeats `detail`, because callers of the first version of this API read it. A caller may have put a
token or a key where a name belongs, so whatever looks like one is cut out of every text before it is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import RETRY_AFTER_SECONDS, DatabaseError, Declined, StoreUnavailable
from gateway.products.validation import Fault
from gateway.secrets import redact

CONTENT_TYPE: Final = "application/problem+json"
MAX_FAULTS: Final = 50
"""The most faults that one response lists: nobody needs all faults of a manifest with 10,000 wrong files."""
MAX_FIELD_CHARACTERS: Final = 200
MAX_TEXT_CHARACTERS: Final = 1000
"""Of a detail or a message: it may quote a name from the body."""
CHALLENGE: Final = 'Bearer realm="mint"'
"""The realm (RFC 9110 section 11.5) has the name of the first service that took the API keys."""


@dataclass(frozen=True)
class Row:
    """One row of the table: the HTTP status and the title that go with a code."""

    status: int
    title: str


TABLE: Final[Mapping[str, Row]] = {
    "invalid_request": Row(400, "The request is not valid"),
    "key_missing": Row(401, "An API key is needed"),
    "key_invalid": Row(401, "The API key is not valid"),
    "key_expired": Row(401, "The API key has expired"),
    "forbidden": Row(403, "This API key may not do that"),
    "cross_origin": Row(403, "This came from another site"),
    "sign_in_refused": Row(401, "The name or the password is not right"),
    "not_found": Row(404, "There is nothing here"),
    "product_unknown": Row(404, "There is no such product"),
    "version_unknown": Row(404, "There is no such version"),
    "version_missing": Row(404, "The product has no version"),
    "order_unknown": Row(404, "There is no such order"),
    "customer_unknown": Row(404, "There is no such customer"),
    "entitlement_unknown": Row(404, "There is no such entitlement"),
    "connection_unknown": Row(404, "There is no such connection"),
    "webhook_unknown": Row(404, "There is no such webhook"),
    "delivery_unknown": Row(404, "There is no such delivery"),
    "event_unknown": Row(404, "There is no such event"),
    "mail_unknown": Row(404, "There is no such mail"),
    "token_unknown": Row(404, "There is no such token"),
    "method_not_allowed": Row(405, "Method not allowed"),
    "request_timeout": Row(408, "The request took too long"),
    "active_version_unknown": Row(409, "The product has no such version"),
    "mail_gone": Row(409, "The mail cannot be sent again"),
    "product_exists": Row(409, "The product exists already"),
    "product_archived": Row(409, "The product is archived"),
    "version_conflict": Row(409, "The version exists with other files"),
    "entitlement_not_active": Row(409, "The entitlement is not active"),
    "version_not_included": Row(409, "The entitlement does not open such a version"),
    "event_emptied": Row(409, "The event has no content any more"),
    "connection_exists": Row(409, "The connection exists already"),
    "webhook_limit": Row(409, "There are too many webhooks"),
    "webhook_disabled": Row(409, "The webhook is disabled"),
    "source_taken": Row(409, "The source is a connection"),
    "token_revoked": Row(409, "The token is revoked"),
    "too_large": Row(413, "The request is too large"),
    "uri_too_long": Row(414, "The URL is too long"),
    "misdirected": Row(421, "The dashboard has another name"),
    "unsupported_media_type": Row(415, "The body must be JSON"),
    "expectation_failed": Row(417, "The expectation cannot be met"),
    "idempotency_key_reused": Row(422, "The Idempotency-Key was used with another body"),
    "too_many_attempts": Row(429, "Too many attempts"),
    "head_too_large": Row(431, "The request has too many or too long header fields"),
    "internal_error": Row(500, "Something went wrong here"),
    "http_version_not_supported": Row(505, "This version of HTTP is not spoken here"),
    "overloaded": Row(503, "The service is busy"),
    "database_unavailable": Row(503, "The database is not available"),
    "store_unavailable": Row(503, "The store is not available"),
}
"""Codes are part of the API. A code never changes its meaning or its status."""


class Problem(Exception):
    """Raised where a request is refused.

    code: a row of the table. detail: one sentence for the caller, which names the next step. faults: the
    fields that are wrong. headers: further header fields of the response, as pairs.
    """

    def __init__(
        self, code: str, detail: str, faults: Sequence[Fault] = (), headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers)

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return TABLE[self.code].status

    def document(self) -> dict[str, Any]:
        """Make the body of the response, without secrets."""
        row = TABLE[self.code]
        detail = _clean(self.detail)[:MAX_TEXT_CHARACTERS]
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": row.title,
            "status": row.status,
            "code": self.code,
            "detail": detail,
            "error": detail,
            "success": False,
        }
        if self.faults:
            document["errors"] = [
                {
                    "field": _clean(field)[:MAX_FIELD_CHARACTERS],
                    "message": _clean(message)[:MAX_TEXT_CHARACTERS],
                }
                for field, message in self.faults[:MAX_FAULTS]
            ]
        return document


def invalid(faults: Sequence[Fault]) -> Problem:
    """Make the 400 that names each field that is wrong."""
    return Problem("invalid_request", "; ".join(f"{field} {text}" for field, text in faults[:3]), faults)


def too_large(limit: int) -> Problem:
    """Make the 413 that names the limit of the body, in bytes."""
    return Problem("too_large", f"The body must not be longer than {limit} bytes.")


def head_too_large() -> Problem:
    """Make the 431 for a head that is longer than the settings allow."""
    return Problem("head_too_large", "Send a shorter URL, and fewer or shorter header fields.")


def uri_too_long() -> Problem:
    """Make the 414 for a request line that is longer than the settings allow."""
    return Problem("uri_too_long", "Send a shorter URL: `max_line` says how long a request line may be.")


def http_version_not_supported() -> Problem:
    """Make the 505 for a version of HTTP that is neither 1.0 nor 1.1."""
    return Problem("http_version_not_supported", "Use HTTP/1.1.")


def overloaded() -> Problem:
    """Make the 503 for a connection beyond the limit."""
    return Problem(
        "overloaded",
        "Too many connections are open; try again in a moment.",
        headers=[("Retry-After", str(RETRY_AFTER_SECONDS))],
    )


def too_slow() -> Problem:
    """Make the 408 for a body that does not come."""
    return Problem("request_timeout", "The body did not arrive in time; send it without pauses.")


def key_missing() -> Problem:
    """Make the 401 for a request without an API key."""
    return Problem(
        "key_missing",
        "Send the header `Authorization: Bearer KEY`, once; `download-gateway key create` makes a key.",
        headers=[("WWW-Authenticate", CHALLENGE)],
    )


def key_invalid() -> Problem:
    """Make the 401 for an API key that is unknown or revoked."""
    return Problem(
        "key_invalid",
        "The API key is unknown or was revoked.",
        headers=[("WWW-Authenticate", f'{CHALLENGE}, error="invalid_token"')],
    )


def key_expired(moment: str) -> Problem:
    """Make the 401 for an API key that has expired. moment: when, for the caller."""
    return Problem(
        "key_expired",
        f"The API key expired at {moment}; `download-gateway key create` makes another.",
        headers=[("WWW-Authenticate", f'{CHALLENGE}, error="invalid_token"')],
    )


def too_many_attempts(seconds: int) -> Problem:
    """Make the 429 for a client whose attempts were refused too often. seconds: how long it is to wait."""
    return Problem(
        "too_many_attempts",
        "Too many attempts of this address were refused; wait a little and try again.",
        headers=[("Retry-After", str(seconds))],
    )


def method_not_allowed(methods: Iterable[str]) -> Problem:
    """Make the 405 whose Allow header lists the methods of the URL."""
    return Problem(
        "method_not_allowed",
        "Use one of the methods in the Allow header.",
        headers=[("Allow", ",".join(sorted(methods)))],
    )


def malformed_request() -> Problem:
    """Make the 400 for bytes that are no HTTP request. It quotes nothing, because they may hold a key."""
    return Problem("invalid_request", "The request is not valid HTTP/1.1, or a line of it is too long.")


def store_unavailable(detail: str) -> Problem:
    """Make the 503. What exactly failed is for the log and for /readyz, not for other callers."""
    return Problem("store_unavailable", detail, headers=[("Retry-After", str(RETRY_AFTER_SECONDS))])


def database_unavailable() -> Problem:
    """Make the 503 for a database that cannot be used now. Why is for the log only."""
    return Problem(
        "database_unavailable", "Try again in a moment.", headers=[("Retry-After", str(RETRY_AFTER_SECONDS))]
    )


def internal_error() -> Problem:
    """Make the 500 for a fault of ours. Whoever answers with it logs the fault (see `log_failure`)."""
    return Problem("internal_error", "The service failed to answer this request. Its log has the reason.")


def problem_of(error: Exception, logger: logging.Logger) -> Problem:
    """Translate what a handler raised. An exception that nobody expected is logged with its traceback."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Declined):
        return _from_declined(error)
    if isinstance(error, StoreUnavailable):
        if not error.reason:  # else the store's client has logged it, once
            logger.warning("%s", error)
        return store_unavailable("Try again in a moment.")
    if isinstance(error, DatabaseError):
        logger.warning("%s", error)
        return database_unavailable()
    log_failure(error, logger)
    return internal_error()


def _from_declined(declined: Declined) -> Problem:
    """Translate what the store's data forbids."""
    if declined.code == "invalid":
        return invalid(declined.faults)
    if declined.code in ("expiry_past", "expiry_too_far"):
        return invalid([("expiresAt", f"cannot be set: {declined}")])
    return Problem(declined.code, str(declined))


def log_failure(error: BaseException, logger: logging.Logger) -> None:
    """Log a fault of ours with its traceback. The log's formatter cuts secrets out of it."""
    details: Any = (type(error), error, error.__traceback__)
    logger.error("a request failed: %s", type(error).__name__, exc_info=details)


def _clean(text: str) -> str:
    """Cut secrets out, and make the text fit for UTF-8: a name in a body may hold half a surrogate pair."""
    return redact(text.encode("utf-8", "replace").decode())
