"""What a request asks for: its target, which names a file and perhaps a token. Pure.

The rules:

- `/download`, `/download/` and `/download/NAME` are downloads; `/auth` and everything below it is
  authorisation. A path with characters that are percent-encoded without need (`/%64ownload`) is the same
  path (RFC 3986 section 6.2.2.2), and so is one with more slashes or with dot segments (`paths.py`). But
  `/auth` is taken as it was sent: a front proxy may let `/download/../auth` pass, and must get no answer.
- The first part of the path below `/download` is the token if it has the form of one: `/download/TOKEN/NAME`
  and `/download/TOKEN/`. A file whose name begins with such a part can be asked for in this way only.
- NAME is plain percent-encoded UTF-8 and may contain slashes, encoded or not. It is looked up in the
  manifest as it is, and if no file has it, in its repaired forms (`repairs.py`). Parameters are form-encoded
  as browsers send them: `+` is a space.
- Parameters other than `token` and `file` are ignored (mail programs add some). These two are ignored, too,
  if they have no value. Their names may follow `&amp;` in place of `&`, as a page's source has it. The same
  value twice is accepted; two different tokens or names in one request are `bad_request`.
- Bytes that are not UTF-8 become lone surrogates. No file and no token has such a name, so the request is
  refused like any unknown one, never with a crash. Encode with `surrogateescape` when writing them anywhere.
- The work is bounded, whatever the target is: a text that is too long for what it should be is cut or not
  decoded, one expression finds the two parameters that count, and a value may be given in a few spellings.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from gateway.errors import BAD_REQUEST, FILE_NOT_FOUND, Refused
from gateway.http.paths import normal_path, split_encoded_query, split_target
from gateway.http.percent import percent_decode
from gateway.http.repairs import MAX_TEXT, find_token_alone, likely_names
from gateway.http.request_tokens import agree, read_parameter
from gateway.manifest import Manifest, composed
from gateway.secrets import TOKEN_FORM

_NAME: Final = r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*+"
_MINTED: Final = re.compile(rf"/download(?:/(?!ct_)({_NAME}))?\?token=({TOKEN_FORM.pattern})")
"""The URL as minted, without a file's name or with a plain one: nothing in it needs decoding."""
_DIRECT: Final = re.compile(rf"/download/({TOKEN_FORM.pattern})/({_NAME})?")
"""The same with the token in the path."""

MAX_NAME_CHARACTERS: Final = 3 * 1024
"""The longest text that can be a file's name: names have at most 1024 bytes, each of which can be `%XX`."""
MAX_SPELLINGS: Final = 8
"""In how many spellings (`a`, `%61`) one request may give its token and its file, together."""
_MAX_KIND_CHARACTERS: Final = 3 * len("download")


def _spelled(name: str) -> str:
    """An expression for a name in which any character may be percent-encoded."""
    return "".join(f"(?:{each}|(?i:%{ord(each):02x}))" for each in name)


_AMPERSAND: Final = r"&(?=[tfa#%])(?:(?:amp|(?:#|%23)(?:0*+38|[xX]0*+26))(?:;|%3[bB]))*+"
"""`&`, or what it becomes in the source of a page; some programs encode that once more. The set of characters
that may follow passes over a long row of `&` in half of the time."""
_PARAMETER: Final = re.compile(
    rf"{_AMPERSAND}(?:({_spelled('token')})|{_spelled('file')})(?:=|%3[dD])([^&]+)"
)
"""A parameter that counts, and its value. The first group is empty for a file."""


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
    direct = _DIRECT.fullmatch(target)
    if direct is not None:
        return Target(TargetKind.DOWNLOAD, direct[2], direct[1])
    path, query = split_target(target)
    if not path.startswith("/"):
        return _OTHER
    if _is_word(path[1:].partition("/")[0], "auth"):
        file, token = _read_query(query, None, None)
        return Target(TargetKind.AUTH, file, token)
    path, query = split_encoded_query(normal_path(path), query)
    head, _, rest = path[1:].partition("/")
    if not _is_word(head, "download"):
        return _OTHER
    token, name = _read_path(rest)
    file, token = _read_query(query, name, token)
    return Target(TargetKind.DOWNLOAD, file, token)


def is_file_target(target: str) -> bool:
    """Whether the target is one of a download, whatever its query is."""
    return _kind(target) is TargetKind.DOWNLOAD


def is_auth_target(target: str) -> bool:
    """Whether the target is one of an authorisation, whatever its query is."""
    return _kind(target) is TargetKind.AUTH


def _kind(target: str) -> TargetKind:
    return read_target(target.partition("?")[0]).kind  # only a query can raise


def choose_file(manifest: Manifest, name: str | None) -> int | str:
    """Return the number of the file asked for in the manifest's list, or the folder whose index is asked for.

    An empty text is the folder of all files; any other one ends with a slash. Without a name, the only file
    of a manifest is meant. Where neither a file nor a folder has the name, the first one of the likely names
    (`repairs.py`) that one has is taken. Raises Refused(FILE_NOT_FOUND) if there is none.
    """
    if name is None:
        return 0 if len(manifest.files) == 1 else ""
    found = _find(manifest, name)
    if found is not None:
        return found
    for likely in likely_names(name):
        found = manifest.number_of(likely)
        if found is None and name.endswith("/"):
            found = _find(manifest, f"{likely}/")
        if found is not None:
            return found
    raise Refused(FILE_NOT_FOUND)


def _find(manifest: Manifest, name: str) -> int | str | None:
    number = manifest.number_of(name)
    if number is not None:
        return number
    if not name.endswith("/"):
        return None  # programs ask for a folder with a slash
    folder = composed(name).rstrip("/") + "/"
    return folder if folder in manifest.folders else None


def _is_word(part: str, word: str) -> bool:
    """Whether this part of a path is the word, in any spelling."""
    if "%" in part and len(part) <= _MAX_KIND_CHARACTERS:
        part = percent_decode(part)
    return part == word


def _read_path(rest: str) -> tuple[str | None, str | None]:
    """Return the token and the file's name that a path below `/download/` has."""
    first, _, name = rest.lstrip("/").partition("/")
    token = find_token_alone(percent_decode(first[:MAX_TEXT]))
    if token is None:
        name = rest
    return token, _decode(name, MAX_NAME_CHARACTERS) if name.strip("/") else None


def _read_query(query: str, file: str | None, token: str | None) -> tuple[str | None, str | None]:
    """Return the file and the token that a request names. file, token: what the path has given, if anything.

    A token of another form than ours is returned only if there is no other.
    """
    if not query:
        return file, token
    found = set(_PARAMETER.findall("&" + query))
    if len(found) > MAX_SPELLINGS:
        raise Refused(BAD_REQUEST, "The request names tokens or files too often.")
    values: set[str] = set()
    for is_token, raw in found:
        text = raw.replace("+", " ")
        if is_token:
            values.add(percent_decode(text[:MAX_TEXT]))
            continue
        given = _decode(text, MAX_NAME_CHARACTERS)
        if file is not None and file != given:
            raise Refused(BAD_REQUEST, "The request names two different files.")
        file = given
    ours = agree([token, *map(read_parameter, values)])
    return file, ours or (agree(values) if values else None)


def _decode(text: str, longest: int) -> str:
    """Percent-decode a text, unless it has more characters than `longest`: then it is nothing of ours."""
    return percent_decode(text) if "%" in text and len(text) <= longest else text
