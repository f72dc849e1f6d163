"""What a change makes of a product's record, and when it is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from gateway.errors import Declined
from gateway.manifest import Manifest
from gateway.products.repository import STATUSES, Product, declined
from gateway.products.validation import (
    NAME_HELP,
    Fault,
    display_name_faults,
    is_name,
    is_text,
    manifest_faults,
)

MAX_NOTES: Final = 65_536
"""Characters of a version's notes: release notes, and not a manual."""


@dataclass(frozen=True)
class VersionRecord:
    """A version of a product. manifest: its digest. published, created: ms since 1970 UTC.

    trusted: the digests of its files were not computed by us. notes: for customers, None without any.
    published: as customers see it; an update window includes what was published in it.
    """

    version: str
    manifest: str
    published: int
    created: int
    trusted: bool = False
    notes: str | None = None


class ProductName(NamedTuple):
    """What lists of products to choose from show."""

    id: str
    name: str
    status: str


@dataclass(frozen=True)
class ProductRecord:
    """A product as the database has it."""

    id: str
    name: str
    status: str
    active: str | None
    created: int
    versions: Mapping[str, VersionRecord] = field(default_factory=dict)

    @property
    def product(self) -> Product:
        """The product as the store serves it."""
        return Product(
            self.id,
            self.name,
            self.status,
            self.active,
            self.created,
            {each.version: each.manifest for each in self.versions.values()},
            frozenset(each.version for each in self.versions.values() if each.trusted),
        )


def record_of(product: Product) -> ProductRecord:
    """The record of a product that only the store has. Its versions count as published when it was made."""
    versions = {
        version: VersionRecord(version, digest, product.created, product.created, version in product.trusted)
        for version, digest in product.versions.items()
    }
    return ProductRecord(product.id, product.name, product.status, product.active, product.created, versions)


def notes_faults(notes: str | None) -> list[Fault]:
    """What is wrong with the notes of a version."""
    if notes is None or (len(notes) <= MAX_NOTES and is_text(notes)):
        return []
    return [("notes", f"must be at most {MAX_NOTES} characters without NUL")]


def check_registration(manifest: Manifest, name: str | None, notes: str | None) -> None:
    """Raises Declined (invalid) with everything that is wrong with a version to be registered."""
    faults = manifest_faults(manifest) + display_name_faults("name", name) + notes_faults(notes)
    if faults:
        raise Declined.invalid(faults)


def create(identifier: str, name: str | None, known: ProductRecord | None, now: int) -> ProductRecord:
    """Make a product without versions. Raises Declined: invalid, product_exists."""
    faults = display_name_faults("name", name)
    if not is_name(identifier):
        faults.insert(0, ("productId", f"must be {NAME_HELP}"))
    if faults:
        raise Declined.invalid(faults)
    if known is not None:
        raise declined("product_exists", identifier)
    return ProductRecord(identifier, name or identifier, "active", None, now)


def register(
    known: ProductRecord | None,
    version: VersionRecord,
    product: str,
    *,
    name: str | None,
    activate: bool,
    create: bool,
) -> ProductRecord:
    """Add a version, or update one of the same content; `version` has the digest that it gets.

    A product made without a name is named by its id. Its first version becomes the active one, a later one
    only with `activate`. A version that is known keeps its notes and its time, unless notes are given. Raises
    Declined (product_unknown).
    """
    if known is None:
        if not create:
            raise declined("product_unknown", product)
        known = ProductRecord(product, name or product, "active", None, version.created)
    earlier = known.versions.get(version.version)
    if earlier is not None:
        version = replace(
            earlier,
            manifest=version.manifest,
            trusted=earlier.trusted and version.trusted,
            notes=earlier.notes if version.notes is None else version.notes,
        )
    return replace(
        known,
        name=name or known.name,
        active=version.version if activate or known.active is None else known.active,
        versions={**known.versions, version.version: version},
    )


def update(
    known: ProductRecord | None, identifier: str, *, name: str | None, status: str | None, active: str | None
) -> ProductRecord:
    """Change what is not None. Raises Declined: invalid, product_unknown, active_version_unknown."""
    faults = display_name_faults("name", name)
    if status is not None and status not in STATUSES:
        faults.append(("status", "must be active or archived"))
    if active is not None and not is_name(active):
        faults.append(("activeVersion", f"must be {NAME_HELP}"))
    if faults:
        raise Declined.invalid(faults)
    if known is None:
        raise declined("product_unknown", identifier)
    if active is not None and active not in known.versions:
        raise declined("active_version_unknown", identifier, active)
    return replace(
        known, name=name or known.name, status=status or known.status, active=active or known.active
    )


def describe(
    known: ProductRecord | None, product: str, version: str, *, notes: str | None, published: int | None
) -> ProductRecord:
    """Change the notes ("" removes them) and the time of a version, where they are not None.

    Raises Declined: invalid, product_unknown, version_unknown.
    """
    if faults := notes_faults(notes):
        raise Declined.invalid(faults)
    if known is None:
        raise declined("product_unknown", product)
    if version not in known.versions:
        raise declined("version_unknown", product, version)
    changed = known.versions[version]
    if notes is not None:
        changed = replace(changed, notes=notes or None)
    if published is not None:
        changed = replace(changed, published=published)
    return replace(known, versions={**known.versions, version: changed})


def without_version(known: ProductRecord, version: str) -> ProductRecord:
    """The product without one of its versions, which then is not the active one any more."""
    versions = {name: each for name, each in known.versions.items() if name != version}
    return replace(known, active=None if known.active == version else known.active, versions=versions)
