"""wrk, a closed loop: as many requests as the server answers, from a fixed number of connections."""

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
class WrkResult:
    """What wrk saw. refused: how many responses had a status of 400 or above."""

    requests: int
    bytes: int
    seconds: float
    latencies_ms: dict[str, float]
    faults: dict[str, int]
    refused: int

    @property
    def broken(self) -> dict[str, int]:
        """The faults that occurred, by what failed."""
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
    """The command line. wrk takes whole seconds only, so `seconds` is rounded."""
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
    """Write the file of requests that wrk.lua and our own generators read."""
    path.write_bytes(b"\0".join(requests))


def parse_wrk(output: str) -> WrkResult:
    """Read the line that wrk.lua prints. Raises BenchError, which quotes wrk, if there is none."""
    for line in output.splitlines():
        if line.startswith('{"requests"'):
            try:
                data = json.loads(line)
                values = {name: int(data[name]) for name in (*FIELDS, *FAULTS, "status")}
            except (ValueError, KeyError, TypeError):
                break
            return WrkResult(
                requests=values["requests"],
                bytes=values["bytes"],
                seconds=values["microseconds"] / 1e6,
                latencies_ms={f"{name}_ms": values[name] / 1000 for name in FIELDS[3:]},
                faults={name: values[name] for name in FAULTS},
                refused=values["status"],
            )
    lines = [line for line in output.splitlines() if line.strip()]
    raise BenchError(f"wrk gave no result: {lines[-1] if lines else 'it wrote nothing'}")
