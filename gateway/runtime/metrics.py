"""What each process counts, in memory that it shares with its supervisor, which adds the numbers up.

Only the child itself writes to its block of memory, so an addition needs no lock and costs about 0.1 µs. The
supervisor reads the blocks of running children, and keeps the sums of those that have ended. So totals never
decrease. Gauges (what is open now) disappear with their process.

    counters.add(BYTES_SENT, 65536)
    counters.add(RESPONSES[206])
    counters.add(CONNECTIONS, -1)
    counters.observe(FIRST_BYTE, 0.0021)

A histogram has a number for each of its ranges and one for the sum, so it is added up like any counter.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from gateway.errors import TABLE


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table: a counter, a gauge, or one number of a histogram. `label` is `name="value"`.

    kind: as Prometheus names it. The rows of a histogram are a row for each range, whose label is its upper
    end (`le`), and last the sum, in microseconds, without a label.
    """

    name: str
    help: str
    label: str = ""
    kind: str = "counter"

    @property
    def gauge(self) -> bool:
        """Whether the number says what is now, so that it disappears with its process."""
        return self.kind == "gauge"


class Histogram(NamedTuple):
    """Where the numbers of a histogram are: the index of the first range, and that of the sum."""

    first: int
    total: int


STATUSES: Final = (
    *(200, 204, 206, 302, 304),
    *(400, 401, 403, 404, 405, 412, 414, 416, 417, 429, 431),
    *(500, 502, 503, 505),
)
"""The statuses that are counted one by one. All others are counted as `other`."""

METRICS: Final[list[Metric]] = []


def _declare(name: str, text: str, label: str = "", *, gauge: bool = False) -> int:
    METRICS.append(Metric(f"gateway_{name}", text, label, "gauge" if gauge else "counter"))
    return len(METRICS) - 1


SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""The upper ends of the ranges of all histograms. A request that waits for nothing takes less than a
millisecond; one that takes ten seconds has failed for the one who waits."""


def _declare_histogram(name: str, text: str) -> Histogram:
    first = len(METRICS)
    for end in (*(f"{end:g}" for end in SECONDS), "+Inf"):
        METRICS.append(Metric(f"gateway_{name}", text, f'le="{end}"', "histogram"))
    METRICS.append(Metric(f"gateway_{name}", text, "", "histogram"))
    return Histogram(first, len(METRICS) - 1)


CONNECTIONS: Final = _declare("connections", "Connections open now.", gauge=True)
DOWNLOADS_RUNNING: Final = _declare("downloads_running", "Files being sent now.", gauge=True)
CONNECTIONS_ACCEPTED: Final = _declare("connections_accepted_total", "Connections accepted.")
CONNECTIONS_REFUSED: Final = _declare(
    "connections_refused_total", "Connections closed at once, because there were too many."
)
DOWNLOADS_STARTED: Final = _declare("downloads_started_total", "Files of which sending has begun.")
DOWNLOADS_FINISHED: Final = _declare("downloads_finished_total", "Files or spans sent to their last byte.")
DOWNLOADS_ABORTED: Final = _declare(
    "downloads_aborted_total", "Files or spans that were not sent completely."
)
BYTES_SENT: Final = _declare("bytes_sent_total", "Bytes of files that were sent.")
BYTES_SPLICED: Final = _declare(
    "relayed_bytes_total", "Bytes from object storages, by how they were passed on.", 'way="splice"'
)
BYTES_COPIED: Final = _declare(
    "relayed_bytes_total", "Bytes from object storages, by how they were passed on.", 'way="copy"'
)
UPSTREAM_IN_USE: Final = _declare(
    "upstream_connections", "Connections to object storages.", 'state="in_use"', gauge=True
)
UPSTREAM_IDLE: Final = _declare(
    "upstream_connections", "Connections to object storages.", 'state="idle"', gauge=True
)
UPSTREAM_REQUESTS: Final = _declare("upstream_requests_total", "Requests sent to object storages.")
UPSTREAM_RETRIES: Final = _declare(
    "upstream_retries_total", "Requests to object storages that were repeated for a part that failed."
)
UPSTREAM_THROTTLES: Final = _declare(
    "upstream_throttles_total", "Responses 429 and 503 of object storages: too many requests."
)
UPSTREAM_BYTES: Final = _declare("upstream_bytes_total", "Bytes of files received from object storages.")
_CACHE_SLICES: Final = "Slices of objects that downloads needed, by where they came from."
CACHE_HITS: Final = _declare("cache_slices_total", _CACHE_SLICES, 'from="disk"')
CACHE_FILLED: Final = _declare("cache_slices_total", _CACHE_SLICES, 'from="storage"')
CACHE_WAITED: Final = _declare("cache_slices_total", _CACHE_SLICES, 'from="running_fill"')
CACHE_BYPASSED: Final = _declare("cache_slices_total", _CACHE_SLICES, 'from="storage_uncached"')
CACHE_BYTES: Final = _declare("cache_filled_bytes_total", "Bytes of objects written into the cache.")
CACHE_EVICTED: Final = _declare("cache_evicted_total", "Slices removed from the cache to make room.")
CACHE_DAMAGED: Final = _declare(
    "cache_damaged_total", "Slices that were found damaged in the cache and removed."
)
CACHE_FAILURES: Final = _declare(
    "cache_failures_total", "Times that the cache failed (full disk, no folder) and was not used for a while."
)
STORE_ERRORS: Final = _declare(
    "store_errors_total", "Commands that failed in the store or were not answered in time."
)
STORAGE_ERRORS: Final = _declare("storage_errors_total", "Blobs that were missing, changed or unreachable.")
FIRST_BYTE: Final = _declare_histogram(
    "first_byte_seconds", "From the last byte of a request's head to the first byte of its answer."
)
STORE_REPLY: Final = _declare_histogram(
    "store_reply_seconds",
    "From sending a command to the store to its reply. Each worker measures one command at a time.",
)
EVENT_LOOP_LAG: Final = _declare_histogram(
    "event_loop_lag_seconds", "How late a process' event loop did what was due, twice a second."
)
EVENTS_WAITING: Final = _declare(
    "usage_events_waiting", "Events of usage that wait in a worker until the store takes them.", gauge=True
)
EVENTS_DROPPED: Final = _declare(
    "usage_events_dropped_total",
    "Events of usage that were lost, because there was no room or they were damaged.",
)
WEBHOOKS_WAITING: Final = _declare(
    "webhook_deliveries_waiting", "Webhooks that wait to be sent, for the first time or again.", gauge=True
)
WEBHOOKS_DISABLED: Final = _declare(
    "webhooks_disabled", "Endpoints of webhooks that are disabled.", gauge=True
)
WEBHOOK_ATTEMPTS: Final[dict[str, int]] = {
    outcome: _declare(
        "webhook_attempts_total",
        "Attempts to send a webhook, by what followed: it was delivered, will be repeated, or has failed.",
        f'outcome="{outcome}"',
    )
    for outcome in ("delivered", "repeated", "failed")
}
"""The index of an outcome."""
MAIL_KINDS: Final = ("sign_in", "address_change", "address_changed", "seat", "ready", "version", "test")
_MAIL_OUTCOMES: Final = ("sent", "retried", "failed", "dropped")
MAILS: Final[dict[tuple[str, str], int]] = {
    (kind, outcome): _declare(
        "mails_total", "Mails by kind and by what became of them.", f'kind="{kind}",outcome="{outcome}"'
    )
    for kind in MAIL_KINDS
    for outcome in _MAIL_OUTCOMES
}
"""The index of a kind and an outcome. Retried are attempts after which a mail still waits."""
MAILS_WAITING: Final = _declare(
    "mails_waiting", "Mails that wait in the outbox. Every machine shows all of them.", gauge=True
)
FAULTS: Final = _declare("faults_total", "Unexpected exceptions. The log has each of them.")

RESPONSE_OTHER: Final = _declare("responses_total", "Responses by status.", 'status="other"')
RESPONSES: Final[dict[int, int]] = {
    status: _declare("responses_total", "Responses by status.", f'status="{status}"') for status in STATUSES
}
"""The index of a status. Use `RESPONSES.get(status, RESPONSE_OTHER)`."""

REFUSALS: Final[dict[str, int]] = {
    refusal.code: _declare("refusals_total", "Refusals by code.", f'code="{refusal.code}"')
    for refusal in TABLE
}
"""The index of the code of a refusal."""

_BEAT: Final = len(METRICS)
"""The place of the sign of life (see `runtime.heartbeat`), behind the numbers."""

BLOCK_BYTES: Final = -(-(len(METRICS) + 1) * 8 // mmap.PAGESIZE) * mmap.PAGESIZE


class Counters:
    """The block of one process: signed 64-bit numbers, so that a gauge below zero is visible and harmless."""

    __slots__ = ("_block", "_map")

    def __init__(self, memory: int | None = None) -> None:
        """Map the block of the descriptor `memory`, which may be closed then; without it, a private one."""
        self._map = mmap.mmap(-1 if memory is None else memory, BLOCK_BYTES)
        self._block = memoryview(self._map).cast("q")

    def add(self, index: int, count: int = 1) -> None:
        """Add to one metric. Only one thread may call this."""
        self._block[index] += count

    def add_file(self, sent: int) -> None:
        """Count a file, or a span of a file, of which all `sent` bytes were sent."""
        block = self._block
        block[DOWNLOADS_STARTED] += 1
        block[DOWNLOADS_FINISHED] += 1
        block[BYTES_SENT] += sent

    def observe(self, histogram: Histogram, seconds: float) -> None:
        """Add one duration to a histogram."""
        block = self._block
        block[histogram.first + bisect_left(SECONDS, seconds)] += 1
        block[histogram.total] += int(seconds * 1e6)

    def beat(self, now: int) -> None:
        """Give a sign of life, which is any number that differs from the one before: the time."""
        self._block[_BEAT] = now

    @property
    def last_beat(self) -> int:
        """The last sign of life, 0 before the first one."""
        return self._block[_BEAT]

    def values(self) -> list[int]:
        """The present numbers, in the order of METRICS."""
        return self._block[: len(METRICS)].tolist()

    def close(self) -> None:
        """Unmap the block. It must not be used afterwards."""
        self._block.release()
        self._map.close()


def new_block() -> int:
    """Make memory for the counters of one child. The child inherits the descriptor; the caller closes it."""
    memory = os.memfd_create("gateway-counters")
    os.ftruncate(memory, BLOCK_BYTES)
    return memory


class Totals:
    """The supervisor's sums over all children, whether they run or have ended."""

    def __init__(self) -> None:
        self._ended = [0] * len(METRICS)
        self._running: set[Counters] = set()

    def watch(self, block: Counters) -> None:
        """Add the block of a new child to the sums."""
        self._running.add(block)

    def retire(self, block: Counters) -> None:
        """Keep the numbers of a child that has ended, and unmap its block."""
        if block in self._running:
            self._running.remove(block)
            for index, value in enumerate(block.values()):
                if not METRICS[index].gauge:
                    self._ended[index] += value
            block.close()

    def values(self) -> list[int]:
        """The present sums, in the order of METRICS."""
        rows = [self._ended, *(block.values() for block in self._running)]
        return [sum(column) for column in zip(*rows, strict=True)]


def render(values: Iterable[int]) -> Iterator[str]:
    """Write lines of Prometheus' text format, version 0.0.4. The values are in the order of METRICS."""
    rows = zip(METRICS, values, strict=True)
    for (name, text, kind), group in groupby(rows, lambda row: (row[0].name, row[0].help, row[0].kind)):
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"
        if kind == "histogram":
            yield from _render_histogram(name, [(metric.label, value) for metric, value in group])
        else:
            for metric, value in group:
                yield f"{name}{{{metric.label}}} {value}" if metric.label else f"{name} {value}"


def _render_histogram(name: str, rows: list[tuple[str, int]]) -> Iterator[str]:
    """Each range's line counts what is below its upper end, so the last of them counts everything."""
    count = 0
    for label, value in rows[:-1]:
        count += value
        yield f"{name}_bucket{{{label}}} {count}"
    yield f"{name}_sum {rows[-1][1] / 1e6:.6f}"
    yield f"{name}_count {count}"
