"""The supervisor: starts everything, keeps it running, reloads it, and ends it in good order.

Order of the start: store, sockets, children; of the end: sockets and children (which drain), store last.

    SIGTERM, SIGINT   refuse new connections, let downloads finish for up to drain_timeout
    SIGINT again      end at once
    SIGHUP            read the settings again; new children beside the old ones, which then drain
    SIGCHLD           something ended: start it again, with back-off

A reload refuses no connection and drops no download: listening sockets are never closed before the end, and
an old child gets its SIGTERM only when the new one accepts. When the new settings do not work, the old
children stay. A terminal that was closed sends SIGHUP too: then nobody can press Ctrl-C any more, and the
supervisor ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from gateway.config.settings import Settings
from gateway.errors import ConfigurationError, GatewayError
from gateway.runtime import log
from gateway.runtime.listeners import Listener
from gateway.runtime.metrics import Totals
from gateway.store.embedded import EmbeddedStore
from gateway.supervisor.children import PROGRAM, Child, ChildStarter, Reaper, Service
from gateway.supervisor.monitoring import Admin, Health
from gateway.supervisor.slots import Slot
from gateway.supervisor.store_keeper import StoreKeeper

GRACE_SECONDS: Final = 5.0
"""How much longer than drain_timeout a child may take to end."""

FIXED: Final = ("listen", "mint_listen", "admin_listen", "data")
"""Settings that a reload cannot change."""

Reload = Callable[[], Settings]

_log = logging.getLogger("gateway.supervisor")


class Supervisor:
    """Runs services (and an embedded store) until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        services: Sequence[Service],
        *,
        command: str,
        reload: Reload,
        store: EmbeddedStore | None = None,
        admin: Listener | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """`reload` reads the settings again (raising ConfigurationError); `program` is what a child runs."""
        self.settings = settings
        self._services = services
        self._command = command
        self._reload_settings = reload
        self._store = store
        self._admin_listener = admin
        self._program = program
        self._slots: list[Slot] = []
        self._totals = Totals()
        self._draining = False
        self._has_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _terminal_is_open()

    async def run(self, started: Callable[[], Awaitable[None]] | None = None) -> None:
        """Run everything; returns after an orderly end. `started` is awaited once all children are ready.

        Raises GatewayError when a child cannot start at all, or whatever `started` raises; everything has
        been stopped by then.
        """
        loop = asyncio.get_running_loop()
        self._stop, self._hurry, self._hang_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        reaper = Reaper(loop)
        self._workshop = ChildStarter(
            reaper, self._totals, self._store.descriptors if self._store else (), self._program
        )
        self._keeper = StoreKeeper(self._store, self._command, reaper) if self._store else None
        for signum, react in (
            (signal.SIGCHLD, reaper.reap),
            (signal.SIGTERM, self._stop.set),
            (signal.SIGINT, self._interrupt),
            (signal.SIGHUP, self._hang_up.set),
        ):
            loop.add_signal_handler(signum, react)
        keeping = asyncio.create_task(self._keeper.keep()) if self._keeper else None
        admin = Admin(self._admin_listener, self._look, self._totals) if self._admin_listener else None
        try:
            if admin is not None:
                await admin.start()
            await self._run_until_stopped(started)
        finally:
            await self._end_children()
            if keeping is not None:
                keeping.cancel()
            if admin is not None:
                admin.stop()

    async def _run_until_stopped(self, started: Callable[[], Awaitable[None]] | None) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        starting = asyncio.create_task(self._start(started))
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            reloading = asyncio.create_task(self._reload_when_told())
            await stopped
            reloading.cancel()
        else:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting

    async def _start(self, started: Callable[[], Awaitable[None]] | None) -> None:
        for service in self._services:
            service.listener.grow(service.count(self.settings))
        self._slots = [
            Slot(self._workshop, service, index, self._child_settings())
            for service in self._services
            for index in range(service.count(self.settings))
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
            self._hurry.set()
        self._stop.set()

    # Reloading.

    async def _reload_when_told(self) -> None:
        while True:
            await self._hang_up.wait()
            self._hang_up.clear()
            if self._has_terminal and not _terminal_is_open():
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
        self.settings = self._with_fixed(self._reload_settings())
        log.configure(self.settings)
        try:
            for service in self._services:
                await self._reload_service(service)
        except GatewayError:
            self.settings = former
            log.configure(former)
            raise
        _log.info("reloaded")

    async def _reload_service(self, service: Service) -> None:
        count = service.count(self.settings)
        service.listener.grow(count)
        settings = self._child_settings()
        present = [slot for slot in self._slots if slot.service is service]
        for slot in present[:count]:
            former = await slot.replace(settings)
            if former is not None:
                self._drain(former)
        for index in range(len(present), count):
            slot = Slot(self._workshop, service, index, settings)
            await slot.start()
            self._slots.append(slot)
        for slot in present[count:]:  # their sockets have been given to the others
            self._slots.remove(slot)
            former = slot.stop()
            if former is not None:
                self._drain(former)

    def _with_fixed(self, fresh: Settings) -> Settings:
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

    # The end.

    async def _end_children(self) -> None:
        self._draining = True
        for slot in self._slots:
            slot.stop()
        for service in self._services:
            service.listener.close()
        children = list(self._workshop.children)
        if children:
            _log.info("stopping: downloads may finish for %g s", self.settings.drain_timeout)
        for child in children:
            child.terminate()
        ends: set[asyncio.Future[int]] = {child.ended for child in children}
        hurry = asyncio.create_task(self._hurry.wait())
        deadline = asyncio.get_running_loop().time() + self.settings.drain_timeout + GRACE_SECONDS
        while ends and not hurry.done():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                _log.warning("%d processes were not done after drain_timeout and are ended", len(ends))
                break
            waited: list[asyncio.Future[Any]] = [*ends, hurry]
            await asyncio.wait(waited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            ends = {end for end in ends if not end.done()}
        hurry.cancel()
        for child in list(self._workshop.children):
            child.kill()
        if ends:
            await asyncio.wait(ends)

    # Health.

    async def _look(self) -> Health:
        store = await self._keeper.describe() if self._keeper else None
        all_up = bool(self._slots) and all(slot.running for slot in self._slots)
        if store is not None:
            all_up = all_up and store["state"] == "ready"
        state = "draining" if self._draining else "ok" if all_up else "degraded"
        return Health(state, [slot.describe() for slot in self._slots], store)


def _terminal_is_open() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
