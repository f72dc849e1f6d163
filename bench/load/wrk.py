"""wrk: the closed loop. As many requests as the server answers, from a fixed number of connections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

SCRIPT = Path(__file__).with_name("wrk.lua")
INSTALL = "apt-get install wrk"
FIELDS = ("requests", "bytes", "microseconds", "p50", "p90", "p99", "p999", "max")
FAULTS = ("connect", "read", "write", "timeout")


@dataclass(frozen=True)
class Load:
    """What a generator saw. Times in seconds; `refused` counts answers of 400 and above."""

    requests: int
    bytes: int
    seconds: float
    latencies_ms: dict[str, float]
    faults: dict[str, int]
    refused: int

    @property
    def broken(self) -> dict[str, int]:
        """Connections that failed, by what failed."""
        return {name: count for name, count in self.faults.items() if count}


def wrk_command(
    wrk: str,
    url: str,
    requests: Path,
    *,
    connections: int,
    seconds: float,
    threads: int = 1,
) -> list[str]:
    """The command line. wrk knows whole seconds only."""
    return [
        wrk,
        f"-t{threads}",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "10s",
        "-s",
        str(SCRIPT),
        url,
        "--",
        str(requests),
        str(threads),
    ]


def write_requests(path: Path, requests: Sequence[bytes]) -> None:
    """The file that wrk.lua reads."""
    path.write_bytes(b"\0".join(requests))


def parse_wrk(output: str) -> Load:
    """Read the line that wrk.lua prints. Raises BenchError with what wrk said when there is none."""
    for line in output.splitlines():
        if line.startswith('{"requests"'):
            try:
                plain = json.loads(line)
                told = {name: int(plain[name]) for name in (*FIELDS, *FAULTS, "status")}
            except (ValueError, KeyError, TypeError):
                break
            return Load(
                requests=told["requests"],
                bytes=told["bytes"],
                seconds=told["microseconds"] / 1e6,
                latencies_ms={f"{name}_ms": told[name] / 1000 for name in FIELDS[3:]},
                faults={name: told[name] for name in FAULTS},
                refused=told["status"],
            )
    lines = [line for line in output.splitlines() if line.strip()]
    raise BenchError(f"wrk gave no result: {lines[-1] if lines else 'it said nothing'}")
