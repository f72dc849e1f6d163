"""What `up` publishes: each PATH as one product, with a link that is ready to use.

A PATH is a file, a folder, or the address of objects in a storage of the settings. The id of the product is
made from the PATH's own name. Files that have not changed keep their version. Changed files become the next
version ("1", "2", …), which is then the active one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
import threading
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gateway.catalogue.catalogue import Catalogue
from gateway.config.settings import Settings, base_url
from gateway.config.units import format_size
from gateway.database.migrating import open_database
from gateway.errors import ConfigurationError
from gateway.http.links import download_path
from gateway.manifest import Manifest
from gateway.products.bucket_scanning import is_address
from gateway.products.contents import same_content, same_places
from gateway.products.left_out import left_out_lines
from gateway.products.locating import pinned_links
from gateway.products.publishing import Report, hash_files, show_progress
from gateway.products.repository import Product
from gateway.products.scanning import Publication, plan_publication
from gateway.products.warnings import publication_warnings
from gateway.runtime.addresses import Address
from gateway.storage.registry import Storages
from gateway.tokens.repositories import Repositories

MAX_ID: Final = 100
COMPARED_VERSIONS: Final = 10
"""How many versions of a product are compared with the files: the active one and the latest."""


@dataclass(frozen=True)
class PlannedProduct:
    """One PATH before it is published: the product's id, its name for people, and its files."""

    id: str
    name: str
    publication: Publication


@dataclass(frozen=True)
class PublishedProduct:
    """One PATH after it was published: its version, a token, what to warn of, and what was left out."""

    id: str
    manifest: Manifest
    token: str
    warnings: tuple[str, ...] = ()
    skipped: tuple[Path | str, ...] = ()

    def url(self, base: str, file: str = "") -> str:
        """The URL of `file`; without one, that of the only file, or of the index of several files."""
        return base + download_path(self.token, file or self.manifest.only_file)


class _Stopped(Exception):
    """Raised in a thread that reads files, when the command has been interrupted."""


def plan_products(
    paths: Sequence[Path | str], data: Path, storages: Storages | None = None
) -> list[PlannedProduct]:
    """Find the files of every PATH. Raises ConfigurationError with the faults of all of them.

    storages: where objects are searched for. Without it, every PATH is one of this machine.
    """
    planned: dict[str, PlannedProduct] = {}
    sources: dict[str, Path | str] = {}
    faults: list[str] = []
    for path in paths:
        try:
            publication = plan_publication([path], data, storages)
        except ConfigurationError as error:
            faults += error.faults
            continue
        source, name = _source_and_name(path)
        product = product_id(name)
        if sources.setdefault(product, source) != source:
            faults.append(
                f"{path} and {sources[product]} would both be product {product}: rename one of them"
            )
        planned[product] = PlannedProduct(product, name, publication)
    if faults:
        raise ConfigurationError(faults)
    return list(planned.values())


def _source_and_name(path: Path | str) -> tuple[Path | str, str]:
    """Two values: the PATH in a form that is the same however it was written, and its last part.

    The last part of the address of a whole bucket is the bucket's name.
    """
    if isinstance(path, str) and is_address(path):
        return path, path.rstrip("/").rpartition("/")[2]
    resolved = Path(path).resolve()
    given = os.path.normpath(path)  # a link keeps its own name: `current`, not that of the release
    name = resolved.name if Path(given).name in ("", ".", "..") else Path(given).name
    return resolved, name


def product_id(name: str) -> str:
    """Make the id of a product from the name of a file or folder: `Épic Drums.zip` becomes `epic-drums.zip`.

    A name that loses letters (of another script, or beyond MAX_ID) gets a digest of the whole name added, so
    that two such names have different ids.
    """
    letters = unicodedata.normalize("NFKD", name)
    plain = re.sub(r"[^a-z0-9._]+", "-", letters.encode("ascii", "ignore").decode().lower())
    plain = plain[:MAX_ID].strip("-._")
    is_lossy = any(not letter.isascii() and letter.isalnum() for letter in letters) or len(name) > MAX_ID
    if plain and not is_lossy:
        return plain
    return f"{plain or 'product'}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"


