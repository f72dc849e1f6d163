"""A PostgreSQL of Debian's with its own settings, so that what is committed is on the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError
from bench.testbed.processes import READY_SECONDS, ProcessGroup, Program

USER = "gateway"


@contextmanager
def run_postgres(processes: ProcessGroup, folder: Path, cpus: Sequence[int]) -> Iterator[tuple[str, Program]]:
    """A server with its data in a folder. Yields the `database_url` and the program. Raises BenchError."""
    initdb, server = (_find(name) for name in ("initdb", "postgres"))
    folder.mkdir()
    words: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to be root
        shutil.chown(folder, "postgres", "postgres")
        words = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    options = ("--auth=trust", "--no-locale", "--encoding=UTF8", f"--username={USER}")
    made = subprocess.run(
        [*words, str(initdb), *options, "--pgdata", str(folder / "data")],
        check=False,
        cwd="/",
        capture_output=True,
    )
    if made.returncode:
        raise BenchError(f"initdb failed: {made.stderr.decode(errors='replace').strip()[-300:]}")
    where = ("-D", str(folder / "data"), "-k", str(folder), "-h", "")
    program = processes.start("postgres", [*words, str(server), *where], cpus=cpus)
    try:
        deadline = time.monotonic() + READY_SECONDS
        ready = [str(_find("pg_isready")), "-q", "-h", str(folder), "-d", "postgres"]
        while subprocess.run(ready, check=False).returncode:
            program.check()
            if time.monotonic() > deadline:
                raise BenchError(f"PostgreSQL does not start: {program.last_errors()}")
            time.sleep(0.05)
        yield f"postgresql://{USER}@/postgres?host={folder}", program
    finally:
        processes.stop(program)


def _find(name: str) -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not found:
        raise BenchError("PostgreSQL is not installed (apt-get install postgresql)")
    return found[-1]
