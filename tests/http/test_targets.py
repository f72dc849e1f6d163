"""What a request asks for: targets, Authorization, and the choice of token and file."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BAD_REQUEST, FILE_NOT_FOUND, TOKEN_INVALID, TOKEN_MISSING, Refusal, Refused
from gateway.http.targets import (
    MAX_NAME_CHARACTERS,
    MAX_SPELLINGS,
    Target,
    TargetKind,
    bearer_token,
    choose_file,
    choose_token,
    read_target,
    request_token,
)
from gateway.manifest import Manifest, ManifestFile
from gateway.products.validation import MAX_FILE_NAME
from gateway.secrets import MAX_TOKEN_LENGTH, new_token

TOKEN = "ct_" + "Az09-_" * 7 + "x"
OTHER_TOKEN = "ct_other"


def download(file: str | None = None, token: str | None = None) -> Target:
    return Target(TargetKind.DOWNLOAD, file, token)


TARGETS = [
    ("as minted", f"/download?token={TOKEN}", download(token=TOKEN)),
    ("no query", "/download", download()),
    ("empty query", "/download?", download()),
    ("empty NAME", f"/download/?token={TOKEN}", download(token=TOKEN)),
    ("NAME", f"/download/drums.zip?token={TOKEN}", download("drums.zip", TOKEN)),
    ("NAME with a space", "/download/Epic%20Drums.zip", download("Epic Drums.zip")),
    ("NAME with slashes", "/download/kits/rock/kick.wav", download("kits/rock/kick.wav")),
    ("NAME with encoded slashes", "/download/kits%2Frock%2fkick.wav", download("kits/rock/kick.wav")),
    ("plus in NAME is a plus", "/download/a+b.zip", download("a+b.zip")),
    ("encoded question mark in NAME", "/download/what%3F.zip", download("what?.zip")),
    ("decoded once only", "/download/a%2541.zip", download("a%41.zip")),
    ("no decoding of bad escapes", "/download/100%zz%", download("100%zz%")),
    ("UTF-8 in NAME", "/download/%C3%9Cber.wav", download("Über.wav")),
    ("raw UTF-8 in NAME", "/download/Über.wav", download("Über.wav")),
    ("not UTF-8 in NAME", "/download/%FF.wav", download("\udcff.wav")),
    ("dots are not resolved", "/download/../auth", download("../auth")),
    ("empty component", "/download//a", download("/a")),
    ("file parameter", f"/download?file=drums.zip&token={TOKEN}", download("drums.zip", TOKEN)),
    ("plus in a parameter is a space", "/download?file=Epic+Drums%2B.zip", download("Epic Drums+.zip")),
    ("semicolon does not separate", "/download?file=a;b.zip", download("a;b.zip")),
    ("equals sign in a value", "/download?file=a=b.zip", download("a=b.zip")),
    ("question mark in a value", "/download?file=a?b", download("a?b")),
    ("empty file parameter", "/download?file=", download()),
    ("file named twice alike", "/download/a%20b?file=a+b&file=a%20b", download("a b")),
    ("empty file parameter beside NAME", "/download/a?file=", download("a")),
    ("unknown parameters", f"/download?utm_source=x&token={TOKEN}&fbclid=y&&=&z", download(token=TOKEN)),
    ("token twice alike", f"/download?token={TOKEN}&token={TOKEN}", download(token=TOKEN)),
    ("token encoded without need", "/download?%74oken=%63t_a", download(token="ct_a")),
    ("empty token", "/download?token=", download()),
    ("empty token beside one", f"/download?token=&token={TOKEN}", download(token=TOKEN)),
    ("malformed token is passed on", "/download?token=ct_a%0A", download(token="ct_a\n")),
    ("plus in a token", "/download?token=ct_a+b", download(token="ct_a b")),
    ("parameter names have a case", "/download?Token=ct_a", download()),
    ("fragment", f"/download?token={TOKEN}#top", download(token=TOKEN)),
    ("path encoded without need", f"/%64ownload?token={TOKEN}", download(token=TOKEN)),
    ("9112-3.2.2 absolute-form", f"http://shop.example/download?token={TOKEN}", download(token=TOKEN)),
    ("9112-3.2.2 absolute-form, port, NAME", "HTTPS://shop.example:8443/download/a", download("a")),
    ("9112-3.2.2 absolute-form without path", "http://shop.example", Target(TargetKind.OTHER)),
    ("9112-3.2.2 absolute-form, query alone", "http://shop.example?token=ct_a", Target(TargetKind.OTHER)),
    ("9112-3.2.3 authority-form", "shop.example:80", Target(TargetKind.OTHER)),
    ("9112-3.2.4 asterisk-form", "*", Target(TargetKind.OTHER)),
    ("another scheme", "ftp://shop.example/download", Target(TargetKind.OTHER)),
    ("two slashes are a path", "//download", Target(TargetKind.OTHER)),
    ("authorisation", f"/auth?token={TOKEN}", Target(TargetKind.AUTH, None, TOKEN)),
    ("authorisation below a prefix", "/auth/download/a?token=ct_a", Target(TargetKind.AUTH, None, "ct_a")),
    ("authorisation of a file", "/auth?file=a", Target(TargetKind.AUTH, "a", None)),
    ("root", "/", Target(TargetKind.OTHER)),
    ("health", "/healthz", Target(TargetKind.OTHER)),
    ("longer word", "/downloads?token=ct_a", Target(TargetKind.OTHER)),
    ("longer word of authorisation", "/author", Target(TargetKind.OTHER)),
    ("paths have a case", "/Download", Target(TargetKind.OTHER)),
    ("below another path", "/x/download", Target(TargetKind.OTHER)),
    ("other paths' queries are not read", "/healthz?token=a&token=b", Target(TargetKind.OTHER)),
    ("empty target", "", Target(TargetKind.OTHER)),
    ("empty and foreign parameters", "/download?&a&=b&token&=ct_a&token==&mytoken=c", download(token="=")),
    ("a name that is too long is not decoded", "/download/" + "%61" * 1025, download("%61" * 1025)),
    ("a value in some spellings", "/download?file=ab&file=%61b&file=%61%62&file=a%62", download("ab")),
]


@pytest.mark.parametrize(("target", "expected"), [case[1:] for case in TARGETS], ids=[c[0] for c in TARGETS])
def test_read_target(target: str, expected: Target) -> None:
    assert read_target(target) == expected


@pytest.mark.parametrize(
    "target",
    [
        "/download?token=ct_a&token=ct_b",
        "/download/a?token=ct_a&x=1&token=ct_%62%62",
        "/download?file=a&file=b",
        "/download/a?file=b",
        "/download/a+b?file=a+b",
        "/auth?token=ct_a&token=ct_b",
        "/download?" + "&".join("token=" + "%61" * n + "a" * (9 - n) for n in range(MAX_SPELLINGS + 1)),
    ],
)
def test_contradictions_are_refused(target: str) -> None:
    assert refusal_of(lambda: read_target(target)) is BAD_REQUEST


def test_the_longest_name_is_found_however_it_is_encoded() -> None:
    name = "\U0001f941" * (MAX_FILE_NAME // 4)
    assert len(quote(name)) == MAX_NAME_CHARACTERS
    for target in (f"/download/{quote(name)}", f"/download?file={quote(name)}"):
        assert read_target(target).file == name


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        (f"Bearer {TOKEN}", TOKEN),
        (f"bearer {TOKEN}", TOKEN),
        (f"BEARER   {TOKEN} ", TOKEN),
        ("Bearer", None),
        ("Bearer ", None),
        (f"Bearer{TOKEN}", None),
        (f"Bearer\t{TOKEN}", None),
        (TOKEN, None),
        ("Basic dXNlcjpwYXNz", None),
        (f"Basic Bearer {TOKEN}", None),
        ("Bearer a b", "a b"),
        ("Bearer \udcff", "\udcff"),
    ],
)
def test_bearer_token(value: str | None, expected: str | None) -> None:
    assert bearer_token(value) == expected


@pytest.mark.parametrize(
    ("query", "bearer"), [(TOKEN, None), (None, TOKEN), (TOKEN, TOKEN), (TOKEN, ""), ("", TOKEN)]
)
def test_choose_token(query: str | None, bearer: str | None) -> None:
    assert choose_token(query, bearer) == TOKEN


@pytest.mark.parametrize(
    ("in_target", "authorization"),
    [
        (TOKEN, []),
        (TOKEN, [f"Bearer {TOKEN}"]),
        (None, [f"Bearer {TOKEN}"]),
        ("", [f"Bearer {TOKEN}"]),
        (TOKEN, ["Basic dXNlcjpwYXNz"]),
        (None, ["Basic dXNlcjpwYXNz", f"Bearer {TOKEN}"]),
        (None, [f"Bearer {TOKEN}", f"bearer {TOKEN}"]),
    ],
)
def test_request_token(in_target: str | None, authorization: list[str]) -> None:
    assert request_token(Target(TargetKind.DOWNLOAD, None, in_target), authorization) == TOKEN


@pytest.mark.parametrize(
    ("in_target", "authorization", "expected"),
    [
        (None, [], TOKEN_MISSING),
        (None, ["Basic dXNlcjpwYXNz"], TOKEN_MISSING),
        (TOKEN, [f"Bearer {OTHER_TOKEN}"], BAD_REQUEST),
        (None, [f"Bearer {TOKEN}", f"Bearer {OTHER_TOKEN}"], BAD_REQUEST),
        ("rubbish", [], TOKEN_INVALID),
        (None, ["Bearer rubbish"], TOKEN_INVALID),
    ],
)
def test_requests_without_one_valid_token(
    in_target: str | None, authorization: list[str], expected: Refusal
) -> None:
    target = Target(TargetKind.DOWNLOAD, None, in_target)
    assert refusal_of(lambda: request_token(target, authorization)) is expected


@pytest.mark.parametrize(
    ("query", "bearer", "expected"),
    [
        (None, None, TOKEN_MISSING),
        ("", "", TOKEN_MISSING),
        (TOKEN, OTHER_TOKEN, BAD_REQUEST),
        (TOKEN, "rubbish", BAD_REQUEST),
        ("ct_", None, TOKEN_INVALID),
        ("CT_abc", None, TOKEN_INVALID),
        ("gk_abc", None, TOKEN_INVALID),
        ("abc", None, TOKEN_INVALID),
        (" ct_abc", None, TOKEN_INVALID),
        ("ct_abc ", None, TOKEN_INVALID),
        ("ct_abc\n", None, TOKEN_INVALID),
        ("ct_a b", None, TOKEN_INVALID),
        ("ct_a+b/=", None, TOKEN_INVALID),
        ("ct_a\x00", None, TOKEN_INVALID),
        ("ct_\u0661\u00e9", None, TOKEN_INVALID),
        ("ct_\udcff", None, TOKEN_INVALID),
        (None, "ct_{a}", TOKEN_INVALID),
        ("ct_" + "a" * (MAX_TOKEN_LENGTH - 2), None, TOKEN_INVALID),
        ("ct_" + "a" * 1_000_000, None, TOKEN_INVALID),
    ],
)
def test_tokens_that_are_refused(query: str | None, bearer: str | None, expected: Refusal) -> None:
    assert refusal_of(lambda: choose_token(query, bearer)) is expected


def test_the_longest_token_passes() -> None:
    longest = "ct_" + "a" * (MAX_TOKEN_LENGTH - 3)
    assert choose_token(read_target(f"/download?token={longest}").token, None) == longest


def test_a_refusal_does_not_contain_the_token() -> None:
    with pytest.raises(Refused) as caught:
        choose_token(TOKEN, OTHER_TOKEN)
    assert TOKEN not in f"{caught.value!r} {caught.value} {caught.value.detail}"


# --- files --------------------------------------------------------------------------------------------------


def manifest(*names: str) -> Manifest:
    files = tuple(ManifestFile(name, 1, "a/b", "0" * 64, "0" * 8, "main", name, 0) for name in names)
    return Manifest("drums", "1.0.0", files)


@pytest.mark.parametrize(
    ("names", "name", "expected"),
    [
        (("a",), None, 0),
        (("a", "b"), None, None),
        ((), None, None),
        (("a",), "a", 0),
        (("a", "kits/b"), "kits/b", 1),
    ],
)
def test_choose_file(names: tuple[str, ...], name: str | None, expected: int | None) -> None:
    assert choose_file(manifest(*names), name) == expected


@pytest.mark.parametrize("name", ["b", "A", "./a", "a/", "../a", "", "\udcff"])
def test_unknown_files_are_refused(name: str) -> None:
    assert refusal_of(lambda: choose_file(manifest("a"), name)) is FILE_NOT_FOUND


def refusal_of(act: object) -> Refusal:
    assert callable(act)
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.refusal


# --- properties ---------------------------------------------------------------------------------------------

PIECES = st.lists(
    st.sampled_from(
        [
            "/",
            "download",
            "auth",
            "?",
            "&",
            "token=",
            "file=",
            "ct_a",
            "%",
            "%74",
            "%ff",
            "+",
            "#",
            "http://h",
            "\udcff",
        ]
    )
).map("".join)


@given(st.one_of(st.text(), PIECES, PIECES.map("/download?".__add__)))
def test_any_target_is_read_or_refused(target: str) -> None:
    refusal = None
    try:
        read = read_target(target)
    except Refused as refused:
        refusal = refused.refusal
    if refusal is None:
        assert read.token != ""
        assert read.file != ""
    else:
        assert refusal is BAD_REQUEST


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_names_come_back_from_path_and_parameter(name: str) -> None:
    token = new_token()
    assert read_target(f"/download/{quote(name)}?token={token}") == download(name, token)
    assert read_target(f"/download/{quote(name, safe='')}?token={token}") == download(name, token)
    assert read_target(f"/download?{urlencode({'file': name, 'token': token})}") == download(name, token)


@given(st.text())
def test_the_quick_reader_of_targets_agrees_with_the_full_one(token: str) -> None:
    text = quote("ct_" + token.encode("utf-8", "replace").decode(), safe="")
    assert read_target(f"/download?token={text}") == read_target(f"/download?x=1&token={text}")


@given(st.one_of(st.none(), st.text()), st.one_of(st.none(), st.text()))
def test_only_well_formed_tokens_are_chosen(query: str | None, authorization: str | None) -> None:
    try:
        token = choose_token(query, bearer_token(authorization))
    except Refused:
        return
    assert token.startswith("ct_")
    assert token.isascii()
