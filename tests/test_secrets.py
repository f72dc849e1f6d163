"""The forms of secrets. No log line and no key of the store contains one, whatever clients send."""

from __future__ import annotations

import hashlib
import random
import re
from base64 import b64encode
from dataclasses import replace
from urllib.parse import quote, unquote

import pytest
import redis

from gateway.manifest import Manifest
from gateway.secrets import (
    MAX_TOKEN_LENGTH,
    encode_secret,
    key_hash,
    new_key,
    new_token,
    redact,
    redact_url,
    token_id,
)
from tests.support.backends import Objects
from tests.support.buckets import S3Server
from tests.support.http_client import request
from tests.support.plane import Plane, run_plane
from tests.support.publications import Published
from tests.support.waiting import wait_until


def test_tokens_and_keys_have_their_forms_and_names() -> None:
    token, key = new_token(), new_key()
    assert re.fullmatch(r"ct_[A-Za-z0-9_-]{43}", token)
    assert re.fullmatch(r"gk_[A-Za-z0-9_-]{43}", key)
    assert len(token) < MAX_TOKEN_LENGTH
    assert new_token() != token
    assert encode_secret("ct_", bytes(32)) == "ct_" + "A" * 43
    assert token_id("ct_") == hashlib.sha256(b"ct_").hexdigest()[:32]
    assert key_hash("gk_") == hashlib.sha256(b"gk_").hexdigest()
    assert token_id("\udcff") == hashlib.sha256(b"\xff").hexdigest()[:32]


SAMPLE = "A" * 43


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"ct_{SAMPLE}", "[secret]"),
        (f"gk_{SAMPLE}", "[secret]"),
        (f"/download?token=ct_{SAMPLE}&file=a", "/download?token=[secret]&file=a"),
        ("a part: ct_12345678.", "a part: [secret]."),
        (f"inside_a_wordct_{SAMPLE}", "inside_a_word[secret]"),
        ("ct_1234567 is too short", "ct_1234567 is too short"),
        ("direct_download of a file", "direct_download of a file"),
    ],
)
def test_what_looks_like_a_secret_is_cut_out(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("redis://:secret@h:1/2", "redis://***@h:1/2"),
        ("rediss://user:s@cret@h", "rediss://***@h"),
        ("unix://:secret@/run/x?db=1", "unix://***@/run/x"),
        ("redis://[secret@h", "[a URL that cannot be read]"),
    ],
)
def test_urls_are_printed_without_secrets(url: str, printed: str) -> None:
    assert redact_url(url) == printed


def encoded(token: str, generator: random.Random) -> str:
    """The token with some characters percent-encoded, perhaps several times over."""
    for _ in range(generator.randrange(4)):
        token = "".join(
            f"%{ord(char):02{generator.choice('xX')}}" if generator.random() < 0.3 else char for char in token
        )
        if generator.random() < 0.3:
            token = quote(token, safe="")
    return token


def leaks(text: str, secrets: list[str]) -> list[str]:
    """Lines that hold a secret, or the telling part of one, as it is or percent-encoded."""
    found = []
    for line in text.splitlines():
        plain = line
        for _ in range(6):
            if any(secret[3:] in plain for secret in secrets):
                found.append(line)
                break
            plain = unquote(plain)
    return found


@pytest.mark.slow
def test_a_thousand_requests_leave_no_token(plane: Plane) -> None:
    generator = random.Random(7)
    one, many = plane.publish(b"x" * 100), plane.publish(b"a", b"b")
    gone = plane.publish(b"gone")
    gone.path.unlink()
    plane.expected.append("is missing")
    good = [plane.token(one), plane.token(one, maximum=50), plane.token(many), plane.token(gone)]
    revoked = plane.token(one)
    plane.revoke(revoked)
    secrets = [*good, revoked, *(new_token() for _ in range(4)), new_key()]
    with plane.connect() as client:
        for number in range(1000):
            token = generator.choice(secrets)
            shown = token if generator.random() < 0.5 else encoded(token, generator)
            target, fields, method = generator.choice(
                [
                    (f"/download?token={shown}", (), "GET"),
                    (f"/download?token={shown}", ("Range: bytes=0-9",), "GET"),
                    (f"/download?token={shown}", (), "HEAD"),
                    (f"/download?token={shown}", (), "POST"),
                    (f"/download?token={shown}&token={generator.choice(secrets)}", (), "GET"),
                    (f"/download/{shown}", (), "GET"),
                    (f"/download/{shown}?token={token}", (), "GET"),
                    (f"/download/x{shown}y?file=z&token={token}", (), "GET"),
                    (f"/{shown}", (), "GET"),
                    (f"/{'p' * generator.randrange(200, 260)}/{shown}", (), "GET"),
                    (f"/download/{shown}/", (), "GET"),
                    (f"/download/{shown}/file-0.bin", ("Range: bytes=0-9",), "GET"),
                    (f"/download/{shown}/{token}/x", (), "HEAD"),
                    (f"/download/x/../%22{shown}%22.", (), "GET"),
                    (f"/download/{token}/Frühling", (), "GET"),
                    (f"/download/{shown}/file-0.bin?token={token}", (), "GET"),
                    (f"/download/{token}/file-0.bin", (), "POST"),
                    (f"/download#{shown}", (), "GET"),
                    (f"http://{token}@host/download/{shown}?token={token}", (), "GET"),
                    ("/download", (f"Authorization: Bearer {token}",), "GET"),
                    ("/download", (f"Authorization: Basic {token}",), "GET"),
                    (
                        "/download",
                        (f"Authorization: Basic {b64encode(f'x:{token}'.encode()).decode()}",),
                        "GET",
                    ),
                    ("/auth", (f"X-Original-URI: /download/{shown}/file-0.bin",), "GET"),
                    (f"/auth/download/{shown}/file-0.bin", (), "GET"),
                    ("/healthz", (f"Referer: http://shop/download/{shown}/x",), "GET"),
                    ("/auth", (f"X-Original-URI: /download?token={token}",), "GET"),
                    (f"/auth?token={shown}", (), "GET"),
                    ("/healthz", (f"User-Agent: {shown}",), "GET"),
                    ("/healthz", (f"User-Agent: bot/1.0 (_{token}; x{shown})",), "GET"),
                    ("/healthz", (f"Referer: http://shop/download?token={shown}",), "GET"),
                    (f"/download?token={token}", (f"Range: {shown}", f"If-Range: {shown}"), "GET"),
                    (f"/download?token={token}", (f"Cookie: t={token}", f"X-Forwarded-For: {token}"), "GET"),
                    (f"/readyz?token={shown}", (), "GET"),
                ]
            )
            assert client.get(target, *fields, method=method).status < 600, number
    for token in secrets:
        for data in (
            f"GET /download?token={token} HTTP/9.9\r\n\r\n",
            f"{token} /download HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET /download?token={token} HTTP/1.1\r\nHost: x\r\n{token}\r\n\r\n",
            f"GET /download?token={token} HTTP/1.1\r\nHost: x\r\nContent-Length: {token}\r\n\r\n",
            f"GET /download?token={token} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{token}",
            f"GET /download?token={token}\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET /download/{token}/a\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET /download/{token}/a HTTP/9.9\r\n\r\n",
            f"GET /download?token={token} HTTP/1.1\r\nHost: x\r\nX: {token * 400}\r\n\r\n",
        ):
            plane.exchange(data.encode())
    plane.get("/healthz", "User-Agent: the-last-one")
    wait_until(lambda: "the-last-one" in plane.log.read_text(), "all was logged")
    log = plane.log.read_text()
    assert len(log.splitlines()) > 1000
    assert leaks(log, secrets) == []
    assert leaks(plane.workers[0].errors.read_text(), secrets) == []
    assert leaks(dump(plane.store), secrets) == []


