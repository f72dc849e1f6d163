"""The settings that limit what one client, or one token, may take. They are a part of `settings.Settings`.

In each of them 0 means no limit. The limits of a token hold where the token itself has none.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel

from gateway.config.readers import Networks, at_least, one_of, setting, whole

MOST: Final = 1_000_000


class CapSettings(BaseModel):
    """The limits, each with a generous default."""

    max_attempts: Annotated[int, whole(0, MOST)] = setting(
        600,
        "How many links that are not valid one client address (IPv6: /64) may try in a minute. More are "
        "answered 429 `too_many_attempts` without a look at the store. 0: any number.",
        unit="attempts a minute",
    )
    max_key_attempts: Annotated[int, whole(0, MOST)] = setting(
        600,
        "The same for API keys, at the mint service and the admin API.",
        unit="attempts a minute",
    )
    max_hook_attempts: Annotated[int, whole(0, MOST)] = setting(
        600,
        "The same for webhooks whose signature is wrong, for each connection.",
        unit="attempts a minute",
    )
    max_address_connections: Annotated[int, whole(0, MOST)] = setting(
        1000,
        "How many downloads of one client address (IPv6: /64) may run at once, in all workers of a machine. "
        "One more is answered 429 `too_many_connections`. The default is a tenth of what one worker takes, "
        "and enough for sixty people behind one address whose programs open 16 connections each. "
        "0: any number.",
        unit="connections an address",
    )
    exempt_clients: Networks = setting(
        (),
        "Clients for which `max_attempts` and `max_address_connections` do not hold: addresses or networks, "
        "such as that of an office with many people behind one address.",
        unit="networks",
    )
    max_token_connections: Annotated[int, whole(0, 10_000)] = setting(
        0,
        "How many downloads of one token may run at once, in all workers, unless the token says otherwise "
        "(`maxConnections`). One more is answered 429 `too_many_connections`. 0: any number.",
        unit="connections a token",
    )
    max_token_rate: Annotated[int, at_least(0)] = setting(
        0,
        "How many bytes a second all downloads of one token get together, unless the token says otherwise "
        "(`maxRate`). 0: any number.",
        unit="bytes a second",
    )
    max_connection_rate: Annotated[int, at_least(0)] = setting(
        0,
        "The same for each download, unless the token says otherwise (`maxConnectionRate`).",
        unit="bytes a second",
    )
    token_binding: Annotated[str, one_of("none", "address", "network")] = setting(
        "none",
        "Whether a token belongs to the first client that downloads with it, unless the token says otherwise "
        "(`bindTo`): none, address (its IPv4 address or IPv6 /64) or network (its IPv4 /24 or IPv6 /48). "
        "Others are answered 403 `bound_elsewhere`.",
    )
