"""Which token a request carries, wherever it stands."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BAD_REQUEST, TOKEN_INVALID, TOKEN_MISSING, Refusal, Refused
from gateway.http.request_tokens import MAX_BASIC, Credentials, read_authorization, request_token
from gateway.http.targets import read_target
from gateway.secrets import MAX_TOKEN_LENGTH
from tests.support.rows import each_row

TOKEN = "ct_" + "Az09-_" * 7 + "x"
OTHER = "ct_" + "b" * 43
SHORT = "ct_other"


def basic(pair: str | bytes) -> str:
    return "Basic " + b64encode(pair.encode() if isinstance(pair, str) else pair).decode()


AUTHORIZATION = [
    ("", None, False),
    (f"Bearer {TOKEN}", TOKEN, True),
    (f"bearer {TOKEN}", TOKEN, True),
    (f"BEARER   {TOKEN} ", TOKEN, True),
    (f"Bearer {TOKEN}.", TOKEN, True),
    (f'Bearer "{TOKEN}"', TOKEN, True),
    (f"Bearer <{TOKEN}>", TOKEN, True),
    (f"Bearer {SHORT}", SHORT, True),
    ("Bearer", None, False),
    ("Bearer ", None, False),
    (f"Bearer{TOKEN}", None, False),
    (f"Bearer\t{TOKEN}", None, False),
    (TOKEN, None, False),
    ("Bearer a b", None, True),
    ("Bearer \udcff", None, True),
    (f"Bearer eyJhbGciOiJIUzI1NiJ9.e30.{TOKEN}", None, True),
    (f"Bearer a{TOKEN}", None, True),
    (basic(f"user:{TOKEN}"), TOKEN, False),
    (basic(f"user:{TOKEN}").replace("Basic", "bAsIc"), TOKEN, False),
    (basic(f":{TOKEN}"), TOKEN, False),
    (basic(f"jo@example.com:{TOKEN}."), TOKEN, False),
    (basic(f"Ünïcode:{TOKEN}"), TOKEN, False),
    (basic(b"latin-\xfc:" + TOKEN.encode()), TOKEN, False),
    (basic(f"{TOKEN}:"), TOKEN, False),
    (basic(TOKEN), TOKEN, False),
    (basic(f"{TOKEN}:x"), None, False),
    (basic(f"user:pass:{TOKEN}"), None, False),
    (basic("user:pass"), None, False),
    (basic(f"user:{SHORT}"), SHORT, False),
    (f"Basic {TOKEN}", None, False),
    (f"Basic Bearer {TOKEN}", None, False),
    ("Basic *", None, False),
    ("Basic \udcff", None, False),
    (basic("u" * MAX_BASIC + f":{TOKEN}"), None, False),
    (f"Digest username={TOKEN}", None, False),
]


@each_row(("field", "token", "is_bearer"), AUTHORIZATION)
def test_read_authorization(field: str, token: str | None, is_bearer: bool) -> None:
    assert read_authorization(field) == Credentials(token, is_bearer)


@each_row(
    ("in_url", "authorization"),
    [
        (TOKEN, []),
        (TOKEN, [f"Bearer {TOKEN}"]),
        (None, [f"Bearer {TOKEN}"]),
        ("", [f"Bearer {TOKEN}"]),
        (TOKEN, ["Basic dXNlcjpwYXNz"]),
        (None, ["Basic dXNlcjpwYXNz", f"Bearer {TOKEN}"]),
        (None, [f"Bearer {TOKEN}", f"bearer {TOKEN}"]),
        (None, [basic(f"any:{TOKEN}")]),
        (TOKEN, [basic(f"any:{TOKEN}")]),
        (TOKEN, ["Bearer rubbish"]),
        (TOKEN, ["Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"]),
        (TOKEN, ["Bearer "]),
        ("rubbish", [f"Bearer {TOKEN}"]),
        ("rubbish", [basic(f"any:{TOKEN}")]),
        (None, ["Bearer rubbish", basic(f"any:{TOKEN}")]),
    ],
)
def test_the_one_token_of_ours_is_taken(in_url: str | None, authorization: list[str]) -> None:
    assert request_token(in_url, authorization) == TOKEN


@each_row(
    ("in_url", "authorization", "expected"),
    [
        (None, [], TOKEN_MISSING),
        ("", [], TOKEN_MISSING),
        (None, ["Bearer "], TOKEN_MISSING),
        (None, ["Basic dXNlcjpwYXNz"], TOKEN_MISSING),
        (None, ["Negotiate YII="], TOKEN_MISSING),
        (TOKEN, [f"Bearer {OTHER}"], BAD_REQUEST),
        (TOKEN, [f"Bearer {SHORT}"], BAD_REQUEST),
        (TOKEN, [basic(f"user:{OTHER}")], BAD_REQUEST),
        (None, [f"Bearer {TOKEN}", f"Bearer {OTHER}"], BAD_REQUEST),
        (None, [f"Bearer {TOKEN}", basic(f"user:{OTHER}")], BAD_REQUEST),
        ("rubbish", [], TOKEN_INVALID),
        ("rubbish", ["Bearer rubbish"], TOKEN_INVALID),
        (None, ["Bearer rubbish"], TOKEN_INVALID),
        ("rubbish", ["Basic dXNlcjpwYXNz"], TOKEN_INVALID),
        ("ct_", [], TOKEN_INVALID),
        ("CT_abc", [], TOKEN_INVALID),
        ("gk_abc", [], TOKEN_INVALID),
        (" ct_abc", [], TOKEN_INVALID),
        ("ct_abc\n", [], TOKEN_INVALID),
        ("ct_a b", [], TOKEN_INVALID),
        ("ct_a+b/=", [], TOKEN_INVALID),
        ("ct_a\x00", [], TOKEN_INVALID),
        ("ct_\u0661\u00e9", [], TOKEN_INVALID),
        ("ct_\udcff", [], TOKEN_INVALID),
        (None, ["Bearer ct_{a}"], TOKEN_INVALID),
        ("ct_" + "a" * (MAX_TOKEN_LENGTH - 2), [], TOKEN_INVALID),
        ("ct_" + "a" * 1_000_000, [], TOKEN_INVALID),
    ],
)
def test_requests_without_one_token_of_ours(
    in_url: str | None, authorization: list[str], expected: Refusal
) -> None:
    assert refusal_of(in_url, authorization) is expected


def test_a_token_in_the_path_that_is_cut_is_invalid_and_not_missing() -> None:
    target = read_target(f"/download/{TOKEN[:-1]}/kit.zip")
    with pytest.raises(Refused) as caught:
        request_token(target.token, [], target.file)
    assert caught.value.refusal is TOKEN_INVALID


def test_the_longest_token_passes() -> None:
    longest = "ct_" + "a" * (MAX_TOKEN_LENGTH - 3)
    assert request_token(read_target(f"/download?token={longest}").token, []) == longest


def test_a_refusal_does_not_contain_the_token() -> None:
    with pytest.raises(Refused) as caught:
        request_token(TOKEN, [f"Bearer {OTHER}"])
    assert TOKEN not in f"{caught.value!r} {caught.value} {caught.value.detail}"


def refusal_of(in_url: str | None, authorization: list[str]) -> Refusal:
    with pytest.raises(Refused) as caught:
        request_token(in_url, authorization)
    return caught.value.refusal


FIELDS = st.lists(st.one_of(st.text(), st.text().map(basic), st.text().map("Bearer ct_".__add__)), max_size=3)


@given(st.one_of(st.none(), st.text(), st.text().map("ct_".__add__)), FIELDS)
def test_only_well_formed_tokens_are_taken(in_url: str | None, authorization: list[str]) -> None:
    try:
        token = request_token(in_url, authorization)
    except Refused:
        return
    assert token.startswith("ct_")
    assert token.isascii()
