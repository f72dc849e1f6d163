"""The table of services: one row for each kind of process that the gateway serves from.

Everything in which one service differs from another is in its row. The supervisor, the child program, the
commands and `up` read the table and name no service themselves. A new service needs:

1. a function that serves on given sockets until SIGTERM, such as `gateway.mint.service.run`;
2. a setting with the unit "address" in `config/settings.py`, which says where it listens;
3. a row here.

Each child imports only the service that it runs, because the function is named by its path and imported by
the child (see `load_runner`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from gateway.config.settings import Settings

Announce = Callable[[Settings, str], Awaitable[list[str]]]
"""Returns lines to print. It is given the settings and the URL where the service listens."""


@dataclass(frozen=True)
class Service:
    """One row of the table."""

    name: str
    """How it is called on the command line of its process, in the log and /healthz (`worker 0`), and in the
    label `role` of /metrics."""

    runner: str
    """The function that serves until SIGTERM, as `module:function`."""

    arguments: tuple[str, ...]
    """The fields of `child.ChildContext` that the function is called with, as keyword arguments."""

    listen: str
    """The setting that says where it listens."""

    command: str
    """The command that runs this service alone. `up` runs every service of the table."""

    help: str
    """What the command's --help says first."""

    example: str
    """A use of the command, for its --help."""

    log_text: str
    """What the command logs once the service accepts connections."""

    up_text: str = ""
    """What `up` prints about it. `{url}` is its address, `{create_key}` the command that makes an API key."""

    announcer: str = ""
    """A function that says what a person has to know once it runs, as `module:function`: see `Announce`."""

    one_per_cpu: bool = False
    """Whether there are as many processes as the setting `workers` says, instead of one."""

    is_public: bool = False
    """Whether customers reach it, so that the setting `public_url` is its URL."""

    has_health_listener: bool = False
    """Whether its own command also answers on `admin_listen`. `up` always does. Several commands on one
    machine may read the same settings, and only one of them can listen there."""

    reads_storages: bool = False
    """Whether storages and the TLS certificate must be there before it starts."""

    takes_passed: str = ""
    """The setting that says where it takes the requests that workers pass on to it, if it does."""

    def count(self, settings: Settings) -> int:
        """How many processes the settings ask for."""
        return settings.workers if self.one_per_cpu else 1

    def load_runner(self) -> Callable[..., None]:
        """Import the function that serves. Only the child process calls this."""
        runner: Callable[..., None] = _load(self.runner)
        return runner

    def load_announcer(self) -> Announce | None:
        """Import the function that says what a person has to know, if there is one."""
        announcer: Announce | None = _load(self.announcer) if self.announcer else None
        return announcer


def _load(path: str) -> Any:
    module, _, function = path.partition(":")
    return getattr(import_module(module), function)


SERVICES: Final = (
    Service(
        name="worker",
        runner="gateway.dataplane.worker:run",
        arguments=("settings", "sockets", "slot", "counters", "ready", "attempts"),
        listen="listen",
        command="serve",
        help="Serve downloads with worker processes. Ends at Ctrl-C or SIGTERM, letting downloads finish.",
        example="download-gateway serve --listen 0.0.0.0:8080",
        log_text="serving downloads",
        one_per_cpu=True,
        is_public=True,
        has_health_listener=True,
        reads_storages=True,
    ),
    Service(
        name="mint",
        runner="gateway.mint.service:run",
        arguments=("settings", "sockets", "ready"),
        listen="mint_listen",
        command="serve-mint",
        help="Run the mint service, which makes download links for shops. Ends at Ctrl-C or SIGTERM.",
        example="download-gateway serve-mint --mint-listen 127.0.0.1:8081",
        log_text="serving the mint API",
        up_text="Mint service at {url}: make a key for your shop with\n  {create_key}",
    ),
    Service(
        name="web",
        runner="gateway.web.service:run",
        arguments=("settings", "sockets", "passed", "ready", "counters"),
        listen="dashboard_listen",
        command="serve-web",
        help="Run the dashboard and the admin API, and take webhooks of shops. Ends at Ctrl-C or SIGTERM.",
        example="download-gateway serve-web --dashboard-listen 127.0.0.1:8083",
        log_text="serving the admin API",
        announcer="gateway.users.announcing:announce_dashboard",
        up_text="Admin API at {url}: needs a key of the role admin\n  {create_key} --role admin",
        takes_passed="web_listen",
    ),
)
