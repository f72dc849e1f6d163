"""The links that are handed out: `/download/TOKEN/NAME`, which every client saves under the right name. Pure.

The token stands in the path. So a program that makes a file's name of the URL makes it of NAME alone, and a
fresh link for the same file makes the same name: a broken download is continued with it (`wget -c`).
"""

from __future__ import annotations

from urllib.parse import quote

from gateway.http.paths import split_target
from gateway.manifest import composed

FOLDER = "download"


def download_path(token: str, name: str = "") -> str:
    """The path of a link to a file; without a name, to the only file of a version, or to its index."""
    return f"/{FOLDER}/{token}/{quote_name(name)}"


def quote_name(name: str) -> str:
    """A file's name as a link has it: in the composed form of Unicode, percent-encoded but for slashes."""
    return quote(composed(name).encode("utf-8", "surrogateescape"), safe="/")


def relative_base(target: str, folder: str) -> str:
    """What a link relative to this target begins with. target: of the index of a folder.

    A relative link replaces what follows the last slash (RFC 3986 section 5.2.3): seen from `/download` it
    has to name that folder again.
    """
    if split_target(target)[0].endswith("/"):
        return ""
    return quote_name(folder.rstrip("/").rpartition("/")[2] or FOLDER) + "/"
