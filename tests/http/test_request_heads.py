"""The expressions for the commonest heads: what they read, and that they leave all else to the parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.request_heads import PlainAuthRequest, PlainHead, read_plain_auth_request, read_plain_head
from gateway.http.targets import Target, TargetKind, choose_token, read_target
from gateway.secrets import new_token

LINE = b"GET /download?token=ct_abc HTTP/1.1\r\n"
HOST = b"Host: example.com:8080\r\n"
RANGE = b"Range: bytes=5-9\r\n"
AGENT = b"User-Agent: curl/8.1 (x)\r\n"

READ = [
    ("only a host", LINE + HOST, PlainHead("", "ct_abc", "", "")),
    ("a name", LINE.replace(b"download?", b"download/x-1.z?") + HOST, PlainHead("x-1.z", "ct_abc", "", "")),
    ("curl", LINE + HOST + AGENT + b"Accept: */*\r\n", PlainHead("", "ct_abc", "curl/8.1 (x)", "")),
    (
        "curl -r",
        LINE + HOST + RANGE + AGENT + b"Accept: */*\r\n",
        PlainHead("", "ct_abc", "curl/8.1 (x)", "bytes=5-9"),
    ),
    ("a range at the end", LINE + HOST + RANGE, PlainHead("", "ct_abc", "", "bytes=5-9")),
    ("an open range", LINE + HOST + b"Range: bytes=5-\r\n", PlainHead("", "ct_abc", "", "bytes=5-")),
    ("kept alive", LINE + HOST + b"Connection: Keep-Alive\r\n", PlainHead("", "ct_abc", "", "")),
]

LEFT = [
    ("another method", b"HEAD" + LINE[3:] + HOST),
    ("an encoded name", LINE.replace(b"download?", b"download/%78?") + HOST),
    ("a name in a folder", LINE.replace(b"download?", b"download/x/y?") + HOST),
    ("an empty name", LINE.replace(b"download?", b"download/?") + HOST),
    ("another parameter", LINE.replace(b"ct_abc", b"ct_abc&utm_source=x") + HOST),
    ("an encoded token", LINE.replace(b"ct_", b"ct%5F") + HOST),
    ("another prefix", LINE.replace(b"ct_", b"gk_") + HOST),
    ("a token too long", LINE.replace(b"abc", b"a" * 126) + HOST),
    ("no token", LINE.replace(b"abc", b"") + HOST),
    ("HTTP/1.0", LINE.replace(b"1.1", b"1.0") + HOST),
    ("no host", LINE + AGENT),
    ("two hosts", LINE + HOST + HOST),
    ("an empty host", LINE + b"Host: \r\n"),
    ("a host with a space", LINE + b"Host: a b\r\n"),
    ("two ranges", LINE + HOST + RANGE + AGENT + RANGE),
    ("a suffix", LINE + HOST + b"Range: bytes=-5\r\n"),
    ("several spans", LINE + HOST + b"Range: bytes=0-1,3-4\r\n"),
    ("a condition", LINE + HOST + b'If-None-Match: "x"\r\n'),
    ("If-Range", LINE + HOST + RANGE + b'If-Range: "x"\r\n'),
    ("a bearer token", LINE + HOST + b"Authorization: Bearer ct_x\r\n"),
    ("a page is preferred", LINE + HOST + b"Accept: text/html\r\n"),
    ("an origin", LINE + HOST + b"Origin: https://example.com\r\n"),
    ("a proxy", LINE + HOST + b"X-Forwarded-For: 10.0.0.1\r\n"),
    ("a body", LINE + HOST + b"Content-Length: 3\r\n"),
    ("chunks", LINE + HOST + b"Transfer-Encoding: chunked\r\n"),
    ("an expectation", LINE + HOST + b"Expect: 100-continue\r\n"),
    ("an upgrade", LINE + HOST + b"Upgrade: websocket\r\n"),
    ("to be closed", LINE + HOST + b"Connection: close\r\n"),
    ("another case", LINE + HOST.replace(b"Host", b"host")),
    ("a space before the colon", LINE + HOST + b"Accept : */*\r\n"),
    ("a folded field", LINE + HOST + b"Accept-Language: de\r\n en\r\n"),
    ("a bare line feed", LINE + HOST + b"Accept-Language: de\n"),
    ("a NUL", LINE + HOST + b"Accept-Language: \0\r\n"),
    ("bytes beyond ASCII", LINE + HOST + b"Accept-Language: \xe4\r\n"),
    ("empty lines before", b"\r\n" + LINE + HOST),
]


@pytest.mark.parametrize(("lines", "expected"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_plain_heads_are_read(lines: bytes, expected: PlainHead) -> None:
    assert read_plain_head(lines + b"\r\n") == expected


@pytest.mark.parametrize("lines", [row[1] for row in LEFT], ids=[row[0] for row in LEFT])
def test_every_other_head_is_left_to_the_parser(lines: bytes) -> None:
    assert read_plain_head(lines + b"\r\n") is None


def test_only_one_whole_head_is_read() -> None:
    whole = LINE + HOST + b"\r\n"
    assert read_plain_head(whole)
    assert not any(read_plain_head(whole[:end]) for end in range(len(whole)))
    assert read_plain_head(whole + whole) is None
    assert read_plain_head(whole + b"x") is None


@pytest.mark.parametrize("name", ["", "kit.zip", "-", "..", "~a_b"])
def test_the_quick_reader_agrees_with_the_rules_on_names_and_tokens(name: str) -> None:
    token = new_token()
    target = f"/download/{name}?token={token}" if name else f"/download?token={token}"
    plain = read_plain_head(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert plain
    assert read_target(target) == Target(TargetKind.DOWNLOAD, name or None, token)
    assert (plain.file, plain.token) == (name, choose_token(token, None))


@given(st.binary(max_size=60), st.integers(0, 120))
def test_bytes_slipped_in_never_change_what_is_read(noise: bytes, position: int) -> None:
    head = LINE + HOST + AGENT + RANGE + b"\r\n"
    plain = read_plain_head(head[:position] + noise + head[position:])
    if plain is not None:
        assert plain.token.startswith("ct_")
        assert "\r" not in plain.agent
        assert "\n" not in plain.agent
        assert plain.range in ("", "bytes=5-9") or plain.range.startswith("bytes=")


ASK = b"GET /auth HTTP/1.1\r\n"
FROM = b"X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n"
ABOUT = b"X-Original-URI: /download/x?token=ct_abc\r\n"
BY = b"X-Original-Method: GET\r\n"
TARGET = "/download/x?token=ct_abc"

QUESTIONS = [
    ("only a target", ASK + HOST + ABOUT, PlainAuthRequest("", TARGET, "x", "ct_abc", "", "")),
    (
        "of no name",
        ASK + HOST + ABOUT.replace(b"/x", b""),
        PlainAuthRequest("", "/download?token=ct_abc", "", "ct_abc", "", ""),
    ),
    (
        "with another parameter",
        ASK + HOST + ABOUT.replace(b"abc", b"abc&utm_source=x"),
        PlainAuthRequest("", TARGET + "&utm_source=x", "", "", "", ""),
    ),
    (
        "a token too long",
        ASK + HOST + ABOUT.replace(b"abc", b"a" * 126),
        PlainAuthRequest("", TARGET[:-3] + "a" * 126, "", "", "", ""),
    ),
    ("of anything", ASK + HOST + b"X-Original-URI: *\r\n", PlainAuthRequest("", "*", "", "", "", "")),
    (
        "nginx, for curl -r",
        ASK + HOST + FROM + ABOUT + BY + RANGE + AGENT + b"Accept: */*\r\n",
        PlainAuthRequest("192.0.2.1, 10.0.0.1", TARGET, "x", "ct_abc", "curl/8.1 (x)", "bytes=5-9"),
    ),
]
NO_QUESTIONS = [
    ("no target", ASK + HOST + BY),
    ("two targets", ASK + HOST + ABOUT + ABOUT),
    ("a target with a space", ASK + HOST + ABOUT.replace(b"?", b" ?")),
    ("HEAD", ASK + HOST + ABOUT + BY.replace(b"GET", b"HEAD")),
    ("two methods", ASK + HOST + ABOUT + BY + BY),
    ("two clients", ASK + HOST + FROM + FROM + ABOUT),
    ("below /auth", ASK.replace(b"/auth", b"/auth/x") + HOST + ABOUT),
    ("a query", ASK.replace(b"/auth", b"/auth?x=1") + HOST + ABOUT),
    ("a token of its own", ASK + HOST + ABOUT + b"Authorization: Bearer ct_x\r\n"),
    ("If-Range", ASK + HOST + ABOUT + RANGE + b'If-Range: "x"\r\n'),
    ("two ranges", ASK + HOST + ABOUT + RANGE + AGENT + RANGE),
    ("a page is preferred", ASK + HOST + ABOUT + b"Accept: text/html\r\n"),
    ("a body", ASK + HOST + ABOUT + b"Content-Length: 3\r\n"),
]


@pytest.mark.parametrize(
    ("lines", "expected"), [row[1:] for row in QUESTIONS], ids=[row[0] for row in QUESTIONS]
)
def test_plain_requests_of_a_front_proxy_are_read(lines: bytes, expected: PlainAuthRequest) -> None:
    assert read_plain_auth_request(lines + b"\r\n") == expected
    assert read_plain_head(lines + b"\r\n") is None


@pytest.mark.parametrize("lines", [row[1] for row in NO_QUESTIONS], ids=[row[0] for row in NO_QUESTIONS])
def test_other_requests_of_a_front_proxy_are_left_to_the_parser(lines: bytes) -> None:
    assert read_plain_auth_request(lines + b"\r\n") is None


def test_only_one_whole_request_of_a_front_proxy_is_read() -> None:
    whole = ASK + HOST + FROM + ABOUT + BY + b"\r\n"
    assert read_plain_auth_request(whole)
    assert not any(read_plain_auth_request(whole[:end]) for end in range(len(whole)))
    assert read_plain_auth_request(whole + whole) is None
