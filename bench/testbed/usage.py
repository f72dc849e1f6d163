"""What processes use: CPU time and memory, read from the kernel; and who listens on a port."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LISTEN = "0A"
_CPU_CLOCK = 2  # CPUCLOCK_SCHED: what the scheduler counted, in nanoseconds, all threads, dead ones too


def cpu_seconds(pid: int) -> float:
    """CPU time a process has used, user and system. Raises ProcessLookupError when it is gone.

    The process' own clock (clock_getcpuclockid(3)) is exact to the nanosecond, where /proc/PID/stat counts
    in hundredths of a second.
    """
    try:
        return time.clock_gettime(((~pid) << 3) | _CPU_CLOCK)
    except OSError:
        raise ProcessLookupError(pid) from None


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM (RSS). Raises ProcessLookupError when it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * PAGE_BYTES
    except (FileNotFoundError, IndexError):
        raise ProcessLookupError(pid) from None


def descendants(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def listening_pids(port: int) -> list[int]:
    """The processes that hold a socket listening on this TCP port, as far as we may look."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = file.read().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return sorted(pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _holds(pid, inodes))


def _holds(pid: int, links: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        try:
            if os.readlink(f"{folder}/{name}") in links:
                return True
        except OSError:
            continue
    return False


def busy_seconds(cpus: Iterable[int]) -> float:
    """Time these CPUs have been busy since the machine started, whoever used them."""
    names, total = {f"cpu{cpu}" for cpu in cpus}, 0
    with open("/proc/stat") as file:
        for line in file:
            name, *fields = line.split()
            if name in names:
                ticks = [int(field) for field in fields[:8]]
                total += sum(ticks) - ticks[3] - ticks[4]  # all but idle and waiting for disks
    return total / os.sysconf("SC_CLK_TCK")


def socket_bytes() -> int:
    """Memory of the kernel in buffers of all TCP sockets of the machine."""
    with open("/proc/net/sockstat") as file:
        for line in file:
            words = line.split()
            if words[0] == "TCP:":
                return int(words[words.index("mem") + 1]) * PAGE_BYTES
    return 0


class Meter:
    """CPU time that a set of processes uses from now on."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.pids = list(pids)
        self._before = {pid: cpu_seconds(pid) for pid in self.pids}

    def used(self) -> float:
        """CPU seconds since the start, of those still alive."""
        total = 0.0
        for pid, before in self._before.items():
            try:
                total += cpu_seconds(pid) - before
            except ProcessLookupError:
                continue
        return total

    def memory(self) -> int:
        """Resident bytes now, of those still alive."""
        total = 0
        for pid in self.pids:
            try:
                total += resident_bytes(pid)
            except ProcessLookupError:
                continue
        return total
