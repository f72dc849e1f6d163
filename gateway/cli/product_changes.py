"""`product activate | rename | archive | restore | remove`: changes of products that exist.

The id of a product never changes: the shop's code, tokens and manifests name it. `rename` changes the name
that people see, so old links go on working. An archived product gets no new tokens; its links go on working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.options import CLI, YES, Invocation, command, confirm
from gateway.cli.output import count_of, note
from gateway.cli.products import NOTIFY, ProductId, group, tell_customers
from gateway.web.documents import product_document

if TYPE_CHECKING:  # the store's client is slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.catalogue.rules import ProductRecord

VERSION: Final = typer.Argument(metavar="VERSION", help="A version of it (from `product show`).")


@command(group, "activate", example="download-gateway product activate epic-drums 1.1.0")
def activate(
    invocation: Invocation,
    product_id: ProductId,
    version: Annotated[str, VERSION],
    *,
    notify: Annotated[bool | None, NOTIFY] = None,
) -> None:
    """Give a version to new tokens that name none. Links that exist keep the version they have."""
    product = _update(invocation, product_id, active=version)
    invocation.with_catalogue(
        lambda catalogue: tell_customers(invocation, catalogue, product_id, version, notify)
    )
    _print(invocation, product, f"{product.id}: new tokens get version {product.active}.")


@command(group, "rename", example='download-gateway product rename epic-drums "Epic Drums"')
def rename(
    invocation: Invocation,
    product_id: ProductId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name for people.")],
) -> None:
    """Change a product's name for people. Its id stays as it is, and so do its links."""
    product = _update(invocation, product_id, name=name)
    _print(invocation, product, f"{product.id} is called {product.name} now.")


@command(group, "archive", example="download-gateway product archive epic-drums")
def archive(invocation: Invocation, product_id: ProductId) -> None:
    """Stop selling a product: it gets no new tokens. Links that exist go on working."""
    product = _update(invocation, product_id, status="archived")
    _print(
        invocation,
        product,
        f"{product.id} is archived: it gets no new tokens, and its links go on working. "
        f"To sell it again: download-gateway product restore {product.id}",
    )


@command(group, "restore", example="download-gateway product restore epic-drums")
def restore(invocation: Invocation, product_id: ProductId) -> None:
    """Sell an archived product again."""
    product = _update(invocation, product_id, status="active")
    _print(invocation, product, f"{product.id} is active.")


@command(group, "remove", example="download-gateway product remove epic-drums 0.9.0")
def remove(
    invocation: Invocation,
    product_id: ProductId,
    version: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="Only this version. Default: the whole product."),
    ] = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Revoke the tokens that are still valid, so that their links end.")
    ] = False,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Remove a product or one version of it. This cannot be undone. The files themselves stay.

    It is refused while there are valid tokens, unless they are to be revoked.
    """
    from gateway.catalogue import removal  # noqa: PLC0415 - slow to import

    with invocation.open_catalogue() as run:
        planned = run(lambda catalogue: removal.plan_removal(catalogue.store, product_id, version))
        if planned.live and not force:
            raise planned.refusal()
        ends = f" and revoke {count_of(len(planned.live), 'token')}" if planned.live else ""
        confirm(invocation, f"Remove {planned.subject}{ends}", yes)

        async def end(catalogue: Catalogue) -> int:
            revoked = await removal.remove(catalogue, planned, force=force)
            what = {"product": product_id, "version": version, "revoked": str(revoked)}
            await catalogue.store.audit.record(CLI, "version.remove" if version else "product.remove", what)
            return revoked

        revoked = run(end)
    data = {"productId": product_id, "version": version, "removed": True, "revokedTokens": revoked}
    also = f"; {count_of(revoked, 'token')} revoked" if revoked else ""
    invocation.print_result(
        data, lambda: note(f"Removed {planned.subject}{also}. The files are where they were.")
    )


def _update(
    invocation: Invocation,
    product_id: str,
    *,
    name: str | None = None,
    status: str | None = None,
    active: str | None = None,
) -> ProductRecord:
    async def change(catalogue: Catalogue) -> ProductRecord:
        product = await catalogue.update(product_id, name=name, status=status, active=active)
        what = {"product": product_id, "name": name, "status": status, "activeVersion": active}
        await catalogue.store.audit.record(CLI, "product.update", what)
        return product

    return invocation.with_catalogue(change)


def _print(invocation: Invocation, product: ProductRecord, text: str) -> None:
    invocation.print_result(product_document(product), lambda: note(text))
