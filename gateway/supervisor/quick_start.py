"""What `up` offers: each PATH published as a product, with a link that is ready to use.

A PATH is a file, a folder, or the address of objects in a storage of the settings. A product's id is made
from the PATH's own name. Unchanged files keep their version; changed ones become the next ("1", "2", …),
which is then the active one.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shlex
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gateway.config.settings import Settings, base_url
from gateway.errors import ConfigurationError
from gateway.manifest import Manifest
from gateway.products.bucket_scanning import is_address
from gateway.products.publishing import Report, hash_files, show_progress
from gateway.products.repository import Product
from gateway.products.scanning import Publication, plan_publication
from gateway.runtime.addresses import Address
from gateway.storage.registry import Storages
from gateway.tokens.repositories import Repositories

MAX_ID: Final = 100
COMPARED_VERSIONS: Final = 10
"""How many of a product's versions are looked at for the same files: the active one and the latest."""


@dataclass(frozen=True)
class Offer:
    """One PATH, looked at: what it will be called and which files it has."""

    product: str
    name: str
    publication: Publication


@dataclass(frozen=True)
class Link:
    """One PATH, published: its version and the token to get it with."""

    offer: Offer
    manifest: Manifest
    token: str

    def url(self, base: str, file: str = "") -> str:
        """The URL of one file, or of the only file, or of the index of several."""
        files = self.manifest.files
        name = file or (files[0].name if len(files) == 1 else "")
        path = f"/{quote(name)}" if name else ""
        return f"{base}/download{path}?token={quote(self.token)}"


class _Stopped(Exception):
    """We are told to stop while files are read."""


def plan_offers(paths: Sequence[Path | str], data: Path, storages: Storages | None = None) -> list[Offer]:
    """Look at every PATH. Raises ConfigurationError with the faults of all of them.

    storages: where objects are looked for; without them every PATH is one of this machine.
    """
    offers: dict[str, Offer] = {}
    seen: dict[str, Path | str] = {}
    faults: list[str] = []
    for path in paths:
        try:
            publication = plan_publication([path], data, storages)
        except ConfigurationError as error:
            faults += error.faults
            continue
        place, name = _place(path)
        product = product_id(name)
        if seen.setdefault(product, place) != place:
            faults.append(f"{path} and {seen[product]} would both be product {product}: rename one of them")
        offers[product] = Offer(product, name, publication)
    if faults:
        raise ConfigurationError(faults)
    return list(offers.values())


def _place(path: Path | str) -> tuple[Path | str, str]:
    """What tells one PATH from another, and its own name: of a whole bucket, the bucket's."""
    if isinstance(path, str) and is_address(path):
        return path, path.rstrip("/").rpartition("/")[2]
    place = Path(path).resolve()
    return place, place.name


def product_id(name: str) -> str:
    """Make the id of a product from a file's or folder's name: `Épic Drums.zip` is `epic-drums.zip`.

    Names that lose letters (other scripts) get a digest of the whole name, so that they stay apart.
    """
    letters = unicodedata.normalize("NFKD", name)
    plain = re.sub(r"[^a-z0-9._]+", "-", letters.encode("ascii", "ignore").decode().lower())
    plain = plain[:MAX_ID].strip("-._")
    lost = any(not letter.isascii() and letter.isalnum() for letter in letters) or len(name) > MAX_ID
    if plain and not lost:
        return plain
    return f"{plain or 'product'}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"


async def publish_offers(offers: Sequence[Offer], settings: Settings, url: str) -> list[Link]:
    """Publish everything in the store at `url`, and mint a token for each. Raises GatewayError."""
    storages = Storages(settings.storage, settings.data, settings.open_files)
    try:
        async with Repositories.connect(url, settings.redis_timeout) as store:
            with show_progress(sum(offer.publication.size for offer in offers)) as report:
                return [await _publish(offer, settings, storages, store, report) for offer in offers]
    finally:
        storages.close()


async def _publish(
    offer: Offer, settings: Settings, storages: Storages, store: Repositories, report: Report
) -> Link:
    product = await store.products.get(offer.product)
    known = await _known_versions(store, product)
    manifest = await _hash(offer, storages, known, report)
    manifest = _numbered(manifest, product, known)
    await store.products.register(manifest, offer.name if product is None else None, activate=True)
    if product is not None and product.status != "active":
        await store.products.update(offer.product, status="active")
    minted = await store.tokens.create(
        offer.product, manifest.version, expires_in=int(settings.mint_default_ttl)
    )
    return Link(offer, manifest, minted.token)


async def _hash(offer: Offer, storages: Storages, known: Sequence[Manifest], report: Report) -> Manifest:
    stopped = threading.Event()

    def report_or_stop(done: int) -> None:
        if stopped.is_set():
            raise _Stopped
        report(done)

    previous = known[0] if known else None
    try:
        return await asyncio.to_thread(
            hash_files,
            offer.publication,
            storages,
            offer.product,
            "1",
            report=report_or_stop,
            previous=previous,
        )
    finally:
        stopped.set()


async def _known_versions(store: Repositories, product: Product | None) -> list[Manifest]:
    """The manifests to compare with, the active one first."""
    if product is None:
        return []
    latest = sorted(product.versions, key=_number, reverse=True)
    chosen = [product.active, *latest] if product.active else latest
    digests = list(
        dict.fromkeys(product.versions[version] for version in chosen if version in product.versions)
    )
    found = [await store.products.get_manifest(digest) for digest in digests[:COMPARED_VERSIONS]]
    return [manifest for manifest in found if manifest is not None]


def _numbered(manifest: Manifest, product: Product | None, known: Sequence[Manifest]) -> Manifest:
    """Give the manifest the version it has already, or the next one."""
    for other in known:
        if other.files == manifest.files:
            return other
    highest = max(map(_number, product.versions), default=0) if product else 0
    return replace(manifest, version=str(highest + 1))


def _number(version: str) -> int:
    return int(version) if version.isascii() and version.isdigit() else 0


def describe_links(links: Sequence[Link], settings: Settings, listen: Address) -> Iterator[str]:
    """Lines for a person: each product, its link and a command to try."""
    base = base_url(settings)
    curl = ["curl", "--unix-socket", listen.path] if listen.is_unix else ["curl"]
    for link in links:
        files = link.manifest.files
        size = show_bytes(sum(file.size for file in files))
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        yield f"{link.offer.product}, version {link.manifest.version}: {count}, {size}"
        yield f"  {link.url(base)}"
        yield f"  {shlex.join([*curl, *_output(link), link.url(base, files[0].name)])}"
        yield ""


def _output(link: Link) -> list[str]:
    """Choose the name curl saves the first file under: `-O` takes it from the URL, quoting included."""
    name = link.manifest.files[0].name.rpartition("/")[2]
    if quote(name) == name:
        return ["-O"]
    return ["-o", name if name.isprintable() else link.offer.product]


def show_bytes(size: int) -> str:
    """Bytes as people read them: `1.5 GiB`."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}" if unit != "B" else f"{size} B"
