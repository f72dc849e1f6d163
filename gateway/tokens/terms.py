"""What the index of a version tells of a link: the product's name, when it expires, and what is left."""

from __future__ import annotations

from typing import Final

from gateway.http.index_page import Terms
from gateway.store.key_names import product_key, token_key
from gateway.store.topology import Topology

_FIELDS: Final = (b"expires", b"max")


async def read_terms(topology: Topology, identifier: str, product: str, files: int) -> Terms:
    """Read the terms of a token by its id. files: how many its manifest has; 0 where it has no limit.

    Two round trips to the store at once, for an index only. Raises StoreUnavailable.
    """
    named = topology.pipeline(product_key(product)).call(b"HGET", product_key(product), b"name")
    key = token_key(identifier)
    charged = [b"charged:%d" % number for number in range(files)]
    expires, downloads, *amounts = await topology.pipeline(key).call(b"HMGET", key, *_FIELDS, *charged)
    name = await named
    return Terms(
        product if name is None else bytes(name).decode("utf-8", "replace"),
        None if expires is None else int(expires),
        None if downloads is None else int(downloads),
        tuple(int(amount or 0) for amount in amounts),
    )
