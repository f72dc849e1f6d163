"""The settings that limit what one client, or one token, may take. They are a part of `settings.Settings`.

In each of them 0 means no limit. The limits of a token hold where the token itself has none.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel

from gateway.config.readers import setting, whole

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
