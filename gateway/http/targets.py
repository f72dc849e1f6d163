"""What a request asks for and with which token: its target and its Authorization field.

The rules:

- The target is in origin-form, or in absolute-form, which every server has to accept (RFC 9112 section
  3.2.2); the host in it is ignored. A fragment does not belong in a target and is cut off.
- `/download`, `/download/` and `/download/NAME` are downloads; `/auth` and everything below it is
  authorisation. A path with characters that are percent-encoded without need (`/%64ownload`) is the same path
  (RFC 3986 section 6.2.2.2).
- NAME is plain percent-encoded UTF-8 and may contain slashes, encoded or not. Nothing in it is resolved: it
  is looked up in the manifest as it is. Parameters are form-encoded as browsers send them: `+` is a space.
- Parameters other than `token` and `file` are ignored (mail programs add some). These two are ignored, too,
  if they have no value. The same value twice is accepted; two different tokens or names in one request are
  `bad_request`.
- Bytes that are not UTF-8 become lone surrogates. No file and no token has such a name, so the request is
  refused like any unknown one, never with a crash. Encode with `surrogateescape` when writing them anywhere.
- The work is bounded, whatever the target is: a name or token that is too long to be one is not decoded, one
  expression finds the two parameters that count, and a value may be given in a few spellings only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from gateway.errors import BAD_REQUEST, FILE_NOT_FOUND, TOKEN_INVALID, TOKEN_MISSING, Refused
from gateway.http.percent import percent_decode
from gateway.manifest import Manifest
from gateway.secrets import MAX_TOKEN_LENGTH, TOKEN_PREFIX

_TOKEN: Final = re.compile(rf"{TOKEN_PREFIX}[A-Za-z0-9_-]{{1,{MAX_TOKEN_LENGTH - len(TOKEN_PREFIX)}}}")
_MINTED: Final = re.compile(rf"/download(?:/([A-Za-z0-9._~-]+))?\?token=({_TOKEN.pattern})")
"""The URL as minted, without a file's name or with a plain one: nothing in it needs decoding."""

MAX_NAME_CHARACTERS: Final = 3 * 1024
"""The longest text that can be a file's name: names have at most 1024 bytes, each of which can be `%XX`."""
MAX_TOKEN_CHARACTERS: Final = 3 * MAX_TOKEN_LENGTH
MAX_SPELLINGS: Final = 8
"""In how many spellings (`a`, `%61`) one request may give its token and its file, together."""
_MAX_KIND_CHARACTERS: Final = 3 * len("download")


def _spelled(name: str) -> str:
    """An expression for a name in which any character may be percent-encoded."""
    return "".join(f"(?:{each}|(?i:%{ord(each):02x}))" for each in name)


_PARAMETER: Final = re.compile(rf"&(?:({_spelled('token')})|{_spelled('file')})=([^&]+)")
"""A parameter that counts, and its value. The first group is empty for a file."""
_ORIGIN: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE | re.ASCII)


class TargetKind(Enum):
    """Which of the gateway's parts a target belongs to."""

    DOWNLOAD = "download"
    AUTH = "auth"
    OTHER = "other"


class Target(NamedTuple):
    """What a request asks for. file, token: None where it names none. The token is not checked yet."""

    kind: TargetKind
    file: str | None = None
    token: str | None = None


_OTHER: Final = Target(TargetKind.OTHER)


def read_target(target: str) -> Target:
    """Read a request target. Raises Refused(BAD_REQUEST) when it names two tokens or two files.

    A target that is neither a download nor an authorisation is `Target(TargetKind.OTHER)`; its query is not
    read.
    """
    minted = _MINTED.fullmatch(target)
    if minted is not None:
        return Target(TargetKind.DOWNLOAD, minted[1], minted[2])
    path, _, query = _strip_origin(target).partition("#")[0].partition("?")
    if not path.startswith("/"):
        return _OTHER
    head, _, rest = path[1:].partition("/")
    if "%" in head and len(head) <= _MAX_KIND_CHARACTERS:
        head = percent_decode(head)
    if head == "download":
        named = _decode(rest, MAX_NAME_CHARACTERS) or None
        file, token = _read_query(query, named)
        return Target(TargetKind.DOWNLOAD, file, token)
    if head == "auth":
        file, token = _read_query(query, None)
        return Target(TargetKind.AUTH, file, token)
    return _OTHER


