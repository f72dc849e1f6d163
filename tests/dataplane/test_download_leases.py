"""Workers that die or freeze in the middle of a download: the customer goes on at another worker.

Two planes of one worker each share a store and a storage, as two machines do. The clients stop reading, so
that the number of bytes sent stays the same.
"""

from __future__ import annotations

import os
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.runtime.metrics import DOWNLOADS_RUNNING
from gateway.secrets import token_id
from gateway.store.key_names import token_key
from gateway.store.scripts import CLAIM
from tests.support.bucket_objects import Pattern
from tests.support.certificates import make_certificate
from tests.support.downloads import IN_FLIGHT, publish, sum_sent, table
from tests.support.faulty_bucket import Upstream
from tests.support.http_client import Client, request
from tests.support.plane import Plane
from tests.support.publications import Published
from tests.support.store_server import StoreServer, send_signal
from tests.support.waiting import wait_until

SIZE = 40_000_000
TOLERANCE = SIZE // 2
"""What every token here has received before, so that it may receive exactly one file more."""
FIRST = 8_000_000
TIMES = (0.1, 0.1, 1.0)
NOTICES_SECONDS = 4.0
"""How long a frozen store is waited for, where a test freezes it; one that is only slow answers earlier."""
KINDS = ("plain", "parts", "tls", "object", "object-tls")
MAIN_KINDS = [
    pytest.param(kind, marks=() if kind in {"plain", "object"} else pytest.mark.slow) for kind in KINDS
]
"""For what each kind does in the same way once it has a lease."""
PARTS = "Range: bytes=0-9999999,15000000-39999999"


@dataclass
class Twins:
    """Two machines, and a version that both serve."""

    one: Plane
    other: Plane
    published: Published
    content: bytes | Pattern
    clients: list[Client] = field(default_factory=list)

    def begin(self, *fields: str, maximum: int = 1) -> Download:
        link = self.one.link(self.published, maximum)
        self.one.charge(link, TOLERANCE)
        client = self.one.connect(receive_buffer=65536)
        self.clients.append(client)
        client.send(request(link, *fields))
        client.read_head()
        return Download(self, link, client, client.read_bytes(FIRST))


