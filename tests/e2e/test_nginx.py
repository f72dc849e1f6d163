"""The examples of config/nginx, as they are, in a real nginx before a real worker."""

from __future__ import annotations

import json
import os
import time
from base64 import b64encode
from collections.abc import Callable

import pytest

from gateway.runtime.metrics import BYTES_SENT
from tests.support.http_client import request
from tests.support.link_forms import LINKS, link_forms
from tests.support.nginx import CONTENT, Nginx, publish_as
from tests.support.store_server import StoreServer
from tests.support.timing import lasts
from tests.support.waiting import wait_until
from tests.support.web_stand_in import WebStandIn

BOTH = pytest.mark.parametrize("example", ["auth_request.conf", "proxy.conf"])


@BOTH
def test_a_file_whole_in_parts_and_resumed(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    published = nginx.plane.publish(CONTENT, names=['Épic "Kit".zip'])
    link = nginx.plane.link(published)
    with nginx.connect() as client:  # one connection, kept alive
        whole = client.get(link, "Forwarded: for=6.6.6.6")
        assert (whole.status, whole.body) == (200, CONTENT)
        assert whole["ETag"] == published.etag

        head = client.get(link, method="HEAD")
        assert (head.status, head["Content-Length"]) == (200, str(len(CONTENT)))

        part = client.get(link, "Range: bytes=100000-199999")
        assert (part.status, part.body) == (206, CONTENT[100_000:200_000])
        assert part["Content-Range"] == f"bytes 100000-199999/{len(CONTENT)}"

        resumed = client.get(link, "Range: bytes=299000-", f"If-Range: {published.etag}")
        assert (resumed.status, resumed.body) == (206, CONTENT[299_000:])

        changed = client.get(link, "Range: bytes=299000-", 'If-Range: "another"')
        assert (changed.status, changed.body) == (200, CONTENT)

        several = client.get(link, "Range: bytes=0-99,1000-1099")
        assert several.status == 206
        assert several["Content-Type"].startswith("multipart/byteranges; boundary=")
        assert CONTENT[:100] in several.body
        assert CONTENT[1000:1100] in several.body

        beyond = client.get(link, "Range: bytes=300000-")
        assert (beyond.status, beyond["Content-Range"]) == (416, "bytes */300000")


def test_nginx_answers_with_the_fields_of_the_gateway_and_sends_the_bytes(
    start_nginx: Callable[[str], Nginx],
) -> None:
    nginx = start_nginx("auth_request.conf")
    link = nginx.plane.link(publish_as(nginx.plane, 'Épic "Kit".zip'))
    direct = nginx.plane.get(link)
    counters = nginx.plane.workers[0].counters
    sent = wait_until(lambda: counters.values()[BYTES_SENT], "the first answer is counted")
    answer = nginx.get(link)
    assert answer.body == CONTENT
    assert nginx.plane.workers[0].counters.values()[BYTES_SENT] == sent
    missing = {name.lower() for name, _ in direct.lines} - {name.lower() for name, _ in answer.lines}
    assert missing == {"repr-digest"}
    own = {"date", "connection", "server"}
    differing = [
        name for name, value in answer.lines if name.lower() not in own and direct.get(name) != value
    ]
    assert differing == []


def test_keys_of_every_kind(start_nginx: Callable[[str], Nginx]) -> None:
    nginx = start_nginx("auth_request.conf")
    for key in (
        "a b.bin",
        "höhe/日本.bin",
        "100%.bin",
        "%41.bin",
        "what?.bin",
        "a#b.bin",
        "$root.bin",
        "x/y z/q",
    ):
        link = nginx.plane.link(publish_as(nginx.plane, key))
        sent = nginx.plane.workers[0].counters.values()[BYTES_SENT]
        assert nginx.get(link).body == CONTENT, key
        assert nginx.plane.workers[0].counters.values()[BYTES_SENT] == sent, key


def test_a_key_that_no_field_can_hold_is_sent_by_the_gateway(start_nginx: Callable[[str], Nginx]) -> None:
    nginx = start_nginx("auth_request.conf")
    answer = nginx.get(nginx.plane.link(publish_as(nginx.plane, "a\r\nX-Gateway-Key: 1-0")))
    assert (answer.status, answer.body) == (200, CONTENT)


@BOTH
def test_refusals_keep_their_status_and_fields(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    published = nginx.plane.publish(CONTENT)
    link = nginx.plane.link(published)

    missing = nginx.get("/download")
    assert (missing.status, missing.code) == (401, "token_missing")
    assert missing["WWW-Authenticate"] == 'Bearer realm="downloads"'

    unknown = nginx.get("/download?token=ct_" + "x" * 43)
    assert (unknown.status, unknown.code) == (403, "token_invalid")

    page = nginx.get("/download?token=ct_" + "x" * 43, "Accept: text/html")
    assert (page.status, page["Content-Type"]) == (403, "text/html; charset=utf-8")

    nowhere = nginx.get(link.replace("/download", "/download/other.bin"))
    assert (nowhere.status, nowhere.code) == (404, "file_not_found")

    method = nginx.get(link, "Content-Length: 0", method="POST")
    assert (method.status, method["Allow"]) == (405, "GET, HEAD")

    twice = nginx.get(link, "Authorization: Bearer ct_" + "x" * 43)
    assert (twice.status, twice.code) == (400, "bad_request")

    nginx.plane.expected.append(published.file.key)
    published.path.unlink()
    gone = nginx.get(link)
    assert (gone.status, gone.code) == (502, "storage_failed")


@pytest.mark.timing
@BOTH
def test_the_store_is_down(start_nginx: Callable[[str], Nginx], own_store: StoreServer, example: str) -> None:
    nginx = start_nginx(example)
    link = nginx.plane.link(nginx.plane.publish(CONTENT))
    nginx.plane.expected.append("store")
    own_store.stop()
    with lasts(most=3):
        refused = nginx.get(link)
    assert (refused.status, refused.code) == (503, "store_unavailable")
    assert int(refused["Retry-After"]) > 0


@BOTH
def test_an_index_of_several_files(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    published = nginx.plane.publish(b"one", b"two", names=["one.txt", "deep/two.txt"])
    link = nginx.plane.link(published, maximum=1)
    listed = json.loads(nginx.get(link, "Accept: application/json").body)["files"]
    assert [file["name"] for file in listed] == ["one.txt", "deep/two.txt"]
    assert [nginx.get(file["url"]).body for file in listed] == [b"one", b"two"]
    assert nginx.get(link, "Accept: text/html")["Content-Type"] == "text/html; charset=utf-8"


@BOTH
def test_links_with_the_token_in_the_path_and_with_something_glued(
    start_nginx: Callable[[str], Nginx], example: str
) -> None:
    """And no log has the token, in whatever form the link came: see `start_nginx`."""
    nginx = start_nginx(example)
    published = nginx.plane.publish(CONTENT, names=["kit 1.zip"])
    token = nginx.plane.token(published)
    with nginx.connect() as client:
        for target in link_forms(token):
            answer = client.get(target, "Range: bytes=5-9")
            assert (answer.status, answer.body) == (206, CONTENT[5:10]), target
        client.get(f"/elsewhere/{token}")
        client.get(f"/download/{token}/{token}")
    paths = [entry["path"] for entry in nginx.entries(len(LINKS) + 2)]
    assert paths[0] == "/download/[secret]/kit%201.zip"
    assert paths[3] == "/download/[secret]/kit%201.zip"
    assert paths[-2:] == ["/elsewhere/[secret]", "[two tokens]"]


@BOTH
def test_the_token_as_a_password(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    token = nginx.plane.token(nginx.plane.publish(CONTENT))
    field = f"Authorization: Basic {b64encode(f'any:{token}'.encode()).decode()}"
    answer = nginx.get("/download", field, "Range: bytes=5-9")
    assert (answer.status, answer.body) == (206, CONTENT[5:10])
    challenges = [
        value
        for name, value in nginx.get("/download", "User-Agent: Wget/1").lines
        if name == "WWW-Authenticate"
    ]
    schemes = [value.partition(" ")[0] for value in challenges]
    assert schemes[0] == "Bearer"
    assert schemes[1:] == ["Basic"] or example == "auth_request.conf"  # nginx before 1.23 passes one on


@BOTH
def test_a_token_as_a_bearer(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    token = nginx.plane.token(nginx.plane.publish(CONTENT))
    assert nginx.get("/download", f"Authorization: Bearer {token}").body == CONTENT


@BOTH
def test_webhooks_and_pages_reach_the_web_process(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    body = os.urandom(200_000)
    with WebStandIn(nginx.plane.folder / "data" / "web.sock") as web, nginx.connect() as client:
        client.send(request("/hooks/a/secret", f"Content-Length: {len(body)}", method="POST") + body)
        assert (client.read().status, web.taken[0].body) == (200, body)
        for target in ("/my", "/my/orders?x=1", "/.well-known/jwks.json"):
            assert client.get(target, "X-Forwarded-For: 203.0.113.9").status == 200
        assert client.get("/hooks/../api/orders").status == 404
    assert [each.split(b" ")[1] for each in web.heads] == [
        b"/hooks/a/secret", b"/my", b"/my/orders?x=1", b"/.well-known/jwks.json",
    ]  # fmt: skip
    assert all(b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in each for each in web.heads[:1])
    assert nginx.entries(5)[0]["path"] == "/hooks/a/[secret]"
    answer = nginx.get("/hooks/a")
    assert (answer.status, answer.code, answer["Retry-After"]) == (503, "web_unavailable", "5")


@BOTH
def test_nothing_else_is_reached_from_outside(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    link = nginx.plane.link(nginx.plane.publish(CONTENT))
    for target in ("/auth", "/_gateway/auth", "/healthz", "/metrics", "/1-0", "/"):
        assert nginx.get(target, f"X-Original-URI: {link}").status == 404
    assert nginx.get("/download", f"X-Original-URI: {link}").status == 401
    assert nginx.get("/download/../1-0").status == 404


@BOTH
def test_logs_name_the_client_and_no_token(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    link = nginx.plane.link(nginx.plane.publish(CONTENT))
    nginx.get(
        link.replace("/download", "/download/file-0.bin"), "X-Forwarded-For: 192.0.2.7", f"Referer: {link}"
    )
    nginx.get("/download/../auth" + link, f"Authorization: Bearer {link[-46:]}")
    nginx.get(link + "%zz")
    [first, *_] = nginx.entries(3)
    assert (first["method"], first["path"], first["status"]) == ("GET", "/download/file-0.bin", 200)
    assert first["sent"] == len(CONTENT)
    wait_until(lambda: bool(nginx.plane.log.exists() and nginx.plane.entries()), "the gateway has logged")
    assert nginx.plane.entries()[0]["client"] == "192.0.2.7"


@BOTH
def test_the_gateway_is_down(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    link = nginx.plane.link(nginx.plane.publish(CONTENT))
    nginx.plane.stop()
    assert nginx.get(link).status == 502


def test_a_slow_client_is_not_cut(start_nginx: Callable[[str], Nginx]) -> None:
    nginx = start_nginx("proxy.conf")
    size = 8 << 20
    link = nginx.plane.link(nginx.plane.publish(b"", sparse=size))
    with nginx.connect(receive_buffer=65536) as client:
        client.send(f"GET {link} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        client.read_head()
        got = 0
        for _ in range(4):
            got += len(client.read_bytes(100_000))
            time.sleep(0.5)
        assert got + len(client.read_bytes(size - got)) == size
