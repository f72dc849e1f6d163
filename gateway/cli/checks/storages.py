"""Checks the storages: they exist and can be read, and every published file is still as it was published."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.cli.output import count_of, count_progress
from gateway.config.units import format_size
from gateway.errors import StorageError
from gateway.storage.interface import BeingCompared

if TYPE_CHECKING:
    from gateway.manifest import Manifest, ManifestFile
    from gateway.storage.catalog import Catalog
    from gateway.storage.registry import Storages
    from gateway.tokens.repositories import Repositories

THREADS: Final = 32
"""How many files are checked at once: an object takes a round trip to its storage."""
MAX_FINDINGS: Final = 20
"""How many files are reported one by one. Of the others, only the number is reported."""


def check_roots(roots: Mapping[str, Path]) -> list[Finding]:
    """Check the folder of each storage."""
    return [_check_root(f"storage {name}", root) for name, root in sorted(roots.items())]


def _check_root(subject: str, root: Path) -> Finding:
    if not root.exists():
        return failed(subject, f"{root} does not exist", "make it, mount it, or correct the storage's root")
    if not root.is_dir():
        return failed(subject, f"{root} is not a folder", "let the storage's root name a folder")
    if not os.access(root, os.R_OK | os.X_OK):
        return failed(subject, f"{root} cannot be read by this user", "give it read and execute permission")
    if (real := root.resolve()) != root.absolute():
        return passed(subject, f"{root} can be read, through a link: it leads to {real} now")
    return passed(subject, f"{root} can be read")


def check_buckets(storages: Storages) -> list[Finding]:
    """Check that each object storage can be reached and read."""
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
    """The fault without the storage's name, because the finding's subject has it."""
    return text.removeprefix(f"storage {name}: ")


async def read_manifests(store: Repositories) -> tuple[list[Manifest], list[Finding]]:
    """Read the manifest of every registered version, and make a finding for each that is missing."""
    found, missing = [], []
    for product in await store.products.list_all():
        for version, digest in sorted(product.versions.items()):
            manifest = await store.products.get_manifest(digest)
            if manifest is None:
                missing.append(
                    failed(
                        f"product {product.id} {version}",
                        "its manifest is not in the store",
                        "register the version again (`product add`)",
                    )
                )
            else:
                found.append(manifest)
        if product.status == "active" and product.active is None:
            missing.append(
                warned(f"product {product.id}", "it has no version", "register one (`product add`)")
            )
    return found, missing


def check_blobs(manifests: Iterable[Manifest], storages: Storages) -> list[Finding]:
    """Check every file of every version as a download does: it must be as it was published."""
    files = [(manifest, file) for manifest in manifests for file in manifest.files]
    findings = []
    uncompared: list[ManifestFile] = []
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="check")
    try:
        with count_progress(len(files), "Checking files") as advance:
            faults = pool.map(lambda each: _fault_of(each[1], storages), files)
            for (manifest, file), fault in zip(files, faults, strict=True):
                if isinstance(fault, BeingCompared):
                    uncompared.append(file)
                elif fault is not None:
                    subject = f"product {manifest.product} {manifest.version}"
                    remedy = "put the published file back, or register the files as a new version"
                    findings.append(failed(subject, f"{file.name}: {fault}", remedy))
                advance()
    finally:
        pool.shutdown(cancel_futures=True)
    good = len(files) - len(findings) - len(uncompared)
    more = len(findings) - MAX_FINDINGS
    if more > 0:
        findings = [*findings[:MAX_FINDINGS], failed("files", f"and {more} more files")]
    if uncompared:
        findings.append(_explain_uncompared(uncompared))
    if not findings:
        return [passed("files", f"all as they were published: {count_of(good, 'file')}")]
    return findings


def _explain_uncompared(files: list[ManifestFile]) -> Finding:
    size = format_size(sum(file.size for file in files))
    return warned(
        "files",
        f"{count_of(len(files), 'file')} ({size}) with other times than before, such as {files[0].name}",
        "each is read and compared with its SHA-256 when it is asked for; to have that done now, register "
        "the same files under the same version again (`product add`)",
    )


def check_links(manifests: Iterable[Manifest], storages: Storages) -> list[Finding]:
    """Say which files are reached through links below their storage's root."""
    linked = []
    for file in (file for manifest in manifests for file in manifest.files):
        try:
            root = None if storages.catalog(file.storage) else storages.local(file.storage).root.resolve()
        except StorageError:
            continue  # reported by `check_blobs`
        if root is not None and (root / file.key).resolve() != root / file.key:
            linked.append(f"{file.storage}:{file.key}")
    if not linked:
        return []
    text = f"{count_of(len(linked), 'file')} reached through links, such as {linked[0]}"
    return [passed("links", f"{text}: when a link is turned, files are compared with their SHA-256")]


def _fault_of(file: ManifestFile, storages: Storages) -> StorageError | None:
    """Why a download of the file would fail now, or would have to wait for a comparison; None if neither."""
    try:
        catalog = storages.catalog(file.storage)
        if catalog is not None:
            catalog.check(file)
        else:
            storages.local(file.storage).check(file)
    except StorageError as error:
        return error
    return None
