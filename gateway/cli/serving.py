"""The commands that run until they are stopped: `up`, and one for each service of the supervisor's table."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.checks import Level
from gateway.cli.options import EVERY, Invocation, command
from gateway.config.settings import Settings
from gateway.errors import ConfigurationError
from gateway.supervisor.services import SERVICES, Service


def add_commands(root: typer.Typer) -> None:
    """Register the commands."""

    @command(root, "up", settings=EVERY, has_json=False, example="download-gateway up ~/Music/samples")
    def up(
        invocation: Invocation,
        paths: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="PATH",
                help="Files and folders, on disk or in a bucket (s3://BUCKET/KEY, s3://BUCKET/FOLDER/). Each "
                "becomes one product. Without a PATH, a demo product is published.",
                show_default=False,
            ),
        ] = None,
    ) -> int:
        """Run everything on this machine and publish each PATH; prints a link for each. Ends at Ctrl-C."""
        from gateway.supervisor.commands import run_up  # noqa: PLC0415 - --help starts faster without it

        def check(settings: Settings) -> Settings:
            return _check_files(settings, makes_data=True)

        return run_up(check(invocation.settings), paths or [], lambda: check(invocation.reload()))

    for service in SERVICES:
        _add_service(root, service)


def _add_service(root: typer.Typer, service: Service) -> None:
    """Register the command that runs one service."""

    def serve(invocation: Invocation) -> int:
        from gateway.supervisor.commands import run_service  # noqa: PLC0415

        check = _check_files if service.reads_storages else _accept
        return run_service(service, check(invocation.settings), lambda: check(invocation.reload()))

    serve.__doc__ = service.help
    command(root, service.command, settings=EVERY, has_json=False, example=service.example)(serve)


def _accept(settings: Settings) -> Settings:
    return settings


def _check_files(settings: Settings, makes_data: bool = False) -> Settings:
    """Return the settings if storages and certificates can be read, and the access log can be written.

    makes_data: whether the command makes the data folder in any case. Raises ConfigurationError.
    """
    from gateway.cli.checks.access_log import check_access_log  # noqa: PLC0415
    from gateway.cli.checks.certificates import trust_faults  # noqa: PLC0415
    from gateway.cli.checks.storages import check_roots  # noqa: PLC0415
    from gateway.runtime.tls import server_context  # noqa: PLC0415

    server_context(settings.tls_cert, settings.tls_key)
    findings = [*check_roots(settings.roots), check_access_log(settings, makes_data)]
    faults = [f"{each.subject}: {each.line}" for each in findings if each.level is Level.FAIL]
    faults += trust_faults(settings)
    if faults:
        raise ConfigurationError(faults)
    return settings
