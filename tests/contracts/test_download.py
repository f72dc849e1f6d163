"""How downloads are answered, over real sockets: refusals, every field, names, ranges, conditions."""

from __future__ import annotations

import email
import email.policy
import json
import os
import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html import unescape
from urllib.parse import quote, unquote, urljoin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.fields import format_date
from gateway.http.file_names import download_name
from gateway.http.ranges import UNSATISFIABLE, Spans, select_ranges
from gateway.secrets import MAX_TOKEN_LENGTH, new_token, token_id
from gateway.store.key_names import token_key
from tests.support import condition_cases as condition_rules
from tests.support import range_cases as range_rules
from tests.support.backends import EVERY_BACKEND, Folder
from tests.support.examples import examples
from tests.support.plane import Plane, Published, Response, request
from tests.support.rows import each_row
from tests.support.waiting import wait_until

BACKENDS = EVERY_BACKEND
CONTENT = b"The quick brown fox jumps over the lazy dog. " * 3
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
JSON = "Accept: application/json"
POLICY = {
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}


@pytest.fixture(scope="module")
def published(plane: Plane) -> Published:
    return plane.publish(CONTENT, names=["Epic Drums v1.zip"])


@pytest.fixture(scope="module")
def several(plane: Plane) -> Published:
    return plane.publish(b"one", b"two!", b"", names=["a.wav", "sub/b & c.flac", "<empty>.txt"])


@pytest.fixture(scope="module")
def link(plane: Plane, published: Published) -> str:
    return plane.link(published)


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


def test_beyond_4_gib(planes: Callable[..., Plane]) -> None:
    plane = planes("local")
    size = (5 << 30) + 12_345
    published = plane.publish(b"begin", sparse=size)
    with published.path.open("r+b") as file:
        file.seek(size - 3)
        file.write(b"end")
    facts = published.path.stat()
    os.utime(published.path, ns=(facts.st_atime_ns, published.file.modified))
    target = plane.link(published)
    with plane.connect() as client:
        assert client.get(target, method="HEAD")["Content-Length"] == str(size)
        answer = client.get(target, "Range: bytes=-5")
        assert (answer["Content-Range"], answer.body) == (f"bytes {size - 5}-{size - 1}/{size}", b"\0\0end")
        at = (4 << 30) - 1_000_000
        answer = client.get(target, f"Range: bytes={at}-{at + 2_000_000 - 1}")
        assert answer.body == bytes(2_000_000)
        answer = client.get(target, f"Range: bytes=0-4,{(4 << 30) - 2}-{(4 << 30) + 2},-3")
        assert [part for _, part in parts_of(answer)] == [b"begin", bytes(5), b"end"]
        assert client.get(target, f"Range: bytes={size}-").status == 416


# --- which file ---------------------------------------------------------------------------------------------

NAMES = [
    "plain.zip",
    "with space.zip",
    "plus+sign&amp;.zip",
    "percent %41%2F.zip",
    "quote\"s 'single'.zip",
    "semi;colon,comma=.zip",
    "back\\slash.zip",
    "sub/folder/file.zip",
    "/etc/passwd",
    "...",
    "/absolute",
    "Крах.zip",
    "日本語のファイル.wav",
    "עברית.bin",
    "naïve café.mp3",
    "e\u0301.txt",
    "🥁 drums.zip",
    "line\r\nX-Injected: yes.zip",
    "tab\there.zip",
    "nul\0.zip",
    "\u202egpj.exe",
    "question?mark#hash.zip",
    "<script>alert(1)</script>.html",
    "x" * 255,
    "ж" * 255,
    ".hidden",
    "ct_looks-like-a-token-ct_looks-like-a-token",
]