@dataclass
class Download:
    """A download under way on the first machine."""

    twins: Twins
    link: str
    client: Client
    got: bytes

    @property
    def leases(self) -> list[str]:
        """Those that are not settled.

        The field of a settled lease stays, as "settled", when the reply to its last checkpoint was still to
        come. On a busy machine that happens to the other machine's download, too.
        """
        fields = self.twins.one.token_fields(self.link)
        return [value for name, value in fields.items() if name.startswith("lease:") and value != "settled"]

    @property
    def charged(self) -> int:
        return self.twins.one.charged(self.link) - TOLERANCE

    def wait_for_checkpoint(self) -> int:
        """Until what is leased stands still; the bytes."""
        before: list[str] = []

        def stands() -> bool:
            unsent = [lease.partition(":")[0] for lease in self.leases]
            changed = [*before]
            before[:] = self.leases
            renewed = bool(changed) and changed != before
            return renewed and [lease.partition(":")[0] for lease in changed] == unsent

        wait_until(stands, "a lease was renewed without progress")
        return int(before[0].partition(":")[0])

    def rest(self, start: int) -> bytes | None:
        """What the other machine sends from here on; None when it refuses."""
        answer = self.twins.other.get(self.link, f"Range: bytes={start}-")
        if answer.status == 403:
            assert answer.code == "limit_reached"
            return None
        assert answer.status == 206
        return answer.body

    def sweep(self) -> None:
        """Until the lease is over, and somebody has asked for more than there is."""
        key = token_key(token_id(self.link.partition("token=")[2]))

        def swept() -> bool:
            assert self.twins.one.store.eval(CLAIM.text, 1, key, "0", str(2 * SIZE), str(SIZE)) == 0
            return self.leases[0].endswith(":swept")

        wait_until(swept, "the lease was swept")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While its worker does not run."""
        [worker] = self.twins.one.workers
        worker.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            worker.process.send_signal(signal.SIGCONT)

    def wait_for_end(self) -> None:
        wait_until(lambda: not self.twins.one.workers[0].counters.values()[DOWNLOADS_RUNNING], "it ended")
        wait_until(lambda: not self.leases, "it was settled")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def twins(
    request: pytest.FixtureRequest, make_plane: Callable[..., Plane], upstream: Upstream, tmp_path: Path
) -> Iterator[Twins]:
    """Two machines; the parameter is one of KINDS, or "impatient" of a store that does not answer."""
    kind = getattr(request, "param", "plain")
    options: dict[str, Any] = {"lease_times": TIMES, "patience": 1.0}  # a frozen worker is not waited for
    if kind == "impatient":
        options["redis_timeout"] = NOTICES_SECONDS
    context = None
    if kind.endswith("tls"):
        certificate, key = make_certificate(tmp_path)
        options |= {"tls_cert": certificate, "tls_key": key}
        context = ssl.create_default_context(cafile=str(certificate))
    if kind.startswith("object"):
        options["storage"] = {"s3": table(upstream)}
    one = make_plane(**options)
    other = make_plane(**{"storage": {"main": {"type": "local", "root": one.root}}, **options})
    one.client_context = other.client_context = context
    if kind.startswith("object"):
        pattern = Pattern(SIZE)
        made = Twins(one, other, publish(one, upstream.put("leased", pattern)), pattern)
    else:
        content = os.urandom(SIZE)
        made = Twins(one, other, one.publish(content), content)
    yield made
    for client in made.clients:
        client.socket.close()


@pytest.mark.slow
@pytest.mark.parametrize("twins", KINDS, indirect=True)
def test_a_killed_worker_gives_back_what_it_had_not_sent(
    twins: Twins, request: pytest.FixtureRequest
) -> None:
    """One download is allowed; it ends at the other machine, and what the first has sent is charged."""
    is_parts = "parts" in request.node.name
    download = twins.begin(*([PARTS] if is_parts else []))
    reserved = download.charged
    unsent = download.wait_for_checkpoint()
    assert reserved - unsent >= FIRST
    twins.one.lose(twins.one.workers[0])
    received = download.got + download.client.read_until_closed()
    start = len(received)
    if is_parts:
        start = SIZE - unsent  # the parts are framed: ask for as much as there is
    else:
        assert received == twins.content[:start]
    rest: list[bytes] = []

    def resumes() -> bool:
        body = download.rest(start)
        rest.extend([] if body is None else [body])
        return bool(rest)

    wait_until(resumes, "the lease was over")
    assert rest[0] == twins.content[start:SIZE]
    assert download.charged == reserved - unsent + SIZE - start
    assert 0 <= SIZE - download.charged <= SIZE - reserved + IN_FLIGHT
    assert download.leases == [f"{unsent}:swept"]


@pytest.mark.slow
@pytest.mark.parametrize("twins", MAIN_KINDS, indirect=True)
def test_a_frozen_worker_goes_on(twins: Twins, request: pytest.FixtureRequest) -> None:
    """Its bytes were free for a while, and nobody took them: the download goes on, and is charged once."""
    fields = [PARTS] if "parts" in request.node.name else []
    download = twins.begin(*fields)
    reserved = download.charged
    unsent = download.wait_for_checkpoint()
    with download.frozen():
        download.sweep()
        assert download.charged == reserved - unsent
    wait_until(lambda: not download.leases[0].endswith("swept"), "it was leased again")
    assert download.charged == reserved
    if fields:
        assert len(download.client.read_bytes(reserved - FIRST)) == reserved - FIRST
    else:
        assert download.got + download.client.read_bytes(SIZE - FIRST) == twins.content[:SIZE]
    download.wait_for_end()
    assert download.charged == reserved


@pytest.mark.slow
@pytest.mark.parametrize("twins", MAIN_KINDS, indirect=True)
def test_a_frozen_worker_whose_bytes_others_got_is_broken_off(
    twins: Twins, request: pytest.FixtureRequest
) -> None:
    """Its bytes were given out at the other machine: it is broken off, and each byte sent is charged."""
    fields = [PARTS] if "parts" in request.node.name else []
    twins.one.expected.append("was broken off")
    download = twins.begin(*fields)
    unsent = download.wait_for_checkpoint()
    with download.frozen():
        download.sweep()
        assert len(download.rest(SIZE - unsent) or b"") == unsent
    received = len(download.got + download.client.read_until_closed())
    assert received < SIZE
    download.wait_for_end()
    wait_until(lambda: len(twins.one.entries()) == 1, "it was logged")
    wait_until(
        lambda: download.charged == sum(sum_sent(each, download.link) for each in (twins.one, twins.other)),
        "the other was logged, too, and each byte sent is charged",
    )
    assert not twins.one.entries()[0]["whole"]


@pytest.mark.slow
@pytest.mark.parametrize("twins", ["impatient"], indirect=True)
def test_a_store_that_is_away_for_longer_than_a_lease(twins: Twins, own_store: StoreServer) -> None:
    """No download ends for that, and none is charged twice."""
    download = twins.begin()
    download.wait_for_checkpoint()
    for plane in (twins.one, twins.other):
        plane.expected += ["connection to the store was lost", "the store is away"]
    send_signal(own_store, signal.SIGSTOP)
    wait_until(lambda: twins.one.get("/readyz").status == 503, "it noticed")
    download.got += download.client.read_bytes(FIRST)
    time.sleep(2 * TIMES[2])  # or longer: the lease is over
    send_signal(own_store, signal.SIGCONT)
    wait_until(lambda: twins.other.get("/readyz").status == 200, "the other recovered")
    assert twins.other.get(download.link).code == "limit_reached"
    assert download.got + download.client.read_bytes(SIZE - 2 * FIRST) == twins.content[:SIZE]
    download.wait_for_end()
    assert download.charged == SIZE


@pytest.mark.slow
@pytest.mark.parametrize("twins", ["impatient"], indirect=True)
def test_a_settling_that_was_not_answered(twins: Twins, own_store: StoreServer) -> None:
    """It is asked again, and counts once."""
    twins.one.expected += ["connection to the store was lost", "the store is away"]
    download = twins.begin()
    download.wait_for_checkpoint()
    send_signal(own_store, signal.SIGSTOP)
    download.client.reset()
    wait_until(lambda: len(twins.one.entries()) == 1, "it ended")
    wait_until(lambda: twins.one.get("/readyz").status == 503, "it noticed")
    send_signal(own_store, signal.SIGCONT)
    download.wait_for_end()
    wait_until(lambda: twins.one.get("/readyz").status == 200, "it recovered")
    assert download.charged == sum_sent(twins.one, download.link)
