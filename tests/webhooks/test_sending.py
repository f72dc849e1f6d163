"""One attempt against a real receiver, in every way in which it may fail; and to where nothing is sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks

from gateway.webhooks import sending
from gateway.webhooks.sending import Sender, encode_body
from gateway.webhooks.signing import new_secret
from tests.support.certificates import make_certificate
from tests.support.receiver import Receiver, run_receiver
from tests.support.waiting import until

SECRET = new_secret()
BODY = encode_body("webhook.test", 1_790_000_000_123, {"name": "ä\ud800"})
QUICK = 1.0
"""The time-out of those rows that end by it."""

FAILURES = [
    ("200", 200, None),
    ("204", 204, None),
    ("201\nRetry-After: 5", 201, None),
    ("301\nLocation: /other", 301, "which leads elsewhere"),
    ("302\nLocation: http://127.0.0.1:1/", 302, "which leads elsewhere"),
    ("307\nLocation: https://other.example/", 307, "which leads elsewhere"),
    ("308", 308, "which leads elsewhere"),
    ("304", 304, "which leads elsewhere"),
    ("400", 400, "it answered 400"),
    ("401\nWWW-Authenticate: Basic", 401, "it answered 401"),
    ("404", 404, "it answered 404"),
    ("410", 410, "its receiver is gone"),
    ("429\nRetry-After: 7", 429, "it answered 429"),
    ("500", 500, "it answered 500"),
    ("503\nRetry-After: 7", 503, "it answered 503"),
    ("close", None, "closed the connection without an answer"),
    ("garbage", None, "no HTTP"),
    ("endless head", None, "no HTTP"),
    ("silent", None, "did not answer within"),
    ("half head", None, "did not answer within"),
    ("hanging body", 200, None),
    ("huge body", 200, None),
]
"""How a receiver behaves, the status, and what is said."""


@pytest.mark.parametrize(("answer", "status", "why"), FAILURES)
async def test_how_receivers_fail(
    receiver: Receiver, answer: str, status: int | None, why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_quick = why is not None and "within" in why
    monkeypatch.setattr(sending, "TIMEOUT_SECONDS", QUICK if is_quick else 60.0)
    receiver.answers["/hook"] = answer
    async with Sender(allow_loopback=True) as sender:
        got = await sender.send(receiver.url(), [SECRET], "msg_1", BODY)
    assert got.status == status
    assert got.is_good is (why is None)
    if why is None:
        assert got.error is None
    else:
        assert why in (got.error or "")
        assert str(receiver.port) not in (got.error or "")
    assert got.retry_after == (
        7.0 if "7" in answer and status in (429, 503) else 5.0 if "201" in answer else None
    )
    # nothing is followed or repeated here; on a busy machine the time may be over before anything is sent
    assert len(receiver.received) in ((0, 1) if is_quick else (1,))


async def test_the_receiver_can_check_what_it_gets(receiver: Receiver) -> None:
    secrets = [SECRET, new_secret()]
    async with Sender(allow_loopback=True) as sender:
        answer = await sender.send(receiver.url("/hook?a=%2F&b=1"), secrets, "msg_1", BODY)
    assert answer.is_good
    [request] = receiver.received
    assert request.path == "/hook?a=%2F&b=1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "msg_1"
    assert request.headers["user-agent"].startswith("download-gateway/")
    assert "cookie" not in request.headers
    for secret in secrets:
        document = standardwebhooks.Webhook(secret).verify(request.body, request.headers)
        assert document["timestamp"] == "2026-09-21T14:13:20.123Z"
        assert set(document) == {"type", "timestamp", "data"}


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with Sender(allow_loopback=True) as sender:
            answer = await sender.send(f"http://127.0.0.1:{taken.getsockname()[1]}/", [SECRET], "m", BODY)
    assert answer.error == "it cannot be reached: the connection is refused"


async def test_a_certificate_must_be_valid(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with run_receiver(tls) as receiver:
        async with Sender(allow_loopback=True) as sender:
            refused = await sender.send(receiver.url(host="localhost"), [SECRET], "msg_1", BODY)
        trusting = ssl.create_default_context(cafile=str(certificate))
        trusting.check_hostname = False
        async with Sender(allow_loopback=True, tls=trusting) as sender:
            taken = await sender.send(receiver.url(host="localhost"), [SECRET], "msg_1", BODY)
    assert (refused.error or "").startswith("it cannot be reached: its certificate is not valid")
    assert taken.is_good
    assert len(receiver.received) == 1


async def test_plain_http_where_tls_is_expected() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Sender(allow_loopback=True) as sender:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        got = await sender.send(url, [SECRET], "msg_1", BODY)
    assert (got.error or "").startswith("it cannot be reached: TLS fails")


LookUp = Callable[[str, int, Any], list[dict[str, Any]]]


def answering(*turns: list[str]) -> LookUp:
    """A name server that answers with other addresses each time, the last ones for ever."""
    left = list(turns)

    def look_up(host: str, port: int, _family: object) -> list[dict[str, Any]]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            {"hostname": host, "host": each, "port": port, "family": socket.AF_INET6 if ":" in each
             else socket.AF_INET, "proto": 6, "flags": 0}
            for each in addresses
        ]  # fmt: skip

    return look_up


@pytest.mark.parametrize("allow_loopback", [False, True])
@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"], ["0.0.0.0"], ["10.0.0.1"], ["169.254.169.254"], ["100.64.0.1"], ["::1"], ["::"],
        ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["2002:7f00:1::"], ["fe80::1"], ["fd00::1"],
        ["127.0.0.1", "10.0.0.1", "::1"],
    ],
)  # fmt: skip
async def test_a_name_that_leads_into_a_private_network(
    receiver: Receiver, addresses: list[str], allow_loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where endpoints on this machine are allowed: only `localhost` may lead there."""
    monkeypatch.setattr(sending, "_look_up", answering(addresses))
    url = f"https://shop.example:{receiver.port}/hook"
    async with Sender(allow_loopback=allow_loopback) as sender:
        answer = await sender.send(url, [SECRET], "msg_1", BODY)
    assert answer.error == "its name leads to this machine or into a private network"
    assert receiver.opened == 0