@pytest.mark.any_backend
@each_row("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_file_is_found_by_its_name_in_any_script(plane: Plane, name: str) -> None:
    """Any name is found by the path and by the parameter, and comes back as a safe name to save under."""
    published = plane.publish(b"named", b"other", names=[name, "other"])
    token = plane.token(published)
    encoded = quote(name, safe="")
    with plane.connect() as client:
        for target in (
            f"/download/{encoded}?token={token}",
            f"/download/{quote(name, safe='/')}?token={token}",
            f"/download?file={encoded}&token={token}",
            f"/download?token={token}&utm_source=mail&file={encoded}",
        ):
            answer = client.get(target)
            assert (answer.status, answer.body) == (200, b"named"), target
            disposition = answer["Content-Disposition"]
            match = re.fullmatch(
                r'attachment; filename="([ -~]*)"(?:; filename\*=UTF-8\'\'([!-~]*))?', disposition
            )
            assert match
            assert not set(match[1]) & set('"\\/')
            assert (match[2] is None) == (match[1] == download_name(name))
            assert unquote(match[2] or match[1], errors="strict") == download_name(name)
        index = client.get(f"/download?token={token}", JSON)
        url = json.loads(index.body)["files"][0]["url"]
        assert client.get(url).body == b"named"
        page = client.get(f"/download?token={token}", BROWSER).body.decode()
        assert "<script>alert" not in page


@pytest.mark.any_backend
@pytest.mark.parametrize("name", ["nothing", "A.WAV", "sub", "sub/..%2Fa.wav", "%FF", "a.wav%00"])
def test_a_name_that_is_not_in_the_manifest_is_not_found(plane: Plane, several: Published, name: str) -> None:
    answer = plane.get(f"/download/{name}?token={plane.token(several)}")
    assert (answer.status, answer.code) == (404, "file_not_found")


@pytest.mark.any_backend
def test_two_names(plane: Plane, several: Published) -> None:
    token = plane.token(several)
    answer = plane.get(f"/download/a.wav?token={token}&file=b.wav")
    assert (answer.status, answer.code) == (400, "bad_request")
    assert plane.get(f"/download/a.wav?token={token}&file=a.wav").body == b"one"


@pytest.mark.any_backend
def test_the_index_in_json(plane: Plane, several: Published) -> None:
    token = plane.token(several, maximum=1)
    answer = plane.get(f"/download?token={token}", JSON)
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-store"
    index = json.loads(answer.body)
    assert (index["product"], index["version"]) == (several.manifest.product, "1.0")
    assert [(file["name"], file["size"], file["sha256"]) for file in index["files"]] == [
        (file.name, file.size, file.sha256) for file in several.manifest.files
    ]
    assert [plane.get(file["url"]).body for file in index["files"]] == [b"one", b"two!", b""]
    head = plane.get(f"/download?token={token}", JSON, method="HEAD")
    assert head["Content-Length"] == answer["Content-Length"]


@pytest.mark.any_backend
def test_the_index_as_a_page(plane: Plane, several: Published) -> None:
    answer = plane.get(f"/download/?token={plane.token(several)}", BROWSER)
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert set(answer["Content-Security-Policy"].split("; ")) == POLICY
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Vary"] == "Accept"
    page = answer.body.decode()
    assert "&lt;empty&gt;.txt" in page
    assert [file.sha256 in page for file in several.manifest.files] == [True] * 3
    assert re.search(r"works until <time datetime=", page)
    assert "<empty>" not in page
    links = re.findall(r'<a href="([^"]*)"', page)
    assert [plane.get(found.replace("&amp;", "&")).body for found in links] == [b"one", b"two!", b""]


@pytest.mark.any_backend
@pytest.mark.parametrize("form", ["/download/{}sub/", "/download/{}x/..//sub//", "/download/{}?file=sub/"])
@pytest.mark.parametrize("in_url", [True, False])
def test_the_index_of_a_folder(plane: Plane, form: str, in_url: bool) -> None:
    names = ["a.wav", "sub/b.wav", "sub/deep/c.wav", "subway.wav"]
    token = plane.token(plane.publish(b"a", b"b", b"c", b"d", names=names))
    target = form.format(f"{token}/" if in_url else "")
    fields = () if in_url else (f"Authorization: Bearer {token}",)
    files = json.loads(plane.get(target, JSON, *fields).body)["files"]
    assert [file["name"] for file in files] == ["sub/b.wav", "sub/deep/c.wav"]
    if in_url or "sub/" in form.partition("?")[0]:
        pages = {
            accept: plane.get(target, accept, *fields).body.decode() for accept in (BROWSER, "Accept: */*")
        }
        links = {accept: re.findall(r'href="([^"]*)"', page) for accept, page in pages.items()}
        found = [urljoin(f"http://h{target}", link).removeprefix("http://h") for link in links[BROWSER]]
        assert [plane.get(link, *fields).body for link in found] == [b"b", b"c"]
        [folder] = set(links["Accept: */*"]) - set(links[BROWSER])
        assert folder.endswith("deep/")


# --- the token ----------------------------------------------------------------------------------------------


@pytest.mark.any_backend
@each_row(
    ("target", "fields"),
    [
        ("/download?token={}", ()),
        ("/download?utm_source=mail&token={}&utm_medium=x&&=&a", ()),
        ("/download?token={}&token={}", ()),
        ("/download?%74oken={}", ()),
        ("/download", ("Authorization: Bearer {}",)),
        ("/download", ("authorization:   bearer   {} ",)),
        ("/download?token=", ("Authorization: Bearer {}",)),
        ("/download?token={}", ("Authorization: Bearer {}",)),
        ("/download?token={}", ("Authorization: Basic dXNlcjpwYXNz",)),
        ("/download?token={}", ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln",)),
        ("/download?token=session", ("Authorization: Bearer {}",)),
        ("/download?token={}#fragment", ()),
        ("/download/{}/", ()),
        ("/download/{}/Epic%20Drums%20v1.zip", ()),
        ("/download/{}/Epic%20Drums%20v1.zip?utm_source=mail", ()),
        ("/download/{}", ("Authorization: Bearer {}",)),
        ("/download/{}/Epic%20Drums%20v1.zip?token={}", ()),
        ("/download/%22{}%22/Epic%20Drums%20v1.zip.", ()),
        ("//download/x/../{}//Epic%20Drums%20v1.zip/", ()),
        ("/download?token={}.", ()),
        ("/download?token=%E2%80%8B{}%E2%80%8B%20", ()),
        ("/download?token=(<{}>),", ()),
        ("/download?utm_source=Frühling&token={}”", ()),
        ("/download?file=Epic%20Drums%20v1.zip&amp;token={}", ()),
        ("//download?token={}", ()),
        ("/download/Epic%20Drums%20v1.zip/?token={}", ()),
        ("/download/Epic%20Drums%20v1.zip).?token={}", ()),
        ("/x/%2e%2e/download/./Epic%20Drums%20v1.zip?token={}", ()),
    ],
)
@each_row("method", ["GET", "HEAD"])
def test_ways_to_pass_a_token(
    plane: Plane, published: Published, target: str, fields: tuple[str, ...], method: str
) -> None:
    token = plane.token(published)
    fields = tuple(field.replace("{}", token) for field in fields)
    answer = plane.get(target.replace("{}", token), *fields, method=method)
    assert (answer.status, answer["Content-Length"]) == (200, str(len(CONTENT)))
    assert answer.body == (b"" if method == "HEAD" else CONTENT)


@pytest.mark.any_backend
@pytest.mark.parametrize("credentials", ["any:{}", ":{}", "jo@example.com:{}", "{}:", "any:{}\n"])
def test_the_token_as_a_password(
    plane: Plane, published: Published, several: Published, credentials: str
) -> None:
    password = b64encode(credentials.format(plane.token(published)).encode()).decode()
    assert plane.get("/download/Epic%20Drums%20v1.zip", f"Authorization: Basic {password}").body == CONTENT
    password = b64encode(credentials.format(plane.token(several)).encode()).decode()
    assert plane.get("/download/a.wav", f"authorization: basic {password}").body == b"one"


@pytest.mark.any_backend
@pytest.mark.parametrize("target", ["/download", "/download/", "//download/", "/%64ownload"])
@pytest.mark.parametrize("field", ["Authorization: Bearer {}", "Authorization: Basic {basic}"])
@pytest.mark.parametrize("accept", [JSON, "Accept: */*"])
def test_an_index_for_a_token_in_a_field_has_relative_links_without_it(
    plane: Plane, several: Published, target: str, field: str, accept: str
) -> None:
    token = plane.token(several)
    field = field.format(token, basic=b64encode(f"any:{token}".encode()).decode())
    index = plane.get(target, field, accept)
    assert token[3:].encode() not in index.body
    if accept == JSON:
        links = [file["url"] for file in json.loads(index.body)["files"]]
    else:
        links = [unescape(link) for link in re.findall(r'href="([^"]*[^"/])"', index.body.decode())]
    found = [urljoin(f"http://h{target.replace('//', '/')}", link).removeprefix("http://h") for link in links]
    assert [plane.get(link, field).body for link in found] == [b"one", b"two!", b""]


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "form", ["/download?token={}", "/download/{}/", "/download/?token={}", "/download/{}"]
)
def test_an_index_for_a_token_in_the_url_has_links_with_the_token_in_the_path(
    plane: Plane, several: Published, form: str
) -> None:
    token = plane.token(several)
    index = plane.get(form.format(token), JSON)
    links = [file["url"] for file in json.loads(index.body)["files"]]
    assert links[0] == f"/download/{token}/a.wav"
    assert [plane.get(link).body for link in links] == [b"one", b"two!", b""]


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ((), "text/html; charset=utf-8"),
        (("Accept: */*",), "text/html; charset=utf-8"),
        ((BROWSER,), "text/html; charset=utf-8"),
        ((JSON,), "application/json"),
        (("Accept: application/json, text/plain, */*",), "application/json"),
        (("Accept: text/html, application/json;q=0.5",), "text/html; charset=utf-8"),
    ],
)
def test_the_index_is_a_page_unless_json_is_asked_for(
    plane: Plane, several: Published, accept: tuple[str, ...], media_type: str
) -> None:
    assert plane.get(f"/download/{plane.token(several)}/", *accept)["Content-Type"] == media_type


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/download?token={one}&token={two}", ()),
        ("/download?token={one}", ("Authorization: Bearer {two}",)),
        ("/download?token={one}&token=ct_other", ()),
        ("/download/{one}/Epic%20Drums%20v1.zip?token={two}", ()),
        ("/download/{one}/", ("Authorization: Bearer {two}",)),
        ("/download?token={one}%20{two}", ()),
        ("/download", ("Authorization: Bearer {two}", "Authorization: Basic {basic}")),
    ],
)
def test_two_tokens_in_one_request_are_refused(
    plane: Plane, published: Published, target: str, fields: tuple[str, ...]
) -> None:
    both = {"one": plane.token(published), "two": plane.token(published)}
    both["basic"] = b64encode(f"any:{both['one']}".encode()).decode()
    answer = plane.get(target.format(**both), *(field.format(**both) for field in fields))
    assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/download", ()),
        ("/download?", ()),
        ("/download?token=", ()),
        ("/download?Token={}", ()),
        ("/download", ("Authorization: Bearer",)),
        ("/download", ("Authorization: Basic {}",)),
        ("/download", ("Cookie: token={}",)),
    ],
)
def test_a_request_without_a_token_is_refused(
    plane: Plane, published: Published, target: str, fields: tuple[str, ...]
) -> None:
    token = plane.token(published)
    answer = plane.get(target.replace("{}", token), *(field.replace("{}", token) for field in fields))
    assert (answer.status, answer.code) == (401, "token_missing")
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("agent", "schemes"),
    [
        ("Wget/1.21.3", ["Bearer", "Basic"]),
        ("lftp/4.9.2", ["Bearer", "Basic"]),
        ("curl/7.88.1", ["Bearer", "Basic"]),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0", ["Bearer"]),
        ("shop/1.0", ["Bearer"]),
    ],
)
def test_basic_is_offered_to_programs_that_wait_for_it(plane: Plane, agent: str, schemes: list[str]) -> None:
    answer = plane.get("/download", f"User-Agent: {agent}")
    challenges = [value for name, value in answer.lines if name == "WWW-Authenticate"]
    assert [value.partition(" ")[0] for value in challenges] == schemes


