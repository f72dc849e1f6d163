"""The gateway's log: one JSON object on each line of standard error, without secrets.

    {"time": "2026-01-31T12:00:00.123Z", "level": "info", "logger": "gateway.supervisor",
     "event": "started", "child": "worker 0", "pid": 4242}

Every process of the gateway writes to the same standard error, each line in one write. Several lines are in
one write only where they fit in PIPE_BUF bytes, which reach a pipe in one piece (pipe(7)). Everything in a
line that looks like a token or an API key is replaced before the write, wherever it came from.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from gateway.secrets import redact

PLAIN_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""The attributes of every log record. All others of a record were given as `extra`, and go into the line."""


PIPE_BUF: Final = 4096
"""In bytes, on Linux."""
_FORGOTTEN: Final = "Future exception was never retrieved"
"""How asyncio begins to tell of an error of a future that nobody has asked for."""
_encode: Final = json.JSONEncoder(default=str, ensure_ascii=False).encode


class LogSettings(Protocol):
    """The part of the settings that `configure` reads."""

    @property
    def log_level(self) -> str:
        """The least serious level that is written: debug, info, warning or error."""
        ...


class JSONFormatter(logging.Formatter):
    """Formats a record as one line of JSON, in which `extra` fields follow the fixed ones."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line without a line end. Values that JSON does not have are written as text."""
        fields = {name: value for name, value in vars(record).items() if name not in PLAIN_ATTRIBUTES}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _format(record.created, record.levelname.lower(), record.name, record.getMessage(), fields)


class LineHandler(logging.StreamHandler[Any]):
    """The handler of a service's log. It writes to standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._bytes = 0

    def write_soon(self, line: str) -> None:
        """Write a line together with the others of this turn of the event loop; at once where none runs.

        A write takes longer than everything else about a line. A stream that cannot be written must not end a
        service.
        """
        size = len(line.encode("utf-8", "replace")) + 1
        self.acquire()
        try:
            if self._bytes + size > PIPE_BUF:
                self.write_lines()
            if not self._lines:
                asyncio.get_running_loop().call_soon(self.write_lines)
            self._lines.append(line)
            self._bytes += size
        except RuntimeError:  # no event loop
            self._lines.append(line)
            self.write_lines()
        finally:
            self.release()

    def write_lines(self) -> None:
        """Write the lines that wait."""
        self.acquire()
        try:
            lines, self._lines, self._bytes = self._lines, [], 0
            if lines:
                self.stream.write("\n".join((*lines, "")))
                self.stream.flush()
        except (OSError, ValueError):
            pass
        finally:
            self.release()

    def flush(self) -> None:
        """Write the lines that wait, and what the stream keeps."""
        self.write_lines()
        super().flush()


def log_event(logger: logging.Logger, event: str, fields: Mapping[str, object]) -> None:
    """Log at level info as `logger.info(event, extra=fields)` does, for what is logged at each request.

    It makes no record, which takes five times as long as the line itself. Where others listen than the
    handler of `configure`, as in tests, it makes one.
    """
    handlers = logging.root.handlers
    if len(handlers) != 1 or logger.handlers or not isinstance(handler := handlers[0], LineHandler):
        logger.info(event, extra=fields)
    elif logger.isEnabledFor(logging.INFO):
        handler.write_soon(_format(time.time(), "info", logger.name, event, fields))


def _format(moment: float, level: str, logger: str, event: str, fields: Mapping[str, object]) -> str:
    second, rest = divmod(int(moment * 1000), 1000)
    line = {"time": f"{format_second(second)}.{rest:03}Z", "level": level, "logger": logger, "event": event}
    return redact(_encode({**line, **fields}))


@lru_cache(maxsize=16)
def format_second(second: int) -> str:
    """Write seconds since 1970 like 2026-01-31T12:00:00, in UTC. The latest ones are kept."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def format_time(moment: int) -> str:
    """Write a time (ms since 1970) like 2026-01-31T12:00:00.000Z."""
    second, rest = divmod(moment, 1000)
    return f"{format_second(second)}.{rest:03}Z"


def _is_of_interest(record: logging.LogRecord) -> bool:
    """False for the failure of a connection that nobody waits for any more.

    asyncio tells of it where the wait was given up, at the end of a service or after a time-out, while a
    connection was being made, such as one by TLS, which fails a moment later.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, OSError) and record.getMessage().startswith(_FORGOTTEN))


def configure(settings: LogSettings) -> None:
    """Write the log of this process to standard error as JSON. Call it again to change the level."""
    logging.raiseExceptions = False  # a closed standard error must not end a service
    handler = LineHandler()
    handler.setFormatter(JSONFormatter())
    logging.getLogger("asyncio").addFilter(_is_of_interest)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