async def test_localhost_leads_to_this_machine_only(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_look_up", answering(["93.184.215.14", "10.0.0.1"]))
    async with Sender(allow_loopback=True) as sender:
        answer = await sender.send(receiver.url(host="localhost"), [SECRET], "msg_1", BODY)
    assert "private network" in (answer.error or "")


async def test_a_name_that_leads_elsewhere_a_moment_later_gains_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: what was checked is connected to, and other addresses are left out."""
    monkeypatch.setattr(sending, "TIMEOUT_SECONDS", 60.0)
    connected: list[tuple[str, int]] = []
    monkeypatch.setattr(sending, "_look_up", answering(["203.0.114.1", "127.0.0.1"], ["127.0.0.1"]))

    async def connect(addr_infos: list[Any], **_: object) -> socket.socket:
        connected.extend(info[4][:2] for info in addr_infos)
        raise OSError(101, "no way")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    async with Sender() as sender:
        url = f"https://shop.example:{receiver.port}/hook"
        first = await sender.send(url, [SECRET], "msg_1", BODY)
        assert first.status is None
    async with Sender() as sender:
        second = await sender.send(url, [SECRET], "msg_1", BODY)
    assert connected == [("203.0.114.1", receiver.port)]
    assert "private network" in (second.error or "")
    assert receiver.opened == 0


async def test_a_url_that_is_not_allowed_any_more_is_not_asked(receiver: Receiver) -> None:
    """The setting was changed after the endpoint was made."""
    async with Sender() as sender:
        answer = await sender.send(receiver.url(), [SECRET], "msg_1", BODY)
    assert (answer.error or "").startswith("its URL must ")
    assert receiver.opened == 0


async def test_no_proxy_of_the_environment_is_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Sender(allow_loopback=True) as sender:
        assert (await sender.send(receiver.url(), [SECRET], "msg_1", BODY)).is_good


async def test_a_connection_is_closed_after_the_answer(receiver: Receiver) -> None:
    receiver.answers["/hook"] = "huge body"
    async with Sender(allow_loopback=True) as sender:
        for number in range(3):
            assert (await sender.send(receiver.url(), [SECRET], f"msg_{number}", BODY)).is_good
        await until(lambda: receiver.running == 0)
    assert receiver.opened == 3
