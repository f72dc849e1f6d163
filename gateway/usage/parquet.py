"""Every download as a Parquet file, for those who outgrow one database: DuckDB, Spark and pandas read it.

A row is a download, as in the report (CSV). Rows are read page after page, each in a transaction of its own,
and written in row groups, so that the memory is the same for any number of them. The file appears under its
name only when it is complete. pyarrow is an extra (`parquet`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.database.engine import Database
from gateway.errors import GatewayError
from gateway.usage.downloads import COMPLETED, UNDER_WAY
from gateway.usage.queries import ReportFilter, ReportPosition, position_of, report_page
from gateway.usage.repository import read_download

if TYPE_CHECKING:
    import pyarrow

PAGE: Final = 1_000
"""Rows of one transaction."""
ROW_GROUP: Final = 20_000
"""Rows that are kept in memory: some 10 MB."""
INSTALL: Final = "Parquet needs the package pyarrow: pip install 'download-gateway[parquet]'"

Progress = Callable[[int], None]


class ParquetMissing(GatewayError):
    """The extra is not installed. The text says how to install it."""


_TEXTS: Final = (
    *("product_id", "version", "file", "sha256", "status", "client", "token_id"),
    *("order_number", "customer_id", "customer_email", "client_address", "user_agent", "country"),
)
_NUMBERS: Final = ("size", "bytes", "covered", "attempts")
_MOMENTS: Final = ("started_at", "last_at", "completed_at")
COLUMNS: Final = (*_MOMENTS, *_TEXTS, *_NUMBERS)


def load_pyarrow() -> Any:
    """The library. Raises ParquetMissing."""
    try:
        import pyarrow  # noqa: PLC0415 - an extra, and slow to import
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        raise ParquetMissing(INSTALL) from None
    return pyarrow


async def export_downloads(path: Path, database: Database, only: ReportFilter, progress: Progress) -> int:
    """Write all downloads, mode 0600, in the place of an older file. progress: called with rows so far.

    Returns how many rows there are. Raises ParquetMissing, DatabaseError, OSError.
    """
    library = load_pyarrow()
    schema = _schema(library)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    done = 0
    try:
        with os.fdopen(descriptor, "wb") as file:
            with library.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
                columns: dict[str, list[Any]] = {column: [] for column in COLUMNS}
                after: ReportPosition | None = None
                while True:
                    async with database.reading() as sql:
                        rows = await report_page(sql, only, after, PAGE)
                    for row in rows:
                        for column, value in _values(row).items():
                            columns[column].append(value)
                    done += len(rows)
                    if len(columns["size"]) >= ROW_GROUP or (len(rows) < PAGE and columns["size"]):
                        await asyncio.to_thread(writer.write_table, library.table(columns, schema=schema))
                        columns = {column: [] for column in COLUMNS}
                        progress(done)
                    if len(rows) < PAGE:
                        break
                    after = position_of(rows[-1])
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    return done


def _schema(library: Any) -> pyarrow.Schema:
    return library.schema(
        [
            *((name, library.timestamp("ms", tz="UTC")) for name in _MOMENTS),
            *((name, library.string()) for name in _TEXTS),
            *((name, library.int64()) for name in _NUMBERS),
        ]
    )


def _values(row: Any) -> dict[str, Any]:
    last = read_download(row).attempts[-1]
    texts = {
        "product_id": row.product,
        "version": row.version,
        "file": row.name,
        "sha256": row.sha256,
        "status": UNDER_WAY if row.completed is None else COMPLETED,
        "client": row.client,
        "token_id": row.token_id,
        "order_number": row.order_number or row.order_id,
        "customer_id": row.customer,
        "customer_email": row.customer_email or row.email,
        "client_address": last.client or None,
        "user_agent": last.agent or None,
        "country": row.country,
    }
    return {
        "started_at": row.first,
        "last_at": row.last,
        "completed_at": row.completed,
        **{name: _text(value) for name, value in texts.items()},
        "size": row.size,
        "bytes": row.bytes,
        "covered": row.covered,
        "attempts": row.times,
    }


def _text(value: str | None) -> str | None:
    """A text as Parquet takes it: halves of surrogate pairs are replaced."""
    return None if value is None else value.encode("utf-8", "replace").decode()
