"""Counts what was refused, by who asked, so that whoever guesses secrets is stopped without asking the store.

A *line* is how many attempts of one kind may be refused within a minute; the minute of a name begins with
its first refused attempt. A name is the address of a client (`TrustedProxies.client_group`), or a longer
text. The rules:

- The counts are a table of ROWS rows in memory that the workers of one machine share, so that a flood of any
  number of addresses takes no more memory. A row whose minute is over is used again; where there is none, the
  one with the fewest attempts. Names are there as keyed hashes: nobody can choose addresses that collide.
- The workers write without a lock. Two that count the same name in the same moment may count it once.
- Who is over the line is also in a dict of the process, which is empty as long as nobody is. So a request
  that was never refused costs one look at a dict.
- A secret that was found valid within VALID_SECONDS is asked for in spite of the line: whoever shares an
  address with a flood goes on downloading. A process remembers at most 2 * VALID_KEPT of them.
"""

from __future__ import annotations

import mmap
import os
import struct
from hashlib import blake2b
from time import monotonic
from typing import Final

WINDOW_SECONDS: Final = 60
"""How long attempts count together, and the most that a client is asked to wait."""
VALID_SECONDS: Final = 600
"""How long a secret counts as valid, once it was found to be; up to twice as long."""
VALID_KEPT: Final = 65_536
"""Of a busy process, only so many newest are kept: 7 MiB, and 7 MiB of the ones before them."""
OVER_KEPT: Final = 65_536
"""How many names over the line a process keeps; the oldest is forgotten, and crosses the line again."""
SWEEP_SECONDS: Final = 5.0
"""How often what is over is forgotten."""

WAYS: Final = 8
"""Rows among which a name is looked for."""
ROWS: Final = 65_536
_SECRET_BYTES: Final = 16
_GROUPS: Final = ROWS // WAYS
_FIRST: Final = _SECRET_BYTES // 8
TABLE_BYTES: Final = -(-(_SECRET_BYTES + 16 * ROWS) // mmap.PAGESIZE) * mmap.PAGESIZE
"""1 MiB: of each row 8 bytes of a hash, 4 of the time and 4 of the count."""
_COUNTED: Final = 0xFFFFFFFF


def new_table(more: int = 0) -> int:
    """Make the memory of a table. Processes that inherit the descriptor count together.

    more: bytes behind the table, for something else (running_counts.py).
    """
    memory = os.memfd_create("gateway-attempts")
    os.ftruncate(memory, TABLE_BYTES + more)
    os.pwrite(memory, os.urandom(_SECRET_BYTES), 0)
    return memory


class AttemptTable:
    """The counts of all names.

    memory: of `new_table`, which may be closed then; without it, the table is private.
    """

    def __init__(self, memory: int | None = None) -> None:
        self.descriptor: Final = new_table() if memory is None else os.dup(memory)
        """Of the memory: open as long as the table is used."""
        self._map = mmap.mmap(self.descriptor, TABLE_BYTES)
        self.secret: Final = self._map[:_SECRET_BYTES]
        """The key of the hashes, which all processes have."""
        self._numbers = memoryview(self._map).cast("Q")

    def add(self, name: str, now: int) -> tuple[int, int]:
        """Count an attempt. Returns how many there were in this minute, and when the minute began.

        now: seconds of the monotonic clock, which is the same for all processes of a machine.
        """
        digest = blake2b(name.encode("utf-8", "replace"), digest_size=8, key=self.secret).digest()
        (key,) = struct.unpack("<Q", digest)
        numbers = self._numbers
        first = _FIRST + key % _GROUPS * WAYS * 2
        best, fewest = first, _COUNTED + 1
        for place in range(first, first + 2 * WAYS, 2):
            entry = numbers[place + 1]
            began, count = entry >> 32, entry & _COUNTED
            is_over = not count or now - began >= WINDOW_SECONDS
            if numbers[place] == key:
                best, fewest = place, 0
                if not is_over:
                    numbers[place + 1] = entry + 1
                    return count + 1, began
                break
            if is_over:
                count = 0
            if count < fewest:
                best, fewest = place, count
        numbers[best] = key
        numbers[best + 1] = now << 32 | 1
        return 1, now

    def close(self) -> None:
        """Unmap the memory. It must not be used afterwards."""
        self._numbers.release()
        self._map.close()
        os.close(self.descriptor)


class Attempts:
    """One line, and who is over it. limit: refused attempts of a name a minute; 0: any number."""

    def __init__(self, limit: int, table: AttemptTable | None = None, kind: str = "") -> None:
        """kind: goes before each name, where several lines share a table."""
        self.over: Final[dict[str, float]] = {}
        """Who is over the line, and until when (monotonic clock)."""
        self._limit = limit
        self._kind = kind
        self._table = (table or AttemptTable()) if limit else None
        self._valid: Final = set[str]()
        self._valid_before: set[str] = set()
        self._rotated = monotonic()
        self._swept = self._rotated
        self.note_valid: Final = self._valid.add
        """Remember that a secret is valid, by its id."""

    def note_refused(self, name: str, secret: str = "") -> int:
        """Count a refused attempt. Returns 0, or over the line the seconds to wait: 1 to WINDOW_SECONDS.

        name: who made it; empty for nobody, which is not counted. secret: the id of what is not valid.
        """
        if secret:
            self._valid.discard(secret)
            self._valid_before.discard(secret)
        if self._table is None or not name:
            return 0
        now = monotonic()
        count, began = self._table.add(self._kind + name, int(now))
        if count <= self._limit:
            return 0
        if len(self.over) >= OVER_KEPT:
            del self.over[next(iter(self.over))]
        self.over[name] = until = float(began + WINDOW_SECONDS)
        return max(1, min(WINDOW_SECONDS, int(until - now + 0.999)))

    def seconds_over(self, name: str, secret: str = "") -> int:
        """For how long the next attempt is refused unasked; 0: it is not. secret: the id of what is tried.

        To be called only while `over` is not empty, because that costs less.
        """
        now = monotonic()
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            for each in [each for each, until in self.over.items() if until <= now]:
                del self.over[each]
        left = self.over.get(name, 0.0) - now
        if left <= 0 or (secret and self.is_valid(secret)):
            return 0
        return max(1, min(WINDOW_SECONDS, int(left + 0.999)))

    def is_valid(self, secret: str) -> bool:
        """Whether a secret was found valid here a while ago."""
        return secret in self._valid or secret in self._valid_before

    def rotate(self) -> None:
        """Forget what was valid too long ago. To be called about once a second."""
        now = monotonic()
        if now - self._rotated >= VALID_SECONDS or len(self._valid) >= VALID_KEPT:
            self._rotated = now
            self._valid_before = set(self._valid)
            self._valid.clear()
