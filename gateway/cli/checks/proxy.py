"""The front proxy: downloads tried through it, as a customer would, with a token of a minute.

What goes wrong in front proxies: ranges answered with the whole file or from a cache, compression (which
also weakens the ETag), refusals replaced by the proxy's own pages, HEAD answered wrongly.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from gateway.cli.checks import Finding, failed, passed, warned
from gateway.manifest import Manifest, ManifestFile
from gateway.secrets import new_token

TOKEN_SECONDS: Final = 60
PATIENCE_SECONDS: Final = 10.0
SPAN: Final = 1000
"""Bytes asked for: enough that a proxy would think of compressing them."""

NGINX_HINT: Final = "let the proxy pass on the status and body of refusals (see config/nginx)"
RANGE_HINT: Final = "let the proxy pass Range and If-Range on, and neither cache nor slice /download"
ENCODING_HINT: Final = "switch compression off for /download (nginx: gzip off; Caddy: no encode)"


@dataclass(frozen=True)
class Answer:
    """What came back: the head, and at most a few bytes of the body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def header(self, name: str) -> str:
        """One header's value, "" without."""
        return str(self.headers.get(name, ""))


@dataclass(frozen=True)
class Target:
    """Where to ask, for which file, with which token."""

    base: str
    file: ManifestFile
    token: str

    def ask(self, method: str = "GET", token: str | None = None, **headers: str) -> Answer:
        """Make one request on a connection of its own. Raises OSError, HTTPException."""
        parts = urlsplit(self.base)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
        path = (
            f"{parts.path.rstrip('/')}/download/{quote(self.file.name, safe='')}?token={token or self.token}"
        )
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, headers={"Accept-Encoding": "gzip, br, zstd", **named})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read(SPAN + 1))
        finally:
            connection.close()


def choose_file(manifests: list[Manifest], active: dict[str, str | None]) -> tuple[str, ManifestFile] | None:
    """A product and its file to try: of an active version, large enough for ranges if there is one."""
    found = [
        (manifest.product, file)
        for manifest in manifests
        if active.get(manifest.product) == manifest.version
        for file in manifest.files
        if file.size > 1
    ]
    return min(found, key=lambda pair: (pair[1].size <= 2 * SPAN, pair[1].size), default=None)


def check_proxy(target: Target) -> list[Finding]:
    """Ask through the proxy and judge the answers."""
    try:
        answer = target.ask(Range=f"bytes=0-{_last(target)}")
    except (OSError, http.client.HTTPException) as error:
        return [
            failed(
                "proxy",
                f"{target.base} cannot be reached ({_why(error)})",
                "is it running, is the URL right?",
            )
        ]
    if answer.status in (401, 403, 404, 502, 503) and not answer.header("Content-Range"):
        text = f"a valid token is answered with {answer.status}{_code(answer)}"
        mend = "let the proxy pass the whole path and query on to this gateway and its store"
        return [failed("proxy", text, mend)]
    findings = []
    for look in LOOKS:
        try:
            findings += list(look(target, answer))
        except (OSError, http.client.HTTPException) as error:
            findings.append(
                failed("proxy", f"a connection was lost ({_why(error)})", "see the proxy's error log")
            )
    return findings


def _ranges(target: Target, answer: Answer) -> Iterator[Finding]:
    wanted = f"bytes 0-{_last(target)}/{target.file.size}"
    got = answer.header("Content-Range")
    if answer.status != 206:
        yield failed("proxy range", f"a range is answered with {answer.status} and not with 206", RANGE_HINT)
    elif got != wanted:
        yield failed("proxy range", f"Content-Range is {got!r} and not {wanted!r}", RANGE_HINT)
    elif len(answer.body) != _last(target) + 1:
        yield failed("proxy range", "the body has not the length of the range", RANGE_HINT)
    else:
        yield passed("proxy range", f"206 with {wanted}")


def _encoding(_: Target, answer: Answer) -> Iterator[Finding]:
    encoding = answer.header("Content-Encoding")
    if encoding:
        yield failed("proxy compression", f"the body is compressed ({encoding})", ENCODING_HINT)
    else:
        yield passed("proxy compression", "none")
    if answer.header("Age"):
        yield warned("proxy cache", "a cache answers (there is an Age header)", "keep caches off /download")


def _etag(_: Target, answer: Answer) -> Iterator[Finding]:
    etag = answer.header("ETag")
    if etag.startswith("W/"):
        yield failed("proxy ETag", "the ETag was made weak: downloads do not resume", ENCODING_HINT)
    elif not etag:
        yield failed(
            "proxy ETag", "the ETag was removed: downloads do not resume", "let the proxy pass ETag on"
        )
    else:
        yield passed("proxy ETag", "strong")


def _head(target: Target, _: Answer) -> Iterator[Finding]:
    answer = target.ask("HEAD")
    if answer.status != 200:
        yield failed(
            "proxy HEAD", f"HEAD is answered with {answer.status}", "let the proxy pass HEAD on as it is"
        )
    elif answer.header("Content-Length") != str(target.file.size):
        yield failed(
            "proxy HEAD", "HEAD does not tell the file's size", "let the proxy pass Content-Length on"
        )
    else:
        yield passed("proxy HEAD", f"200 with the size, {target.file.size} bytes")


def _if_range(target: Target, answer: Answer) -> Iterator[Finding]:
    etag = answer.header("ETag")
    span = f"bytes=0-{_last(target)}"
    same = target.ask(Range=span, If_Range=etag).status if etag else 206
    other = target.ask(Range=span, If_Range='"another"').status
    if same != 206:
        yield failed(
            "proxy If-Range", f"with the file's own ETag the answer is {same} and not 206", RANGE_HINT
        )
    elif other != 200:
        text = f"with another ETag the answer is {other} and not 200: a resumed download may mix two files"
        yield failed("proxy If-Range", text, RANGE_HINT)
    else:
        yield passed("proxy If-Range", "honoured")


def _refusal(target: Target, _: Answer) -> Iterator[Finding]:
    answer = target.ask(token=new_token(), Accept="application/problem+json")
    if answer.status != 403:
        yield failed(
            "proxy refusal", f"an unknown token is answered with {answer.status} and not with 403", NGINX_HINT
        )
    elif _code(answer) != " token_invalid":
        yield failed("proxy refusal", "the body of a refusal is replaced by another", NGINX_HINT)
    else:
        yield passed("proxy refusal", "an unknown token gives 403 token_invalid")


LOOKS: Final[tuple[Callable[[Target, Answer], Iterator[Finding]], ...]] = (
    _ranges,
    _encoding,
    _etag,
    _head,
    _if_range,
    _refusal,
)


def _last(target: Target) -> int:
    """The last byte asked for: never the file's last, so that 206 and 200 differ in length."""
    return min(SPAN, target.file.size - 1) - 1


def _code(answer: Answer) -> str:
    try:
        return f" {json.loads(answer.body)['code']}"
    except (ValueError, KeyError, TypeError):
        return ""


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "its host is not known"
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE_SECONDS:g} s"
    return getattr(error, "strerror", None) or type(error).__name__
