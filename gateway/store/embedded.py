"""The embedded store: a real Valkey server of our own, for users who have no Redis yet.

Rules:
1. Each folder has one owner, which starts the server (see folder.py).
2. The server ends with its owner: the kernel kills it when the owner dies, however that happens. Every
   answered write has been given to the kernel by then, so only a power cut can lose the last second.
3. A command that finds no running store starts one for itself. At its end it stops the server, after all
   other commands that use the server have ended.
4. The server is started from the main thread (see gateway.runtime.parent_death).
5. Which program it is, server_program.py says. A system's server that cannot start, usually because a newer
   server has written the files, is replaced by the bundled one.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.errors import GatewayError, StoreUnavailable
from gateway.runtime import signals
from gateway.runtime.parent_death import die_with_parent
from gateway.store.folder import MAX_WAIT_SECONDS, StoreFolder
from gateway.store.server_program import BUNDLED, SETTING, SYSTEM, ServerProgram, choose_server, find_bundled

if TYPE_CHECKING:
    from gateway.config.settings import Settings

ANSWER_SECONDS: Final = 0.25
START_SECONDS: Final = 30.0
"""A new server that has not answered at all by then is given up. One that says it is loading its data may
take as long as it needs."""

STOP_SECONDS: Final = 10.0
LOG_BYTES: Final = 1 << 20
"""A longer log is renamed to store.log.1."""

QUOTED_LINES: Final = 3

OPTIONS: Final = {
    "port": "0",
    "unixsocket": "store.sock",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",  # an incomplete last record after a crash is cut off, and the log says so
    "save": "",
    "slowlog-log-slower-than": "-1",  # it would keep commands, and customers' addresses in them
    "maxmemory-policy": "noeviction",  # a token must never vanish before its time
    "logfile": "store.log",
    "daemonize": "no",
}

NEWER_FILES: Final = ("RDB format version", "Wrong signature", "Bad file format")
"""What servers say that cannot read the files of a newer one. Redis 7 calls Valkey's damaged, and advises to
cut them off."""

_log = logging.getLogger("gateway.store")
_LOG_PREFIX: Final = re.compile(r"^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [.*#-] ")


class State(enum.Enum):
    """What a store answers to PING."""

    DOWN = "down"
    LOADING = "loading"
    FULL = "full"
    """The server cannot write its files: the disk is full. It refuses writes and recovers by itself."""
    READY = "ready"


class EmbeddedStore(StoreFolder):
    """The store of one data folder: the folder and, when this process owns it, its server."""

    def __init__(self, data: Path, choice: str = BUNDLED) -> None:
        """choice: the setting `embedded_server`."""
        super().__init__(data)
        self.process: subprocess.Popen[bytes] | None = None
        self.program: ServerProgram | None = None
        """The program of the server that we have started last."""
        self._choice = choice
        self._log_start = 0

    def own_or_share(self, command: str) -> None:
        """Become the owner and start the server, or use the server of another long-running command.

        For long-running commands. Raises GatewayError when neither works within MAX_WAIT_SECONDS.
        """
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        while time.monotonic() < deadline:
            if self.try_acquire(command):
                self.spawn()
                self.wait_ready()
                return
            if self.is_owned_by_long_running() and self.state() in (State.READY, State.FULL):
                return
            time.sleep(0.02)
        raise self._no_answer()

    def own_or_attach(self, command: str) -> None:
        """Become the owner and start the server, or use the server of any other command.

        For short commands. Raises GatewayError when neither works within MAX_WAIT_SECONDS.
        """
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        while time.monotonic() < deadline:
            if self.try_acquire(command):
                self.spawn()
                self.wait_ready()
                return
            if self.attach() and self.state() in (State.READY, State.FULL):
                return
            self.detach()  # the owner may be stopping the server, or dying
            time.sleep(0.02)
        raise self._no_answer()

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server of our folder. `state` tells whether it is ready, `explain` why it has ended."""
        self.process = None
        lock = self._lock
        if lock is None:
            raise RuntimeError("this process does not own the store's folder")
        self.bound_log()
        self.program = program = choose_server(self._choice)
        if program.doubt:
            _log.warning("%s is %s, but %s: using %s", SETTING, SYSTEM, program.doubt, program)
        options = [part for name, value in OPTIONS.items() for part in (f"--{name}", value)]
        log = self._open("store.log", os.O_APPEND)
        try:
            self._log_start = os.fstat(log).st_size
            self.process = subprocess.Popen(
                [program.path, *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0o077,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C reaches only us: the store stops last
                restore_signals=False,  # SIGXFSZ stays ignored: a limit on file size is an error, not a death
                preexec_fn=partial(_prepare_server, os.getpid()),  # noqa: PLW1509
            )
        finally:
            os.close(log)
        return self.process

    def state(self) -> State:
        """Ask the server for its state; takes at most a quarter of a second."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                answer = connection.recv(256)
            except OSError:
                return State.DOWN
        if answer.startswith(b"-LOADING"):
            return State.LOADING
        if answer.startswith(b"-MISCONF"):
            return State.FULL
        return State.READY if answer else State.DOWN

    def wait_ready(self) -> None:
        """Wait until the server answers. Raises GatewayError with the log of a server that has ended."""
        deadline = time.monotonic() + START_SECONDS
        while (state := self.state()) in (State.DOWN, State.LOADING):
            if self.process is not None and self.process.poll() is not None:
                if not self._use_bundled():
                    raise GatewayError(self.explain())
                deadline = time.monotonic() + START_SECONDS
            if state is State.DOWN and time.monotonic() > deadline:
                raise GatewayError(f"the embedded store does not answer: see {self.log}")
            time.sleep(0.01)

    def _use_bundled(self) -> bool:
        """Start the bundled server in place of the system's, which has ended. False if that is no way out."""
        if self.program is None or self.program.origin != SYSTEM:
            return False
        bundled = find_bundled()
        if not isinstance(bundled, ServerProgram):
            return False
        _log.warning("%s; using %s", self.explain(), bundled)
        self._choice = BUNDLED
        self.spawn()
        return True

    def explain(self) -> str:
        """Why the server ended: one line, with the last lines of its own log."""
        code = self.process.returncode if self.process else None
        how = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit code {code})"
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read(LOG_BYTES).decode(errors="replace").splitlines()
            texts = [_LOG_PREFIX.sub("", line).strip() for line in lines if line.strip()]
            if texts:
                said = " | ".join(texts[-QUOTED_LINES:])
                if self.program is not None and any(each in said for each in NEWER_FILES):
                    said += (
                        f" | change no file: another server than {self.program} may have written them, "
                        f"and {SETTING} chooses it"
                    )
                return f"the embedded store ended{how}; {self.log} says: {said}"
        return f"the embedded store ended{how} and left nothing in {self.log}"

    def bound_log(self) -> None:
        """Rename a long log. The server opens its log for each line, so this may be done while it runs."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_name("store.log.1"))

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
        """Stop the server if it is ours, and release the folder."""
        self.stop()
        super().close()

    def _no_answer(self) -> StoreUnavailable:
        return StoreUnavailable(f"the embedded store of {self.data} does not answer: see {self.log}")


def _prepare_server(parent: int) -> None:
    """Called in the server's process before its program runs.

    SIGUSR1 would end the server, which opens its log for each line anyway. Its own children handle it.
    """
    signals.ignore(*signals.STRAY, signals.REOPEN, signal.SIGQUIT)
    die_with_parent(signal.SIGKILL, parent)


@contextlib.contextmanager
def open_store(settings: Settings, command: str = "command") -> Iterator[str]:
    """Give the URL of the store that the settings name, as long as the context lasts.

    It is `redis_url`; else the running embedded store of the data folder; else an embedded store that is
    started now and stopped at the end. `command` is shown to others who want the folder. Raises GatewayError
    (StoreUnavailable when a running store does not answer). Call this from the main thread.
    """
    if settings.redis_url is not None:
        yield settings.redis_url
        return
    store = EmbeddedStore(settings.data, settings.embedded_server)
    try:
        store.own_or_attach(command)
        try:
            yield store.url
        finally:
            if store.owned:
                store.wait_unused()
    finally:
        store.close()
