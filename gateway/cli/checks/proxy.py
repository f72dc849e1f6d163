"""Checks the front proxy: makes downloads through it as a customer would, with a token valid for a minute.

What front proxies do wrong: they answer a range with the whole file or from a cache, or many ranges with the
whole file (nginx with a small `max_ranges`); they fetch the whole file for a range (Varnish, nginx with
`proxy_cache`, most caches), which is charged to the link's limit; they compress, which also makes the ETag
weak; they replace refusals by their own pages; they answer HEAD wrongly.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.http.ranges import MAX_PARTS
from gateway.manifest import Manifest, ManifestFile
from gateway.runtime.system_errors import describe
from gateway.secrets import new_token

TOKEN_SECONDS: Final = 60
ANSWER_SECONDS: Final = 10.0
SPAN: Final = 1000
"""Bytes of the range: large enough that a proxy which compresses would do so."""

FEWEST_RANGES: Final = 2
"""A file with fewer bytes than twice this has no several ranges."""

NGINX_HINT: Final = "let the proxy pass on the status and body of refusals (see config/nginx)"
RANGE_HINT: Final = "let the proxy pass Range and If-Range on, and neither cache nor slice /download"
RANGES_HINT: Final = (
    f"let the proxy send {MAX_PARTS} ranges as they are asked for (nginx: max_ranges {MAX_PARTS}, see "
    "config/nginx/auth_request.conf), and let no rule of a firewall count them"
)
COST_HINT: Final = (
    "let the proxy pass Range on, and cache nothing of /download "
    "(Varnish: return (pipe), see config/varnish; nginx: proxy_cache off, no slice)"
)
HOOKS_HINT: Final = (
    "let the proxy pass /hooks and /my on to the gateway, with POST and its body (see config/)"
)
NOBODY: Final = "check"
"""No connection has this id: theirs are longer."""
ESSENTIAL: Final = ("proxy", "proxy range")
"""When one of these fails, what a range costs cannot be checked."""
PROBES: Final = 2
"""A second range like the first one shows whether a cache answers."""
PROBE_DOWNLOADS: Final = 1000
"""The limit of the token whose charge is read: what the proxy fetches in the worst case has room in it."""
ENCODING_HINT: Final = "switch compression off for /download (nginx: gzip off; Caddy: no encode)"


@dataclass(frozen=True)
class Response:
    """A response: its head, and the first bytes of its body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header, "" if it is missing."""
        return str(self.headers.get(name, ""))


@dataclass(frozen=True)
class Target:
    """What is requested: the proxy's URL, the file and the token."""

    base: str
    file: ManifestFile
    token: str

    def request(self, method: str = "GET", token: str | None = None, **headers: str) -> Response:
        """Make one request on a new connection. Raises OSError and HTTPException."""
        connection = _connection(self.base)
        folder = urlsplit(self.base).path.rstrip("/")
        path = f"{folder}/download/{quote(self.file.name, safe='')}?token={token or self.token}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, headers={"Accept-Encoding": "gzip, br, zstd", **named})
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read(SPAN + 1))
        finally:
            connection.close()


def choose_file(manifests: list[Manifest], active: dict[str, str | None]) -> tuple[str, ManifestFile] | None:
    """Choose a product and a file of its active version: the smallest that is large enough for ranges."""
    found = [
        (manifest.product, file)
        for manifest in manifests
        if active.get(manifest.product) == manifest.version
        for file in manifest.files
        if file.size > 1
    ]
    return min(found, key=lambda pair: (pair[1].size <= 2 * SPAN, pair[1].size), default=None)


