"""Reading and closing parts of an object. Errors of the system become StorageErrors."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from gateway.errors import StorageError
from gateway.runtime.system_errors import advise
from gateway.storage.interface import FilePart, Stream
from gateway.storage.local.page_cache import read_into_memory

_TRUNCATED: Final = "a stored part of a file was truncated while it was sent"


def read_part(part: FilePart, start: int, length: int) -> bytes:
    """Read `length` bytes of the part's file from the offset `start`; blocks. Raises StorageError."""
    try:
        data = os.pread(part.fd, length, start)
    except OSError as error:
        raise StorageError(f"a stored part of a file cannot be read: {advise(error)}") from error
    if len(data) != length:
        raise StorageError(_TRUNCATED)
    return data


def read_into_memory_and_close(fd: int, start: int, stop: int) -> None:
    """Read a span of a file into the page cache, and close the descriptor; blocks. Raises StorageError."""
    try:
        read_into_memory(fd, start, stop)
    except EOFError:
        raise StorageError(_TRUNCATED) from None
    except OSError as error:
        raise StorageError(f"a stored part of a file cannot be read: {advise(error)}") from error
    finally:
        os.close(fd)


def close_unused(task: asyncio.Task[FilePart | Stream]) -> None:
    """Close a part that was fetched and is not needed any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
