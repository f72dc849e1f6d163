"""Ways to reach the store: TCP, a unix socket, TLS, users and databases; and what is no store."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.support.certificates import make_certificate
from tests.support.plane import Plane
from tests.support.ports import reserve_port
from tests.support.store_server import AWAY, StoreServer
from tests.support.waiting import wait_until


@pytest.fixture
def tcp_store(tmp_path: Path) -> Iterator[tuple[StoreServer, int]]:
    """A store on TCP with a password, a user and several databases."""
    folder = tmp_path / "tcp"
    folder.mkdir()
    with reserve_port() as port:
        server = StoreServer(folder, ("--port", str(port), "--bind", "127.0.0.1"))
        server.start()
        with redis.Redis(unix_socket_path=str(server.socket)) as client:
            client.config_set("requirepass", "s3cret/word")
            client.close()
        yield server, port
        server.stop()


def run_with(tmp_path: Path, url: str, own_url: str, check: Callable[[Plane], None]) -> None:
    folder = tmp_path / f"plane-{time.monotonic_ns()}"
    folder.mkdir()
    plane = Plane(folder, url, {"own_url": own_url, "patience": 1})  # some of these are never connected
    try:
        plane.start()
        check(plane)
        plane.stop()
        for worker_errors in folder.glob("*.err"):
            assert "s3cret" not in worker_errors.read_text()
    finally:
        plane.kill()


def serves_limited(plane: Plane) -> None:
    wait_until(lambda: plane.get("/readyz").status == 200, "it is connected")
    target = plane.link(plane.publish(b"x" * 100), maximum=1)
    assert [plane.get(target).status for _ in range(2)] == [200, 403]


@pytest.mark.parametrize("database", [0, 3])
@pytest.mark.parametrize("way", ["tcp", "user", "unix"])
def test_auth_and_select(tmp_path: Path, tcp_store: tuple[StoreServer, int], way: str, database: int) -> None:
    server, port = tcp_store
    own = f"redis://:s3cret%2Fword@127.0.0.1:{port}/{database}"
    url = {
        "tcp": own,
        "user": f"redis://default:s3cret%2Fword@localhost:{port}/{database}",
        "unix": f"unix://:s3cret%2Fword@{server.socket}?db={database}",
    }[way]
    run_with(tmp_path, url, own, serves_limited)


@pytest.mark.parametrize("credentials", [":wr0ng@", ""])
def test_wrong_passwords(tmp_path: Path, tcp_store: tuple[StoreServer, int], credentials: str) -> None:
    _, port = tcp_store

    def check(plane: Plane) -> None:
        plane.expected += AWAY
        answer = plane.get(plane.link(plane.publish(b"x")))
        assert (answer.status, answer.code) == (503, "store_unavailable")
        assert plane.get("/readyz").status == 503
        text = plane.workers[0].errors.read_text()
        assert "WRONGPASS" in text or "NOAUTH" in text
        assert "wr0ng" not in text
        assert text.count("the store is away") == 1  # not once an attempt

    run_with(
        tmp_path, f"redis://{credentials}127.0.0.1:{port}", f"redis://:s3cret%2Fword@127.0.0.1:{port}", check
    )


class TLSProxy:
    """TLS in front of a server that has none."""

    def __init__(self, folder: Path, target: str) -> None:
        self.certificate, key = make_certificate(folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain, socket.socket(socket.AF_UNIX) as inner:
            client = self._context.wrap_socket(plain, server_side=True)
            inner.connect(self._target)
            back = threading.Thread(target=self._copy, args=(inner, client), daemon=True)
            back.start()
            self._copy(client, inner)
            client.close()
            back.join(2)

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.slow
def test_tls(tmp_path: Path, own_store: StoreServer) -> None:
    proxy = TLSProxy(tmp_path, str(own_store.socket))
    try:
        url = f"rediss://localhost:{proxy.port}?ssl_ca_certs={proxy.certificate}"
        run_with(tmp_path, url, own_store.url, serves_limited)
        run_with(
            tmp_path, f"rediss://127.0.0.1:{proxy.port}?ssl_cert_reqs=none", own_store.url, serves_limited
        )

        def refuses(plane: Plane) -> None:
            plane.expected += AWAY
            assert plane.get(plane.link(plane.publish(b"x"))).status == 503

        run_with(
            tmp_path, f"rediss://localhost:{proxy.port}", own_store.url, refuses
        )  # nobody vouches for it
    finally:
        proxy.close()


def test_a_store_that_is_none(tmp_path: Path, own_store: StoreServer) -> None:
    """Something else answers where the store should be."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def babble() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                link, _ = listener.accept()
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                link.close()

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()

    def refuses(plane: Plane) -> None:
        plane.expected += [*AWAY, "not a Redis reply"]
        assert plane.get(plane.link(plane.publish(b"x"))).status == 503

    try:
        run_with(tmp_path, f"redis://127.0.0.1:{listener.getsockname()[1]}", own_store.url, refuses)
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
