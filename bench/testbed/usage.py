"""Read from the kernel what processes use, CPU time and memory, and which of them listen on which port."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LISTEN = "0A"  # TCP_LISTEN, as /proc/net/tcp writes it
_CPU_CLOCK = 2  # CPUCLOCK_SCHED: the scheduler's count in nanoseconds, of all threads, ended ones included


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, user and system. Raises ProcessLookupError if there is none.

    The process' own clock (clock_getcpuclockid(3)) counts nanoseconds, where /proc/PID/stat counts hundredths
    of a second.
    """
    try:
        return time.clock_gettime(((~pid) << 3) | _CPU_CLOCK)
    except OSError:
        raise ProcessLookupError(pid) from None


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM (RSS). Raises ProcessLookupError if there is none."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * PAGE_BYTES
    except (FileNotFoundError, IndexError):
        raise ProcessLookupError(pid) from None


def descendants(pid: int) -> list[int]:
    """The process itself and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    family = [pid]
    for member in family:
        family.extend(children.get(member, ()))
    return family


def listening_pids(port: int) -> list[int]:
    """The processes that listen on this TCP port, as far as we are allowed to see them."""
    wanted = {inode for inode, listening in _listening_sockets() if listening == port}
    pids = map(int, filter(str.isdigit, os.listdir("/proc")))
    return sorted(pid for pid in pids if wanted.intersection(_open_files(pid)))


def listening_ports(pids: Iterable[int]) -> set[int]:
    """The TCP ports that these processes listen on."""
    ports = dict(_listening_sockets())
    return {ports[name] for pid in pids for name in _open_files(pid) if name in ports}


def _listening_sockets() -> Iterator[tuple[str, int]]:
    """Each listening TCP socket of this network: its name as /proc/PID/fd shows it, and its port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = file.read().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN:
                yield f"socket:[{fields[9]}]", int(fields[1].rpartition(":")[2], 16)


def _open_files(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(f"{folder}/{name}")
        except OSError:
            continue


def busy_seconds(cpus: Iterable[int]) -> float:
    """How long these CPUs have been busy since the machine started, with any process."""
    names, total = {f"cpu{cpu}" for cpu in cpus}, 0
    with open("/proc/stat") as file:
        for line in file:
            name, *fields = line.split()
            if name in names:
                ticks = [int(field) for field in fields[:8]]
                total += sum(ticks) - ticks[3] - ticks[4]  # without idle time and waiting for disks
    return total / os.sysconf("SC_CLK_TCK")


def socket_bytes() -> int:
    """The kernel's memory in the buffers of all TCP sockets of the machine."""
    with open("/proc/net/sockstat") as file:
        for line in file:
            words = line.split()
            if words[0] == "TCP:":
                return int(words[words.index("mem") + 1]) * PAGE_BYTES
    return 0


class UsageMeter:
    """Measures what a set of processes uses, CPU time from its creation on."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.pids = list(pids)
        self._before = {pid: cpu_seconds(pid) for pid in self.pids}

    def used(self) -> float:
        """CPU seconds since the start, of those processes that are still alive."""
        total = 0.0
        for pid, before in self._before.items():
            try:
                total += cpu_seconds(pid) - before
            except ProcessLookupError:
                continue
        return total

    def memory(self) -> int:
        """Resident bytes now, of those processes that are still alive."""
        total = 0
        for pid in self.pids:
            try:
                total += resident_bytes(pid)
            except ProcessLookupError:
                continue
        return total
