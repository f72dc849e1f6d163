"""How the mint service says no: problem+json (RFC 9457) for every error, one table of codes.

    {"type": "about:blank", "title": …, "status": 400, "code": "invalid_request", "detail": …,
     "error": …, "success": false, "errors": [{"field": "files[0].size", "message": …}]}

`error` is `detail` again: the shape of the API this one follows. Whatever looks like a token or a key is cut
out of every text just before it is sent, for a caller may have put one where a name belongs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import RETRY_AFTER_SECONDS, Declined
from gateway.mint.writing import Answer
from gateway.products.validation import Fault
from gateway.secrets import redact

CONTENT_TYPE: Final = "application/problem+json"
MAX_FAULTS: Final = 50
"""Faults told in one answer; a manifest of 10,000 wrong files says the same after fifty."""
MAX_FIELD_CHARACTERS: Final = 200
CHALLENGE: Final = 'Bearer realm="mint"'


@dataclass(frozen=True)
class Row:
    """One row of the table: the status that goes with a code, and its title."""

    status: int
    title: str


TABLE: Final[Mapping[str, Row]] = {
    "invalid_request": Row(400, "The request is not valid"),
    "key_missing": Row(401, "An API key is needed"),
    "key_invalid": Row(401, "The API key is not valid"),
    "forbidden": Row(403, "This API key may not do that"),
    "not_found": Row(404, "There is nothing here"),
    "product_unknown": Row(404, "There is no such product"),
    "version_unknown": Row(404, "There is no such version"),
    "version_missing": Row(404, "The product has no version"),
    "token_unknown": Row(404, "There is no such token"),
    "method_not_allowed": Row(405, "Method not allowed"),
    "active_version_unknown": Row(409, "The product has no such version"),
    "product_exists": Row(409, "The product exists already"),
    "product_archived": Row(409, "The product is archived"),
    "version_conflict": Row(409, "The version exists with other files"),
    "token_revoked": Row(409, "The token is revoked"),
    "too_large": Row(413, "The request is too large"),
    "unsupported_media_type": Row(415, "The body must be JSON"),
    "expectation_failed": Row(417, "The expectation cannot be met"),
    "idempotency_key_reused": Row(422, "The Idempotency-Key was used with another body"),
    "internal_error": Row(500, "Something went wrong here"),
    "store_unavailable": Row(503, "The store does not answer"),
}
"""Codes are part of the API and never change their meaning."""


class Problem(Exception):
    """Raised where a request is turned down. `code` is a row of the table."""

    def __init__(
        self, code: str, detail: str, faults: Sequence[Fault] = (), headers: Iterable[Fault] = ()
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


def invalid(faults: Sequence[Fault]) -> Problem:
    """Make the 400 that names each field that is wrong."""
    return Problem("invalid_request", "; ".join(f"{field} {text}" for field, text in faults[:3]), faults)


def from_declined(declined: Declined) -> Problem:
    """What the store declined, as an answer."""
    if declined.code == "invalid":
        return invalid(declined.faults)
    if declined.code in ("expiry_past", "expiry_too_far"):
        return invalid([("expiresAt", f"cannot be set: {declined}")])
    return Problem(declined.code, str(declined))


def store_unavailable() -> Problem:
    """Make the 503 of a store that is away. What exactly failed is for the log."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return Problem("store_unavailable", "Try again in a moment.", headers=headers.items())


def key_missing() -> Problem:
    """Make the 401 of a request without an API key."""
    return Problem(
        "key_missing",
        "Send the header `Authorization: Bearer KEY`, once; `download-gateway key create` makes a key.",
        headers={"WWW-Authenticate": CHALLENGE}.items(),
    )


def key_invalid() -> Problem:
    """Make the 401 of a key that is unknown or revoked."""
    return Problem(
        "key_invalid",
        "It is unknown or was revoked.",
        headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}.items(),
    )


def problem_answer(problem: Problem) -> Answer:
    """Write the answer."""
    row = TABLE[problem.code]
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": row.title,
        "status": row.status,
        "code": problem.code,
        "detail": _clean(problem.detail),
        "error": _clean(problem.detail),
        "success": False,
    }
    if problem.faults:
        body["errors"] = [
            {"field": _clean(field)[:MAX_FIELD_CHARACTERS], "message": _clean(message)}
            for field, message in problem.faults[:MAX_FAULTS]
        ]
    return Answer(body, row.status, content_type=CONTENT_TYPE, fields=problem.headers.items())


def _clean(text: str) -> str:
    """Return the text without secrets and fit for UTF-8: a body's name may hold half a surrogate pair."""
    return redact(text.encode("utf-8", "replace").decode())