def check_proxy(target: Target) -> list[Finding]:
    """Make requests through the proxy and check the responses."""
    try:
        response = target.request(Range=f"bytes=0-{_last(target)}")
    except (OSError, http.client.HTTPException) as error:
        return [
            failed(
                "proxy",
                f"{target.base} cannot be reached ({_reason(error)})",
                "start it, or correct the URL",
            )
        ]
    if response.status in (401, 403, 404, 502, 503) and not response.header("Content-Range"):
        text = f"a valid token is answered with {response.status}{_code(response)}"
        remedy = "let the proxy pass the whole path and query on to this gateway and its store"
        return [failed("proxy", text, remedy)]
    findings = []
    for check in CHECKS:
        try:
            findings += list(check(target, response))
        except (OSError, http.client.HTTPException) as error:
            findings.append(
                failed("proxy", f"a connection was lost ({_reason(error)})", "see the proxy's error log")
            )
    return findings


def _ranges(target: Target, response: Response) -> Iterator[Finding]:
    expected = f"bytes 0-{_last(target)}/{target.file.size}"
    found = response.header("Content-Range")
    if response.status != 206:
        yield failed(
            "proxy range", f"a range is answered with {response.status} and not with 206", RANGE_HINT
        )
    elif found != expected:
        yield failed("proxy range", f"Content-Range is {found!r} and not {expected!r}", RANGE_HINT)
    elif len(response.body) != _last(target) + 1:
        yield failed("proxy range", "the body does not have the length of the range", RANGE_HINT)
    else:
        yield passed("proxy range", f"206 with {expected}")


