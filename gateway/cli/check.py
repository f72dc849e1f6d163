"""`check`: tests everything that a gateway needs, and prints each fault and how to repair it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.checks import Finding, Level, failed, passed, skipped
from gateway.cli.checks.access_log import check_access_log
from gateway.cli.checks.cache import check_cache
from gateway.cli.checks.descriptors import check_descriptors
from gateway.cli.checks.ports import check_ports
from gateway.cli.checks.trust import check_trust
from gateway.cli.options import EVERY, Invocation, StoreRunner, command, fail
from gateway.cli.output import show_table
from gateway.config.settings import Settings
from gateway.errors import ConfigurationError, GatewayError, StorageError
from gateway.secrets import redact_url

if TYPE_CHECKING:
    from gateway.manifest import Manifest
    from gateway.products.repository import Product
    from gateway.tokens.records import MintedToken
    from gateway.tokens.repositories import Repositories


def add_check(root: typer.Typer) -> None:
    """Register the command."""

    @command(
        root, "check", settings=EVERY, example="download-gateway check --proxy https://downloads.example.com"
    )
    def check(
        invocation: Invocation,
        *,
        proxy: Annotated[
            str | None,
            typer.Option(
                metavar="URL",
                help="Try downloads through this front proxy too (default: public_url, if it is set).",
                show_default=False,
            ),
        ] = None,
        quick: Annotated[bool, typer.Option("--quick", help="Do not check every published file.")] = False,
    ) -> int:
        """Check settings, database, mail, webhooks, store, storages and proxy; exits with 1 if one fails."""
        findings = list(find_all(invocation, proxy, quick))
        rows = [(finding.subject, finding.level.value, finding.line) for finding in findings]
        data = documents(findings)
        invocation.print_result(data, lambda: show_table(("CHECK", "RESULT", "WHAT"), rows, wrap_last=True))
        return int(any(finding.level is Level.FAIL for finding in findings))


def documents(findings: list[Finding]) -> list[dict[str, str | None]]:
    """The findings as JSON has them."""
    return [
        {"check": each.subject, "result": each.level.value, "text": each.text, "mend": each.remedy or None}
        for each in findings
    ]


def find_all(invocation: Invocation, proxy: str | None, quick: bool) -> Iterator[Finding]:
    """Check everything. quick: but not each published file. proxy: the URL of a front proxy to try."""
    try:
        settings = invocation.settings
        base = _base(proxy) or settings.public_url
    except ConfigurationError as error:
        yield from (failed("settings", fault) for fault in error.faults)
        return
    yield passed("settings", "no faults")
    yield from check_ports(settings)
    yield check_access_log(settings)
    yield check_descriptors(settings)
    yield check_trust(settings)
    if settings.cache_path is not None:
        yield check_cache(settings.cache_path, settings.cache_max_bytes)
    from gateway.cli.checks.database import check_database  # noqa: PLC0415 - slow to import

    yield from check_database(settings)
    from gateway.cli.checks.connections import check_connections  # noqa: PLC0415 - slow to import

    yield from check_connections(settings)
    from gateway.cli.checks.mail import check_mail  # noqa: PLC0415 - slow to import

    yield from check_mail(settings)
    from gateway.cli.checks.webhooks import check_webhooks  # noqa: PLC0415 - slow to import

    yield from check_webhooks(settings)
    yield from _check_contents(invocation, settings, base, quick)


def _base(proxy: str | None) -> str | None:
    if proxy is None:
        return None
    try:
        return Settings(public_url=proxy).public_url
    except ValueError:
        raise fail("--proxy: must be http://HOST or https://HOST") from None


def _check_contents(
    invocation: Invocation, settings: Settings, base: str | None, quick: bool
) -> Iterator[Finding]:
    """Check the store, and what needs the store: the published files and the front proxy."""
    from gateway.cli.checks import storages as storage_checks  # noqa: PLC0415 - slow to import
    from gateway.cli.checks.store import check_server, check_store  # noqa: PLC0415
    from gateway.storage.local.registered_folders import read_registry  # noqa: PLC0415
    from gateway.storage.registry import Storages  # noqa: PLC0415

    try:
        registered = {name: entry.root for name, entry in read_registry(settings.data).items()}
        yield from storage_checks.check_roots({**registered, **settings.roots})
        storages = Storages.of(settings)
        yield from storage_checks.check_buckets(storages)
    except StorageError as error:
        yield failed("storages", str(error), "repair the file or remove it, and register the products again")
        return
    if settings.redis_url is None:
        yield check_server(settings.embedded_server)
    try:
        with invocation.open_store() as run:
            name = redact_url(settings.redis_url) if settings.redis_url else "the embedded store"
            yield from run(lambda store: check_store(store, name))
            manifests, missing = run(storage_checks.read_manifests)
            yield from missing
            yield from (
                [skipped("files", "--quick")] if quick else storage_checks.check_blobs(manifests, storages)
            )
            yield from [] if quick else storage_checks.check_links(manifests, storages)
            if base is None:
                yield skipped("proxy", "no public_url and no --proxy")
            else:
                yield from _check_proxy(run, manifests, base)
    except GatewayError as error:
        yield failed("store", str(error))


def _check_proxy(run: StoreRunner, manifests: list[Manifest], base: str) -> Iterator[Finding]:
    from gateway.cli.checks import proxy  # noqa: PLC0415

    products: list[Product] = run(lambda store: store.products.list_all())
    active = {product.id: product.active for product in products if product.status == "active"}
    chosen = proxy.choose_file(manifests, active)
    if chosen is None:
        yield skipped("proxy", "there is no active product with a file to try")
        return
    product, file = chosen
    with _try_token(run, product, None) as minted:
        found = proxy.check_proxy(proxy.Target(base, file, minted.token))
    yield from found
    if any(each.level is Level.FAIL and each.subject in proxy.ESSENTIAL for each in found):
        return
    with _try_token(run, product, proxy.PROBE_DOWNLOADS) as minted:
        yield proxy.check_cost(
            proxy.Target(base, file, minted.token),
            lambda: run(lambda store: _read_charged(store, minted.record.id)),
        )
    yield proxy.check_hooks(base)


@contextmanager
def _try_token(run: StoreRunner, product: str, limit: int | None) -> Iterator[MintedToken]:
    """Make a token that is revoked afterwards, and expires soon even if that fails."""
    from gateway.cli.checks.proxy import TOKEN_SECONDS  # noqa: PLC0415

    minted: MintedToken = run(
        lambda store: store.tokens.create(
            product, expires_in=TOKEN_SECONDS, max_downloads=limit, name="download-gateway check"
        )
    )
    try:
        yield minted
    finally:
        run(lambda store: store.tokens.revoke(minted.record.id))


async def _read_charged(store: Repositories, identifier: str) -> int:
    record = await store.tokens.get(identifier)
    return sum(record.charged.values()) if record is not None else 0
