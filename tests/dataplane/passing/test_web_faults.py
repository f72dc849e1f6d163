"""A web process that does not do its part."""

from __future__ import annotations

import socket
import threading

import pytest

from gateway.cli.checks.proxy import check_hooks
from tests.support.http_client import request
from tests.support.passing import OK, entry_of, post
from tests.support.plane import Plane
from tests.support.web_stand_in import Taken, WebStandIn, answering


@pytest.mark.parametrize("path", ["/hooks/nobody", "/my/nobody"])
def test_without_the_web_process_it_is_503(plane: Plane, path: str) -> None:
    with plane.connect() as client:
        client.send(post(path, b"hello"))
        answer = client.read()
        assert (answer.status, answer.code) == (503, "web_unavailable")
        assert int(answer["Retry-After"]) > 0
    assert entry_of(plane, path)["code"] == "web_unavailable"
    assert "does not reach" in check_hooks("http://{}:{}".format(*plane.address)).text
    page = plane.get("/my", "Accept: text/html")
    assert (page.status, page["Content-Type"]) == (503, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"nonsense\r\n\r\n", b"HTTP/1.1 101 X\r\n\r\n"]
)
def test_an_answer_that_never_was_one_is_503(plane: Plane, web: WebStandIn, answer: bytes) -> None:
    web.script = answering(answer)
    with plane.connect() as client:
        client.send(post("/hooks/a", b"hello"))
        refused = client.read()
        assert (refused.status, refused.code, refused.keeps) == (503, "web_unavailable", True)
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 5\r\n\r\nhel",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\nzz\r\n",
    ],
)
def test_an_answer_that_is_cut_off_breaks_the_connection(
    plane: Plane, web: WebStandIn, answer: bytes
) -> None:
    begun = threading.Event()

    def in_two_parts(taken: Taken) -> None:
        taken.read()
        head, _, body = answer.partition(b"\r\n\r\n")
        taken.send(head + b"\r\n\r\n")
        assert begun.wait(60)  # else it would be 503, where worker and client have nothing of it yet
        taken.send(body)

    web.script = in_two_parts
    path = f"/my/cut-{len(answer)}"
    with plane.connect() as client:
        client.send(request(path))
        received = client.socket.recv(1)
        begun.set()
        received += client.read_until_closed()
        assert received.startswith(OK)
        assert not received.endswith(b"0\r\n\r\n")
    entry = entry_of(plane, path)
    assert (entry["status"], entry["whole"]) == (200, False)


def test_what_waits_for_the_web_process_is_answered_when_it_accepts(plane: Plane) -> None:
    path = plane.folder / "data" / "web.sock"
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.bind(str(path))
        waiting.listen(8)  # nobody accepts: the process is being started again
        with plane.connect() as client:
            client.send(post("/hooks/a", b"hello"))
            waiting.settimeout(60)
            link, _ = waiting.accept()
            with link:
                taken = Taken(link)
                assert taken.read() == b"hello"
                taken.send(OK + b"Content-Length: 0\r\n\r\n")
                assert client.read().status == 200
    path.unlink()