def is_file_target(target: str) -> bool:
    """Whether the target is one of a download, whatever its query is."""
    return _kind(target) is TargetKind.DOWNLOAD


def is_auth_target(target: str) -> bool:
    """Whether the target is one of an authorisation, whatever its query is."""
    return _kind(target) is TargetKind.AUTH


def _kind(target: str) -> TargetKind:
    return read_target(target.partition("?")[0]).kind  # only a query can raise


def bearer_token(authorization: str | None) -> str | None:
    """Return the token of an `Authorization: Bearer` field (RFC 6750 section 2.1), not checked yet.

    None when there is no field, when it has no token, or when it is of another scheme (a front proxy may use
    one).
    """
    if not authorization:
        return None
    scheme, _, token = authorization.strip(" \t").partition(" ")
    return token.strip(" ") or None if scheme.lower() == "bearer" else None


def choose_token(query_token: str | None, bearer: str | None) -> str:
    """Return the one token of a request, wherever it stands; it is well-formed. An empty one counts as none.

    Raises Refused: BAD_REQUEST for two different tokens, TOKEN_MISSING for none, TOKEN_INVALID for one that
    cannot be a token of ours, so that the store is never asked about it.
    """
    token = query_token or bearer
    if not token:
        raise Refused(TOKEN_MISSING)
    if bearer and bearer != token:
        raise Refused(BAD_REQUEST, "The request carries two different tokens.")
    if _TOKEN.fullmatch(token) is None:
        raise Refused(TOKEN_INVALID)
    return token


def request_token(target: Target, authorization: Sequence[str]) -> str:
    """Return the one token of a request, from its target or its Authorization fields.

    authorization: the values of all Authorization fields. Raises as `choose_token` does.
    """
    if not authorization:
        return choose_token(target.token, None)
    bearers = {bearer_token(value) for value in authorization} - {None}
    if len(bearers) > 1:
        raise Refused(BAD_REQUEST, "The request carries two different tokens.")
    return choose_token(target.token, next(iter(bearers), None))


def choose_file(manifest: Manifest, name: str | None) -> int | None:
    """Return the number of the file asked for in the manifest's list; None stands for the index of all files.

    Without a name, the only file of a manifest is meant. Raises Refused(FILE_NOT_FOUND) for an unknown name.
    """
    if name is None:
        return 0 if len(manifest.files) == 1 else None
    index = manifest.number_of(name)
    if index is None:
        raise Refused(FILE_NOT_FOUND)
    return index


def _strip_origin(target: str) -> str:
    """Cut scheme and host off the target, if it has them; an empty path is `/` (RFC 9110 section 4.2.3)."""
    origin = None if target.startswith("/") else _ORIGIN.match(target)
    if origin is None:
        return target
    rest = target[origin.end() :]
    return rest if rest.startswith("/") else "/" + rest


def _read_query(query: str, file: str | None) -> tuple[str | None, str | None]:
    """Return the file and the token that a query names. file: the name that the path has given, if any."""
    token: str | None = None
    if not query:
        return file, token
    found = set(_PARAMETER.findall("&" + query))
    if len(found) > MAX_SPELLINGS:
        raise Refused(BAD_REQUEST, "The request names tokens or files too often.")
    for is_token, raw in found:
        if is_token:
            given = _decode(raw.replace("+", " "), MAX_TOKEN_CHARACTERS)
            token = _agree(token, given, "The request carries two different tokens.")
        else:
            given = _decode(raw.replace("+", " "), MAX_NAME_CHARACTERS)
            file = _agree(file, given, "The request names two different files.")
    return file, token


def _agree(known: str | None, given: str, fault: str) -> str:
    """Return the value, unless another one was given before: then the request is refused with `fault`."""
    if known is not None and known != given:
        raise Refused(BAD_REQUEST, fault)
    return given


def _decode(text: str, longest: int) -> str:
    """Percent-decode a text, unless it has more characters than `longest`: then it is nothing of ours."""
    return percent_decode(text) if "%" in text and len(text) <= longest else text
