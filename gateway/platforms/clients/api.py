"""One API of one connection: GET requests with bounds on everything.

- A request has a time-out, and is repeated a few times where that can help: no answer, 429, 500, 502, 503,
  504. The pause doubles, with jitter, or is what `Retry-After` says; where that is long, whoever asked comes
  back later.
- Requests keep a distance of `pause` seconds from one another, which stays below the platform's rate limit.
- Responses have at most MAX_RESPONSE bytes, are not compressed, and are JSON. Redirects are not followed: the
  address is the seller's own setting, and where it leads elsewhere, the key would go there, too.
- No key and no URL is in the text of an error, because both may be shown.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp

from gateway.errors import GatewayError
from gateway.http.strict_json import JsonFault, parse
from gateway.platforms.fields import Fields
from gateway.runtime.system_errors import describe

MAX_RESPONSE: Final = 8 * 1024 * 1024
"""Bytes. A page of 20 orders with 500 lines each has about 6 MiB."""
TIMEOUT_SECONDS: Final = 20.0
"""For one request, from the connection to the last byte. Platforms need up to 5 s for a page."""
ATTEMPTS: Final = 4
FIRST_PAUSE: Final = 0.5
"""Seconds before the first repetition; each further pause is twice as long."""
LONGEST_WAIT: Final = 30.0
"""Seconds that a request waits for its repetition. Beyond that, it fails, and is asked again with the next
look-up."""
MAX_PAGES: Final = 100
"""Pages of one order's lines or refunds: 10,000 of them."""

_AGAIN: Final = (429, 500, 502, 503, 504)
_VALUE: Final = re.compile(r"[!-~](?:[ -~]{0,2000}[!-~])?", re.ASCII)
"""What a header field may have as its value, so that no key can add another field."""


class ApiError(GatewayError):
    """A platform's API did not tell what was asked. Its text can be shown to the seller."""


class ApiRefused(ApiError):
    """Asking again does not help: the key is wrong, may not do this, or there is no such thing."""


class ApiUnavailable(ApiError):
    """Asking again later may help. retry_after: seconds, as the platform wants it."""

    def __init__(self, text: str, retry_after: float = 60.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Access:
    """What a connection needs to ask its platform.

    title: the platform's name for people. base: the API's address, without a slash at its end. key: as the
    seller copied it; two parts have a colon between them. pause: seconds between two requests. basic: the key
    is sent as Basic credentials, else as a bearer token.
    """

    title: str
    base: str
    key: str
    pause: float = 0.0
    basic: bool = False
    headers: tuple[tuple[str, str], ...] = ()


def check_address(text: str, *, allow_loopback: bool) -> str:
    """The address of a shop, as the seller wrote it, in one form. Raises ApiRefused.

    It must be https. Plain http is allowed to this machine only, and only where a setting says so: a shop on
    the same machine, and tests.
    """
    parts = urlsplit(text.strip())
    try:
        port = parts.port
    except ValueError:
        port = -1
    if port == -1 or not parts.hostname or parts.query or parts.fragment or parts.username or parts.password:
        raise ApiRefused("Write the shop's address like https://shop.example, with nothing after its path.")
    if parts.scheme != "https" and not (
        allow_loopback and parts.scheme == "http" and _is_loopback(parts.hostname)
    ):
        raise ApiRefused("The shop's address must begin with https://, because a key is sent there.")
    if not parts.netloc.isascii() or any(each.isspace() for each in text.strip()):
        raise ApiRefused("Write the shop's address in ASCII, as a browser sends it (xn--…).")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def segment(text: str) -> str:
    """An id as one segment of a path: it comes from an event, and must not lead elsewhere."""
    if text in (".", ".."):
        raise ApiRefused("There is no such thing.")
    return quote(text, safe="")


class Api:
    """Asks one API. Its coroutines are for one event loop."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        access: Access,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """session: shared by all APIs (`new_session`). sleep: waits so many seconds. Raises ApiRefused."""
        self.access = access
        self._session = session
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._next = 0.0
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **dict(access.headers)}
        if access.basic:
            user, _, password = access.key.partition(":")
            headers["Authorization"] = aiohttp.encode_basic_auth(user, password, "utf-8")
        elif access.key:
            headers["Authorization"] = f"Bearer {access.key}"
        if not all(_VALUE.fullmatch(value) for value in headers.values()):
            raise ApiRefused(f"The API key of {access.title} has characters that no key has: copy it again.")
        self._headers = headers

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> tuple[Any, Mapping[str, str]]:
        """Ask for a path below the address: the JSON value and the header fields. Raises ApiError."""
        for attempt in range(1, ATTEMPTS + 1):
            await self._keep_distance()
            try:
                return await self._ask(path, query or {})
            except ApiUnavailable as failure:
                wait = failure.retry_after or random.uniform(0.5, 1) * FIRST_PAUSE * 2 ** (attempt - 1)  # noqa: S311 - jitter
                if attempt == ATTEMPTS or wait > LONGEST_WAIT:
                    raise ApiUnavailable(str(failure), max(wait, 60.0)) from None
                await self._sleep(wait)
        raise AssertionError

    async def get_object(self, path: str, query: Mapping[str, str] | None = None) -> Fields:
        """Ask for a path where a JSON object is. Raises ApiError."""
        value, _ = await self.get(path, query)
        if not isinstance(value, dict):
            raise ApiRefused(f"{self.access.title} answered with something else than an object.")
        return Fields(value)

    async def _keep_distance(self) -> None:
        if not self.access.pause:
            return
        async with self._turn:
            now = time.monotonic()
            wait, self._next = self._next - now, max(self._next, now) + self.access.pause
            if wait > 0:
                await self._sleep(wait)

    async def _ask(self, path: str, query: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
        title = self.access.title
        try:
            async with self._session.get(
                self.access.base + path,
                params=query,
                headers=self._headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            ) as response:
                if response.status in _AGAIN:
                    raise ApiUnavailable(
                        f"{title} answered {response.status}.", _retry_after(response.headers)
                    )
                if response.status != 200:
                    raise ApiRefused(f"{title} answered {response.status}{_HINTS.get(response.status, '')}.")
                if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise ApiRefused(f"{title} compressed its answer, which was not asked for.")
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_RESPONSE:
                        raise ApiRefused(f"The answer of {title} has more than {MAX_RESPONSE} bytes.")
                return parse(bytes(body)), response.headers
        except TimeoutError:
            raise ApiUnavailable(f"{title} did not answer within {TIMEOUT_SECONDS:.0f} s.", 0) from None
        except JsonFault as failure:
            raise ApiRefused(f"The answer of {title} is not what it promises: {failure}") from None
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            raise ApiUnavailable(f"{title} cannot be reached: {describe(failure)}.", 0) from None


_HINTS: Final = {
    301: ": the address leads elsewhere; give the one that it leads to",
    302: ": the address leads elsewhere; give the one that it leads to",
    307: ": the address leads elsewhere; give the one that it leads to",
    308: ": the address leads elsewhere; give the one that it leads to",
    401: ": the API key is not valid",
    403: ": the API key may not read this",
    404: ": there is no such thing, or the API key may not read it",
}


def _retry_after(headers: Mapping[str, str]) -> float:
    """The seconds of `Retry-After` (RFC 9110 section 10.2.3); 0 where there are none, or something else."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.replace(".", "", 1).isdecimal():
        return min(float(text), 86400.0)  # Shopify writes fractions
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return min(max(moment - time.time(), 0.0), 86400.0)


def new_session() -> aiohttp.ClientSession:
    """A session for all APIs: no cookies, and nothing is decompressed."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)
