"""What is charged of a limit behind a real nginx, with the examples of config/nginx as they are."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from gateway.cli.checks import Level
from gateway.cli.checks.proxy import Target, check_proxy
from tests.support.downloads import publish, table
from tests.support.faulty_bucket import Upstream
from tests.support.nginx import CONTENT, Nginx, publish_as
from tests.support.range_cases import FRONT_PROXY_FIELDS, FRONT_PROXY_SIZE, apart, file_bytes
from tests.support.waiting import wait_until

BOTH = pytest.mark.parametrize("example", ["auth_request.conf", "proxy.conf"])


@BOTH
def test_an_object_is_sent_by_the_gateway(start_nginx: Callable[..., Nginx], example: str) -> None:
    with Upstream() as upstream:
        nginx = start_nginx(example, storage={"s3": table(upstream)})
        link = nginx.plane.link(publish(nginx.plane, upstream.put("kit.bin", CONTENT)), maximum=1)
        assert nginx.get(link, "Range: bytes=0-99999").body == CONTENT[:100_000]
        rest = nginx.get(link, "Range: bytes=100000-")
        assert (rest.status, rest.body) == (206, CONTENT[100_000:])
        wait_until(lambda: nginx.plane.charged(link) == len(CONTENT), "all is charged once")
        refused = nginx.get(link)
        assert (refused.status, refused.code) == (403, "limit_reached")


@BOTH
def test_a_used_up_limit(start_nginx: Callable[[str], Nginx], example: str) -> None:
    nginx = start_nginx(example)
    published = nginx.plane.publish(CONTENT)
    link = nginx.plane.link(published, maximum=1)
    assert nginx.get(link, method="HEAD").status == 200
    assert nginx.get(link, "Range: bytes=0-99999").body == CONTENT[:100_000]
    assert nginx.get(link, "Range: bytes=100000-").body == CONTENT[100_000:]
    assert nginx.plane.charged(link) == len(CONTENT)
    refused = nginx.get(link)
    assert (refused.status, refused.code) == (403, "limit_reached")


def test_a_file_that_nginx_cannot_find_is_no_second_charge(start_nginx: Callable[[str], Nginx]) -> None:
    """The folder in nginx's configuration is not the gateway's: seen at once, and charged once."""
    nginx = start_nginx("auth_request.conf")
    link = nginx.plane.link(publish_as(nginx.plane, "link/file.bin"), maximum=2)
    (nginx.plane.root / "link").rename(nginx.plane.root / "elsewhere")
    (nginx.plane.root / "link").symlink_to("elsewhere")  # the gateway follows it, nginx is configured not to
    assert nginx.get(link).status == 502
    assert nginx.plane.charged(link) == len(CONTENT)


@pytest.mark.parametrize("limit", ["max_ranges 256;", ""], ids=["as in the example", "any number of ranges"])
def test_nginx_sends_no_more_than_is_charged(start_nginx: Callable[..., Nginx], limit: str) -> None:
    """It does not merge ranges, so that it sends a byte as often as it is asked for."""
    nginx = start_nginx("auth_request.conf", changes={"max_ranges 256;": limit})
    published = nginx.plane.publish(os.urandom(FRONT_PROXY_SIZE))
    link = nginx.plane.link(published, maximum=1000)
    for fields in FRONT_PROXY_FIELDS:
        before = nginx.plane.charged(link)
        answer = nginx.get(link, *fields)
        charged = nginx.plane.charged(link) - before
        sent = file_bytes(answer["Content-Type"], answer.body) if answer.status in (200, 206) else 0
        assert sent <= charged <= FRONT_PROXY_SIZE, (fields, answer.status)
        assert charged in (FRONT_PROXY_SIZE, sent) or answer.status not in (200, 206), fields
    before = nginx.plane.charged(link)
    assert nginx.get(link, *FRONT_PROXY_FIELDS[0]).status == 206
    assert nginx.plane.charged(link) - before == 16 * 62_500
    before = nginx.plane.charged(link)
    assert nginx.get(link, f"Range: {apart(255)}").status == 206  # as zchunk asks
    assert nginx.plane.charged(link) - before == 255


@pytest.mark.parametrize(("limit", "level"), [("256", Level.OK), ("16", Level.FAIL), ("255", Level.FAIL)])
def test_check_sees_an_nginx_that_sends_the_whole_file_for_ranges_that_were_paid(
    start_nginx: Callable[..., Nginx], limit: str, level: Level
) -> None:
    nginx = start_nginx("auth_request.conf", changes={"max_ranges 256;": f"max_ranges {limit};"})
    published = nginx.plane.publish(CONTENT)
    target = Target("http://{}:{}".format(*nginx.address), published.file, nginx.plane.token(published))
    findings = {each.subject: each.level for each in check_proxy(target)}
    assert findings.pop("proxy ranges") is level
    assert set(findings.values()) == {Level.OK}, findings


def test_a_client_that_vanishes_behind_nginx_gets_its_bytes_back(start_nginx: Callable[[str], Nginx]) -> None:
    nginx = start_nginx("proxy.conf")
    size = 64 << 20
    link = nginx.plane.link(nginx.plane.publish(b"", sparse=size), maximum=1)
    client = nginx.connect(receive_buffer=65536)
    client.send(f"GET {link} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    client.read_head()
    client.read_bytes(1 << 20)
    client.reset()
    wait_until(lambda: nginx.plane.charged(link) < size // 2, "the rest is refunded")
