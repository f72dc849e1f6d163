"""The catalog of a bucket of Google's or a container of Azure's: the objects that a command may publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.storage.object_catalog import ObjectCatalog
from gateway.storage.obstore.storage import CloudStorage

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class CloudCatalog(ObjectCatalog):
    """Implements `Catalog` for any store of obstore. root: as in `Catalog`; prefix: as in the settings.

    The client is made at the first request: a command for another storage needs no credentials here.
    """

    def __init__(self, name: str, make_store: Callable[[], ObjectStore], prefix: str, root: str) -> None:
        super().__init__(
            name,
            root,
            lambda: CloudStorage(name, make_store(), prefix, lambda _index, _count: None, root=root),
        )
