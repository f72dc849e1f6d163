"""The storages: there, readable, and every published file still what was published."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.cli.output import count_of, count_progress
from gateway.errors import StorageError

if TYPE_CHECKING:
    from gateway.manifest import Manifest
    from gateway.storage.registry import Storages
    from gateway.tokens.store import TokenStore

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


async def read_manifests(store: TokenStore) -> tuple[list[Manifest], list[Finding]]:
    """Every version that is registered, and a finding for each whose manifest is lost."""
    found, lost = [], []
    for product in await store.list_products():
        for version, digest in sorted(product.versions.items()):
            manifest = await store.get_manifest(digest)
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
    """Open every file of every version as serving would: it must have the published size and time."""
    files = [(manifest, file) for manifest in manifests for file in manifest.files]
    findings = []
    with count_progress(len(files), "Checking files") as advance:
        for manifest, file in files:
            subject = f"product {manifest.product} {manifest.version}"
            try:
                storages.get(file.storage).open(file).release()
            except StorageError as error:
                mend = "put the published file back, or register the files as a new version"
                findings.append(failed(subject, f"{file.name}: {error}", mend))
            advance()
    if not findings:
        return [passed("files", f"all as they were published: {count_of(len(files), 'file')}")]
    more = len(findings) - TOLD
    return findings if more <= 0 else [*findings[:TOLD], failed("files", f"and {more} more files")]
