"""The gateway's log: one JSON object a line on standard error, with secrets cut out.

    {"time": "2026-01-31T12:00:00.123Z", "level": "info", "logger": "gateway.supervisor",
     "event": "started", "child": "worker 0", "pid": 4242}

Every process of the gateway writes to the same standard error, each line in one write. Whatever looks like a
token or an API key is replaced just before the write, wherever in the line it came from.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from gateway.secrets import redact

PLAIN_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What every log record has; anything else on a record was given as `extra` and is part of the line."""


class LogSettings(Protocol):
    """What `configure` needs of the settings."""

    @property
    def log_level(self) -> str:
        """Least serious level that is written: debug, info, warning or error."""
        ...


class JSONFormatter(logging.Formatter):
    """A record as one line of JSON. `extra` fields stand beside the fixed ones."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line, without its end. Values that are not JSON are written as their text."""
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
    """Send all logging of this process to standard error as JSON. May be called again with another level."""
    logging.raiseExceptions = False  # a closed standard error must not take a service down
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
