"""The commands that run until they are stopped: one for each service, and `up` for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from gateway.config.settings import Settings, address_of, base_url
from gateway.errors import GatewayError
from gateway.runtime import log, signals
from gateway.runtime.descriptors import Shares, hard_limit, share_descriptors
from gateway.runtime.listeners import Listener
from gateway.runtime.system_errors import describe
from gateway.store.embedded import EmbeddedStore
from gateway.supervisor.children import PROGRAM, ListeningService
from gateway.supervisor.core import Reload, Started, Supervisor
from gateway.supervisor.services import SERVICES, Service

DEFAULT_DATA: Final = Path(Settings.model_fields["data"].default).absolute()
HEALTH_SETTING: Final = "admin_listen"
"""The setting that says where /healthz and /metrics of the supervisor are served."""

_log = logging.getLogger("gateway.supervisor")


def run_service(
    service: Service,
    settings: Settings,
    reload: Reload | None = None,
    *,
    program: Sequence[str] = PROGRAM,
) -> int:
    """Run one service until SIGTERM or Ctrl-C. Returns the exit code.

    reload: reads the settings again at SIGHUP; without it they stay as they are. Raises GatewayError when the
    data folder or an address is in use, or when a child cannot start.
    """
    with _interruptible(), RunningCommand(service.command, settings, reload, program) as running:
        running.share_store()
        listening = running.listen_for(service)
        if service.has_health_listener:
            running.listen_for_health()

        async def announce() -> None:
            url = base_url(running.settings) if service.is_public else listening.listener.url
            health = running.health_listener
            _log.info(
                service.log_text, extra={"url": url} | ({"health": f"{health.url}/healthz"} if health else {})
            )
            if lines := await _announcements([listening], running.settings):
                _print_lines(*lines)

        running.supervise(announce)
    return 0


def run_up(
    settings: Settings,
    paths: Sequence[Path | str],
    reload: Reload | None = None,
    *,
    program: Sequence[str] = PROGRAM,
) -> int:
    """Run everything on this machine, publish each of `paths` (a demo without any), and print their links.

    Arguments and result are those of `run_service`. Raises GatewayError for the same reasons, and for a fault
    in the paths (then nothing has been started) or a file that changes while it is read.
    """
    from gateway.products.demo import make_demo  # noqa: PLC0415 - only `up` needs what publishes
    from gateway.storage.registry import Storages  # noqa: PLC0415
    from gateway.supervisor.portal_trial import buy_demo, describe_portal, has_demo_customer  # noqa: PLC0415
    from gateway.supervisor.quick_start import describe_products, plan_products, publish_products  # noqa: PLC0415

    reload = reload or (lambda: settings)
    with _interruptible():
        with contextlib.closing(Storages.of(settings)) as storages:
            planned = plan_products(paths, settings.data, storages)
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with RunningCommand("up", _quiet(settings), lambda: _quiet(reload()), program) as running:
            running.own_store()
            listening = [running.listen_for(service) for service in SERVICES]
            health = running.listen_for_health()
            is_demo = not planned
            planned = planned or plan_products([make_demo(settings.data)], settings.data)
            running.start_store()
            [downloads] = [each.listener for each in listening if each.service.is_public]

            async def announce() -> None:
                published = await publish_products(planned, running.settings, running.store_url)
                announced = await _announcements(listening, running.settings)
                if has_demo_customer(running.settings, is_demo=is_demo):
                    await buy_demo(running.settings, published[0].id)
                lifetime = running.settings.mint_default_ttl / 3600
                _print_lines(
                    f"Downloads at {base_url(running.settings)}. "
                    f"A link for each product, valid for {lifetime:g} h:",
                    "",
                    *describe_products(published, running.settings, downloads.address),
                    *announced,
                    *describe_portal(running.settings, _folder_flag(running.settings), is_demo=is_demo),
                    *_describe_services(listening, running.settings),
                    f"Health and metrics at {health.url}/healthz and {health.url}/metrics. "
                    "Ctrl-C ends everything.",
                )

            running.supervise(announce)
    return 0


class RunningCommand(contextlib.ExitStack):
    """A command while it runs: its settings, store and listeners. Leaving the context releases them all."""

    def __init__(
        self, command: str, settings: Settings, reload: Reload | None, program: Sequence[str]
    ) -> None:
        super().__init__()
        self.settings = settings
        self.health_listener: Listener | None = None
        self._command = command
        self._reload = reload or (lambda: settings)
        self._program = program
        self._store: EmbeddedStore | None = None
        self._services: list[ListeningService] = []
        self._listeners: dict[str, Listener] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        log.configure(self.settings)
        return self

    def own_store(self) -> None:
        """Take the data folder for ourselves, unless the settings name a store. This starts no server yet."""
        if self.settings.redis_url is None:
            self._store = EmbeddedStore(self.settings.data, self.settings.embedded_server)
            self.callback(self._store.close)
            self._store.acquire(self._command)

    def start_store(self) -> None:
        """Start the server of the store that we own, if there is one."""
        if self._store is not None:
            self._store.spawn()
            self._store.wait_ready()

    def share_store(self) -> None:
        """Use the embedded store that runs already, or start one, unless the settings name a store."""
        if self.settings.redis_url is None:
            self._store = EmbeddedStore(self.settings.data, self.settings.embedded_server)
            self.callback(self._store.close)
            self._store.own_or_share(self._command)

    @property
    def store_url(self) -> str:
        """Where the store is."""
        return self._store.url if self._store is not None else self.settings.redis_url or ""

    def listen_for(self, service: Service) -> ListeningService:
        """Listen where a service's setting says, and have `supervise` run the service there."""
        passed = self._listen(service.takes_passed) if service.takes_passed else None
        listening = ListeningService(service, self._listen(service.listen), passed)
        self._services.append(listening)
        return listening

    def listen_for_health(self) -> Listener:
        """Listen for /healthz and /metrics of the supervisor."""
        self.health_listener = self._listen(HEALTH_SETTING)
        return self.health_listener

    def supervise(self, announce: Started) -> None:
        """Run the services until the end. `announce` is awaited once everything is ready."""
        self.settings = self._ready_to_use(self.settings)
        if self._store is not None and self._store.program is not None:
            program = self._store.program
            extra = {"server": program.version, "program": program.path, "origin": program.origin}
            _log.info("the embedded store runs", extra=extra)
        supervisor = Supervisor(
            self.settings,
            self._services,
            command=self._command,
            reload=lambda: self._ready_to_use(self._reload()),
            store=self._store,
            health_listener=self.health_listener,
            program=self._program,
        )

        async def on_start() -> None:
            if self._store is not None and any(each.service.is_public for each in self._services):
                # `token create` on the same data folder prints links that begin with this.
                self._store.announce(self._command, base_url(self.settings))
            await announce()

        try:
            asyncio.run(supervisor.run(on_start))
        finally:  # the loop has set back what it handled, and the store is still to be stopped
            signals.ignore(signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signals.REOPEN)

    def _listen(self, setting: str) -> Listener:
        address = address_of(self.settings, setting)
        if getattr(self.settings, setting) is None:
            _make_folder(self.settings.data)
        listener = Listener(address, setting)
        self.callback(listener.close)
        self._listeners[setting] = listener
        _log.info("listening", extra={"setting": setting, "address": str(listener.address)})
        return listener

    def _ready_to_use(self, settings: Settings) -> Settings:
        """The settings with the real port in each address that we listen on and that had port 0.

        It is logged where the limit of open files is too low for them.
        """
        if any(each.service.reads_storages for each in self._services):
            log_descriptors(settings)
        found = {
            name: str(listener.address)
            for name, listener in self._listeners.items()
            if getattr(settings, name) == listener.configured
        }
        return settings.model_copy(update=found)


