"""`product add | relocate | list | show`. product_changes.py has the other commands on products."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.options import CLI, STORE, Invocation, command, fail
from gateway.cli.output import count_of, count_progress, note, show_record, show_table, show_time
from gateway.config.units import format_size
from gateway.errors import ConfigurationError
from gateway.web.documents import product_document

if TYPE_CHECKING:  # the store's client is slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.catalogue.rules import ProductRecord
    from gateway.manifest import Manifest
    from gateway.tokens.repositories import Repositories

group = typer.Typer(help="Products and their versions.", no_args_is_help=True)

NOTIFY: Final = typer.Option(
    "--notify/--no-notify",
    help="Tell customers who have it of this version by mail, each once. Default: the setting "
    "mail.new_versions.",
    show_default=False,
)
ProductId = Annotated[str, typer.Argument(metavar="ID", help="The product's id, such as epic-drums.")]


def file_data(manifest: Manifest) -> list[dict[str, Any]]:
    """What JSON output has of the files of a version."""
    return [
        {
            "name": file.name,
            "size": file.size,
            "type": file.type,
            "sha256": file.sha256,
            "crc32": file.crc32,
            "storage": file.storage,
            "key": file.key,
        }
        for file in manifest.files
    ]


@command(
    group,
    "add",
    settings=(*STORE, "open_files"),
    example="download-gateway product add epic-drums 1.0.0 ~/Music/epic-drums --activate",
)
def add(
    invocation: Invocation,
    product_id: ProductId,
    version: Annotated[
        str,
        typer.Argument(
            metavar="VERSION", help="The version's name, such as 1.0.0. Its files cannot be changed later."
        ),
    ],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Files and folders, on disk or in a bucket: s3://BUCKET/KEY, s3://BUCKET/FOLDER/. They are "
            "not copied.",
        ),
    ],
    *,
    name: Annotated[
        str | None, typer.Option(help="The product's name for people.", show_default=False)
    ] = None,
    activate: Annotated[
        bool,
        typer.Option(
            "--activate",
            help="Give this version to new tokens. The first version of a product always is active.",
        ),
    ] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Use the SHA-256 and CRC-32 that a bucket keeps for an object, and do not read the object.",
        ),
    ] = False,
    notify: Annotated[bool | None, NOTIFY] = None,
) -> None:
    """Register a version. The files are read for their sizes and digests, and must not change afterwards."""
    from gateway.products.left_out import left_out_data, left_out_lines  # noqa: PLC0415
    from gateway.products.locating import pinned_links  # noqa: PLC0415
    from gateway.products.publishing import hash_files, plan_publication, show_progress  # noqa: PLC0415 - slow to import
    from gateway.products.validation import NAME_HELP, is_name  # noqa: PLC0415
    from gateway.products.warnings import publication_warnings  # noqa: PLC0415
    from gateway.storage.registry import Storages  # noqa: PLC0415

    faults = [
        f"{what}: must be {NAME_HELP}"
        for what, text in (("ID", product_id), ("VERSION", version))
        if not is_name(text)
    ]
    if faults:
        raise ConfigurationError(faults)
    settings = invocation.settings
    storages = Storages.of(settings)
    publication = plan_publication(
        files, settings.data, storages, lambda total: count_progress(total, "Looking at objects")
    )
    if trust and publication.without_digests:
        number = count_of(len(publication.without_digests), "object")
        example = publication.without_digests[0].address
        note(f"{number} without a stored SHA-256 and CRC-32 must be read, such as {example}")
    with invocation.open_catalogue() as run:
        previous = run(lambda catalogue: _previous(catalogue.store, product_id, version))
        with show_progress(publication.size) as report:
            manifest = hash_files(
                publication, storages, product_id, version, report=report, previous=previous, trust=trust
            )
        product = run(lambda catalogue: _register(catalogue, manifest, name, activate, trust))
        run(lambda catalogue: tell_customers(invocation, catalogue, product_id, version, notify))
    warnings = [
        *publication_warnings(publication.scanned, time.time()),
        *pinned_links(publication, manifest, storages),
    ]

    def show() -> None:
        size = format_size(sum(file.size for file in manifest.files))
        active = "and active" if product.active == version else f"({product.active} stays active)"
        note(f"{product.id} {version}: {count_of(len(manifest.files), 'file')}, {size}, registered {active}.")

    for warning in warnings:
        note(f"Warning: {warning}.")
    for line in left_out_lines(publication.skipped):
        note(line)
    data = {
        **product_document(product),
        "version": version,
        "manifest": product.versions[version].manifest,
        "files": file_data(manifest),
        "warnings": warnings,
        "leftOut": left_out_data(publication.skipped),
    }
    invocation.print_result(data, show)


async def tell_customers(
    invocation: Invocation, catalogue: Catalogue, product_id: str, version: str, notify: bool | None
) -> None:
    """Have customers told of a version, if that is wanted."""
    if invocation.settings.mail_new_versions if notify is None else notify:
        from gateway.mail.announcing import announce, has_readers  # noqa: PLC0415 - slow to import
        from gateway.mail.files import FOLDER  # noqa: PLC0415 - slow to import

        is_read = await has_readers(catalogue.database, product_id, version)
        if not await announce(catalogue.database, product_id, version):
            return
        if is_read:
            note("Customers who have it get a mail; the web process sends them.")
            if invocation.settings.mail_url is None:
                folder = invocation.settings.data / FOLDER
                note(f"There is no mail server yet (mail.url): each mail is a file below {folder}")
        else:
            note("Nobody gets a mail: no customer has it. Test orders, such as the demo's, do not count.")


async def _register(
    catalogue: Catalogue, manifest: Manifest, name: str | None, activate: bool, trust: bool
) -> ProductRecord:
    product = await catalogue.register(manifest, name, activate, trusted=trust)
    what = {"product": product.id, "version": manifest.version, "digests": "trusted" if trust else "computed"}
    await catalogue.store.audit.record(CLI, "version.register", what)
    return product


async def _previous(store: Repositories, product_id: str, version: str) -> Manifest | None:
    """The manifest that has the digests of files that have not changed, if there is one."""
    known = await store.products.known_manifests(await store.products.get(product_id), version)
    return known[0] if known else None


@command(
    group,
    "relocate",
    settings=(*STORE, "open_files"),
    example="download-gateway product relocate epic-drums 1.0.0 /mnt/new/epic-drums",
)
def relocate(
    invocation: Invocation,
    product_id: ProductId,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version whose files have moved.")],
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Where they are now: files and folders, as for `product add`."),
    ],
) -> None:
    """Tell that the files of a version have moved. They are read and compared; sold links go on working.

    Files are found by their names in the version. Those that are not below PATH must still be in their place.
    """
    from gateway.products.publishing import hash_files, show_progress  # noqa: PLC0415 - slow to import
    from gateway.products.relocating import compare, plan_relocation  # noqa: PLC0415
    from gateway.storage.registry import Storages  # noqa: PLC0415

    async def read(store: Repositories) -> Manifest:
        product = await store.products.get(product_id)
        digest = None if product is None else product.versions.get(version)
        manifest = None if digest is None else await store.products.get_manifest(digest)
        if manifest is None:
            raise fail(f"there is no version {version} of {product_id} (`product list` shows all products)")
        return manifest

    settings = invocation.settings
    storages = Storages.of(settings)
    with invocation.open_catalogue() as run:
        known = run(lambda catalogue: read(catalogue.store))
        publication = plan_relocation(
            known, paths, settings.data, storages, lambda total: count_progress(total, "Looking at objects")
        )
        with show_progress(publication.size, "Comparing") as report:
            found = hash_files(publication, storages, product_id, version, report=report)
        compare(known, found)
        manifest = run(lambda catalogue: catalogue.relocate(known, found))
    moved = sum(new != old for new, old in zip(manifest.files, known.files, strict=True))

    def show() -> None:
        size = format_size(publication.size)
        note(
            f"{product_id} {version}: {count_of(len(found.files), 'file')}, {size}, compared; "
            f"{count_of(moved, 'file')} moved."
        )

    data = {
        "productId": product_id,
        "version": version,
        "manifest": manifest.digest,
        "compared": len(found.files),
        "moved": moved,
        "files": file_data(manifest),
    }
    invocation.print_result(data, show)


@command(group, "list", example="download-gateway product list")
def list_(invocation: Invocation) -> None:
    """List the products."""

    async def read(catalogue: Catalogue) -> list[ProductRecord]:
        await catalogue.synchronise()  # an older version of the program may have made some
        return await catalogue.list_all()

    found = invocation.with_catalogue(read)

    def show() -> None:
        rows = [
            (product.id, product.name, product.status, product.active or "", len(product.versions))
            for product in found
        ]
        show_table(("ID", "NAME", "STATUS", "ACTIVE", "VERSIONS"), rows)

    invocation.print_result([product_document(product) for product in found], show)


@command(group, "show", example="download-gateway product show epic-drums")
def show(invocation: Invocation, product_id: ProductId) -> None:
    """Show a product, its versions and their files."""

    async def read(catalogue: Catalogue) -> tuple[ProductRecord, dict[str, Manifest]]:
        await catalogue.synchronise()
        product = await catalogue.find(product_id)
        found = {
            each.version: await catalogue.store.products.get_manifest(each.manifest)
            for each in product.versions.values()
        }
        return product, {
            version: manifest for version, manifest in sorted(found.items()) if manifest is not None
        }

    product, manifests = invocation.with_catalogue(read)
    data = product_document(product)
    for entry in data["versions"]:
        manifest = manifests.get(entry["version"])
        entry["files"] = None if manifest is None else file_data(manifest)
    invocation.print_result(data, lambda: show_product(product, manifests))


def show_product(product: ProductRecord, manifests: dict[str, Manifest]) -> None:
    """Print a product for people, with the files of each version."""
    fields = [
        ("id", product.id),
        ("name", product.name),
        ("status", product.status),
        ("active version", product.active or "none"),
        ("created", show_time(product.created)),
    ]
    show_record(fields)
    for version, manifest in manifests.items():
        published = show_time(product.versions[version].published)
        typer.echo(f"\nversion {version}, published {published}")
        if notes := product.versions[version].notes:
            typer.echo(notes)
        rows = [
            (file.name, format_size(file.size), f"{file.storage}:{file.key}", file.sha256)
            for file in manifest.files
        ]
        show_table(("FILE", "SIZE", "STORED AS", "SHA-256"), rows)
