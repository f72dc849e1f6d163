"""What a request asks for: targets, Authorization, and the choice of token and file."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BAD_REQUEST, FILE_NOT_FOUND, Refusal, Refused
from gateway.http.targets import (
    MAX_NAME_CHARACTERS,
    MAX_SPELLINGS,
    Target,
    TargetKind,
    choose_file,
    read_target,
)
from gateway.manifest import Manifest, ManifestFile
from gateway.products.validation import MAX_FILE_NAME
from gateway.secrets import new_token
from tests.support.rows import each_row

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
    ("empty component", "/download//a", download("/a")),
    ("3986-5.2.4 dot segments", f"/x/../download/./y/../a?token={TOKEN}", download("a", TOKEN)),
    ("3986-5.2.4 never above the root", f"/../../download?token={TOKEN}", download(token=TOKEN)),
    ("3986-5.2.4 the index of what is left", f"/download/a/..?token={TOKEN}", download(token=TOKEN)),
    ("3986-5.2.4 only the folder", f"/download/.?token={TOKEN}", download(token=TOKEN)),
    ("3986-5.2.4 encoded", f"/%2E/download/x/%2e%2E/a?token={TOKEN}", download("a", TOKEN)),
    ("3986-5.2.4 absolute-form", f"http://h/a/../download?token={TOKEN}", download(token=TOKEN)),
    ("3986-5.2.4 out of the download", "/download/../healthz", Target(TargetKind.OTHER)),
    ("3986-5.2.4 an authorisation is taken as sent", "/download/../auth", Target(TargetKind.OTHER)),
    ("dots within encoded slashes are a name", "/download/a%2F..%2Fb", download("a/../b")),
    ("names that begin with dots", "/download/.hidden/...", download(".hidden/...")),
    ("dots of a parameter are a name", "/download?file=../a", download("../a")),
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
    ("glued to the token", f"/download?token={TOKEN}.", download(token=TOKEN)),
    ("glued to one of two", f"/download?token={TOKEN}&token={TOKEN})", download(token=TOKEN)),
    ("a token of somebody else beside ours", f"/download?token=abc&token={TOKEN}", download(token=TOKEN)),
    ("HTML's ampersand", f"/download?file=a&amp;token={TOKEN}", download("a", TOKEN)),
    ("HTML's ampersand twice", f"/download?file=a&amp;amp;token={TOKEN}", download("a", TOKEN)),
    ("HTML's ampersand encoded", f"/download?file=a&amp%3Btoken={TOKEN}", download("a", TOKEN)),
    ("HTML's ampersand before a file", f"/download?token={TOKEN}&amp;file=a", download("a", TOKEN)),
    ("HTML's decimal ampersand", f"/download?file=a&#38;token={TOKEN}", download("a", TOKEN)),
    ("HTML's hexadecimal ampersand", f"/download?file=a&#X26;token={TOKEN}", download("a", TOKEN)),
    ("HTML's decimal ampersand encoded", f"/download?file=a&%23038;token={TOKEN}", download("a", TOKEN)),
    ("an encoded equals sign", f"/download?token%3D{TOKEN}", download(token=TOKEN)),
    ("quoted-printable", f"/download?token=3D{TOKEN}", download(token=TOKEN)),
    ("an encoded question mark", f"/download%3Ftoken={TOKEN}", download(token=TOKEN)),
    ("an encoded query", f"/download/a%3Ftoken%3D{TOKEN}%26file%3Da", download("a", TOKEN)),
    ("a question mark in NAME alone", f"/download/a%3Fb?token={TOKEN}", download("a?b", TOKEN)),
    ("raw UTF-8 in another parameter", f"/download?utm=Frühling&token={TOKEN}", download(token=TOKEN)),
    ("token in the path", f"/download/{TOKEN}/drums.zip", download("drums.zip", TOKEN)),
    ("token in the path, no NAME", f"/download/{TOKEN}/", download(token=TOKEN)),
    ("token in the path, no slash", f"/download/{TOKEN}", download(token=TOKEN)),
    ("token in the path, NAME encoded", f"/download/{TOKEN}/a%20b/%C3%9C", download("a b/Ü", TOKEN)),
    ("token in the path, encoded", f"/download/%63t%5F{TOKEN[3:]}/a", download("a", TOKEN)),
    ("token in the path, parameters", f"/download/{TOKEN}/a?utm_source=x&file=a", download("a", TOKEN)),
    ("token in the path, file parameter", f"/download/{TOKEN}/?file=a", download("a", TOKEN)),
    ("token in the path and alike in the query", f"/download/{TOKEN}/a?token={TOKEN}", download("a", TOKEN)),
    ("token in the path, glued", f"/download/{TOKEN})", download(token=TOKEN)),
    ("token in the path, quoted", f"/download/%22{TOKEN}%22/a", download("a", TOKEN)),
    ("token in the path, a query glued", f"/download/{TOKEN}&utm_source=x", download(token=TOKEN)),
    ("token in the path, slashes", f"//download//{TOKEN}//", download(token=TOKEN)),
    ("token in the path, dot segments", f"/download/x/../{TOKEN}/./a/../b", download("b", TOKEN)),
    ("token in the path, absolute-form", f"http://h/download/{TOKEN}/a", download("a", TOKEN)),
    ("a NAME that begins like a token", f"/download/ct_a?token={TOKEN}", download("ct_a", TOKEN)),
    ("a NAME that is longer than a token", f"/download/{TOKEN}x.zip", download(f"{TOKEN}x.zip")),
    ("a NAME that contains one", f"/download/produ{TOKEN}/a", download(f"produ{TOKEN}/a")),
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
    ("two slashes", f"//download//?token={TOKEN}", download(token=TOKEN)),
    ("two slashes of an authorisation", "//auth", Target(TargetKind.OTHER)),
    ("a slash after NAME is looked up", f"/download/a.zip/?token={TOKEN}", download("a.zip/", TOKEN)),
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


@each_row(("target", "expected"), [case[1:] for case in TARGETS], ids=[c[0] for c in TARGETS])
def test_read_target(target: str, expected: Target) -> None:
    assert read_target(target) == expected


@each_row(
    "target",
    [
        "/download?token=ct_a&token=ct_b",
        "/download/a?token=ct_a&x=1&token=ct_%62%62",
        "/download?file=a&file=b",
        "/download/a?file=b",
        "/download/a+b?file=a+b",
        "/auth?token=ct_a&token=ct_b",
        "/download?token=a&token=b",
        f"/download/{TOKEN}/a?token=ct_b",
        f"/download/{TOKEN}/a?token={TOKEN[::-1][:-3].join(('ct_', ''))}",
        f"/download?token={TOKEN}%20ct_{'b' * 43}",
        f"/download/{TOKEN}/a?file=b",
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


# --- files --------------------------------------------------------------------------------------------------


def manifest(*names: str) -> Manifest:
    files = tuple(ManifestFile(name, 1, "a/b", "0" * 64, "0" * 8, "main", name, 0) for name in names)
    return Manifest("drums", "1.0.0", files)


@each_row(
    ("names", "name", "expected"),
    [
        (("a",), None, 0),
        (("a", "b"), None, ""),
        ((), None, ""),
        (("a", "kits/rock/b", "kits/c"), "kits/", "kits/"),
        (("a", "kits/rock/b", "kits/c"), "kits/rock//", "kits/rock/"),
        (("kits", "kits/c"), "kits", 0),
        (("kits", "kits/c"), "kits/", "kits/"),
        (("e\u0301/a",), "é/", "é/"),
        (("a",), "a", 0),
        (("a", "kits/b"), "kits/b", 1),
    ],
)
def test_choose_file(names: tuple[str, ...], name: str | None, expected: int | str) -> None:
    assert choose_file(manifest(*names), name) == expected


@pytest.mark.parametrize("name", ["a/", "a.", "a%20", "a)", "a\u200b", "/a", "a&utm_source=x", "a%2E"])
def test_files_are_found_by_what_is_glued_to_their_name(name: str) -> None:
    assert choose_file(manifest("b", "a"), name) == 1


def test_the_very_name_comes_before_a_repaired_one() -> None:
    assert choose_file(manifest("a", "a.", "a)."), "a.") == 1
    assert choose_file(manifest("a", "a.", "a)."), "a).,") == 2


@pytest.mark.parametrize("name", ["b", "A", "./a", "../a", "", "\udcff", "a\0", "a.b"])
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


def has_no_dot_segments(name: str) -> bool:
    return {".", ".."}.isdisjoint(name.split("/"))


NAMED = st.text(st.characters(codec="utf-8"), min_size=1)


@given(NAMED.filter(has_no_dot_segments).filter(lambda name: name.strip("/")))
def test_names_come_back_from_path_and_parameter(name: str) -> None:
    token = new_token()
    assert read_target(f"/download/{quote(name)}?token={token}") == download(name, token)
    assert read_target(f"/download/{quote(name, safe='')}?token={token}") == download(name, token)
    assert read_target(f"/download/{token}/{quote(name)}") == download(name, token)
    assert read_target(f"/download/{token}/{quote(name, safe='')}?utm_source=x") == download(name, token)
    assert read_target(f"/download?{urlencode({'file': name, 'token': token})}") == download(name, token)


@given(st.text())
def test_the_quick_reader_of_targets_agrees_with_the_full_one(token: str) -> None:
    text = quote("ct_" + token.encode("utf-8", "replace").decode(), safe="")
    assert read_target(f"/download?token={text}") == read_target(f"/download?x=1&token={text}")
    token = new_token()
    assert read_target(f"/download/{token}/{text}") == read_target(f"/download/{token}/{text}?x=1")
