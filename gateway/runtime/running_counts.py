"""Counts what runs now, by who asked for it, in all processes of one service on this machine together.

A *name* is the address of a client (`TrustedProxies.client_group`); what is counted are its running
transfers. The rules:

- Each process has a block of its own in the shared memory, with a row for each of its names, and writes
  nowhere else. What runs for a name is the sum over the blocks. So nothing is written by two processes, and
  no count can drift.
- A block belongs to the process that holds the kernel's lock of its number (fcntl(2), F_SETLK). The kernel
  releases it when the process ends, in whatever way. Whoever finds a name over the limit first clears the
  blocks that nobody holds, so what a dead process counted does not stay.
- A transfer is counted first and looked up then. Two processes that count in the same moment may both refuse
  the last one, but never allow one too many.
- Names are in the memory as keyed hashes, in groups of WAYS rows. A name without a row, because its group is
  full, is limited by each process for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
from hashlib import blake2b
from typing import Final

from gateway.runtime.attempts import TABLE_BYTES, AttemptTable, new_table

OWNERS: Final = 256
"""Processes that count together, with those that drain after a reload. More count by themselves."""
WAYS: Final = 8
ROWS: Final = 65_536
"""Rows of a process: six times as many as it has connections by default, so that a group is rarely full."""
_WORDS: Final = 2 * ROWS
"""Of 8 bytes, in a block: of each row the key and the count."""
_BLOCKS: Final = mmap.PAGESIZE
"""Where the blocks begin, in bytes. Before them is a byte for each: 1 if it was ever written."""
MEMORY_BYTES: Final = _BLOCKS + 8 * _WORDS * OWNERS
"""1 MiB for each process that counts. What was never written takes no memory."""


def new_memory() -> int:
    """Make the memory of an `AttemptTable`, with that of the running counts behind it."""
    return new_table(MEMORY_BYTES)


class RunningCounts:
    """What one process counts, and what it sees of the others. limit: for each name; 0: any number."""

    def __init__(self, limit: int, table: AttemptTable | None = None) -> None:
        """table: made with `new_memory`. Without it, the process counts by itself.

        To be made by the process that counts: a lock does not pass to a child.
        """
        self._limit = limit
        self._entries: dict[str, tuple[int, int, int]] = {}  # count, key and place of the row of each name
        self._own = -1
        if table is None or not limit:
            return
        self._table = table  # closing any descriptor of its memory would release our lock
        self._descriptor = table.descriptor
        self._map = mmap.mmap(self._descriptor, MEMORY_BYTES, offset=TABLE_BYTES)
        self._secret = table.secret
        self._numbers = memoryview(self._map).cast("Q")
        self._own = next((each for each in range(OWNERS) if self._lock(each)), -1)
        if self._own >= 0:
            self._clear(self._own)
            self._map[self._own] = 1

    def enter(self, name: str) -> bool:
        """Count one more of a name. Returns False where the limit is reached: then it is not counted."""
        count = self._add(name)
        if self._is_within(name, count):
            return True
        if self._own >= 0 and count <= self._limit and self._clear_dead() and self._is_within(name, count):
            return True
        self.leave(name)
        return False

    def add(self, name: str) -> None:
        """Count one more, whatever the limit is."""
        self._add(name)

    def leave(self, name: str) -> None:
        """Count one less."""
        if not self._limit or not name:
            return
        count, key, place = self._entries[name]
        if count > 1:
            self._entries[name] = (count - 1, key, place)
            if place >= 0:
                self._numbers[place + 1] = count - 1
            return
        del self._entries[name]
        if place >= 0:
            self._numbers[place] = self._numbers[place + 1] = 0

    def running(self, name: str) -> int:
        """How many of a name run, in all processes."""
        count = self._entries.get(name, (0, 0, 0))[0]
        return count if self._own < 0 else count + self._others(self._hash(name))

    def _add(self, name: str) -> int:
        if not self._limit or not name:
            return 0
        entry = self._entries.get(name)
        if entry is not None:
            count, key, place = entry
            count += 1
        else:
            count, key, place = 1, 0, -1
            if self._own >= 0:
                key = self._hash(name)
                place = self._find_room(key)
        if place >= 0:
            self._numbers[place + 1] = count
        self._entries[name] = (count, key, place)
        return count

    def _is_within(self, name: str, count: int) -> bool:
        if not count:  # nobody, or no limit
            return True
        if count > self._limit:
            return False
        return self._own < 0 or count + self._others(self._entries[name][1]) <= self._limit

    def _others(self, key: int) -> int:
        """How many of a name the other processes count."""
        total = 0
        for owner in self._used_by_others():
            first = _first(owner, key)
            group = self._numbers[first : first + 2 * WAYS].tolist()
            if key in group[::2]:
                total += group[2 * group[::2].index(key) + 1]
        return total

    def _find_room(self, key: int) -> int:
        """The place of a free row for a name, which it takes; -1 where there is none."""
        first = _first(self._own, key)
        for place in range(first, first + 2 * WAYS, 2):
            if not self._numbers[place]:
                self._numbers[place] = key
                return place
        return -1

    def _hash(self, name: str) -> int:
        """The key of a name, never 0."""
        digest = blake2b(name.encode("utf-8", "replace"), digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest, "little") or 1

    def _used_by_others(self) -> list[int]:
        marks = self._map[:OWNERS]
        if marks.count(1) == 1:  # only ours: one worker
            return []
        return [owner for owner in range(marks.rindex(1) + 1) if marks[owner] and owner != self._own]

    def _clear_dead(self) -> bool:
        """Clear the blocks that nobody holds. Returns whether there was one."""
        found = False
        for owner in self._used_by_others():
            if self._lock(owner):
                self._clear(owner)
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, owner)
                found = True
        return found

    def _lock(self, owner: int) -> bool:
        """Take the lock of a block, unless another process holds it. Where there are no locks, none is."""
        with contextlib.suppress(OSError):
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, owner)
            return True
        return False

    def _clear(self, owner: int) -> None:
        if self._map[owner]:
            first = 8 * _first(owner)
            self._map[first : first + 8 * _WORDS] = bytes(8 * _WORDS)
            self._map[owner] = 0


def _first(owner: int, key: int = 0) -> int:
    """Where the block of a process begins, or in it the group of a key, in words."""
    return _BLOCKS // 8 + owner * _WORDS + key % (ROWS // WAYS) * 2 * WAYS
