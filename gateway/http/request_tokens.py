"""Which token a request carries: in its URL, as a bearer token, or as a password. Pure.

The rules:

- A token of ours begins with `ct_` and has only characters of base64url. What is another text is nobody's
  token: beside a token of ours it is ignored, because front proxies, shops and programs have tokens of their
  own. Alone, it is refused as an invalid token is, but for credentials of Basic authentication, which a
  program may send for somebody else: then the request has no token.
- Two different tokens of ours in one request are `bad_request`, wherever they stand.
- A token that has not the exact form is searched for in what is glued to it (`repairs.py`).
- A 401 offers `Bearer`, and to some programs `Basic` in a second field: to those that send their password
  only when it is asked for. Anybody else would gain nothing, and a browser would ask its user for a name.
- With Basic authentication (RFC 7617) the password is the token, and the user's name may be any. A program
  that has one field for a secret sends it as the name, with an empty password.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gateway.errors import BAD_REQUEST, TOKEN_INVALID, TOKEN_MISSING, Refused
from gateway.http.repairs import MAX_TEXT, find_token_alone, find_tokens
from gateway.secrets import MAX_TOKEN_LENGTH, TOKEN_FORM, TOKEN_PREFIX

MAX_BASIC: Final = 4 * MAX_TEXT
"""The longest credentials of Basic authentication that are decoded, in characters of base64."""
TWO_TOKENS: Final = "The request carries two different tokens."

_OURS: Final = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{1,{MAX_TOKEN_LENGTH - len(TOKEN_PREFIX)}}}")

_WAITING: Final = re.compile(r"(?:Wget|lftp|curl|aria2|Java|Python-urllib|Microsoft BITS)/")
"""How programs begin their User-Agent that may wait for a challenge: wget and lftp always do."""


class Credentials(NamedTuple):
    """What one Authorization field brings. token: of ours, if there is one. is_bearer: of any form."""

    token: str | None = None
    is_bearer: bool = False


NO_CREDENTIALS: Final = Credentials()


def is_token(text: str) -> bool:
    """Whether the text may be a token of ours, so that the store is asked about it."""
    return _OURS.fullmatch(text) is not None


def read_parameter(text: str) -> str | None:
    """The token of ours in the value of a parameter, or None. Raises Refused(BAD_REQUEST) for two of them."""
    if TOKEN_FORM.fullmatch(text) is not None:
        return text
    found = find_tokens(text)
    if len(found) > 1:
        raise Refused(BAD_REQUEST, TWO_TOKENS)
    return next(iter(found), text if is_token(text) else None)


def waits_for_challenge(agent: str) -> bool:
    """Whether a program with this User-Agent may have a password that it sends only when asked for it."""
    return _WAITING.match(agent) is not None


def agree(tokens: Iterable[str | None]) -> str | None:
    """The one token among these; None if there is none. Raises Refused(BAD_REQUEST) if they differ."""
    found = {token for token in tokens if token is not None}
    if len(found) > 1:
        raise Refused(BAD_REQUEST, TWO_TOKENS)
    return next(iter(found), None)


def read_authorization(field: str) -> Credentials:
    """Read an Authorization field: `Bearer` (RFC 6750 section 2.1) or `Basic` (RFC 7617 section 2)."""
    scheme, _, value = field.strip(" \t").partition(" ")
    kind, text = scheme.lower(), value.strip(" ")
    if not text:
        return NO_CREDENTIALS
    if kind == "bearer":
        return Credentials(_read_alone(text), is_bearer=True)
    return Credentials(_read_password(text)) if kind == "basic" else NO_CREDENTIALS


def request_token(in_url: str | None, authorization: Sequence[str], name: str | None = None) -> str:
    """Return the one token of a request, from its URL or its Authorization fields.

    in_url: the token of its target, which may have any form. authorization: the values of all Authorization
    fields. name: of the file asked for. Raises Refused: BAD_REQUEST for two different tokens, TOKEN_MISSING
    for none, TOKEN_INVALID for one that cannot be a token of ours, so that the store is never asked about it.
    """
    ours = in_url if in_url and is_token(in_url) else None
    if not authorization:
        token, is_bearer = ours, False
    else:
        credentials = [read_authorization(field) for field in authorization]
        token = agree([ours, *(each.token for each in credentials)])
        is_bearer = any(each.is_bearer for each in credentials)
    if token is not None:
        return token
    if in_url or is_bearer or (name or "").startswith(TOKEN_PREFIX):
        raise Refused(TOKEN_INVALID)
    raise Refused(TOKEN_MISSING)


def _read_alone(text: str) -> str | None:
    return find_token_alone(text) or (text if is_token(text) else None)


def _read_password(text: str) -> str | None:
    """The token in the credentials of Basic authentication: base64 of `name:password`."""
    if len(text) > MAX_BASIC:
        return None
    try:
        pair = b64decode(text, validate=True).decode("utf-8", "surrogateescape")
    except (NotBase64, ValueError):
        return None
    name, _, password = pair.partition(":")
    return _read_alone(password or name)
