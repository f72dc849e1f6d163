"""Answers of the fast path equal the ordinary ones, and the token and the file are checked each time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.dataplane.delivery.paced import SMALL_BYTES
from gateway.dataplane.fast_path import FastPath
from gateway.errors import StorageError
from gateway.http.plans import Representation
from gateway.runtime.metrics import (
    BYTES_SENT,
    DOWNLOADS_FINISHED,
    DOWNLOADS_STARTED,
    REFUSALS,
    RESPONSES,
    Counters,
)
from gateway.secrets import new_token, token_id
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.storage import LocalStorage
from tests.support.http_client import Response
from tests.support.local_files import entry, open_compared
from tests.support.plane import Plane, run_plane
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """One worker, so that its answers are kept; it believes a front proxy on this machine."""
    with run_plane(tmp_path_factory.mktemp("fast-path"), trusted_proxies=("127.0.0.0/8",)) as running:
        yield running


def dateless(answer: Response) -> list[tuple[str, str]]:
    return [line for line in answer.lines if line[0] != "Date"]


@pytest.mark.parametrize("name", ["", "/kit.zip"])
@pytest.mark.parametrize("size", [1, 1024, SMALL_BYTES])
def test_the_second_answer_is_the_first(served: Plane, size: int, name: str) -> None:
    """For every form of the URL. A request with a condition is never answered by the fast path."""
    content = os.urandom(size)
    published = served.publish(content, names=["kit.zip"])
    answers = []
    for fields in ((), (), ('If-Match: "*"',), ()):
        with served.connect() as client:
            answers.append(client.get(f"/download{name}?token={served.token(published)}", *fields))
    first, second, refused, last = answers
    assert refused.status == 412
    for answer in (first, second, last):
        assert (answer.status, answer.body) == (200, content)
        assert dateless(answer) == dateless(first)


def test_files_of_one_version_are_kept_apart(served: Plane) -> None:
    published = served.publish(b"first", b"second", names=["a.bin", "b.bin"])
    token = served.token(published)
    for _ in range(3):
        assert served.get(f"/download/a.bin?token={token}").body == b"first"
        assert served.get(f"/download/b.bin?token={token}").body == b"second"
        assert served.get(f"/download/c.bin?token={token}").code == "file_not_found"
        assert served.get(f"/download?token={token}")["Content-Type"].startswith("text/html")


def test_an_empty_file_is_logged_as_whole(make_plane: Callable[..., Plane]) -> None:
    """By the ordinary way and by the fast path alike."""
    plane = make_plane()
    link = plane.link(plane.publish(b""))
    for _ in range(3):
        assert plane.get(link).status == 200
    wait_until(lambda: len(plane.entries()) == 3, "all were logged")
    assert [entry["whole"] for entry in plane.entries()] == [True, True, True]


def test_each_answer_is_charged(served: Plane) -> None:
    published = served.publish(b"x" * 500, names=["kit.zip"])
    token = served.token(published, 4)
    with served.connect() as client:
        statuses = [
            client.get(f"/download{name}?token={token}").status
            for name in ("", "/kit.zip", "", "/kit.zip", "", "/kit.zip")
        ]
    assert statuses == [200, 200, 200, 200, 403, 403]
    assert served.charged(token) == 2000


def test_a_name_that_does_not_exist_costs_nothing(served: Plane) -> None:
    """Reading the token has charged the version's only file already."""
    published = served.publish(b"x" * 500, names=["kit.zip"])
    token = served.token(published, 1)
    assert served.get(f"/download/other.zip?token={token}").code == "file_not_found"
    wait_until(lambda: served.charged(token) == 0, "its bytes were returned")
    assert served.get(f"/download/kit.zip?token={token}").status == 200


@pytest.mark.parametrize("size", [0, 700])
def test_several_files_are_charged_one_by_one(served: Plane, size: int) -> None:
    published = served.publish(b"x" * 300, b"y" * size, names=["a.bin", "b.bin"])
    token = served.token(published, 2)
    for _ in range(2):
        assert served.get(f"/download/b.bin?token={token}").status == 200
    assert served.get(f"/download/b.bin?token={token}").status == (403 if size else 200)
    assert (served.charged(token, 0), served.charged(token, 1)) == (0, 2 * size)


def unknown(served: Plane, known: str) -> str:
    del served, known
    return new_token()


def revoked(served: Plane, known: str) -> str:
    served.revoke(known)
    return known


def expired(served: Plane, known: str) -> str:
    served.store.delete(f"dg:token:{{{token_id(known)}}}")
    return known


@pytest.mark.parametrize("spoil", [unknown, revoked, expired])
def test_a_kept_answer_needs_a_valid_token(served: Plane, spoil: Callable[[Plane, str], str]) -> None:
    published = served.publish(b"x" * 100, names=["kit.zip"])
    token = served.token(published)
    asked = f"X-Original-URI: /download/kit.zip?token={token}"
    for _ in range(2):
        assert served.get(f"/download?token={token}").status == 200
        assert served.get("/auth", asked).status == 200
    token = spoil(served, token)
    answer = served.get(f"/download?token={token}")
    assert (answer.status, answer.code) == (403, "token_invalid")
    page = served.get(f"/download?token={token}", "Accept: text/html")
    assert page["Content-Type"].startswith("text/html")
    permission = served.get("/auth", f"X-Original-URI: /download/kit.zip?token={token}")
    assert (permission.status, permission["X-Gateway-Code"]) == (403, "token_invalid")


