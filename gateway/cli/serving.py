"""`up`, `serve`, `serve-mint`: the commands that run until they are stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.checks import Level
from gateway.cli.options import EVERY, Call, command
from gateway.config.settings import Settings
from gateway.errors import ConfigurationError


def add_commands(root: typer.Typer) -> None:
    """Register them."""

    @command(root, "up", settings=EVERY, has_json=False, example="download-gateway up ~/Music/samples")
    def up(
        call: Call,
        paths: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="PATH",
                help="Files, and folders that each become one product, also of a bucket: s3://BUCKET/KEY, "
                "s3://BUCKET/FOLDER/. A demo product if there is none.",
                show_default=False,
            ),
        ] = None,
    ) -> int:
        """Run everything on this machine and publish each PATH; prints a link for each. Ends at Ctrl-C."""
        from gateway.supervisor import run_up  # noqa: PLC0415 - not needed for --help

        return run_up(_with_roots(call.settings), paths or [], lambda: _with_roots(call.reload()))

    @command(
        root, "serve", settings=EVERY, has_json=False, example="download-gateway serve --listen 0.0.0.0:8080"
    )
    def serve(call: Call) -> int:
        """Serve downloads with worker processes. Ends at Ctrl-C or SIGTERM, letting downloads finish."""
        from gateway.supervisor import run_serve  # noqa: PLC0415

        return run_serve(_with_roots(call.settings), lambda: _with_roots(call.reload()))

    @command(
        root,
        "serve-mint",
        settings=EVERY,
        has_json=False,
        example="download-gateway serve-mint --mint-listen 127.0.0.1:8081",
    )
    def serve_mint(call: Call) -> int:
        """Run the mint service, which makes download links for shops. Ends at Ctrl-C or SIGTERM."""
        from gateway.supervisor import run_mint  # noqa: PLC0415

        return run_mint(call.settings, call.reload)


def _with_roots(settings: Settings) -> Settings:
    """Return the settings when every configured storage and the certificate are there.

    Raises ConfigurationError.
    """
    from gateway.cli.checks.storages import check_roots  # noqa: PLC0415
    from gateway.runtime.tls import server_context  # noqa: PLC0415

    server_context(settings.tls_cert, settings.tls_key)
    findings = check_roots(settings.roots)
    if faults := [f"{each.subject}: {each.line}" for each in findings if each.level is Level.FAIL]:
        raise ConfigurationError(faults)
    return settings
