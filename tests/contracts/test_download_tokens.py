"""The token of a download: the ways to pass it, and what is answered where there is none that is valid."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import pytest

from gateway.secrets import MAX_TOKEN_LENGTH, new_token, token_id
from gateway.store.key_names import token_key
from tests.support.backends import EVERY_BACKEND
from tests.support.downloads import BROWSER, CONTENT
from tests.support.plane import Plane
from tests.support.publications import Published
from tests.support.rows import each_row
from tests.support.waiting import wait_until

BACKENDS = EVERY_BACKEND


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
def test_two_bearers_are_two_tokens(plane: Plane) -> None:
    published = plane.publish(b"content")
    tokens = [plane.link(published).partition("=")[2] for _ in range(2)]
    fields = [f"Authorization: Bearer {token}" for token in tokens]
    with plane.connect() as client:
        assert client.get("/download", fields[0], fields[0]).status == 200
        assert client.get("/download", *fields).status == 400


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
