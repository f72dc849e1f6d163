"""The bucket, and nginx before it: real programs with small files."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import WrongResponse
from bench.peers import PEERS, RequestKind, Server, StartOptions
from bench.peers.checks import expect, expect_whole
from bench.scenarios import SCENARIOS
from bench.testbed.bucket import STORAGE
from bench.testbed.machine import Cores, find_redis, tool_path
from bench.testbed.testbed import SMALL, Testbed

pytestmark = pytest.mark.skipif(not (tool_path("nginx") and find_redis()), reason="needs nginx and Redis")


@pytest.fixture
def testbed(tmp_path: Path) -> Iterator[Testbed]:
    with Testbed(Cores.divide(), tokens=1, scratch=tmp_path) as testbed:
        testbed.path(SMALL)
        yield testbed


def start(testbed: Testbed, name: str) -> Server:
    return PEERS[name].start(
        testbed, testbed.processes, StartOptions(testbed.cores.server, bulk=True, bucket=True)
    )


def fetch(testbed: Testbed, method: str, fields: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", testbed.bucket().port, timeout=20)
    connection.request(method, f"/bucket/{SMALL}", headers=fields)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_the_bucket_answers_as_object_storages_do(testbed: Testbed) -> None:
    content = testbed.path(SMALL).read_bytes()
    head, _ = fetch(testbed, "HEAD", {})
    etag = head.getheader("ETag")
    assert etag
    assert head.getheader("Content-Length") == str(len(content))
    part, body = fetch(testbed, "GET", {"Range": "bytes=10-19", "If-Match": etag})
    assert (part.status, part.getheader("ETag"), body) == (206, etag, content[10:20])
    assert part.getheader("Content-Range") == f"bytes 10-19/{len(content)}"
    assert fetch(testbed, "GET", {"If-Match": '"other"'})[0].status == 412


@pytest.mark.slow
def test_an_object_of_the_bucket_is_published_by_its_address(testbed: Testbed) -> None:
    settings = testbed.bucket().settings
    added = testbed.command("product", "add", "kit", "1", f"s3://{STORAGE}/{SMALL}", settings=settings)
    assert added["manifest"]


@pytest.mark.parametrize("name", ["nginx-proxy", "nginx-cache"])
def test_nginx_passes_an_object_on(testbed: Testbed, name: str) -> None:
    server = start(testbed, name)
    path = testbed.path(SMALL)
    request = server.request(RequestKind.DOWNLOAD, "ct_any", SMALL)
    expect_whole(server, request, path)
    expect(
        server,
        server.request(RequestKind.DOWNLOAD, "ct_any", SMALL, {"Range": "bytes=5-9"}),
        206,
        path,
        (5, 10),
    )


@pytest.mark.parametrize(("name", "keeps"), [("nginx-proxy", False), ("nginx-cache", True)])
def test_only_a_cache_answers_without_the_bucket(testbed: Testbed, name: str, keeps: bool) -> None:
    server = start(testbed, name)
    request = server.request(RequestKind.DOWNLOAD, "ct_any", SMALL)
    expect_whole(server, request, testbed.path(SMALL))
    testbed.bucket().program.stop()
    if keeps:
        expect_whole(server, request, testbed.path(SMALL))
    else:
        with pytest.raises(WrongResponse, match="502"):
            expect_whole(server, request, testbed.path(SMALL))


def test_other_bytes_are_noticed(testbed: Testbed, tmp_path: Path) -> None:
    server = start(testbed, "nginx-proxy")
    request = server.request(RequestKind.DOWNLOAD, "ct_any", SMALL)
    content = testbed.path(SMALL).read_bytes()
    other = tmp_path / "other"
    for text in (content[:-1], content + b"\0", content[:-1] + b"\0", b""):
        other.write_bytes(text)
        with pytest.raises(WrongResponse, match="other bytes"):
            expect_whole(server, request, other)


def test_a_peer_without_files_takes_part_only_where_a_scenario_names_it() -> None:
    for scenario in SCENARIOS:
        takes_part = {name for name in ("nginx-proxy", "nginx-cache") if scenario.includes(name)}
        assert bool(takes_part) is scenario.name.startswith("object")
