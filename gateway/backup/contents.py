"""The file of a backup: lines of JSON, compressed with gzip.

    {"backup": 1, "program": …, "migration": …, "made": ms}      the first line
    {"table": "product", "rows": [{…}, …]}                       rows of the database, in the order of
    references {"token": ID, "fields": {…}, "expires": ms}                  a live token, as the store has it
    {"manifest": BASE64}                                         one that only tokens refer to
    {"change": ID, "fields": {…}}                                a line of the audit trail
    {"storages": {…}}                                            registered folders and files (storages.json)
    {"file": NAME, "content": BASE64}                            a small file below `data` that is state
    {"end": {"rows": N, "tokens": N}}                            the last line: without it, the file is not
    whole

It has no form of any database or store, so it can be restored into another kind and another version of them.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from sqlalchemy import LargeBinary, Table

from gateway.errors import GatewayError

FORMAT: Final = 1
STATE_FILES: Final = ("secrets.key",)
"""Small files below `data` that are state, beside storages.json: the key of encrypted secrets."""

ROWS: Final = 200
"""Rows in one line. An event in the inbox may have 1 MiB, so such rows have lines of their own."""

MAX_LINE: Final = 64 * 2**20
"""Bytes. What is longer was not written by us."""


class BackupFault(GatewayError):
    """A file that is no backup, or not a whole one. The text says what to do."""


def encode_row(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON: bytes in base64, everything else as it is."""
    return {
        column.name: base64.b64encode(row[column.name]).decode()
        if isinstance(column.type, LargeBinary) and row[column.name] is not None
        else row[column.name]
        for column in table.columns
    }


def decode_row(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the database from JSON."""
    return {
        column.name: base64.b64decode(row[column.name])
        if isinstance(column.type, LargeBinary) and row.get(column.name) is not None
        else row.get(column.name)
        for column in table.columns
        if column.name in row
    }


class Writer:
    """Writes the lines of a backup. `close` completes the compressed stream."""

    def __init__(self, file: BinaryIO) -> None:
        self._stream = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0)

    def write(self, **line: Any) -> None:
        """Write one line."""
        self._stream.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Write what is still in memory."""
        self._stream.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a backup, from the first to the last. Raises BackupFault, OSError."""
    line: dict[str, Any] = {}
    try:
        with gzip.open(path, "rb") as stream:
            while text := stream.readline(MAX_LINE):
                line = json.loads(text)
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError):
        raise BackupFault(f"{path} is no backup, or a part of it is missing: use another one") from None
    if "end" not in line:
        raise BackupFault(f"{path} is not whole: its end is missing; use another one")


def check_whole(path: Path) -> dict[str, Any]:
    """Read a backup to its end before anything is changed. Returns its first and its last line as one.

    Raises BackupFault when it is not whole, damaged, or made by a newer program.
    """
    first: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for number, line in enumerate(read_lines(path)):
        if number == 0:
            first = line
            if not isinstance(line, dict) or "backup" not in line:
                raise BackupFault(f"{path} is no backup of this program")
            if line["backup"] > FORMAT:
                raise BackupFault(f"{path} was made by a newer version of this program: install that one")
        last = line
    return {**first, **last["end"]}
