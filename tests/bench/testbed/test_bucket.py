"""The bucket, and nginx before it: real programs, small files."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import WrongAnswers
from bench.peers import PEERS, Kind, Options, Server
from bench.peers.checks import expect, expect_whole
from bench.scenarios import SCENARIOS
from bench.testbed.bucket import STORAGE
from bench.testbed.machine import Cores, find_redis, tool_path
from bench.testbed.testbed import SMALL, Ground

pytestmark = pytest.mark.skipif(not (tool_path("nginx") and find_redis()), reason="needs nginx and Redis")


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with Ground(Cores.divide(), tokens=1, scratch=tmp_path) as ground:
        ground.path(SMALL)
        yield ground


def start(ground: Ground, name: str) -> Server:
    return PEERS[name].start(ground, ground.crew, Options(ground.cores.server, bulk=True, bucket=True))


def fetch(ground: Ground, method: str, fields: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", ground.bucket().port, timeout=20)
    link.request(method, f"/bucket/{SMALL}", headers=fields)
    answer = link.getresponse()
    body = answer.read()
    link.close()
    return answer, body


def test_the_bucket_answers_as_object_storages_do(ground: Ground) -> None:
    content = ground.path(SMALL).read_bytes()
    head, _ = fetch(ground, "HEAD", {})
    etag = head.getheader("ETag")
    assert etag
    assert head.getheader("Content-Length") == str(len(content))
    part, body = fetch(ground, "GET", {"Range": "bytes=10-19", "If-Match": etag})
    assert (part.status, part.getheader("ETag"), body) == (206, etag, content[10:20])
    assert part.getheader("Content-Range") == f"bytes 10-19/{len(content)}"
    assert fetch(ground, "GET", {"If-Match": '"other"'})[0].status == 412


def test_an_object_of_the_bucket_is_published_by_its_address(ground: Ground) -> None:
    settings = ground.bucket().settings
    added = ground.command("product", "add", "kit", "1", f"s3://{STORAGE}/{SMALL}", settings=settings)
    assert added["manifest"]


@pytest.mark.parametrize("name", ["nginx-proxy", "nginx-cache"])
def test_nginx_passes_an_object_on(ground: Ground, name: str) -> None:
    server = start(ground, name)
    path = ground.path(SMALL)
    request = server.request(Kind.DOWNLOAD, "ct_any", SMALL)
    expect_whole(server, request, path)
    expect(server, server.request(Kind.DOWNLOAD, "ct_any", SMALL, {"Range": "bytes=5-9"}), 206, path, (5, 10))


@pytest.mark.parametrize(("name", "keeps"), [("nginx-proxy", False), ("nginx-cache", True)])
def test_only_a_cache_answers_without_the_bucket(ground: Ground, name: str, keeps: bool) -> None:
    server = start(ground, name)
    request = server.request(Kind.DOWNLOAD, "ct_any", SMALL)
    expect_whole(server, request, ground.path(SMALL))
    ground.bucket().program.stop()
    if keeps:
        expect_whole(server, request, ground.path(SMALL))
    else:
        with pytest.raises(WrongAnswers, match="502"):
            expect_whole(server, request, ground.path(SMALL))


def test_other_bytes_are_found_out(ground: Ground, tmp_path: Path) -> None:
    server = start(ground, "nginx-proxy")
    request = server.request(Kind.DOWNLOAD, "ct_any", SMALL)
    content = ground.path(SMALL).read_bytes()
    other = tmp_path / "other"
    for text in (content[:-1], content + b"\0", content[:-1] + b"\0", b""):
        other.write_bytes(text)
        with pytest.raises(WrongAnswers, match="other bytes"):
            expect_whole(server, request, other)


def test_who_serves_no_files_takes_part_where_it_is_named() -> None:
    for scenario in SCENARIOS:
        takes_part = {name for name in ("nginx-proxy", "nginx-cache") if scenario.includes(name)}
        assert bool(takes_part) is scenario.name.startswith("object")
