"""The lasting commands: `up`, `serve`, `serve-mint`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from gateway.config.settings import Settings, base_url
from gateway.runtime import log
from gateway.runtime.listeners import Listener
from gateway.store.embedded import EmbeddedStore
from gateway.supervisor.children import PROGRAM, Service
from gateway.supervisor.core import Reload, Supervisor

DEFAULT_DATA: Final = Path(Settings.model_fields["data"].default).absolute()

_log = logging.getLogger("gateway.supervisor")


def run_up(
    settings: Settings,
    paths: Sequence[Path | str],
    reload: Reload | None = None,
    *,
    program: Sequence[str] = PROGRAM,
) -> int:
    """Run everything on this machine, publish each of `paths` (a demo without any), and print their links.

    Returns the exit code after SIGTERM or Ctrl-C. `reload` reads the settings again at SIGHUP; without it
    they stay. Raises GatewayError: a fault in the paths (nothing has been started then), a data folder or an
    address in use, a child that cannot start, a file that changes while it is read.
    """
    from gateway.products.demo import make_demo  # noqa: PLC0415 - what publishing needs, the other commands need not load
    from gateway.storage.registry import Storages  # noqa: PLC0415
    from gateway.supervisor.quick_start import describe_links, plan_offers, publish_offers  # noqa: PLC0415

    reload = reload or (lambda: settings)
    with _interruptible():
        with contextlib.closing(Storages(settings.storage, settings.data, settings.open_files)) as storages:
            offers = plan_offers(paths, settings.data, storages)

        def prepare(fresh: Settings) -> Settings:
            # the links must not drown in what the workers log
            quiet = {"access_log": str(fresh.data / "access.log"), "log_level": "warning"}
            unset = {name: value for name, value in quiet.items() if name not in fresh.model_fields_set}
            return fresh.model_copy(update=unset)

        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        run = Run("up", prepare(settings), lambda: prepare(reload()), program)
        with contextlib.ExitStack() as stack:
            store = run.own_store(stack)
            listener = run.listen(stack, "listen")
            mint = run.listen(stack, "mint_listen")
            admin = run.listen(stack, "admin_listen")
            offers = offers or plan_offers([make_demo(settings.data)], settings.data)
            if store is not None:
                store.spawn()
                store.wait_ready()

            async def announce() -> None:
                run.announce(store)
                links = await publish_offers(offers, run.settings, run.url(store))
                _say(
                    f"Downloads at {base_url(run.settings)}. A link for each product, good for "
                    f"{run.settings.mint_default_ttl / 3600:g} h:",
                    "",
                    *describe_links(links, run.settings, listener.address),
                    *_describe_services(run.settings, mint, admin),
                )

            run.run(
                [Service("worker", listener, one_a_cpu=True), Service("mint", mint)], store, admin, announce
            )
    return 0


def run_serve(settings: Settings, reload: Reload | None = None, *, program: Sequence[str] = PROGRAM) -> int:
    """Serve downloads until SIGTERM or Ctrl-C; returns the exit code. Raises GatewayError as `run_up`."""
    run = Run("serve", settings, reload or (lambda: settings), program)
    with _interruptible(), contextlib.ExitStack() as stack:
        store = run.share_store(stack)
        listener = run.listen(stack, "listen")
        admin = run.listen(stack, "admin_listen")

        async def announce() -> None:
            run.announce(store)
            _log.info(
                "serving downloads", extra={"url": base_url(run.settings), "health": f"{admin.url}/healthz"}
            )

        run.run([Service("worker", listener, one_a_cpu=True)], store, admin, announce)
    return 0


def run_mint(settings: Settings, reload: Reload | None = None, *, program: Sequence[str] = PROGRAM) -> int:
    """Run the mint service until SIGTERM or Ctrl-C; returns the exit code. Raises GatewayError.

    The admin listener is for `serve`, which may read the same settings; this service has its own /healthz.
    """
    run = Run("serve-mint", settings, reload or (lambda: settings), program)
    with _interruptible(), contextlib.ExitStack() as stack:
        store = run.share_store(stack)
        listener = run.listen(stack, "mint_listen")

        async def announce() -> None:
            _log.info("serving the mint API", extra={"url": listener.url})

        run.run([Service("mint", listener)], store, None, announce)
    return 0


class Run:
    """One run of a lasting command: settings, store and listeners, released in good order by an ExitStack."""

    def __init__(self, command: str, settings: Settings, reload: Reload, program: Sequence[str]) -> None:
        self.settings = settings
        self._command = command
        self._reload = reload
        self._program = program
        self._bound: dict[str, Listener] = {}
        log.configure(settings)

    def own_store(self, stack: contextlib.ExitStack) -> EmbeddedStore | None:
        """Take the data folder for ourselves; None when the settings name a store. Starts no server yet."""
        if self.settings.redis_url is not None:
            return None
        store = EmbeddedStore(self.settings.data)
        stack.callback(store.close)
        store.acquire(self._command)
        return store

    def share_store(self, stack: contextlib.ExitStack) -> EmbeddedStore | None:
        """Use the running embedded store or start one; None when the settings name a store."""
        if self.settings.redis_url is not None:
            return None
        store = EmbeddedStore(self.settings.data)
        stack.callback(store.close)
        store.own_or_share(self._command)
        return store

    def listen(self, stack: contextlib.ExitStack, setting: str) -> Listener:
        """Listen where a setting says. A port 0 is from now on the one that was found."""
        listener = Listener(getattr(self.settings, setting), setting)
        stack.callback(listener.close)
        self._bound[setting] = listener
        return listener

    def url(self, store: EmbeddedStore | None) -> str:
        """Where the store is."""
        return store.url if store is not None else self.settings.redis_url or ""

    def announce(self, store: EmbeddedStore | None) -> None:
        """Tell commands on the same data folder where downloads are: `token create` prints links."""
        if store is not None:
            store.announce(self._command, base_url(self.settings))

    def run(
        self,
        services: Sequence[Service],
        store: EmbeddedStore | None,
        admin: Listener | None,
        started: Callable[[], Awaitable[None]],
    ) -> None:
        """Supervise until the end. `started` is awaited when everything is ready."""
        self.settings = self._with_ports(self.settings)
        supervisor = Supervisor(
            self.settings,
            services,
            command=self._command,
            reload=lambda: self._with_ports(self._reload()),
            store=store,
            admin=admin,
            program=self._program,
        )
        asyncio.run(supervisor.run(started))

    def _with_ports(self, settings: Settings) -> Settings:
        """Replace the addresses that were listened on by the true ones (port 0), unless they have changed."""
        found = {
            name: str(listener.address)
            for name, listener in self._bound.items()
            if getattr(settings, name) == listener.configured
        }
        return settings.model_copy(update=found)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the part before the supervisor as Ctrl-C does; PID 1 would not even die of it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _describe_services(settings: Settings, mint: Listener, admin: Listener) -> Iterator[str]:
    folder = [] if settings.data == DEFAULT_DATA else ["--data", str(settings.data)]
    yield f"Mint service at {mint.url}: make a key for your shop with"
    yield f"  {shlex.join(['download-gateway', *folder, 'key', 'create', 'NAME'])}"
    yield f"Health and metrics at {admin.url}/healthz and {admin.url}/metrics. Ctrl-C ends everything."


def _say(*lines: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads: serve all the same
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
