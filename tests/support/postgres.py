"""A real PostgreSQL server that the test controls: Debian's, with its data in a temporary folder.

It listens on a unix socket only, asks for no password there, and does not wait for the disk. Where the tests
run as root, the server runs as the user `postgres`, because it refuses to be root.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

USER = "gateway"
START_SECONDS = 60
ENOUGH_MEMORY = 2 * 2**30
"""Bytes. A server takes some 60 MB, and some containers have no more than that."""
FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB")
"""What was committed outlives the server, though not the machine. Without `synchronous_commit` it would not:
a server that is killed loses the commits of the last half second, and tests would blame the gateway."""


def find_program(name: str) -> Path | None:
    """A program of the newest PostgreSQL that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return found[-1] if found else None


@dataclass
class PostgresServer:
    """A PostgreSQL server, which a test may stop, pause and start again."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def make(cls) -> PostgresServer:
        """Make the files of a server. Skips the test where PostgreSQL is not installed."""
        initdb = find_program("initdb")
        if initdb is None:
            pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
        server = cls(Path(tempfile.mkdtemp(prefix="dg-pg-", dir=in_memory())))
        if os.geteuid() == 0:
            shutil.chown(server.folder, "postgres", "postgres")
        options = ("--auth=trust", "--no-sync", "--no-locale", "--encoding=UTF8", f"--username={USER}")
        command = [*_unprivileged(), str(initdb), *options, "--pgdata", str(server.folder / "data")]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)
        return server

    def url(self, name: str = "postgres") -> str:
        """The `database_url` of one of its databases."""
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = find_program("postgres")
        options = [word for each in FAST for word in ("-c", each)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *_unprivileged(),
                    str(program),
                    *("-D", str(self.folder / "data"), "-k", str(self.folder), "-h", "", *options),
                ],
                cwd="/",
                stdout=log,
                stderr=log,
            )
        ready = [str(find_program("pg_isready")), "-q", "-h", str(self.folder), "-d", "postgres"]
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(ready, check=False).returncode != 0:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def send_signal(self, signum: signal.Signals) -> None:
        """Send a signal to the server; SIGINT ends it together with its connections."""
        assert self.process is not None
        self.process.send_signal(signum)

    def stop(self) -> None:
        """End it at once, as a crash would: what was committed is recovered at the next start."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        """End it and remove its files."""
        self.stop()
        shutil.rmtree(self.folder)

    async def execute(self, *statements: str, name: str = "postgres") -> None:
        """Run statements, each in a transaction of its own."""
        connection = await asyncpg.connect(self.url(name))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def terminate(self) -> None:
        """Break off all connections of the gateway, as an administrator or a failover does."""
        ended = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'download-%'"
        )
        asyncio.run(self.execute(ended))

    async def create(self, name: str, template: str = "template0") -> str:
        """Make a database as a copy of another. Returns its URL."""
        await self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    async def drop(self, name: str) -> None:
        """Remove a database, also while it is in use."""
        await self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def in_memory() -> Path | None:
    """A place for files that need no disk; None for the usual place of temporary files."""
    memory = Path("/dev/shm")
    usable = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ENOUGH_MEMORY
    return memory if usable else None


def _unprivileged() -> list[str]:
    """Runs what follows as an ordinary user, and ends it when this process dies."""
    words = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() == 0:
        words += ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    return words