def invalid_tokens(plane: Plane, published: Published) -> dict[str, str]:
    valid = plane.token(published)
    revoked, expired = plane.token(published), plane.token(published, ttl_ms=1)
    plane.revoke(revoked)
    wait_until(lambda: not plane.store.exists(token_key(token_id(expired))), "it expired")
    return {
        "unknown": new_token(),
        "expired": expired,
        "revoked": revoked,
        "other case": valid.swapcase(),
        "cut": valid[:-1],
        "longer": valid + "A",
        "another prefix": "gk_" + valid[3:],
        "no prefix": valid[3:],
        "prefix only": "ct_",
        "over-long": "ct_" + "A" * MAX_TOKEN_LENGTH,
        "very long": "ct_" + "A" * 10_000,
        "longer by more": valid + "-A",
        "longer at its beginning": "A" + valid,
        "NUL": quote(f"{valid}\0"),
        "not UTF-8": "ct_%FF%FE",
        "another script": quote("ct_токен"),
        "glob": quote("ct_*"),
        "Redis key": quote("dg:token:{x}"),
    }


@pytest.mark.any_backend
@pytest.mark.parametrize("accept", ["Accept: */*", BROWSER], ids=["problem", "page"])
def test_invalid_tokens_get_one_answer(plane: Plane, published: Published, accept: str) -> None:
    """Unknown, malformed, expired, revoked, over-long: the same bytes, so that nothing can be learnt."""
    answers = {
        f"{kind}, {form}": plane.get(form.format(token), accept)
        for kind, token in invalid_tokens(plane, published).items()
        for form in ("/download?token={}", "/download/{}/Epic%20Drums%20v1.zip")
        if token.startswith("ct_") or "?" in form  # others are names, without a token
    }
    shapes = {
        kind: (answer.status, [line for line in answer.lines if line[0] != "Date"], answer.body)
        for kind, answer in answers.items()
    }
    assert [kind for kind, shape in shapes.items() if shape != shapes["unknown, /download?token={}"]] == []
    assert answers["unknown, /download?token={}"].status == 403
    if accept != BROWSER:
        assert answers["unknown, /download?token={}"].code == "token_invalid"


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


