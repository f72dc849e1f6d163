"""One attempt: a POST request to an endpoint, with bounds on everything.

- The host is resolved here, each address is checked (`networks.py`), and the connection goes to an address
  that was checked: a name that leads elsewhere a moment later gains nothing. A host that is an address itself
  is checked with the URL, at each attempt.
- Redirects are not followed, no proxy is used, no cookie is kept, and no connection is used twice.
- The status decides. The body of an answer is not read, so it may be endless or never come.
- The whole attempt has TIMEOUT_SECONDS. What is wrong is told in our words, without the URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway import __version__
from gateway.runtime.log import format_time
from gateway.runtime.system_errors import describe
from gateway.webhooks.networks import is_loopback, is_public
from gateway.webhooks.outcomes import Answer, describe_status, read_retry_after
from gateway.webhooks.signing import headers
from gateway.webhooks.urls import UrlFault, read_url

TIMEOUT_SECONDS: Final = 15.0
"""As Standard Webhooks recommends: 15 to 30 s."""
LOOK_UPS: Final = 16
"""Host names that are looked up at once, by threads of their own: a name server that does not answer must
not hold up other work. Attempts at one host share a look-up."""
NAME_SECONDS: Final = 10
"""How long the addresses of a host are kept."""
BUFFER_BYTES: Final = 4096
"""Of an answer's body that may be taken from the kernel before the connection is closed."""
USER_AGENT: Final = f"download-gateway/{__version__}"


class AddressRefused(OSError):
    """A host whose addresses a webhook may not be sent to."""


class CheckedResolver(AbstractResolver):
    """Resolves host names to those of their addresses that are allowed."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The allowed addresses of a host. Raises AddressRefused where there are others only, and OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port, family)
        is_local = self._allow_loopback and host == "localhost"
        allowed = [each for each in found if _is_allowed(each["host"], is_local=is_local)]
        if not allowed:
            raise AddressRefused("its name leads to this machine or into a private network")
        return allowed

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Ask the system. A function of its own, so that tests can answer in its place."""
    return [
        ResolveResult(
            hostname=host,
            host=str(where[0]),
            port=port,
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST,
        )
        for kind, _, proto, _, where in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    ]


def _is_allowed(text: str, *, is_local: bool) -> bool:
    address = ip_address(text)
    return is_loopback(address) if is_local else is_public(address)


def encode_body(kind: str, happened: int, data: Mapping[str, Any]) -> bytes:
    """The body of a message: the same bytes each time. happened: ms since 1970 UTC."""
    document = {"type": kind, "timestamp": format_time(happened), "data": data}
    return json.dumps(document, separators=(",", ":")).encode()


class Sender:
    """Sends messages. An asynchronous context manager, for one event loop."""

    def __init__(self, *, allow_loopback: bool = False, tls: ssl.SSLContext | None = None) -> None:
        """allow_loopback: whether endpoints may be on this machine. tls: None for the system's CAs."""
        self.allow_loopback = allow_loopback
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(allow_loopback=self.allow_loopback),
            ttl_dns_cache=NAME_SECONDS,
            force_close=True,
            limit=0,
            ssl=True if self._tls is None else self._tls,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=BUFFER_BYTES,
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("Accept", "Accept-Encoding"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, url: str, secrets: Iterable[str], identity: str, body: bytes) -> Answer:
        """Make one attempt. identity: of the message."""
        began = time.monotonic()
        status: int | None = None
        error: str | None = None
        retry_after: float | None = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, retry_after = await self._post(url, secrets, identity, body)
        except TimeoutError:
            error = f"it did not answer within {TIMEOUT_SECONDS:.0f} s"
        except UrlFault as fault:
            error = f"its URL {fault}"
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = _explain(failure)
        milliseconds = int(1000 * (time.monotonic() - began))
        answer = Answer(status, error, milliseconds, retry_after)
        if status is not None and not answer.is_good:
            return answer._replace(error=describe_status(status))
        return answer

    async def _post(
        self, url: str, secrets: Iterable[str], identity: str, body: bytes
    ) -> tuple[int, float | None]:
        assert self._session is not None, "it is entered"
        read_url(url, allow_loopback=self.allow_loopback)
        moment = time.time()
        fields = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            **headers(secrets, identity, int(moment), body),
        }
        async with self._session.post(
            URL(url, encoded=True), data=body, headers=fields, allow_redirects=False
        ) as response:
            status, retry_after = response.status, read_retry_after(response.headers, moment)
            response.close()
        return status, retry_after


def _explain(failure: BaseException) -> str:
    """What is wrong, in our words."""
    inner: BaseException = failure
    for name in ("certificate_error", "os_error"):
        with contextlib.suppress(AttributeError):
            inner = getattr(inner, name)
    if isinstance(inner, AddressRefused):
        return str(inner)
    if isinstance(inner, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if not isinstance(inner, OSError):
        return "what it answered is no HTTP"
    return f"it cannot be reached: {describe(inner)}"
