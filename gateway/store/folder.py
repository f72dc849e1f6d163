"""The folder of an embedded store: who owns it, who uses its server, and how others learn of it.

    <data>/store/            mode 0700
        lock                 locked (flock) by the owner and by its server; its content names the owner
        users                share-locked by commands that use the owner's server
        store.sock           where the server listens; there is no TCP port
        store.log            the server's own log, of bounded length
        appendonlydir/       everything written, synchronised once a second

A folder has one owner. The server inherits the lock, so a server that is still running after its owner has
died keeps the lock. Two servers can never write the same files.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gateway.errors import GatewayError
from gateway.runtime.addresses import MAX_SOCKET_PATH
from gateway.runtime.system_errors import describe

LONG_RUNNING: Final = frozenset({"up", "serve", "serve-mint", "serve-web"})
"""Commands that run until they are stopped: no other command waits for these to release a folder."""

MAX_WAIT_SECONDS: Final = 10.0
"""How long a command waits for another short one, a dying server, or a store that is being restarted."""


class StoreFolder:
    """The folder, whose lock this process may hold. `close` releases it."""

    def __init__(self, data: Path) -> None:
        """Make the folder below `data`. Raises GatewayError when it cannot be made or is not ours."""
        self.data = data.absolute()
        self.folder = self.data / "store"
        self.log = self.folder / "store.log"
        self._lock: int | None = None
        self._users: int | None = None
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self.folder.chmod(0o700)
            self._directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise self._unusable(error) from None
        self.socket = self.folder / "store.sock"
        if len(os.fsencode(self.socket)) > MAX_SOCKET_PATH:
            # The path of a unix socket is short. Through an open descriptor every folder has a short path, in
            # this process and in each child that inherits `descriptors`; no file is left outside the folder.
            self.socket = Path(f"/proc/self/fd/{self._directory}/store.sock")

    @property
    def url(self) -> str:
        """The store's URL, for this process and for children that inherit `descriptors`."""
        return "unix://" + quote(str(self.socket))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The file descriptors that a child process must inherit for `url` to work there."""
        return (self._directory,)

    @property
    def owned(self) -> bool:
        """Whether this process owns the folder."""
        return self._lock is not None

    def acquire(self, command: str, max_wait: float = MAX_WAIT_SECONDS) -> None:
        """Become the owner. Waits up to `max_wait` seconds for a short command or a dying server.

        Raises GatewayError that names the owner, at once when the owner is a long-running command.
        """
        deadline = time.monotonic() + max_wait
        while not self.try_acquire(command):
            pid, owner = self._owner()
            if (owner in LONG_RUNNING and _is_alive(pid)) or time.monotonic() > deadline:
                raise self._in_use(pid, owner)
            time.sleep(0.02)

    def try_acquire(self, command: str) -> bool:
        """Become the owner if there is none. `command` is shown to others who want the folder."""
        lock = self._open("lock")
        if not _flock(lock, fcntl.LOCK_EX):
            os.close(lock)
            return False
        os.ftruncate(lock, 0)
        self._lock = lock
        self._write_owner(command=command)
        return True

    def announce(self, command: str, url: str) -> None:
        """Tell other commands, by the lock file, what links begin with. `close` withdraws it."""
        if self._lock is not None:
            self._write_owner(command=command, url=url)

    def is_owned_by_long_running(self) -> bool:
        """Whether a command that runs until it is stopped owns the folder now."""
        pid, owner = self._owner()
        return owner in LONG_RUNNING and _is_alive(pid)

    def attach(self) -> bool:
        """Use the server of another process. False when its owner is about to stop it."""
        users = self._open("users")
        if not _flock(users, fcntl.LOCK_SH):
            os.close(users)
            return False
        self._users = users
        return True

    def detach(self) -> None:
        """Stop using the server of another process."""
        users, self._users = self._users, None
        if users is not None:
            os.close(users)

    def wait_unused(self) -> None:
        """Wait until no other command uses our server, and keep new commands from using it."""
        users = self._users = self._open("users")
        while not _flock(users, fcntl.LOCK_EX):
            time.sleep(0.02)

    def close(self) -> None:
        """Release the folder."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
        for descriptor in (self._lock, self._users, self._directory):
            if descriptor is not None:
                os.close(descriptor)
        self._lock = self._users = None

    def _write_owner(self, **owner: str) -> None:
        """Write into the lock file who we are. A later text is longer, so it covers the earlier one."""
        assert self._lock is not None
        os.pwrite(self._lock, json.dumps({"pid": os.getpid(), **owner}).encode() + b"\n", 0)

    def _owner(self) -> tuple[int, str]:
        """The process id and command of the owner; 0 and "" when the lock file does not say."""
        try:
            owner = json.loads((self.folder / "lock").read_bytes())
            return int(owner["pid"]), str(owner["command"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def _open(self, name: str, flags: int = 0) -> int:
        try:
            return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
        except OSError as error:
            raise self._unusable(error) from None

    def _in_use(self, pid: int, command: str) -> GatewayError:
        where = os.path.relpath(self.data) if self.data.is_relative_to(Path.cwd()) else str(self.data)
        if not pid:
            return GatewayError(
                f"{where} is in use by another process: stop it, or choose another folder with --data"
            )
        if not _is_alive(pid):
            return GatewayError(
                f"{where} is still in use by a store whose owner, process {pid}, is gone: "
                "end it, or choose another folder with --data"
            )
        return GatewayError(
            f"{where} is in use by process {pid} (download-gateway {command}): "
            "stop it, or choose another folder with --data"
        )

    def _unusable(self, error: OSError) -> GatewayError:
        return GatewayError(
            f"{error.filename or self.data} cannot be used ({describe(error)}): "
            "make it writable, or choose another folder with --data"
        )


def announced_url(data: Path) -> str | None:
    """What links of the gateway that runs on a data folder begin with; None when none has announced it."""
    try:
        owner = json.loads((data / "store" / "lock").read_bytes())
        return str(owner["url"]) if _is_alive(int(owner["pid"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
