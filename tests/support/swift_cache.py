"""What Swift's proxy remembers of accounts and buckets, in its own memory instead of a memcached.

A filter of the proxy's pipeline. Without it the proxy asks the account server and the container server again
for each request, which costs more than the request itself. The proxy is one process here, so its memory is
the only copy: what it changes, it forgets itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Memory:
    """The methods of Swift's MemcacheRing that the proxy uses; values go through JSON as there."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float, str]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        until, value = self._values.get(key, (0.0, "null"))
        return json.loads(value) if until > time.monotonic() else None

    def set(self, key: str, value: Any, serialize: bool = True, time: float = 0, **_options: Any) -> None:
        self._values[key] = (_deadline(time), json.dumps(value))

    def delete(self, key: str, server_key: str | None = None) -> None:
        self._values.pop(key, None)


def _deadline(seconds: float) -> float:
    return time.monotonic() + seconds if seconds else float("inf")


def filter_factory(_defaults: dict[str, str], **_options: str) -> Callable[[Application], Application]:
    """What Paste calls for `[filter:memory]`."""
    memory = Memory()

    def wrap(application: Application) -> Application:
        def call(environment: dict[str, Any], start: Any) -> Iterable[bytes]:
            environment["swift.cache"] = memory
            return application(environment, start)

        return call

    return wrap