# --- ranges and conditions: the tables of tests/rules, over a socket ----------------------------------------


def parts_of(answer: Response) -> list[tuple[str, bytes]]:
    """The parts of a multipart/byteranges answer, by Python's own mail parser."""
    assert answer.status == 206
    assert "Content-Range" not in answer
    text = f"MIME-Version: 1.0\r\nContent-Type: {answer['Content-Type']}\r\n\r\n".encode() + answer.body
    message = email.message_from_bytes(text, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    assert message.defects == []
    found = []
    for part in message.iter_parts():
        assert part.get_content_type()
        assert set(part.keys()) == {"Content-Type", "Content-Range"}
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found.append((str(part["Content-Range"]), payload))
    return found


def assert_spans(answer: Response, spans: Spans | None, content: bytes) -> None:
    """The answer is what the rules select."""
    size = len(content)
    if spans is None:
        assert (answer.status, answer.body) == (200, content)
        assert "Content-Range" not in answer
    elif spans == UNSATISFIABLE:
        assert (answer.status, answer.code) == (416, "range_not_satisfiable")
        assert answer["Content-Range"] == f"bytes */{size}"
    elif len(spans) == 1:
        [(start, stop)] = spans
        assert (answer.status, answer.body) == (206, content[start:stop])
        assert answer["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    else:
        assert parts_of(answer) == [
            (f"bytes {start}-{stop - 1}/{size}", content[start:stop]) for start, stop in spans
        ]


def sendable(value: str) -> bool:
    """Whether a field value gets past the parser unchanged: no control characters, no space at its ends."""
    return value.isascii() and value.isprintable() and value == value.strip() and len(value) < 16_000


SOME_RANGES = {
    "14.1.2 first 500 bytes",
    "14.1.2 final 500 bytes, suffix",
    "14.1.2 final 500 bytes, open end",
    "14.1.2 first, middle and last 1000",
    "14.2 another unit is ignored",
    "14.1.2 LAST beyond the end is clamped",
    "14.1.2 FIRST at the end",
    "14.1.2 one byte file",
    "14.2 empty file, open end",
    "14.2 empty file, suffix",
    "15.3.7.2 suffix first",
    "14.2 whole file twice",
}
"""Each way of delivery once: a whole file, one span, several, none. The rules are the same everywhere."""

SOME_CONDITIONS = {
    "13 no conditions",
    "13.1.1 the tag",
    "13.1.1 another",
    "13.1.4 the same second",
    "13.1.4 earlier",
    "13.1.2 the tag",
    "13.1.2 another",
    "13.1.3 the same second",
    "13.1.3 earlier",
    "13.2.2 both dates",
}
"""Each field with each verdict once."""


def on_local(plane: Plane) -> bool:
    """Whether this is the backend on which whole tables of rules are looked at."""
    return isinstance(plane.files, Folder)


def test_ranges(plane: Plane) -> None:
    """Every row of the table of tests/support/range_cases.py; a few where the rules are not in question."""
    links: dict[int, tuple[str, bytes]] = {}
    rows = [row for row in range_rules.CASES if sendable(row[1]) and row[2] < 1 << 20]
    assert len(rows) > 60
    if not on_local(plane):
        rows = [row for row in rows if row[0] in SOME_RANGES]
        assert len(rows) == len(SOME_RANGES)
    with plane.connect() as client:
        for _, value, size, spans in rows:
            if size not in links:
                content = os.urandom(size)
                links[size] = (plane.link(plane.publish(content)), content)
            target, content = links[size]
            assert_spans(client.get(target, f"Range: {value}"), spans, content)
            headed = client.get(target, f"Range: {value}", method="HEAD")
            assert (headed.status, headed["Content-Length"]) == (200, str(size))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(plane: Plane, method: str) -> None:
    """Every row of the table of tests/support/condition_cases.py, with this file's tag and time."""
    published = dated(plane, CONTENT)
    target = plane.link(published, maximum=1000)
    statuses = {condition_rules.GO: 200, condition_rules.SAME: 304, condition_rules.FAILED: 412}
    sent = 0
    with plane.connect() as client:
        for name, fields, verdict in condition_rules.CASES:
            lines = field_lines(fields, published)
            if lines is None or not (on_local(plane) or name in SOME_CONDITIONS):
                continue
            sent += 1
            answer = client.get(target, *lines, method=method)
            assert answer.status == statuses[verdict], name
            assert answer["ETag"] == published.etag
            if answer.status == 304:
                assert "Content-Length" not in answer
                assert "Content-Type" not in answer
                assert answer["Last-Modified"] == condition_rules.DATE
                assert answer["Cache-Control"] == "private, no-transform"
    assert sent > 50 if on_local(plane) else sent == len(SOME_CONDITIONS)


def test_if_range(plane: Plane) -> None:
    published = dated(plane, CONTENT)
    target = plane.link(published)
    with plane.connect() as client:
        for name, fields, holds in condition_rules.RANGE_CASES:
            lines = field_lines(fields, published)
            assert lines is not None
            answer = client.get(target, *lines, "Range: bytes=4-8")
            assert answer.status == (206 if holds else 200), name
            assert answer.body == (b"quick" if holds else CONTENT), name


def dated(plane: Plane, content: bytes) -> Published:
    """A file whose time is the one of the tables."""
    published = plane.publish(content)
    file = published.file
    modified = condition_rules.MODIFIED * 10**9 + 123_456_789
    plane.files.date(file.key, modified)
    moved = type(file)(**{**vars(file), "modified": modified})
    manifest = type(published.manifest)(published.manifest.product, "2.0", (moved,))
    plane.store.set(f"dg:manifest:{{{manifest.digest}}}", manifest.text)
    return Published(manifest, published.paths)


def field_lines(fields: condition_rules.Fields, published: Published) -> list[str] | None:
    """A row's fields for this file; None where a socket cannot carry them."""
    lines = []
    for name, value in fields.items():
        for line in [value] if isinstance(value, str) else value:
            if not line.isascii() or not line.replace("\t", " ").isprintable():
                return None
            lines.append(f"{name}: {line}".replace('"xyzzy"', published.etag))
    return lines


@pytest.mark.slow
def test_a_thousand_ranges(plane: Plane, link: str) -> None:
    with plane.connect() as client:
        for value in (
            ",".join(f"{number}-{number}" for number in range(1000)),
            ",".join(f"{3 * number}-{3 * number}" for number in range(1000)),
            ",".join(["0-"] * 1000),
            ",".join(["0-0"] * 1000),
        ):
            answer = client.get(link, f"Range: bytes={value}")
            assert_spans(answer, select_ranges(f"bytes={value}", len(CONTENT)), CONTENT)


@pytest.mark.slow
def test_several_large_parts(plane: Plane) -> None:
    content = os.urandom(4_000_000)
    target = plane.link(plane.publish(content), maximum=1)
    spans = "3000000-3999999,0-9,100000-1500000,2000000-2000099"
    with plane.connect() as client:
        answer = client.get(target, f"Range: bytes={spans}")
        assert_spans(answer, select_ranges(f"bytes={spans}", len(content)), content)
        assert client.get(target, "Range: bytes=0-0").body == content[:1]
    expected = sum(len(part) for _, part in parts_of(answer)) + 1
    assert plane.charged(target) == expected


NUMBER = st.one_of(st.integers(0, 200), st.sampled_from([134, 135, 136, 2**31, 2**63, 10**30]))
ONE = st.one_of(
    st.builds("{}-{}".format, NUMBER, NUMBER),
    st.builds("{}-".format, NUMBER),
    st.builds("-{}".format, NUMBER),
)
RANGE = st.one_of(
    st.builds(
        lambda unit, ones: f"{unit}={','.join(ones)}",
        st.sampled_from(["bytes", "Bytes", "items"]),
        st.lists(ONE, max_size=20),
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
TAG = st.sampled_from(
    ["ETAG", "W/ETAG", '"x"', "*", "DATE", "BEFORE", "AFTER", "", 'ETAG, "x"', '"', "garbage"]
)
FIELDS = st.lists(
    st.one_of(
        st.tuples(st.just("Range"), RANGE),
        st.tuples(
            st.sampled_from(
                ["If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"]
            ),
            TAG,
        ),
    ),
    max_size=4,
)


@pytest.mark.hypothesis
def test_any_range_and_condition(plane: Plane) -> None:
    """Whatever the fields say: a status of the table, a body of its length, and never another byte."""
    published = dated(plane, CONTENT)
    target = plane.link(published)

    @settings(max_examples=examples(300 if on_local(plane) else 30), deadline=None)
    @given(method=st.sampled_from(["GET", "GET", "HEAD"]), fields=FIELDS)
    def check(method: str, fields: list[tuple[str, str]]) -> None:
        hold_to_the_rules(plane, published, target, method, fields)

    check()


def hold_to_the_rules(
    plane: Plane, published: Published, target: str, method: str, fields: list[tuple[str, str]]
) -> None:
    words = {
        "ETAG": published.etag,
        "DATE": condition_rules.DATE,
        "BEFORE": condition_rules.BEFORE,
        "AFTER": condition_rules.AFTER,
    }
    lines = [
        f"{name}: {re.sub('|'.join(words), lambda word: words[word[0]], value)}" for name, value in fields
    ]
    with plane.connect() as client:
        client.send(request(target, *lines, method=method) + request("/healthz"))
        answer = client.read(method)
        assert client.read().status == 200  # in step still
    assert answer.status in (200, 206, 304, 412, 416)
    if method == "HEAD":
        assert answer.status in (200, 304, 412)
    elif answer.status == 200:
        assert answer.body == CONTENT
    elif answer.status == 206:
        found = (
            parts_of(answer) if "Content-Range" not in answer else [(answer["Content-Range"], answer.body)]
        )
        for place, body in found:
            match = re.fullmatch(rf"bytes (\d+)-(\d+)/{len(CONTENT)}", place)
            assert match
            assert body == CONTENT[int(match[1]) : int(match[2]) + 1]


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


@pytest.mark.any_backend
def test_two_bearers_are_two_tokens(plane: Plane) -> None:
    published = plane.publish(b"content")
    tokens = [plane.link(published).partition("=")[2] for _ in range(2)]
    fields = [f"Authorization: Bearer {token}" for token in tokens]
    with plane.connect() as client:
        assert client.get("/download", fields[0], fields[0]).status == 200
        assert client.get("/download", *fields).status == 400
