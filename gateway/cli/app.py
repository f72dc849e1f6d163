"""All commands. Importing this module registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import (
    PROGRAM,
    connection_events,  # noqa: F401
    connections,
    customers,
    database,
    entitlements,
    keys,
    mails,
    order_import,  # noqa: F401
    orders,
    product_changes,  # noqa: F401
    products,
    receipts,  # noqa: F401
    serving,
    tokens,
    usage_reports,  # noqa: F401
    users,
    webhook_deliveries,  # noqa: F401
    webhooks,
)
from gateway.cli.audit import add_audit
from gateway.cli.backups import add_backups
from gateway.cli.check import add_check
from gateway.cli.mappings import add_unmapped
from gateway.cli.options import CONFIG, DEBUG, set_root_options, setting_option
from gateway.cli.usage_report import add_usage

root = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(given: bool) -> None:
    if given:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@root.callback(invoke_without_command=True, epilog=f"Example: {PROGRAM} up ~/Music/samples")
def start(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback acts on it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, DEBUG] = False,  # noqa: ARG001 - `debugging` reads it from the arguments
    config: Annotated[Path | None, CONFIG] = None,
    data: Annotated[str | None, setting_option("data")] = None,
    redis_url: Annotated[str | None, setting_option("redis_url")] = None,
) -> None:
    """Token-gated downloads: sell large files, hand out links that expire, serve them with resume."""
    set_root_options(context, {"data": data, "redis_url": redis_url}, config)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)


serving.add_commands(root)
root.add_typer(products.group, name="product")
root.add_typer(tokens.group, name="token")
root.add_typer(keys.group, name="key")
root.add_typer(orders.group, name="order")
root.add_typer(customers.group, name="customer")
root.add_typer(entitlements.group, name="entitlement")
root.add_typer(connections.group, name="connection")
root.add_typer(mails.group, name="mail")
root.add_typer(webhooks.group, name="webhook")
root.add_typer(database.group, name="database")
root.add_typer(users.group, name="user")
add_unmapped(root)
add_check(root)
add_audit(root)
add_backups(root)
add_usage(root)
