"""Which requests are passed on to the web process, and with which head."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.errors import Refused
from gateway.http.framing import Body
from gateway.http.passing import (
    MAX_BODY,
    forwarded_scheme,
    logged_target,
    passed_head,
    passed_target,
    requested_host,
)
from gateway.platforms import interface
from tests.support.rows import each_row


def fields(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


@each_row(
    ("target", "passed"),
    [
        ("/hooks/abc", "/hooks/abc"),
        ("/hooks", "/hooks"),
        ("/hooks/", "/hooks/"),
        ("/hooks/a/secret?x=%2F&y", "/hooks/a/secret?x=%2F&y"),
        ("/my", "/my"),
        ("/my/", "/my/"),
        ("/my?x=1", "/my?x=1"),
        ("/my/a%20b/c", "/my/a%20b/c"),
        ("/.well-known/jwks.json", "/.well-known/jwks.json"),
        ("/.well-known/jwks.json?x", "/.well-known/jwks.json?x"),
        ("//hooks/a", "/hooks/a"),
        ("/./my/", "/my/"),
        ("/x/../my/a", "/my/a"),
        ("/%2e/hooks/a", "/hooks/a"),
        ("/%68ooks/a", "/hooks/a"),
        ("/%6D%79/a", "/my/a"),
        ("/hooks/a/../b", "/hooks/b"),
        ("/hooks/a/%2E%2e/b", "/hooks/b"),
        ("/my/..%2f..%2fapi", "/my/..%2f..%2fapi"),
        ("/my/%2e%2e%2fapi", "/my/%2e%2e%2fapi"),
        ("/my\\..\\api", None),
        ("http://gateway.example/hooks/a?b", "/hooks/a?b"),
        ("HTTPS://127.0.0.1:8083/my", "/my"),
        ("/hooks/a#fragment", "/hooks/a"),
        ("/hooks/../api/orders", None),
        ("/hooks/%2e%2e/api/orders", None),
        ("/hooks/.%2E/api", None),
        ("/my/../healthz", None),
        ("/my/..", None),
        ("/hooks%2fa", None),
        ("/hooks%2f..%2fapi", None),
        ("/hooks%00/a", None),
        ("/hook", None),
        ("/hooksx/a", None),
        ("/mys", None),
        ("/HOOKS/a", None),
        ("/My", None),
        ("/api/orders", None),
        ("/api/../api", None),
        ("/.well-known/other", None),
        ("/.well-known", None),
        ("/.well-known%2fjwks.json", None),
        ("/", None),
        ("", None),
        ("*", None),
        ("hooks/a", None),
        ("ftp://h/hooks/a", None),
        ("example.com:443", None),
        ("/download/../hooks", "/hooks"),
        ("/x?/hooks/a", None),
        ("/x#/hooks/a", None),
        ("/" + "%68" * 3000, None),
    ],
)
def test_what_is_passed_on(target: str, passed: str | None) -> None:
    assert passed_target(target) == passed


@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/hooks/abc", "/hooks/abc"),
        ("/hooks/abc/", "/hooks/abc/"),
        ("/hooks/abc/secret", "/hooks/abc/[secret]"),
        ("/hooks/abc/secret/more?x=y", "/hooks/abc/[secret]"),
        ("/hooks/abc?secret", "/hooks/abc"),
        ("/my", "/my"),
        ("/my/in/123456", "/my/in/[secret]"),
    ],
)
def test_what_may_be_a_secret_is_not_logged(target: str, logged: str) -> None:
    assert logged_target(target) == logged


def head(
    *pairs: tuple[str, str], method: str = "POST", body: Body | None = None, http10: bool = False
) -> list[str]:
    made = passed_head(
        method,
        "/hooks/a",
        fields(("Host", "client.example"), *pairs),
        host="shop.example",
        client="203.0.113.7",
        scheme="https",
        body=body,
        is_http10=http10,
    )
    assert made.endswith(b"\r\n\r\n")
    return made.decode().split("\r\n")[:-2]


OURS = ["X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "Connection: close"]
FIRST = ["POST /hooks/a HTTP/1.1", "Host: shop.example"]


def test_the_usual_fields_go_on_as_they_came_and_in_their_order() -> None:
    kept = [
        ("User-Agent", "Stripe/1.0"),
        ("stripe-signature", "t=1,v1=ab"),
        ("Cookie", "a=b"),
        ("cookie", "c=d"),
        ("Content-Type", "application/json"),
        ("Content-Encoding", "gzip"),
        ("Authorization", "Bearer x"),
        ("X-Name", "caf\u00e9 \udcff"),
    ]
    made = passed_head("POST", "/hooks/a", fields(*kept), host="h", client="", scheme="http", body=Body(7))
    lines = made.split(b"\r\n")
    assert lines[0:2] == [b"POST /hooks/a HTTP/1.1", b"Host: h"]
    assert lines[2:10] == [f"{n}: {v}".encode("utf-8", "surrogateescape") for n, v in kept]
    assert lines[10:] == [b"X-Forwarded-Proto: http", b"Connection: close", b"Content-Length: 7", b"", b""]


@each_row(
    "pair",
    [
        ("X-Forwarded-For", "1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("X_Forwarded_For", "1.2.3.4"),
        ("X-Forwarded_For", "1.2.3.4"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded", "for=1.2.3.4"),
        ("Forwarded", "for=1.2.3.4"),
        ("X-Real-IP", "1.2.3.4"),
        ("X_Real_IP", "1.2.3.4"),
        ("X-Client-IP", "1.2.3.4"),
        ("True-Client-IP", "1.2.3.4"),
        ("CF-Connecting-IP", "1.2.3.4"),
        ("X-Original-URI", "/api"),
        ("Via", "1.1 x"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("TraceState", "a=b"),
        ("Connection", "keep-alive"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic x"),
        ("TE", "trailers"),
        ("Trailer", "X-T"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "websocket"),
        ("Content-Length", "99"),
    ],
)
def test_fields_of_one_connection_and_of_proxies_end_here(pair: tuple[str, str]) -> None:
    assert head(pair, ("X-Other", "stays")) == [*FIRST, "X-Other: stays", *OURS, "Content-Length: 0"]


def test_what_connection_names_ends_here_and_our_own_fields_stay() -> None:
    named = head(
        ("Connection", "X-Hop, X-Forwarded-For,, host"),
        ("Connection", "\tx-other "),
        ("X-Hop", "1"),
        ("x-other", "2"),
        ("X-Kept", "3"),
    )
    assert named == [*FIRST, "X-Kept: 3", *OURS, "Content-Length: 0"]


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("POST", None, ["Content-Length: 0"]),
        ("PUT", None, ["Content-Length: 0"]),
        ("GET", None, []),
        ("HEAD", None, []),
        ("OPTIONS", None, []),
        ("DELETE", None, []),
        ("GET", Body(3), ["Content-Length: 3"]),
        ("POST", Body(3), ["Content-Length: 3"]),
        ("POST", Body(None), ["Transfer-Encoding: chunked"]),
    ],
)
def test_the_body_is_framed_anew(method: str, body: Body | None, framing: list[str]) -> None:
    found = head(("Content-Length", "3"), ("Transfer-Encoding", "chunked"), method=method, body=body)
    assert found == [f"{method} /hooks/a HTTP/1.1", FIRST[1], *OURS, *framing]


@pytest.mark.parametrize(
    ("body", "http10", "goes_on"), [(Body(1), False, True), (None, False, False), (Body(1), True, False)]
)
def test_an_expectation_goes_on_where_it_has_a_meaning(
    body: Body | None, http10: bool, goes_on: bool
) -> None:
    found = head(("Expect", "100-continue"), body=body, http10=http10)
    assert ("Expect: 100-continue" in found) is goes_on


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "a\r\nX-Evil: 1"])
def test_no_field_can_begin_another_line(bad: str) -> None:
    with pytest.raises(Refused):
        head(("X-Name", bad))


@each_row(
    ("target", "host", "found"),
    [
        ("/my", "a.example", "a.example"),
        ("/my", "a.example:8443", "a.example:8443"),
        ("http://b.example/my", "a.example", "b.example"),
        ("HTTPS://b.example:1/my", "a.example", "b.example:1"),
        ("http://user@b.example/my", "a.example", "b.example"),
        ("http://[::1]:1/my", "a.example", "[::1]:1"),
        ("http://[::1/my", "a.example", None),
        ("http:///my", "a.example", None),
        ("http://a b/my", "a.example", None),
        ("/http://b/my", "a.example", "a.example"),
    ],
)
def test_the_host_of_an_absolute_target_counts(target: str, host: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(Refused):
            requested_host(target, fields(("Host", host)))
    else:
        assert requested_host(target, fields(("Host", host))) == found


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [([], ""), (["https"], "https"), (["HTTP"], "http"), (["http, https"], "https"),
     (["http", "https"], "https"),
     (["ftp"], ""), ([""], "")],
)  # fmt: skip
def test_the_scheme_that_a_front_proxy_says(lines: list[str], scheme: str) -> None:
    assert forwarded_scheme(fields(*(("X-Forwarded-Proto", each) for each in lines))) == scheme


def test_what_platforms_may_send_may_pass() -> None:
    assert MAX_BODY >= interface.MAX_BODY