async def publish_products(
    planned: Sequence[PlannedProduct], settings: Settings, url: str
) -> list[PublishedProduct]:
    """Publish everything in the store at `url`, and make a token for each product. Raises GatewayError."""
    storages = Storages.of(settings)
    try:
        async with (
            Repositories.connect(url, settings.redis_timeout) as store,
            open_database(settings) as database,
        ):
            catalogue = Catalogue(database, store)
            with show_progress(sum(product.publication.size for product in planned)) as report:
                return [await _publish(each, settings, storages, catalogue, report) for each in planned]
    finally:
        storages.close()


async def _publish(
    planned: PlannedProduct, settings: Settings, storages: Storages, catalogue: Catalogue, report: Report
) -> PublishedProduct:
    store = catalogue.store
    product = await store.products.get(planned.id)
    known = await _known_versions(store, product)
    trusted = product.trusted if product else frozenset()
    computed = [other for other in known if other.version not in trusted]
    manifest = await _hash(planned, storages, computed, report)
    warnings = (
        *publication_warnings(planned.publication.scanned, time.time()),
        *pinned_links(planned.publication, manifest, storages),
    )
    manifest = _with_version(manifest, product, known)
    await catalogue.register(manifest, planned.name if product is None else None, activate=True)
    if product is not None and product.status != "active":
        await catalogue.update(planned.id, status="active")
    minted = await store.tokens.create(
        planned.id, manifest.version, expires_in=int(settings.mint_default_ttl)
    )
    what = {"product": planned.id, "version": manifest.version}
    # Not written to the log: `up` prints what it has published, and the links must stay visible.
    await store.audit.record("cli", "version.register", what, write=False)
    await store.audit.record("cli", "token.create", {"token": minted.record.id, **what}, write=False)
    return PublishedProduct(planned.id, manifest, minted.token, warnings, planned.publication.skipped)


async def _hash(
    planned: PlannedProduct, storages: Storages, known: Sequence[Manifest], report: Report
) -> Manifest:
    """Read the files in a thread. When this task is cancelled, the thread stops at its next report."""
    stopped = threading.Event()

    def report_or_stop(done: int) -> None:
        if stopped.is_set():
            raise _Stopped
        report(done)

    previous = known[0] if known else None
    try:
        return await asyncio.to_thread(
            hash_files,
            planned.publication,
            storages,
            planned.id,
            "1",
            report=report_or_stop,
            previous=previous,
        )
    finally:
        stopped.set()


async def _known_versions(store: Repositories, product: Product | None) -> list[Manifest]:
    """The manifests to compare the files with, the active one first."""
    if product is None:
        return []
    latest = sorted(product.versions, key=_number, reverse=True)
    chosen = [product.active, *latest] if product.active else latest
    digests = list(
        dict.fromkeys(product.versions[version] for version in chosen if version in product.versions)
    )
    found = [await store.products.get_manifest(digest) for digest in digests[:COMPARED_VERSIONS]]
    return [manifest for manifest in found if manifest is not None]


def _with_version(manifest: Manifest, product: Product | None, known: Sequence[Manifest]) -> Manifest:
    """Return the manifest under the version that has the same files, or else under the next number."""
    for other in known:
        if same_content(other, manifest) and same_places(other, manifest):
            return replace(manifest, version=other.version)
    highest = max(map(_number, product.versions), default=0) if product else 0
    return replace(manifest, version=str(highest + 1))


def _number(version: str) -> int:
    return int(version) if version.isascii() and version.isdigit() else 0


def describe_products(
    products: Sequence[PublishedProduct], settings: Settings, listen: Address
) -> Iterator[str]:
    """Lines for a person: each product, its link, and a command that downloads its first file."""
    base = base_url(settings)
    curl = ["curl", "--unix-socket", listen.path] if listen.is_unix else ["curl"]
    for product in products:
        files = product.manifest.files
        size = format_size(sum(file.size for file in files))
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        yield f"{product.id}, version {product.manifest.version}: {count}, {size}"
        for warning in product.warnings:
            yield f"  Warning: {warning}."
        yield f"  {product.url(base)}"
        yield f"  {shlex.join([*curl, *_output_option(product), product.url(base, files[0].name)])}"
        yield from (f"  {line}" for line in left_out_lines(product.skipped))
        yield ""


def _output_option(product: PublishedProduct) -> list[str]:
    """Choose under which name curl saves the first file. `-O` takes it from the URL, with its quoting."""
    name = product.manifest.files[0].name.rpartition("/")[2]
    if quote(name) == name:
        return ["-O"]
    return ["-o", name if name.isprintable() else product.id]
