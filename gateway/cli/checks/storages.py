"""The storages: there, readable, and every published file still what was published."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.cli.output import count_of, count_progress
from gateway.errors import StorageError

if TYPE_CHECKING:
    from gateway.manifest import Manifest, ManifestFile
    from gateway.storage.catalog import Catalog
    from gateway.storage.registry import Storages
    from gateway.tokens.repositories import Repositories

LOOKERS: Final = 32
"""Files looked at at once: an object takes a round trip to its storage."""
TOLD: Final = 20
"""Files told one by one; of the others the number."""


def check_roots(roots: Mapping[str, Path]) -> list[Finding]:
    """Look at the folder of each storage."""
    return [_check_root(f"storage {name}", root) for name, root in sorted(roots.items())]


def _check_root(subject: str, root: Path) -> Finding:
    if not root.exists():
        return failed(subject, f"{root} does not exist", "make it, mount it, or correct the storage's root")
    if not root.is_dir():
        return failed(subject, f"{root} is no folder", "let the storage's root name the folder")
    if not os.access(root, os.R_OK | os.X_OK):
        return failed(subject, f"{root} cannot be read by this user", "give it read and execute permission")
    return passed(subject, f"{root} can be read")


def check_buckets(storages: Storages) -> list[Finding]:
    """Ask each object storage whether it is there and lets us in."""
    return [_check_bucket(f"storage {catalog.name}", catalog) for catalog in storages.catalogs()]


def _check_bucket(subject: str, catalog: Catalog) -> Finding:
    try:
        limits = catalog.check_root()
    except StorageError as error:
        return failed(subject, _bare(str(error), catalog.name))
    if limits:
        return warned(subject, f"{catalog.root} can be reached", limits)
    return passed(subject, f"{catalog.root} can be read")


def _bare(text: str, name: str) -> str:
    """The fault without the storage's name, which the subject says."""
    return text.removeprefix(f"storage {name}: ")


async def read_manifests(store: Repositories) -> tuple[list[Manifest], list[Finding]]:
    """Every version that is registered, and a finding for each whose manifest is lost."""
    found, lost = [], []
    for product in await store.products.list_all():
        for version, digest in sorted(product.versions.items()):
            manifest = await store.products.get_manifest(digest)
            if manifest is None:
                lost.append(
                    failed(
                        f"product {product.id} {version}",
                        "its manifest is not in the store",
                        "register the version again (`product add`)",
                    )
                )
            else:
                found.append(manifest)
        if product.status == "active" and product.active is None:
            lost.append(warned(f"product {product.id}", "it has no version", "register one (`product add`)"))
    return found, lost


def check_blobs(manifests: Iterable[Manifest], storages: Storages) -> list[Finding]:
    """Look at every file of every version as serving would: it must be what was published."""
    files = [(manifest, file) for manifest in manifests for file in manifest.files]
    findings = []
    pool = ThreadPoolExecutor(LOOKERS, thread_name_prefix="look")
    try:
        with count_progress(len(files), "Checking files") as advance:
            faults = pool.map(lambda each: _fault_of(each[1], storages), files)
            for (manifest, file), fault in zip(files, faults, strict=True):
                if fault:
                    subject = f"product {manifest.product} {manifest.version}"
                    mend = "put the published file back, or register the files as a new version"
                    findings.append(failed(subject, f"{file.name}: {fault}", mend))
                advance()
    finally:
        pool.shutdown(cancel_futures=True)
    if not findings:
        return [passed("files", f"all as they were published: {count_of(len(files), 'file')}")]
    more = len(findings) - TOLD
    return findings if more <= 0 else [*findings[:TOLD], failed("files", f"and {more} more files")]


def _fault_of(file: ManifestFile, storages: Storages) -> str:
    """What serving the file would meet now, "" for nothing."""
    try:
        catalog = storages.catalog(file.storage)
        if catalog is not None:
            catalog.check(file)
        else:
            storages.local(file.storage).check(file)
    except StorageError as error:
        return str(error)
    return ""