def _many_ranges(target: Target, _: Response) -> Iterator[Finding]:
    """Ask for the most ranges that the gateway charges by themselves, and not as the whole file."""
    number = min(MAX_PARTS, target.file.size // 2)
    if number < FEWEST_RANGES:
        return
    asked = "bytes=" + ",".join(f"{2 * each}-{2 * each}" for each in range(number))
    status = target.request(Range=asked).status
    if status == 200:
        text = (
            f"the whole file is sent where {number} ranges are asked for, which a link pays as {number} bytes"
        )
        yield failed("proxy ranges", text, RANGES_HINT)
    elif status != 206:
        yield failed(
            "proxy ranges", f"{number} ranges are answered with {status} and not with 206", RANGES_HINT
        )
    else:
        yield passed("proxy ranges", f"{number} ranges are sent as they are asked for")


def _encoding(_: Target, response: Response) -> Iterator[Finding]:
    encoding = response.header("Content-Encoding")
    if encoding:
        yield failed("proxy compression", f"the body is compressed ({encoding})", ENCODING_HINT)
    else:
        yield passed("proxy compression", "none")
    if response.header("Age") not in ("", "0"):  # Varnish also sends 0 with what it does not cache
        yield warned("proxy cache", "a cache answers (there is an Age header)", "keep caches off /download")


def _etag(_: Target, response: Response) -> Iterator[Finding]:
    etag = response.header("ETag")
    if etag.startswith("W/"):
        yield failed("proxy ETag", "the ETag was made weak: downloads cannot resume", ENCODING_HINT)
    elif not etag:
        yield failed(
            "proxy ETag", "the ETag was removed: downloads cannot resume", "let the proxy pass ETag on"
        )
    else:
        yield passed("proxy ETag", "strong")


def _head(target: Target, _: Response) -> Iterator[Finding]:
    response = target.request("HEAD")
    if response.status != 200:
        yield failed(
            "proxy HEAD", f"HEAD is answered with {response.status}", "let the proxy pass HEAD on as it is"
        )
    elif response.header("Content-Length") != str(target.file.size):
        yield failed(
            "proxy HEAD", "HEAD does not have the file's size", "let the proxy pass Content-Length on"
        )
    else:
        yield passed("proxy HEAD", f"200 with the size, {target.file.size} bytes")


def _if_range(target: Target, response: Response) -> Iterator[Finding]:
    etag = response.header("ETag")
    span = f"bytes=0-{_last(target)}"
    same = target.request(Range=span, If_Range=etag).status if etag else 206
    other = target.request(Range=span, If_Range='"another"').status
    if same != 206:
        yield failed(
            "proxy If-Range", f"with the file's own ETag the answer is {same} and not 206", RANGE_HINT
        )
    elif other != 200:
        text = f"with another ETag the answer is {other} and not 200: a resumed download may mix two files"
        yield failed("proxy If-Range", text, RANGE_HINT)
    else:
        yield passed("proxy If-Range", "honoured")


def _refusal(target: Target, _: Response) -> Iterator[Finding]:
    response = target.request(token=new_token(), Accept="application/problem+json")
    if response.status != 403:
        yield failed(
            "proxy refusal",
            f"an unknown token is answered with {response.status} and not with 403",
            NGINX_HINT,
        )
    elif _code(response) != " token_invalid":
        yield failed("proxy refusal", "the body of a refusal is replaced by another", NGINX_HINT)
    else:
        yield passed("proxy refusal", "an unknown token gives 403 token_invalid")


CHECKS: Final[tuple[Callable[[Target, Response], Iterator[Finding]], ...]] = (
    _ranges,
    _many_ranges,
    _encoding,
    _etag,
    _head,
    _if_range,
    _refusal,
)


def check_cost(target: Target, read_charged: Callable[[], int]) -> Finding:
    """Check that a range through the proxy is charged as its own length, neither more nor less.

    target: with a token that has a limit and was not used. read_charged: the bytes charged to that token. The
    range is the end of the file: who fetches the whole file for it has to fetch everything before it.
    """
    length = _last(target) + 1
    fault = ""
    for _ in range(PROBES):
        try:
            status = target.request(Range=f"bytes={target.file.size - length}-").status
            if status not in (200, 206):
                fault = f"a range is answered with {status}"
        except (OSError, http.client.HTTPException) as error:
            fault = f"a connection was lost: {_reason(error)}"
    charged = read_charged()
    probed = f"{PROBES} ranges of {length} bytes are charged as {charged} bytes"
    if charged > PROBES * length:
        text = f"{probed}: the proxy fetches more, so resumed downloads use up their link's limit"
        return failed("proxy cost", text, COST_HINT)
    if fault:
        return failed("proxy cost", fault, "see the proxy's error log")
    if charged < PROBES * length:
        text = f"{probed}: a cache answers, so neither limits nor revoking links hold"
        return failed("proxy cost", text, COST_HINT)
    return passed("proxy cost", "a range is charged as its own length")


def check_hooks(base: str) -> Finding:
    """Check that /hooks of the public address reaches the web process, as webhooks of platforms must.

    Where it does not, that is a warning: without connections nobody needs it. base: the URL at which
    customers reach the gateway.
    """
    path = f"{urlsplit(base).path.rstrip('/')}/hooks/{NOBODY}"
    connection = _connection(base)
    try:
        connection.request("POST", path, b"{}", {"Content-Type": "application/json"})
        response = connection.getresponse()
        found = Response(response.status, response.headers, response.read(SPAN + 1))
    except (OSError, http.client.HTTPException) as error:
        return warned("proxy hooks", f"{base}/hooks cannot be reached ({_reason(error)})", HOOKS_HINT)
    finally:
        connection.close()
    if _code(found) == " web_unavailable":
        text = "/hooks reaches a worker, and the worker does not reach the web process"
        return warned("proxy hooks", text, "start serve-web, with the same data folder or web.listen")
    if found.status == 404 and not found.body and found.header("Cache-Control") == "no-store":
        return passed("proxy hooks", "/hooks reaches the web process")
    text = f"/hooks does not reach the web process: an unknown connection is answered with {found.status}"
    return warned("proxy hooks", f"{text}{_code(found)}", HOOKS_HINT)


def _connection(base: str) -> http.client.HTTPConnection:
    parts = urlsplit(base)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return connect(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)


def _last(target: Target) -> int:
    """The offset of the range's last byte. It is never the file's last, so 206 and 200 differ in length."""
    return min(SPAN, target.file.size - 1) - 1


def _code(response: Response) -> str:
    try:
        return f" {json.loads(response.body)['code']}"
    except (ValueError, KeyError, TypeError):
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no response within {ANSWER_SECONDS:g} s"
    return describe(error)
