"""The pages in which a bucket lists its keys (ListObjectsV2): how they are asked for and read. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

PAGE_KEYS: Final = 1000
"""The most keys that S3 puts on a page."""


class Page(NamedTuple):
    """keys: in order. following: the token of the next page, "" at the end."""

    keys: list[str]
    following: str


def page_parameters(prefix: str, following: str = "", most: int = PAGE_KEYS) -> dict[str, str]:
    """Return the parameters of the request for a page of keys that begin with `prefix`."""
    # Keys may have characters that no XML can have, so they are asked for encoded.
    asked = {"list-type": "2", "encoding-type": "url", "max-keys": str(most), "prefix": prefix}
    return {**asked, "continuation-token": following} if following else asked


def parse_page(body: bytes) -> Page:
    """Read a page. Raises ValueError when it is not one."""
    if b"<!DOCTYPE" in body[:1024] or b"<!ENTITY" in body:
        raise ValueError("a document type")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - it declares no entities
    except ElementTree.ParseError:
        raise ValueError("no well-formed XML") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != "ListBucketResult":
        raise ValueError("another document than a list of keys")
    keys = [each.findtext("Key") or "" for each in root.iterfind("Contents")]
    if root.findtext("EncodingType") == "url":
        keys = [unquote_plus(key) for key in keys]
    truncated = (root.findtext("IsTruncated") or "").strip() == "true"
    following = (root.findtext("NextContinuationToken") or "") if truncated else ""
    if truncated and not following:
        raise ValueError("no token of the next page")
    return Page(keys, following)