def _make_folder(data: Path) -> None:
    """Make the data folder, in which a socket is to be made. Raises GatewayError."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise GatewayError(
            f"{data} cannot be used ({describe(error)}): "
            "make it writable, or choose another folder with --data"
        ) from None


def log_descriptors(settings: Settings, limit: int | None = None) -> None:
    """Log where the limit of open files is too low for the workers: once, as it is the same for all of them.

    It is a warning where the user has set more than the limit allows, and information where only a default
    is too much: then nothing that the user asked for is missing. So `up`, whose log is quiet, does not show
    it to somebody who tries the gateway; `serve` and `check` do. limit: instead of the hard limit of this
    process, to which each worker raises its own.
    """
    limit = hard_limit() if limit is None else limit
    wanted = Shares(settings.max_connections, settings.open_files)
    shares = share_descriptors(limit, *wanted, settings.descriptors_each)
    if shares != wanted:
        is_set = not settings.model_fields_set.isdisjoint(("max_connections", "open_files"))
        _log.log(
            logging.WARNING if is_set else logging.INFO,
            "the limit of %d open files is enough for %d connections and %d files kept open in each worker: "
            "raise it, or lower max_connections and open_files",
            limit,
            *shares,
        )


def _quiet(settings: Settings) -> Settings:
    """The settings of `up`, with less logging unless they say otherwise, so that its links stay visible."""
    quiet = {"access_log": str(settings.data / "access.log"), "log_level": "warning"}
    unset = {name: value for name, value in quiet.items() if name not in settings.model_fields_set}
    return settings.model_copy(update=unset)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let signals end what comes before the supervisor as Ctrl-C does, or be ignored: see `runtime.signals`.

    PID 1 would ignore SIGTERM by default. A SIGHUP that asks for a reload is ignored: the settings have just
    been read. One of a terminal that was closed ends the command.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def hang_up(*_: object) -> None:
        if had_terminal and not signals.has_terminal():
            raise KeyboardInterrupt

    had_terminal = signals.has_terminal()
    handlers = {signal.SIGTERM: interrupt, signal.SIGQUIT: interrupt}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup sets this
        handlers[signal.SIGHUP] = hang_up
    with signals.ignoring((*signals.STRAY, signals.REOPEN)):
        former = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
        try:
            yield
        finally:
            for signum, handler in former.items():
                signal.signal(signum, handler)


async def _announcements(services: Sequence[ListeningService], settings: Settings) -> list[str]:
    """What services have to say to a person once they run, such as a link that works once."""
    lines: list[str] = []
    for each in services:
        if (announce := each.service.load_announcer()) is not None:
            lines += await announce(settings, each.listener.url)
    return lines


def _describe_services(services: Sequence[ListeningService], settings: Settings) -> Iterator[str]:
    """What `up` prints about each service beside the downloads."""
    create_key = shlex.join(["download-gateway", *_folder_flag(settings), "key", "create", "NAME"])
    for listening in services:
        if listening.service.up_text:
            yield listening.service.up_text.format(url=listening.listener.url, create_key=create_key)


def _folder_flag(settings: Settings) -> list[str]:
    """What a command needs to find the data folder."""
    return [] if settings.data == DEFAULT_DATA else ["--data", str(settings.data)]


def _print_lines(*lines: str) -> None:
    with contextlib.suppress(OSError):  # the gateway serves even when nobody reads this
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
