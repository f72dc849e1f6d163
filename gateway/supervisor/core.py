"""The supervisor: starts everything, keeps it running, reloads it, and ends it in good order.

The order of the start: store, sockets, children. The order of the end: sockets, children (which drain),
store.

    SIGTERM, SIGINT   refuse new connections, let downloads finish for up to drain_timeout
                      (SIGQUIT and SIGXCPU do the same)
    SIGINT again      end at once
    SIGHUP            read the settings again; start new children beside the old ones, which then drain
    SIGUSR1           open log files again, in all children
    SIGCHLD           a process has ended: start it again, with back-off

A reload refuses no connection and drops no download: listening sockets stay open until the end, and an old
child gets its SIGTERM only when the new one accepts connections. When children do not start with the new
settings, the old children stay. A terminal sends SIGHUP, too, when it is closed. Then nobody can press Ctrl-C
any more, so the supervisor ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from gateway.config.settings import LISTENERS, Settings
from gateway.errors import ConfigurationError, GatewayError
from gateway.runtime import log, signals
from gateway.runtime.listeners import Listener
from gateway.runtime.metrics import Totals
from gateway.runtime.running_counts import new_memory
from gateway.store.embedded import EmbeddedStore
from gateway.supervisor.children import (
    PROGRAM,
    Child,
    ChildStarter,
    ListeningService,
    Reaper,
    wait_killed,
)
from gateway.supervisor.monitoring import Health, HealthServer
from gateway.supervisor.slots import Slot
from gateway.supervisor.store_keeper import StoreKeeper
from gateway.supervisor.watch import Watch

GRACE_SECONDS: Final = 5.0
"""How much longer than drain_timeout a child may take to end."""

FIXED: Final = (*LISTENERS, "data")
"""Settings that a reload cannot change."""

Reload: TypeAlias = Callable[[], Settings]
"""Reads the settings again. Raises ConfigurationError."""

Started: TypeAlias = Callable[[], Awaitable[None]]

_log = logging.getLogger("gateway.supervisor")


class Supervisor:
    """Runs services, and an embedded store where there is one, until a signal ends it."""

    def __init__(
        self,
        settings: Settings,
        services: Sequence[ListeningService],
        *,
        command: str,
        reload: Reload,
        store: EmbeddedStore | None = None,
        health_listener: Listener | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """command: what is written into the store's lock. program: what a child runs."""
        self.settings = settings
        self._services = services
        self._command = command
        self._reload_settings = reload
        self._store = store
        self._health_listener = health_listener
        self._program = program
        self._slots: list[Slot] = []
        self._totals = Totals()
        self._draining = False
        self._has_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and signals.has_terminal()

    async def run(self, started: Started | None = None) -> None:
        """Run everything, and return after an orderly end. `started` is awaited once all children are ready.

        Raises GatewayError when a child cannot start at all, and whatever `started` raises. Everything has
        been stopped by then.
        """
        loop = asyncio.get_running_loop()
        self._stop, self._end_now, self._hang_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        reaper = Reaper(loop)
        attempts = new_memory()
        self._starter = ChildStarter(
            reaper, self._totals, self._store.descriptors if self._store else (), self._program, attempts
        )
        self._keeper = StoreKeeper(self._store, self._command, reaper) if self._store else None
        for signum, react in (
            (signal.SIGCHLD, reaper.reap),
            (signal.SIGTERM, self._stop.set),
            (signal.SIGINT, self._interrupt),
            (signal.SIGQUIT, self._stop.set),
            (signal.SIGXCPU, self._stop.set),
            (signal.SIGHUP, self._hang_up.set),
            (signals.REOPEN, self._reopen_logs),
        ):
            loop.add_signal_handler(signum, react)
        self._watch = Watch(
            self._starter.children, lambda: self.settings.hang_timeout, self._replace_hung, self._drain
        )
        keeping = [asyncio.create_task(self._watch.keep())]
        if self._keeper is not None:
            keeping.append(asyncio.create_task(self._keeper.keep()))
        health_server = None
        if self._health_listener is not None:
            health_server = HealthServer(self._health_listener, self._check_health, self._totals)
        try:
            if health_server is not None:
                await health_server.start()
            await self._run_until_stopped(started)
        finally:
            await self._end_children()
            for task in keeping:
                task.cancel()
            os.close(attempts)
            if health_server is not None:
                health_server.stop()

    async def _run_until_stopped(self, started: Started | None) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        starting = asyncio.create_task(self._start(started))
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            reloading = asyncio.create_task(self._reload_at_hang_up())
            await stopped
            reloading.cancel()
        else:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting

    async def _start(self, started: Started | None) -> None:
        for listening in self._services:
            listening.listener.grow(listening.count(self.settings))
        self._slots = [
            Slot(self._starter, listening, index, self._child_settings())
            for listening in self._services
            for index in range(listening.count(self.settings))
        ]
        await asyncio.gather(*(slot.start() for slot in self._slots))
        if started is not None:
            await started()

    def _child_settings(self) -> Settings:
        if self._store is None:
            return self.settings
        return self.settings.model_copy(update={"redis_url": self._store.url})

    def _interrupt(self) -> None:
        if self._stop.is_set():
            self._end_now.set()
        self._stop.set()

    def _reopen_logs(self) -> None:
        for child in self._starter.children:
            child.reopen_logs()
        _log.info("log files are opened again")

    # Reloading.

    async def _reload_at_hang_up(self) -> None:
        while True:
            await self._hang_up.wait()
            self._hang_up.clear()
            if self._has_terminal and not signals.has_terminal():
                _log.info("the terminal was closed: stopping")
                self._stop.set()
                return
            try:
                await self._reload()
            except ConfigurationError as error:
                for fault in error.faults:
                    _log.error("not reloaded: %s", fault)
            except GatewayError as error:
                _log.error("not reloaded: %s", error)

    async def _reload(self) -> None:
        former = self.settings
        self.settings = self._keep_fixed(self._reload_settings())
        log.configure(self.settings)
        try:
            for listening in self._services:
                await self._reload_service(listening)
        except GatewayError:
            self.settings = former
            log.configure(former)
            raise
        _log.info("reloaded")

    async def _reload_service(self, listening: ListeningService) -> None:
        count = listening.count(self.settings)
        listening.listener.grow(count)
        settings = self._child_settings()
        present = [slot for slot in self._slots if slot.listening is listening]
        for slot in present[:count]:
            former = await slot.replace(settings)
            if former is not None:
                self._drain(former)
        for index in range(len(present), count):
            slot = Slot(self._starter, listening, index, settings)
            await slot.start()
            self._slots.append(slot)
        for slot in present[count:]:  # their sockets have been given to the remaining children
            self._slots.remove(slot)
            former = slot.stop()
            if former is not None:
                self._drain(former)

    def _keep_fixed(self, fresh: Settings) -> Settings:
        """The new settings, with the present values of those that a reload cannot change."""
        kept = {name: getattr(self.settings, name) for name in FIXED}
        if (fresh.redis_url is None) != (self.settings.redis_url is None):
            kept["redis_url"] = self.settings.redis_url
        for name, value in kept.items():
            if getattr(fresh, name) != value:
                _log.warning("a new %s takes effect at the next start", name)
        return fresh.model_copy(update=kept)

    def _drain(self, child: Child) -> None:
        child.terminate()
        _log.info("draining", extra={"child": child.name, "pid": child.pid})
        timer = asyncio.get_running_loop().call_later(self.settings.drain_timeout + GRACE_SECONDS, child.kill)
        child.ended.add_done_callback(lambda _: timer.cancel())

    async def _replace_hung(self, child: Child) -> None:
        for slot in self._slots:
            if slot.child is child:
                await slot.replace_hung(child)

    # The end.

    async def _end_children(self) -> None:
        self._draining = True
        for slot in self._slots:
            slot.stop()
        for listening in self._services:
            listening.close()
        children = list(self._starter.children)
        if children:
            _log.info("stopping: downloads may finish for %g s", self.settings.drain_timeout)
        for child in children:
            child.terminate()
        ends: set[asyncio.Future[int]] = {child.ended for child in children}
        end_now = asyncio.create_task(self._end_now.wait())
        deadline = asyncio.get_running_loop().time() + self.settings.drain_timeout + GRACE_SECONDS
        while ends and not end_now.done():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                _log.warning("processes that still run after drain_timeout and are killed: %d", len(ends))
                break
            awaited: list[asyncio.Future[Any]] = [*ends, end_now]
            await asyncio.wait(awaited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            ends = {end for end in ends if not end.done()}
        end_now.cancel()
        for child in list(self._starter.children):
            child.kill()
        if alive := await wait_killed(ends):
            _log.error("processes that wait in the kernel and cannot be killed: %d", alive)

    # Health.

    async def _check_health(self) -> Health:
        store = await self._keeper.describe() if self._keeper else None
        all_running = bool(self._slots) and all(slot.running for slot in self._slots)
        if store is not None:
            all_running = all_running and store["state"] == "ready"
        hung = self._watch.hung
        state = "draining" if self._draining else "ok" if all_running and not hung else "degraded"
        children = [slot.describe() for slot in self._slots]
        return Health(state, children, store, hung, self._watch.hangs)