def test_a_file_that_changed_is_not_served_from_memory(served: Plane) -> None:
    served.expected += ["changed since"]
    published = served.publish(b"first", names=["kit.zip"])
    token = served.token(published)
    asked = f"X-Original-URI: /download/kit.zip?token={token}"
    for _ in range(2):
        assert served.get(f"/download?token={token}").body == b"first"
        assert served.get("/auth", asked).status == 200
    served.replace(published, b"other")
    time.sleep(0.01)  # longer than FRESH_SECONDS
    assert served.get(f"/download?token={token}").code == "storage_failed"
    assert served.get("/auth", asked)["X-Gateway-Status"] == "502"


@pytest.mark.parametrize("content", [b"", b"x" * 100])
def test_a_file_that_changes_just_after_its_answer_is_no_error(tmp_path: Path, content: bytes) -> None:
    """The answer was right and has been sent. The next look-up finds the change."""
    path = tmp_path / "file"
    path.write_bytes(content)
    file, storage = entry(tmp_path, "file"), LocalStorage("files", tmp_path, DescriptorCache(4))
    with open_compared(storage, file) as blob:
        os.utime(path, ns=(0, 0))
        with pytest.raises(StorageError, match="changed while it was read"):
            blob.read_now(0, file.size)
        FastPath(Counters()).keep_file((b"digest", ""), storage, Representation(file), blob)
    assert storage.lookup(file) is None


def test_the_answer_to_a_front_proxy_names_the_token(served: Plane) -> None:
    published = served.publish(b"x" * 100, names=["kit.zip"])
    answers = []
    for _ in range(3):
        token = served.token(published)
        answer = served.get("/auth", f"X-Original-URI: /download/kit.zip?token={token}")
        assert answer["X-Gateway-Token-Id"] == token_id(token)
        answers.append([line for line in dateless(answer) if line[0] != "X-Gateway-Token-Id"])
    assert answers[0] == answers[1] == answers[2]
    assert ("ETag", published.etag) in answers[0]


def test_a_front_proxys_limited_tokens_are_charged(served: Plane) -> None:
    published = served.publish(b"x" * 100, names=["kit.zip"])
    asked = "X-Original-URI: /download/kit.zip?token="
    assert served.get("/auth", asked + served.token(published)).status == 200
    token = served.token(published, 2)
    assert [served.get("/auth", asked + token).status for _ in range(3)] == [200, 200, 403]
    assert served.charged(token) == 200


def test_answers_of_the_fast_path_are_counted_and_logged(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane()
    token = plane.token(plane.publish(b"x" * 100))
    missing = new_token()
    with plane.connect() as client:
        for _ in range(3):
            client.get(f"/download?token={token}")
            client.get(f"/download?token={missing}")
    values = plane.workers[0].counters.values
    wait_until(lambda: values()[RESPONSES[200]] == values()[RESPONSES[403]] == 3, "all were counted")
    rows = (DOWNLOADS_STARTED, DOWNLOADS_FINISHED, BYTES_SENT)
    wait_until(lambda: [values()[row] for row in rows] == [3, 3, 300], "the downloads were counted")
    wait_until(lambda: values()[REFUSALS["token_invalid"]] == 3, "the refusals were counted by their code")
    wait_until(lambda: len(plane.entries()) == 6, "all were logged")
    lines = [
        {name: entry.get(name) for name in ("status", "sent", "whole", "token", "code")}
        for entry in plane.entries()
    ]
    file = {"status": 200, "sent": 100, "whole": True, "token": token_id(token), "code": None}
    no = {"status": 403, "sent": 0, "whole": None, "token": token_id(missing), "code": "token_invalid"}
    assert lines == [file, no] * 3


def test_answers_vary_by_origin(make_plane: Callable[..., Plane]) -> None:
    """A plain request has no Origin, but a cache must know that the answer depends on it."""
    plane = make_plane(cors_origins=("https://shop.example",))
    link = plane.link(plane.publish(b"x" * 100))
    for _ in range(3):
        assert plane.get(link)["Vary"] == "Origin"


@pytest.mark.slow
def test_no_more_answers_are_kept_than_the_limit(make_plane: Callable[..., Plane]) -> None:
    """The files are asked for in turn, so that each answer pushes out another."""
    plane = make_plane()
    published = plane.publish(
        *(b"%d" % number for number in range(1100)), names=[f"{n}.txt" for n in range(1100)]
    )
    token = plane.token(published)
    with plane.connect() as client:
        for _ in range(2):
            for number in range(1100):
                assert client.get(f"/download/{number}.txt?token={token}").body == b"%d" % number