def dump(store: redis.Redis) -> str:
    """Every key and value, a line each."""
    lines = []
    for key in store.scan_iter(count=1000):
        kind = store.type(key)
        value: object = None
        if kind == b"string":
            value = store.get(key)
        elif kind == b"hash":
            value = store.hgetall(key)
        elif kind == b"stream":
            value = store.xrange(key)
        else:
            raise AssertionError(kind)
        lines.append(f"{key!r} {value!r}")
    assert lines
    return "\n".join(lines)


def test_the_log_is_json_whatever_is_sent(plane: Plane) -> None:
    """No field of a request breaks out of its line."""
    with plane.connect() as client:
        for text in ('"}', "\\", '\\"', "é", "\u2028", "\udcff", "%0d%0a", "a\tb", "{}", "\x7f"[:0] + "'"):
            client.send(
                request(f"/x{quote(text, errors='surrogateescape')}", f"User-Agent: {text}", f"Range: {text}")
            )
            client.read()
        client.get("/y", "User-Agent: end-of-test")
    wait_until(lambda: "end-of-test" in plane.log.read_text(), "all was logged")
    for entry in plane.entries():
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])
        assert entry["client"] == "127.0.0.1"
        assert isinstance(entry["status"], int)


@pytest.mark.parametrize("delivery", ["stream", "redirect"])
def test_no_key_of_a_bucket_is_logged_or_stored(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, delivery: str
) -> None:
    """No key, session token, signature or presigned URL in a log, whether requests are served or fail."""
    bucket = s3_server.make_bucket()
    secrets = {"secret_key": "bad-secret-3c9f1e", "session_token": "bad-session-77ab02"}
    tables = {
        "main": s3_server.table(bucket, delivery=delivery),
        "refused": s3_server.table(bucket, delivery=delivery, **secrets),
    }
    backend = Objects(s3_server, bucket)
    handed = []
    with run_plane(tmp_path_factory.mktemp("secrets"), backend, storage=tables, log_level="debug") as plane:
        plane.expected += ["is missing", "is refused"]
        good, gone = plane.publish(b"x" * 100_000), plane.publish(b"gone")
        plane.remove(gone)
        file = replace(good.file, storage="refused")
        refused = Published(Manifest("refused", "1.0", (file,)), [])
        plane.store.set(f"dg:manifest:{{{refused.manifest.digest}}}", refused.manifest.text)
        statuses = []
        for published in (good, gone, refused):
            for method in ("GET", "HEAD"):
                answer = plane.get(plane.link(published), method=method)
                statuses.append(answer.status)
                handed.append(answer.get("Location") or "")
                assert not any(secret in answer.body.decode("latin-1") for secret in secrets.values())
        assert statuses == [302 if delivery == "redirect" else 200, 200, 502, 502, 502, 502]
        plane.get("/healthz", "User-Agent: the-last-one")
        wait_until(lambda: "the-last-one" in plane.log.read_text(), "all was logged")
        texts = [plane.log.read_text(), plane.workers[0].errors.read_text(), dump(plane.store)]
    telling = [*secrets.values(), s3_server.secret_key, s3_server.access_key, quote(s3_server.access_key, "")]
    for text in texts:
        assert [word for word in (*telling, "X-Amz-", "AWS4-HMAC") if word in text] == []
    assert any(handed) == (delivery == "redirect")
    assert not any(secret in url for url in handed for secret in (*secrets.values(), s3_server.secret_key))
