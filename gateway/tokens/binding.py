"""A token that is bound belongs to the first client that downloads with it, or to the network of that client.

The store has a digest of the client in the token's field `bound`. Its key is the token itself, which nobody
finds in the store. So whoever reads the store cannot try all addresses.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

from gateway.errors import BOUND_ELSEWHERE, TOKEN_INVALID, Refused
from gateway.http.client_address import address_group, network_group
from gateway.store.key_names import token_key
from gateway.store.scripts import BIND_TOKEN
from gateway.store.topology import Topology

DIGEST_CHARACTERS: Final = 32
"""Hex digits of the digest that are kept: 128 bits."""
OTHER: Final = 0
"""The reply of the script: the token is bound to another client."""
UNKNOWN: Final = -1
"""The reply of the script: there is no such token any more."""


def client_digest(token: str, client: str, binding: str) -> str:
    """The digest of a client's address, for a token. binding: of caps.BINDINGS."""
    group = network_group(client) if binding == "network" else address_group(client)
    return hmac.digest(token.encode(), group.encode(), sha256).hex()[:DIGEST_CHARACTERS]


async def check_client(topology: Topology, identifier: str, digest: str, *, binds: bool) -> None:
    """Return when the client may use the token.

    binds: whether the token belongs to this client from now on, unless it belongs to one already. Raises
    Refused (BOUND_ELSEWHERE, or TOKEN_INVALID when the token expired meanwhile) or StoreUnavailable.
    """
    reply = await topology.run(BIND_TOKEN, token_key(identifier), digest, int(binds))
    if reply == OTHER:
        raise Refused(BOUND_ELSEWHERE)
    if reply == UNKNOWN:
        raise Refused(TOKEN_INVALID)
