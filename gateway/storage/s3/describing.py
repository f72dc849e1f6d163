"""Describes one object for publishing, by the requests that serving makes: a range of one byte, and HEAD."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.http.fields import parse_date
from gateway.manifest import ManifestFile
from gateway.storage.catalog import ObjectFacts
from gateway.storage.s3.client import Client
from gateway.storage.s3.connection import StorageConnection
from gateway.storage.s3.responses import Head, PermanentError, size_of_range

UNVERSIONED: Final = "null"
"""The version of what was stored while the bucket kept no versions. An upload at such a time replaces it."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CRC32: Final = re.compile(r"[0-9a-f]{8}")
_NOT_SATISFIABLE: Final = 416


async def describe(client: Client, key: str) -> ObjectFacts:
    """Ask for the first byte of an object, which shows whether it can be served, and for its stored digests.

    Raises TransientError or PermanentError.
    """
    connection, head = await _first_byte(client, ManifestFile(key, 0, "", "", "", client.bucket.name, key, 0))
    size = -1
    try:
        size = size_of_range(head)
    finally:
        # With a body of at most one byte that was not read, closing costs less than reading.
        client.pool.release(connection, keep=head.keeps and size == 0 and head.length == 0)
    modified = parse_date(head.fields.get("last-modified", ""))
    version = head.fields.get("x-amz-version-id", "")
    facts = ObjectFacts(
        key=key,
        size=size,
        modified=0 if modified is None else modified * 10**9,
        etag=head.fields.get("etag", ""),
        version_id="" if version == UNVERSIONED else version,
        encoding=head.fields.get("content-encoding", ""),
    )
    sha256, crc32 = await _digests(client, facts)
    return replace(facts, sha256=sha256, crc32=crc32)


async def _first_byte(client: Client, anything: ManifestFile) -> tuple[StorageConnection, Head]:
    """Ask for the first byte. An empty object has none: it is asked for as a whole.

    S3 answers 416 then, and others 206 with no bytes and a range that cannot be read (`bytes 0--1/0`), or
    with none.
    """
    try:
        connection, head = await client.ask("GET", anything, {"Range": "bytes=0-0"})
    except PermanentError as error:
        if error.status != _NOT_SATISFIABLE:
            raise
    else:
        if head.length != 0 or (head.status == 200 and "content-range" not in head.fields):
            return connection, head
        client.pool.release(connection, keep=head.keeps)
    return await client.ask("GET", anything)


async def _digests(client: Client, facts: ObjectFacts) -> tuple[str, str]:
    """Ask for the digests of the very object that was described; a storage that refuses HEAD has none."""
    pinned = ManifestFile(
        facts.key, facts.size, "", "", "", "", facts.key, facts.modified, facts.etag, facts.version_id
    )
    try:
        connection, head = await client.ask("HEAD", pinned, signed={"x-amz-checksum-mode": "ENABLED"})
    except PermanentError:
        return "", ""
    client.pool.release(connection, keep=head.keeps)
    return stored_digests(head.fields)


def stored_digests(fields: Mapping[str, str]) -> tuple[str, str]:
    """Return SHA-256 and CRC-32, as S3 stored them or the uploader did in `x-amz-meta-sha256` and `-crc32`.

    Multipart uploads have checksums of checksums, which are ignored: their type is COMPOSITE, and they end in
    the number of parts (AWS, "Checking object integrity").
    """
    full = fields.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT"
    found = []
    for name, form in (("sha256", _SHA256), ("crc32", _CRC32)):
        computed = _hex(fields.get(f"x-amz-checksum-{name}", "")) if full else ""
        own = fields.get(f"x-amz-meta-{name}", "").strip().lower()
        found.append(next((text for text in (computed, own) if form.fullmatch(text)), ""))
    return found[0], found[1]


def _hex(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except ValueError:  # of which binascii.Error is a kind
        return ""
