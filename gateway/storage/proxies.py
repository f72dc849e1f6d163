"""Proxies that the environment names (HTTPS_PROXY and others) are used by no client of a storage.

A download would otherwise leave the machine through whatever proxy the shell of an operator names, or not,
depending on how the gateway was started. Storages are often in the same network, too.
"""

from __future__ import annotations

import os
from typing import Final

_PROXY_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def proxy_hint() -> str:
    """Say that the environment's proxies are not used, if it names any: elsewhere they would have been."""
    named = next((name for name in _PROXY_VARIABLES if os.environ.get(name)), "")
    return f" (the proxy of {named} is not used: storages are reached directly)" if named else ""
