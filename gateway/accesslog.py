"""One JSON line a request, written in batches off the hot path.

A request leaves a tuple; four times a second the lines are made and handed to a thread that writes them,
so that neither a slow disk nor a full pipe holds a download. A token is named by its id; the query is not
logged, and whatever looks like a secret in the rest is cut out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from gateway.tokens.form import redact

FLUSH_SECONDS: Final = 0.25
WAITING_LINES: Final = 100_000
"""Lines kept while the disk is slow; beyond it the oldest are dropped, and their number is logged."""
FIELD_CHARACTERS: Final = 256
"""A request's own texts are cut to this in the log."""


class Entry(NamedTuple):
    """What is kept of a request: see the names of the line it becomes."""

    ended: float
    client: str
    method: str
    target: str
    range: str
    agent: str
    token: str
    status: int
    code: str
    sent: int
    seconds: float
    whole: bool


class AccessLog:
    """Collects entries and writes them. target: `-` for standard output, or a path (appended to)."""

    def __init__(self, target: str) -> None:
        self._entries: deque[Entry] = deque(maxlen=WAITING_LINES)
        self._dropped = 0
        self._fd = os.dup(sys.stdout.fileno()) if target == "-" else _open(target)
        self._target = target
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="access-log")
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entry: Entry) -> None:
        """Keep an entry for the next batch."""
        if len(self._entries) == WAITING_LINES:
            self._dropped += 1
        self._entries.append(entry)

    def start(self) -> None:
        """Begin to write, on the running loop."""
        self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._tick)

    def _tick(self) -> None:
        self.start()
        if self._entries and not self._busy:
            self._busy = True
            asyncio.get_running_loop().run_in_executor(self._writer, self._write).add_done_callback(
                self._idle
            )

    def _idle(self, _done: asyncio.Future[None]) -> None:
        self._busy = False

    def _write(self) -> None:
        entries, lines = self._entries, []
        for _ in range(len(entries)):
            lines.append(format_entry(entries.popleft()))
        if self._dropped:
            lines.append(json.dumps({"dropped": self._dropped}) + "\n")
            self._dropped = 0
        data = "".join(lines).encode()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:  # a closed pipe, a full disk: downloads go on
            self._dropped += len(lines)

    def stop(self) -> None:
        """Write what is left."""
        if self._timer is not None:
            self._timer.cancel()
        self._writer.shutdown(wait=True)
        self._write()
        os.close(self._fd)


def format_entry(entry: Entry) -> str:
    """One line of the log, with its line feed."""
    path = entry.target.partition("?")[0]
    fields: dict[str, object] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(entry.ended))
        + f".{int(entry.ended * 1000) % 1000:03}Z",
        "client": entry.client,
        "method": entry.method,
        "path": redact(path[:FIELD_CHARACTERS]),
        "status": entry.status,
        "sent": entry.sent,
        "seconds": round(entry.seconds, 6),
    }
    if entry.token:
        fields["token"] = entry.token
    if entry.code:
        fields["code"] = entry.code
    if entry.status in (200, 206):
        fields["whole"] = entry.whole
    if entry.range:
        fields["range"] = redact(entry.range[:FIELD_CHARACTERS])
    if entry.agent:
        fields["agent"] = redact(entry.agent[:FIELD_CHARACTERS])
    return json.dumps(fields) + "\n"


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
