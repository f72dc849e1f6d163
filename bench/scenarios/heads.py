"""`small` and `auth` with the heads that clients really send, beside the head without fields of wrk.

The heads are those of tests/http/heads, where it is said who sent them. What differs in every request of a
real client, such as the address that a proxy passes on, differs here as well.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar

from bench.load.control import LoadOptions
from bench.peers import RequestKind, Server
from bench.peers.checks import expect
from bench.report.figures import Sample, Target
from bench.scenarios.base import Participant
from bench.scenarios.requests import WrkScenario
from bench.testbed.testbed import Testbed

_T = TypeVar("_T")

NO_FIELDS: str = "gateway, wrk's head"
"""The participant whose requests are those of `small`."""

_VERSIONS = range(156, 130, -1)
_LANGUAGES = ("en-US", "de-DE", "fr-FR", "ja-JP", "pt-BR", "es-ES", "it-IT", "nl-NL")
_BROWSER = """\
sec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="{version}"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 \
Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,image/webp,image/apng,\
*/*;q=0.8,application/signed-exchange;v=b3;q=0.7
Sec-Fetch-Site: none
Sec-Fetch-Mode: navigate
Sec-Fetch-User: ?1
Sec-Fetch-Dest: document
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: {language},en;q=0.9
"""


class HeadScenario(WrkScenario):
    """A closed loop with one client's head.

    fields: the lines after the request line, with {host}: the server's; {client}: one of 1,000 addresses, and
    {word}: 56 letters, both random; {about}: the target of the original request; {version}, {language}: of a
    browser; the first of each is drawn twice as often as the second, three times as often as the third.
    """

    fields: ClassVar[str]
    targets: ClassVar[tuple[Target, ...]] = (Target("cpu_us", 1.15, NO_FIELDS, at="most"),)
    shown = ("cpu_us", "rps", "p50_ms", "p99_ms", "p999_ms", "server_busy", "load_busy", "others")

    def __init__(self) -> None:
        self._plain = False

    def participants(self, peers: Sequence[str], testbed: Testbed) -> list[Participant]:
        """Those requested, and the gateway once more for the requests of `small`."""
        found = super().participants(peers, testbed)
        gateways = [participant for participant in found if participant.peer == "gateway"]
        return [*found, *(replace(each, label=NO_FIELDS, warmed_up=set()) for each in gateways)]

    def request(self, testbed: Testbed, server: Server, token: str, source: random.Random) -> bytes:
        del testbed
        if self._plain:
            return server.request(RequestKind.DOWNLOAD, token, self.file)
        target, more = server.peer.target(self.kind, token, self.file)
        lines = self.fields.format(
            host=f"{server.host}:{server.port}",
            client=f"203.0.{source.randrange(4)}.{source.randrange(250)}",
            word="".join(
                source.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", k=56)
            ),
            about=more.get("X-Original-URI", ""),
            version=_choose(_VERSIONS, source),
            language=_choose(_LANGUAGES, source),
        )
        own = "".join(f"{name}: {value}\n" for name, value in server.fields.items())
        return f"GET {target} HTTP/1.1\n{lines}{own}\n".replace("\n", "\r\n").encode()

    def check(self, testbed: Testbed, server: Server, request: bytes) -> None:
        has_body = self._plain or self.kind is not RequestKind.AUTH
        expect(server, request, self.status, testbed.path(self.file) if has_body else None)

    def prepare(self, testbed: Testbed, participant: Participant) -> Path:
        self._plain = participant.label == NO_FIELDS
        return super().prepare(testbed, participant)

    def measure(self, testbed: Testbed, participant: Participant, options: LoadOptions) -> Sample:
        self._plain = participant.label == NO_FIELDS
        return super().measure(testbed, participant, options)


def _choose(ranked: Sequence[_T], source: random.Random) -> _T:
    """Draw one by its rank: the n-th with 1/n of the first one's frequency."""
    return source.choices(ranked, [1 / rank for rank in range(1, len(ranked) + 1)])[0]


class SmallChrome(HeadScenario):
    """A link that was typed in or opened from a mail."""

    name = "small-chrome"
    title = "1 KiB files, Chrome's head"
    fields = "Host: {host}\nConnection: keep-alive\n" + _BROWSER


class SmallAria2(HeadScenario):
    """A download manager, which sends Host in the middle."""

    name = "small-aria2"
    title = "1 KiB files, aria2's head"
    fields = (
        "User-Agent: aria2/1.36.0\nAccept: */*,application/metalink4+xml,application/metalink+xml\n"
        "Host: {host}\nWant-Digest: SHA-512;q=1, SHA-256;q=1, SHA;q=0.1\n"
    )


class SmallCloudfront(HeadScenario):
    """A CDN that pulls: its request id and its client are others in every request."""

    name = "small-cloudfront"
    title = "1 KiB files, CloudFront's head"
    fields = (
        "Host: {host}\nX-Amz-Cf-Id: {word}\nUser-Agent: Amazon CloudFront\n"
        "Via: 1.1 2b14bfd2a3f4f6a5c8e7d9b0a1c2d3e4.cloudfront.net (CloudFront)\n"
        "X-Forwarded-For: {client}\nAccept-Encoding: gzip\nAccept: */*\n"
    )


class SmallNginx(HeadScenario):
    """nginx as a proxy (config/nginx/proxy.conf) before curl."""

    name = "small-nginx"
    title = "1 KiB files, the head of nginx as a proxy"
    fields = (
        "Host: {host}\nX-Forwarded-For: {client}\nX-Forwarded-Proto: https\nX-Real-IP: {client}\n"
        "User-Agent: curl/8.9.1\nAccept: */*\n"
    )


class AuthNginx(HeadScenario):
    """What nginx asks (config/nginx/auth_request.conf) when its client is Chrome."""

    name = "auth-nginx"
    title = "nginx's authorisation subrequest for Chrome"
    kind = RequestKind.AUTH
    body = 0
    fields = (
        "Host: downloads.example.com\nX-Forwarded-For: {client}\nX-Original-URI: {about}\n"
        "X-Original-Method: GET\n" + _BROWSER
    )


HEADS: tuple[HeadScenario, ...] = (SmallChrome(), SmallAria2(), SmallCloudfront(), SmallNginx(), AuthNginx())
