"""The gateway's log: one JSON object on each line of standard error, without secrets.

    {"time": "2026-01-31T12:00:00.123Z", "level": "info", "logger": "gateway.supervisor",
     "event": "started", "child": "worker 0", "pid": 4242}

Every process of the gateway writes to the same standard error, each line in one write. Everything in the line
that looks like a token or an API key is replaced before the write, wherever it came from.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from gateway.secrets import redact

PLAIN_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""The attributes of every log record. All others of a record were given as `extra`, and go into the line."""


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
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in PLAIN_ATTRIBUTES}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, default=str, ensure_ascii=False))


def configure(settings: LogSettings) -> None:
    """Write the log of this process to standard error as JSON. Call it again to change the level."""
    logging.raiseExceptions = False  # a closed standard error must not end a service
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
