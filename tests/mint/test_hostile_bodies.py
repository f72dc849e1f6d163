"""Bodies of strangers: what they cost the mint service before their key is known."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress

import pytest

from bench.testbed.usage import resident_bytes
from tests.support.control_plane import ServiceProcess
from tests.support.timing import lasts

BODIES = 40
SENT = 4 << 20
MOST_BYTES = 48 << 20
HEAD = (
    b"POST /api/generate-download-url HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer gk_unknown\r\n"
    b"Content-Type: application/json\r\n"
)


@pytest.mark.alone
@pytest.mark.parametrize(
    "framing", [b"Content-Length: %d\r\n\r\n" % SENT, b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_forty_bodies_of_strangers_take_no_memory(service_process: ServiceProcess, framing: bytes) -> None:
    pid = service_process.process.pid
    before = most = resident_bytes(pid)
    chunk = b" " * 65536 if b"Length" in framing else b"10000\r\n" + b" " * 65536 + b"\r\n"
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", service_process.port), 10))
            for _ in range(BODIES)
        ]
        for client in clients:
            client.sendall(HEAD + framing)
        for _ in range(SENT // 65536):
            for client in clients:
                with suppress(OSError):  # it may have been closed: nobody waits for the rest
                    client.send(chunk, socket.MSG_DONTWAIT)
            most = max(most, resident_bytes(pid))
        answers = [client.recv(12) for client in clients]
    print(f"{BODIES} bodies: {(most - before) >> 10} KiB more")
    assert set(answers) == {b"HTTP/1.1 401"}
    assert most - before < MOST_BYTES


@pytest.mark.timing
def test_equal_names_do_not_hold_up_others(service_process: ServiceProcess) -> None:
    """64 KiB of them held the service for half a second."""
    body = b"{" + b",".join(b'"a":1' for _ in range(10_000)) + b"}"
    wrong = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", service_process.port), 10))
            for _ in range(10)
        ]
        for client in clients:
            client.sendall(wrong)
        begin = time.monotonic()
        with lasts(most=0.5):
            good = stack.enter_context(socket.create_connection(("127.0.0.1", service_process.port), 10))
            good.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert good.recv(12) == b"HTTP/1.1 200"
        print(f"beside 10 of them: {1000 * (time.monotonic() - begin):.1f} ms")
