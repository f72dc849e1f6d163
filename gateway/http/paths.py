"""The path of a request target: what is cut off it, and what is removed from it before it is looked at. Pure.

- The target is in origin-form, or in absolute-form, which every server has to accept (RFC 9112 section
  3.2.2); the host in it is ignored. A fragment does not belong in a target and is cut off.
- `&#38;`, as some mail programs write `&`, is no fragment.
- Dot segments are removed as RFC 3986 section 5.2.4 says, also encoded ones (`%2e`, section 6.2.2.2), so that
  no path leads above the root.
- The question mark before a token may be encoded (`/download%3Ftoken=…`), because a program took the whole
  link for a path.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.http.percent import percent_decode

MAX_QUERY_CHARACTERS: Final = 4096
"""Characters of a query in the path that are decoded: a token and the longest name of a file."""

_ORIGIN: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE | re.ASCII)
_AMPERSAND: Final = re.compile(r"&#(?:0*+38|[xX]0*+26);")
_DOTS: Final = re.compile(r"/(?:\.|%2[eE]){1,2}(?=/|\Z)")
_ENCODED_DOT: Final = re.compile(r"%2[eE]")
_DOT_SEGMENTS: Final = (".", "..")
_LONGEST_DOTS: Final = len("%2e%2e")
_ENCODED_QUERY: Final = re.compile(r"%3[fF](?=token(?:=|%3[dD]))")


def split_target(target: str) -> tuple[str, str]:
    """The path and the query of a target, both still encoded. The path has its dot segments.

    It begins with a slash, unless the target is in none of the two forms.
    """
    if "&#" in target:
        target = _AMPERSAND.sub("&", target)
    path, _, query = _strip_origin(target).partition("#")[0].partition("?")
    return path, query


def normal_path(path: str) -> str:
    """The path without dot segments, and with one slash at its beginning."""
    return "/" + remove_dot_segments(path).lstrip("/") if path.startswith("/") else path


def remove_dot_segments(path: str) -> str:
    """The path without `.` and `..`, encoded or not (RFC 3986 section 5.2.4). path: begins with a slash."""
    if _DOTS.search(path) is None:
        return path
    kept: list[str] = []
    is_folder = False
    for segment in path.split("/")[1:]:
        plain = segment
        if "%" in segment and len(segment) <= _LONGEST_DOTS:
            plain = _ENCODED_DOT.sub(".", segment)
        is_folder = plain in _DOT_SEGMENTS
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(segment)
    return "/" + "/".join([*kept, ""] if is_folder else kept)


def split_encoded_query(path: str, query: str) -> tuple[str, str]:
    """Take a query with a token out of a path in which its question mark is encoded."""
    found = _ENCODED_QUERY.search(path) if "%3" in path else None
    if found is None:
        return path, query
    return path[: found.start()], f"{percent_decode(path[found.end() :][:MAX_QUERY_CHARACTERS])}&{query}"


def _strip_origin(target: str) -> str:
    """Cut scheme and host off the target, if it has them; an empty path is `/` (RFC 9110 section 4.2.3)."""
    origin = None if target.startswith("/") else _ORIGIN.match(target)
    if origin is None:
        return target
    rest = target[origin.end() :]
    return rest if rest.startswith("/") else "/" + rest
