"""The quick reader of heads: what it reads, and that it leaves all else to the parser."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.request_heads import HeadReader, OtherHead, PlainHead, PlainQuestion
from gateway.http.request_tokens import request_token
from gateway.http.targets import Target, TargetKind, read_target
from gateway.secrets import new_token
from tests.support.in_loop_server import LIMITS
from tests.support.rows import each_row
from tests.support.timing import lasts

TOKEN = "ct_" + "abc" * 14 + "x"
LINE = b"GET /download?token=%b HTTP/1.1\r\n" % TOKEN.encode()
DIRECT = b"GET /download/%b/ HTTP/1.1\r\n" % TOKEN.encode()
HOST = b"Host: example.com:8080\r\n"
RANGE = b"Range: bytes=5-9\r\n"
AGENT = b"User-Agent: curl/8.1 (x)\r\n"
SKIPPED = b"X-Any: \xe4 \t;=\r\nCookie:a=b\r\nEmpty:\r\n"

PLAIN = [
    ("only a host", LINE + HOST, PlainHead("", TOKEN)),
    ("a name", LINE.replace(b"download?", b"download/x-1.z?") + HOST, PlainHead("x-1.z", TOKEN)),
    ("curl", LINE + HOST + AGENT + b"Accept: */*\r\n", PlainHead("", TOKEN, "curl/8.1 (x)", "", "*/*")),
    ("a range", LINE + RANGE + HOST + AGENT, PlainHead("", TOKEN, "curl/8.1 (x)", "bytes=5-9")),
    ("an open range", LINE + HOST + b"range: bytes=5-\r\n", PlainHead("", TOKEN, "", "bytes=5-")),
    ("kept alive", LINE + HOST + b"Connection: Keep-Alive\r\n", PlainHead("", TOKEN)),
    ("fields without a meaning", LINE + SKIPPED + HOST + SKIPPED, PlainHead("", TOKEN)),
    ("the host at the end", LINE + AGENT + HOST, PlainHead("", TOKEN, "curl/8.1 (x)")),
    (
        "small letters",
        (LINE + HOST + AGENT).replace(b"Host", b"host"),
        PlainHead("", TOKEN, "curl/8.1 (x)"),
    ),
    (
        "a proxy",
        LINE + HOST + b"X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nX-Real-IP: 192.0.2.1\r\n",
        PlainHead("", TOKEN, forwarded="192.0.2.1, 10.0.0.1"),
    ),
    (
        "lines of proxies right behind the host",
        LINE
        + HOST
        + b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Amz-Cf-Id: x=\xe4\t;\r\n"
        + AGENT,
        PlainHead("", TOKEN, "curl/8.1 (x)", forwarded="192.0.2.1"),
    ),
    (
        "more lines of proxies than the first expression reads",
        LINE + HOST + b"X-Real-IP: 192.0.2.1\r\n" * 9 + b"X-Forwarded-For: 192.0.2.1\r\n" + AGENT,
        PlainHead("", TOKEN, "curl/8.1 (x)", forwarded="192.0.2.1"),
    ),
    (
        "nothing behind the lines of proxies",
        LINE + HOST + b"X-Request-Id: 7\r\n",
        PlainHead("", TOKEN),
    ),
    ("an origin, without cors", LINE + HOST + b"Origin: https://a.example\r\n", PlainHead("", TOKEN)),
]
PLAIN += [
    ("a token in the path", DIRECT + HOST, PlainHead("", TOKEN, is_direct=True)),
    (
        "a token in the path, and a name",
        DIRECT.replace(b"/ HTTP", b"/x-1.z HTTP") + HOST + AGENT + RANGE,
        PlainHead("x-1.z", TOKEN, "curl/8.1 (x)", "bytes=5-9", is_direct=True),
    ),
]
OTHER = [
    ("another method", b"HEAD" + LINE[3:] + HOST, {}),
    ("an encoded name", LINE.replace(b"download?", b"download/%78?") + HOST, {}),
    ("a name in a folder", LINE.replace(b"download?", b"download/x/y?") + HOST, {}),
    ("an empty name", LINE.replace(b"download?", b"download/?") + HOST, {}),
    ("another parameter", LINE.replace(b" HTTP", b"&utm_source=x HTTP") + HOST, {}),
    ("an encoded token", LINE.replace(b"ct_", b"ct%5F") + HOST, {}),
    ("another prefix", LINE.replace(b"ct_", b"gk_") + HOST, {}),
    ("a token too long", LINE.replace(b" HTTP", b"a HTTP") + HOST, {}),
    ("a token too short", LINE.replace(b"x HTTP", b" HTTP") + HOST, {}),
    ("glued to the token", LINE.replace(b" HTTP", b"- HTTP") + HOST, {}),
    ("no token", LINE.replace(TOKEN.encode(), b"") + HOST, {}),
    ("a name that begins like a token", LINE.replace(b"download?", b"download/ct_x?") + HOST, {}),
    ("a token in the path, no slash", DIRECT.replace(b"/ HTTP", b" HTTP") + HOST, {}),
    ("a token in the path, another parameter", DIRECT.replace(b"/ HTTP", b"/?utm_source=x HTTP") + HOST, {}),
    ("a token in the path, a name in a folder", DIRECT.replace(b"/ HTTP", b"/x/y HTTP") + HOST, {}),
    ("a token in the path, HEAD", b"HEAD" + DIRECT[3:] + HOST, {}),
    (
        "two clients",
        LINE + HOST + b"X-Forwarded-For: 192.0.2.1\r\n" + AGENT + b"X-Forwarded-For: 192.0.2.2\r\n",
        {"user-agent": ["curl/8.1 (x)"], "x-forwarded-for": ["192.0.2.1", "192.0.2.2"]},
    ),
    *(
        (
            f"{name} behind the host",
            LINE + HOST + b"X-Real-IP: 192.0.2.1\r\n%b: /download\r\n" % name.encode(),
            {name.lower(): ["/download"]},
        )
        for name in ("X-Forwarded-Uri", "X-FORWARDED-METHOD", "X-original-URI", "X-ORIGINAL-METHOD")
    ),
    ("two ranges", LINE + HOST + RANGE + RANGE, {"range": ["bytes=5-9"] * 2}),
    ("a suffix", LINE + HOST + b"Range: bytes=-5\r\n", {"range": ["bytes=-5"]}),
    ("several spans", LINE + HOST + b"Range: bytes=0-1,3-4\r\n", {"range": ["bytes=0-1,3-4"]}),
    ("a condition", LINE + HOST + b'If-None-Match: "x"\r\n', {"if-none-match": ['"x"']}),
    (
        "If-Range",
        LINE + HOST + RANGE + b'IF-RANGE: \t"x" \r\n',
        {"range": ["bytes=5-9"], "if-range": ['"x"']},
    ),
    ("a bearer token", LINE + HOST + b"Authorization: Bearer a\r\n", {"authorization": ["Bearer a"]}),
    ("two clients", LINE + HOST + b"X-Forwarded-For: a\r\n" * 2, {"x-forwarded-for": ["a", "a"]}),
    ("Forwarded", LINE + HOST + b"Forwarded: for=a\r\n", {"forwarded": ["for=a"]}),
    ("to be closed", LINE + HOST + b"Connection: close\r\n" + AGENT, {"user-agent": ["curl/8.1 (x)"]}),
    ("an agent too long", LINE + HOST + b"Accept: " + b"a" * 2000 + b"\r\n", {"accept": ["a" * 2000]}),
    ("beyond ASCII", LINE + HOST + b"Accept: \xe4\r\n", {"accept": ["\udce4"]}),
    (
        "a question of Caddy",
        b"GET /auth HTTP/1.1\r\n" + HOST + b"X-Forwarded-Uri: /a\r\n",
        {"x-forwarded-uri": ["/a"]},
    ),
]
LEFT = [
    ("a method", b"POST" + LINE[3:] + HOST),
    ("a path", LINE.replace(b"/download", b"/healthz") + HOST),
    ("an absolute target", LINE.replace(b"/download", b"http://x/download") + HOST),
    ("two spaces", LINE.replace(b" HTTP", b"  HTTP") + HOST),
    ("HTTP/1.0", LINE.replace(b"1.1", b"1.0") + HOST),
    ("no host", LINE + AGENT),
    ("two hosts", LINE + HOST + HOST),
    ("two hosts apart", LINE + AGENT + HOST + b"A: b\r\n" + HOST),
    ("an empty host", LINE + b"Host: \r\n"),
    ("a host with a space", LINE + b"Host: a b\r\n"),
    ("a host with a path", LINE + AGENT + b"Host: a/b\r\n"),
    ("two agents", LINE + HOST + AGENT + AGENT),
    ("two agents, one empty", LINE + HOST + AGENT + b"User-Agent:\r\n"),
    ("a body", LINE + HOST + b"Content-Length: 3\r\n"),
    ("no body", LINE + HOST + b"Content-Length: 0\r\n"),
    ("chunks", LINE + HOST + b"Transfer-Encoding: chunked\r\n"),
    ("an empty encoding", LINE + HOST + b"transfer-encoding:\r\n"),
    ("an expectation", LINE + HOST + b"Expect: 100-continue\r\n"),
    ("an upgrade", LINE + HOST + b"Upgrade: websocket\r\nConnection: upgrade\r\n"),
    ("several connection options", LINE + HOST + b"Connection: close, TE\r\n"),
    ("two types", LINE + HOST + b"Content-Type: a\r\n" * 2),
    ("no colon", LINE + HOST + b"abc\r\n"),
    ("no name", LINE + HOST + b": abc\r\n"),
    ("a space before the colon", LINE + HOST + b"Accept : */*\r\n"),
    ("a folded field", LINE + HOST + b"Accept-Language: de\r\n en\r\n"),
    ("a bare line feed", LINE + HOST + b"Accept-Language: de\nA: b\r\n"),
    ("a bare carriage return", LINE + HOST + b"Accept-Language: de\rA: b\r\n"),
    ("a NUL", LINE + HOST + b"Accept-Language: \0\r\n"),
    ("a DEL", LINE + HOST + b"Accept-Language: \x7f\r\n"),
    ("empty lines before", b"\r\n" + LINE + HOST),
    ("too many fields", LINE + HOST + b"A: b\r\n" * 150),
]


@pytest.fixture(scope="module")
def reader() -> HeadReader:
    return HeadReader(LIMITS, cors=False)


@each_row(("lines", "expected"), [row[1:] for row in PLAIN], ids=[row[0] for row in PLAIN])
def test_plain_heads_are_read(reader: HeadReader, lines: bytes, expected: PlainHead) -> None:
    for _ in range(3):  # the second time the lines are remembered, the third time the block of them
        assert reader.read(lines + b"\r\n") == expected


@each_row(("lines", "fields"), [row[1:] for row in OTHER], ids=[row[0] for row in OTHER])
def test_other_heads_are_read_with_the_fields_that_matter(
    reader: HeadReader, lines: bytes, fields: dict[str, list[str]]
) -> None:
    for _ in range(3):
        head = reader.read(lines + b"\r\n")
    assert isinstance(head, OtherHead)
    assert {name.lower(): head.fields.getall(name) for name in head.fields} == fields
    assert f"{head.method} {head.target} HTTP/1.1".encode() == lines.partition(b"\r\n")[0]
    assert head.keep_alive == (b"close" not in lines)


@each_row("lines", [row[1] for row in LEFT], ids=[row[0] for row in LEFT])
def test_every_other_head_is_left_to_the_parser(reader: HeadReader, lines: bytes) -> None:
    for _ in range(3):
        assert reader.read(lines + b"\r\n") is None


def test_an_origin_matters_where_pages_may_download() -> None:
    head = HeadReader(LIMITS, cors=True).read(LINE + HOST + b"Origin: https://a.example\r\n\r\n")
    assert isinstance(head, OtherHead)
    assert head.fields["origin"] == "https://a.example"


@pytest.mark.parametrize("lines", [LINE + HOST, LINE + HOST + AGENT, LINE + HOST + b"If-Range: a\r\n"])
def test_only_one_whole_head_is_read(reader: HeadReader, lines: bytes) -> None:
    whole = lines + b"\r\n"
    assert reader.read(whole)
    assert not any(reader.read(whole[:end]) for end in range(len(whole)))
    for more in (whole, b"x", b"\r\n", b"\r\n\r\n", b"A: b\r\n\r\n"):
        assert reader.read(whole + more) is None


@each_row("name", ["", "kit.zip", "-", "a..", "~a_b"])
@each_row("form", ["/download/{name}?token={token}", "/download/{token}/{name}"])
def test_the_quick_reader_agrees_with_the_rules_on_names_and_tokens(
    reader: HeadReader, form: str, name: str
) -> None:
    token = new_token()
    target = form.format(name=name, token=token).replace("/?", "?")
    plain = reader.read(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert isinstance(plain, PlainHead)
    read = read_target(target)
    assert read == Target(TargetKind.DOWNLOAD, name or None, token)
    assert (plain.file, plain.token) == (name, request_token(read.token, []))


@each_row("segment", [".", "..", "%2e", "%2E%2e", ".%2e", ".hidden"])
@each_row("form", ["/download/{}?token={}", "/download/{}/x?token={}", "/auth/{}/x?token={}"])
def test_what_may_be_a_dot_segment_is_left_to_the_parser(reader: HeadReader, form: str, segment: str) -> None:
    target = form.format(segment, TOKEN)
    assert reader.read(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) is None


@given(st.binary(max_size=60), st.integers(0, 120))
def test_bytes_slipped_in_never_change_what_is_read(noise: bytes, position: int) -> None:
    head = LINE + HOST + AGENT + RANGE + b"\r\n"
    plain = HeadReader(LIMITS, cors=False).read(head[:position] + noise + head[position:])
    if isinstance(plain, PlainHead):
        assert plain.token.startswith("ct_")
        assert "\r" not in plain.agent
        assert "\n" not in plain.agent
        assert plain.range in ("", "bytes=5-9") or plain.range.startswith("bytes=")


ASK = b"GET /auth HTTP/1.1\r\n"
FROM = b"X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n"
ABOUT = b"X-Original-URI: /download/x?token=%b\r\n" % TOKEN.encode()
BY = b"X-Original-Method: GET\r\n"
TARGET = f"/download/x?token={TOKEN}"

QUESTIONS = [
    ("only a target", ASK + HOST + ABOUT, PlainQuestion(TARGET, "x", TOKEN)),
    (
        "of no name",
        ASK + HOST + ABOUT.replace(b"/x", b""),
        PlainQuestion(f"/download?token={TOKEN}", "", TOKEN),
    ),
    (
        "with another parameter",
        ASK + HOST + ABOUT.replace(b"x\r\n", b"x&utm_source=x\r\n"),
        PlainQuestion(TARGET + "&utm_source=x", "", ""),
    ),
    (
        "a token too long",
        ASK + HOST + ABOUT.replace(b"x\r\n", b"xa\r\n"),
        PlainQuestion(TARGET + "a", "", ""),
    ),
    (
        "a token in the path",
        ASK + HOST + b"X-Original-URI: /download/%b/x\r\n" % TOKEN.encode(),
        PlainQuestion(f"/download/{TOKEN}/x", "x", TOKEN),
    ),
    ("of anything", ASK + HOST + b"X-Original-URI: *\r\n", PlainQuestion("*", "", "")),
    (
        "nginx, for curl -r",
        ASK + HOST + FROM + ABOUT + BY + RANGE + AGENT + b"Accept: */*\r\n",
        PlainQuestion(TARGET, "x", TOKEN, "curl/8.1 (x)", "bytes=5-9", "*/*", "192.0.2.1, 10.0.0.1"),
    ),
    ("in any order", ASK + AGENT + BY + ABOUT + HOST, PlainQuestion(TARGET, "x", TOKEN, "curl/8.1 (x)")),
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
    ("another dialect, too", ASK + HOST + ABOUT + b"X-Forwarded-Uri: /x\r\n"),
    ("a token of its own", ASK + HOST + ABOUT + b"Authorization: Bearer ct_x\r\n"),
    ("If-Range", ASK + HOST + ABOUT + RANGE + b'If-Range: "x"\r\n'),
    ("two ranges", ASK + HOST + ABOUT + RANGE + AGENT + RANGE),
]


@pytest.mark.parametrize(
    ("lines", "expected"), [row[1:] for row in QUESTIONS], ids=[row[0] for row in QUESTIONS]
)
def test_plain_questions_of_a_front_proxy_are_read(
    reader: HeadReader, lines: bytes, expected: PlainQuestion
) -> None:
    for _ in range(3):
        assert reader.read(lines + b"\r\n") == expected


@each_row("lines", [row[1] for row in NO_QUESTIONS], ids=[row[0] for row in NO_QUESTIONS])
def test_other_questions_of_a_front_proxy_keep_all_their_fields(reader: HeadReader, lines: bytes) -> None:
    for _ in range(3):
        head = reader.read(lines + b"\r\n")
    assert isinstance(head, OtherHead)
    sent = [line.partition(b":")[0] for line in lines.split(b"\r\n")[1:-1]]
    assert [name.encode() for name, _ in head.fields.items()] == [name for name in sent if name != b"Host"]


HOSTILE = {
    "one long value": LINE + HOST + b"A: " + b"a" * 16_000,
    "one long name": LINE + HOST + b"a" * 16_000,
    "spaces": LINE + HOST + b"A:" + b" " * 16_000 + b"\0",
    "a text that ends in spaces": LINE + HOST + b"User-Agent: a" + b" " * 16_000,
    "an agent of words": LINE + HOST + b"User-Agent: " + b"a " * 8_000,
    "a client of words": LINE + HOST + AGENT + b"X-Forwarded-For: " + b"a " * 8_000,
    "many clients": LINE + HOST + AGENT + b"X-Forwarded-For: a\r\n" * 800,
    "many ranges": LINE + HOST + AGENT + RANGE * 800,
    "colons": LINE + HOST + b":" * 16_000,
    "many lines": LINE + HOST + b"A:\r\n" * 4_000,
    "many empty lines": LINE + HOST + b"\r\n" * 8_000,
    "carriage returns": LINE + HOST + b"\r" * 16_000,
    "a long host": LINE + b"Host: " + b"a" * 16_000,
    "a long name of a file": b"GET /download/" + b"a" * 16_000,
    "a long token": LINE.replace(b"abc", b"a" * 16_000, 1) + HOST,
    "a long target": b"GET /auth HTTP/1.1\r\n" + HOST + b"X-Original-URI: " + b"/" * 16_000,
    "different lines": LINE + HOST + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 140) for n in range(100)),
}


@pytest.mark.timing
@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE)
def test_the_worst_heads_take_less_than_a_millisecond(reader: HeadReader, lines: bytes) -> None:
    """A hundred times each, the processor's time. A quadratic expression would take many times as long."""
    with lasts(most=0.1, clock=time.process_time):
        for _ in range(100):
            reader.read(lines + b"\r\n\r\n")
