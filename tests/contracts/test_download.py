"""How downloads are answered, over real sockets: every field, every refusal, and other origins."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

import pytest

from gateway.http.fields import format_date
from gateway.secrets import new_token
from tests.support.backends import EVERY_BACKEND
from tests.support.downloads import BROWSER, CONTENT, POLICY
from tests.support.plane import Plane
from tests.support.publications import Published

BACKENDS = EVERY_BACKEND


# --- the answer for a file ----------------------------------------------------------------------------------


def test_a_file_is_sent_with_all_its_fields(plane: Plane, published: Published, link: str) -> None:
    answer = plane.get(link)
    assert answer.status == 200
    assert answer.body == CONTENT
    digest = sha256(CONTENT).digest()
    expected = {
        "Content-Type": "application/zip",
        "Content-Length": str(len(CONTENT)),
        "Accept-Ranges": "bytes",
        "ETag": f'"{digest.hex()}"',
        "Content-Disposition": 'attachment; filename="Epic Drums v1.zip"',
        "Repr-Digest": f"sha-256=:{b64encode(digest).decode()}:",
        "Cache-Control": "private, no-transform",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    assert {name: value for name, value in answer.lines if name not in ("Date", "Last-Modified")} == expected
    second = published.file.modified // 10**9
    # A bucket may round its time up, to a moment that had not come yet when the file was first asked for. The
    # file then counts as modified a second before that.
    assert answer["Last-Modified"] in [format_date(second - early) for early in range(3)]


def test_never_compressed(plane: Plane, link: str) -> None:
    answer = plane.get(link, "Accept-Encoding: gzip, deflate, br, zstd")
    assert answer.body == CONTENT
    assert "Content-Encoding" not in answer


def test_resumes_under_another_token(plane: Plane, published: Published) -> None:
    first, second = plane.link(published), plane.link(published)
    etag = plane.get(first)["ETag"]
    rest = plane.get(second, "Range: bytes=100-", f"If-Range: {etag}")
    assert (rest.status, rest.body) == (206, CONTENT[100:])


def test_an_empty_file(plane: Plane) -> None:
    empty = plane.link(plane.publish(b""), maximum=1)
    with plane.connect() as client:
        for value in (
            "",
            "bytes=-5",
            "bytes=0-",
            "bytes=0-0",
            "bytes=0-1048575",
            "bytes=7-",
            "bytes=0-0,2-3",
        ):
            fields = (f"Range: {value}",) if value else ()
            answer = client.get(empty, *fields)
            assert (answer.status, answer["Content-Length"], answer.body) == (200, "0", b"")
        assert client.get(empty, method="HEAD").status == 200


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, 65_536, 65_537, 1_048_576, 1_048_577, 3_000_001])
def test_sizes_around_every_boundary(plane: Plane, size: int) -> None:
    content = os.urandom(size)
    target = plane.link(plane.publish(content))
    with plane.connect() as client:
        for _ in range(2):
            assert client.get(target).body == content
        assert client.get(target, f"Range: bytes={size // 2}-").body == content[size // 2 :]


# --- refusals -----------------------------------------------------------------------------------------------


def refused(
    plane: Plane, published: Published, several: Published
) -> dict[str, tuple[int, str, tuple[str, ...]]]:
    used = plane.link(published, maximum=1)
    plane.get(used)
    gone = plane.publish(b"gone")
    plane.remove(gone)
    valid = plane.link(published)
    return {
        "token_missing": (401, "/download", ()),
        "token_invalid": (403, f"/download?token={new_token()}", ()),
        "limit_reached": (403, used, ()),
        "file_not_found": (404, f"/download/x?token={plane.token(several)}", ()),
        "storage_failed": (502, plane.link(gone), ()),
        "bad_request": (400, "/download?token=a&token=b", ()),
        "precondition_failed": (412, valid, ('If-Match: "other"',)),
        "range_not_satisfiable": (416, valid, ("Range: bytes=10000-",)),
        "not_found": (404, "/elsewhere", ()),
    }


def test_refusals(plane: Plane, published: Published, several: Published) -> None:
    plane.expected.append("is missing")
    for code, (status, target, fields) in refused(plane, published, several).items():
        problem = plane.get(target, *fields)
        assert (problem.status, problem.code) == (status, code)
        content = json.loads(problem.body)
        assert content["type"] == "about:blank"
        assert content["title"]
        assert content["detail"]
        page = plane.get(target, BROWSER, *fields)
        assert (page.status, page["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert set(page["Content-Security-Policy"].split("; ")) == POLICY
        assert content["title"] in page.body.decode().replace("&#x27;", "'")
        headed = plane.get(target, *fields, method="HEAD")
        if code == "range_not_satisfiable":
            assert headed.status == 200  # HEAD ignores Range
        elif code == "limit_reached":
            assert headed.status == 200  # and costs nothing
        else:
            assert headed.status == status
            assert headed["Content-Length"] == problem["Content-Length"]
        for answer in (problem, page):
            assert answer["Cache-Control"] == "no-store"
            assert answer["Referrer-Policy"] == "no-referrer"
            assert "Content-Disposition" not in answer


@pytest.mark.any_backend
def test_a_damaged_manifest_is_the_stores_fault(plane: Plane) -> None:
    plane.expected.append("damaged manifest")
    for text in (b"", b"{", b"[]", b'{"product": 1}', b"\xff\xfe"):
        published = plane.publish(os.urandom(8))
        plane.store.set(f"dg:manifest:{{{published.manifest.digest}}}", text)
        answer = plane.get(plane.link(published))
        assert (answer.status, answer.code) == (503, "store_unavailable")
    published = plane.publish(os.urandom(8))
    plane.store.delete(f"dg:manifest:{{{published.manifest.digest}}}")
    assert plane.get(plane.link(published)).status == 503


# --- other origins ------------------------------------------------------------------------------------------


def test_cors(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(cors_origins=("https://shop.example",))
    target = plane.link(plane.publish(CONTENT))
    ours, theirs = "Origin: https://shop.example", "Origin: https://evil.example"
    with plane.connect() as client:
        for asked in (target, "/download", f"{target}x"):
            answer = client.get(asked, ours)
            assert answer["Access-Control-Allow-Origin"] == "https://shop.example"
            exposed = answer["Access-Control-Expose-Headers"]
            named = {
                "Accept-Ranges",
                "Content-Disposition",
                "Content-Range",
                "ETag",
                "Repr-Digest",
                "Retry-After",
            }
            assert set(exposed.split(", ")) == named
            assert "Origin" in (answer.get("Vary") or "") or ("Vary", "Origin") in answer.lines
        answer = client.get(target, theirs)
        assert answer.body == CONTENT
        assert "Access-Control-Allow-Origin" not in answer
        preflight = (ours, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: range")
        answer = client.get(target, *preflight, method="OPTIONS")
        assert answer.status == 204
        assert answer["Access-Control-Allow-Origin"] == "https://shop.example"
        assert answer["Access-Control-Allow-Methods"] == "GET, HEAD"
        allowed = answer["Access-Control-Allow-Headers"].split(", ")
        assert {"Range", "If-Range", "Authorization"} <= set(allowed)
        assert int(answer["Access-Control-Max-Age"]) > 0
        answer = client.get(target, theirs, *preflight[1:], method="OPTIONS")
        assert "Access-Control-Allow-Origin" not in answer
        assert client.get(target, method="OPTIONS").status in (204, 405)
        for path, allow in ((target, "GET, HEAD, OPTIONS"), ("/healthz", "GET, HEAD")):
            refused = client.get(path, ours, method="POST")
            assert (refused.status, refused["Allow"]) == (405, allow)
        assert client.get("/healthz", ours, method="OPTIONS")["Allow"] == "GET, HEAD"
    assert plane.get(target, ours, method="BREW")["Allow"] == "GET, HEAD, OPTIONS"


def test_cors_for_everyone(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(cors_origins=("*",))
    target = plane.link(plane.publish(CONTENT))
    assert plane.get(target)["Access-Control-Allow-Origin"] == "*"
    answer = plane.get(target, "Origin: https://any.example", method="OPTIONS")
    assert (answer.status, answer["Access-Control-Allow-Origin"]) == (204, "*")


@pytest.mark.any_backend
def test_no_cors_unless_set(plane: Plane, link: str) -> None:
    answer = plane.get(link, "Origin: https://shop.example")
    assert not [name for name, _ in answer.lines if name.startswith("Access-Control")]
