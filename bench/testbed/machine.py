"""The machine: which CPUs run what, where programs are, and the facts that a report states."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from shutil import which

PACKAGES = ("aiohttp", "uvloop", "hiredis", "redis", "starlette", "uvicorn", "httptools")


@dataclass(frozen=True)
class Cores:
    """The CPUs of the servers, and those of the load and Redis; the same where there is one CPU."""

    server: tuple[int, ...]
    load: tuple[int, ...]
    all: tuple[int, ...]

    @classmethod
    def divide(cls) -> Cores:
        """Choose one CPU for the server and another for the load, among those that this process may use."""
        usable = sorted(os.sched_getaffinity(0))
        return cls((usable[0],), (usable[-1],), tuple(usable))

    @property
    def apart(self) -> bool:
        """Whether load and server have a CPU each."""
        return self.server != self.load


def tool_path(name: str) -> str | None:
    """A program's path, or None. The folders of system programs, where nginx usually is, are searched too."""
    return which(
        name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    )


def find_redis() -> str | None:
    """The path of a Redis or Valkey server to measure with, or None."""
    return tool_path("redis-server") or tool_path("valkey-server")


def describe(network: Mapping[str, str]) -> dict[str, str]:
    """The machine, and the versions of all that takes part. network: the facts of the network."""
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cpus": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        **network,
        "python": platform.python_version(),
        "python's build": interpreter_build(),
        "commit": _first_line(["git", "describe", "--always", "--dirty"], check=True) or "unknown",
    }
    for tool, command, pattern in (
        ("nginx", ["nginx", "-v"], r"nginx/(\S+)"),
        ("redis server", [find_redis() or "redis-server", "--version"], r"v=(\S+)"),
        ("wrk", ["wrk", "-v"], r"wrk (?:debian/)?(\S+)"),
    ):
        path = tool_path(command[0])
        text = _first_line([path, *command[1:]]) if path else ""
        found = re.search(pattern, text)
        facts[tool] = found.group(1) if found else "missing"
    for package in PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = "missing"
    return facts


def interpreter_build() -> str:
    """How this interpreter was built: what decides how fast it is.

    Debian's Python has been optimised by its package's own rules, so that `configure` does not show it.
    """
    configured = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    facts = [name for name in ("--enable-optimizations", "--with-lto") if name in configured]
    if not facts and sys.executable.startswith("/usr/bin/") and os.path.exists("/etc/debian_version"):
        facts = ["Debian's own (profile-guided, LTO)"]
    compiler = platform.python_compiler()
    return f"{', '.join(facts) or 'not optimised (no --enable-optimizations)'}; {compiler}"


def _first_line(command: list[str], *, check: bool = False) -> str:
    """A program's first line of output; empty if it cannot run. check: also empty if it exits non-zero.

    wrk prints its version and exits non-zero.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=check)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter((done.stdout + done.stderr).splitlines()), "")


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            found = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
