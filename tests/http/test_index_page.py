"""The page that shows a customer the files of a version, and what is left of the link."""

from __future__ import annotations

import re
from html import unescape

import pytest

from gateway.http.index_page import MAX_CURL_FILES, Entry, Terms, index_page, rfc3339
from gateway.manifest import Manifest, ManifestFile

ADDRESS = "https://downloads.example/download/ct_a/"


def file(name: str, size: int = 2048, sha256: str = "ab" * 32) -> ManifestFile:
    return ManifestFile(name, size, "audio/wav", sha256, "0" * 8, "main", name, 0)


def page(*files: ManifestFile, terms: Terms | None = None, address: str = ADDRESS) -> str:
    manifest = Manifest("drums", "1.0", files)
    entries = [Entry(each.name, f"/download/{number}", each, number) for number, each in enumerate(files)]
    return index_page(manifest, "", entries, terms or Terms("Epic Drums"), address).decode()


def texts(html: str) -> str:
    """What a person reads."""
    return unescape(re.sub(r"<style>.*?</style>|<[^>]*>", "", html))


@pytest.mark.parametrize(
    ("downloads", "size", "charged", "left"),
    [
        (None, 1000, 0, None),
        (1, 1000, 0, 1500),
        (1, 1001, 0, 1501),
        (3, 1000, 1000, 2500),
        (1, 1000, 1500, 0),
        (1, 1000, 9999, 0),  # after a crash a file may be charged above the allowance
        (5, 0, 0, 0),
    ],
)
def test_bytes_left(downloads: int | None, size: int, charged: int, left: int | None) -> None:
    assert Terms("x", None, downloads, (charged,)).left(0, size) == left


@pytest.mark.parametrize(
    ("downloads", "charged", "words"),
    [
        (None, 0, "2.0 KiBSHA"),
        (3, 0, "2.0 KiB, 3 of 3 downloads leftSHA"),
        (3, 2048, "2.0 KiB, 2 of 3 downloads leftSHA"),
        (1, 1000, "2.0 KiB, 1 of 1 downloads leftSHA"),
        (1, 2048, "2.0 KiB, 1.0 KiB leftSHA"),
        (1, 3072, "2.0 KiB, nothing leftSHA"),
    ],
)
def test_what_is_left_of_a_file(downloads: int | None, charged: int, words: str) -> None:
    assert words in texts(page(file("a.wav"), terms=Terms("x", None, downloads, (charged,))))


def test_the_facts_of_a_link() -> None:
    html = page(
        file("a.wav", 1 << 20), file("b.wav", 1 << 19), terms=Terms("Epic & <Drums>", 1_800_000_000_000, 1)
    )
    assert "<h1>Epic &amp; &lt;Drums&gt; 1.0</h1>" in html
    assert "2 files, 1.5 MiB in all. " in texts(html)
    assert '<time datetime="2027-01-15T08:00:00.000Z">15 January 2027, 08:00 UTC</time>' in html
    assert "Each file may be downloaded once." in html
    plain = texts(page(file("a.wav")))
    assert "1 file, 2.0 KiB in all." in plain
    assert "until" not in plain
    assert "may be downloaded" not in plain


@pytest.mark.parametrize("moment", [-5, 0, 1_800_000_000_000, 1 << 62])
def test_any_moment_can_be_written(moment: int) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rfc3339(moment))
    assert "UTC" in page(file("a"), terms=Terms("x", moment))


def test_names_are_shown_as_they_are() -> None:
    html = page(file("\u202egpj.exe"), file("<b>.wav"), file("e\u0301\n.txt"), file("bad\udcff"))
    assert "<bdi>[U+202E]gpj.exe</bdi>" in html
    assert "<bdi>&lt;b&gt;.wav</bdi>" in html
    assert "<bdi>\u00e9[U+000A].txt</bdi>" in html
    assert "<bdi>bad\ufffd</bdi>" in html
    assert "\u202e" not in html


def test_each_digest_is_copied_by_one_touch() -> None:
    html = page(file("a", sha256="ab" * 32), file("b", sha256="cd" * 32))
    assert re.findall(r"<code>([0-9a-f]{64})</code>", html) == ["ab" * 32, "cd" * 32]
    assert "user-select:all" in html


def test_only_files_and_folders_are_links() -> None:
    manifest = Manifest("drums", "1.0", (file("kits/a"), file("b")))
    entries = [Entry("kits/", "kits/"), Entry("b", "b?x&y", manifest.files[1], 1)]
    html = index_page(manifest, "sub/", entries, Terms("x"), ADDRESS).decode()
    assert "<h1>x 1.0 sub/</h1>" in html
    assert re.findall(r'<a href="([^"]*)"', html) == ["kits/", "b?x&amp;y"]
    assert "1 file, 2.0 KiB" in texts(html)


def test_how_to_fetch_everything() -> None:
    plain = texts(page(file("a.wav"), file("b-1_2.wav")))
    assert f"wget -c -r -np -nH --cut-dirs=2 -R 'index.html*' '{ADDRESS}'" in plain
    assert f'curl -f -C - --remote-name-all "{ADDRESS}a.wav" "{ADDRESS}b-1_2.wav"' in plain
    for names in (["a b.wav"], ["kits/a.wav"], ["\u00e9.wav"], ["$(a)"], ['a"b'], ["%41"], [""]):
        assert "curl" not in page(*map(file, names))
    assert "curl" not in page(*(file(f"{number}.wav") for number in range(MAX_CURL_FILES + 1)))
    assert "wget" not in page(file("a.wav"), address="")


@pytest.mark.parametrize(
    ("address", "portal"),
    [
        (ADDRESS, "https://downloads.example/my"),
        ("http://[::1]:8080/download/ct_a/", "http://[::1]:8080/my"),
        ("", "/my"),
    ],
)
def test_the_page_says_where_a_fresh_link_is_and_has_no_link_to_it(address: str, portal: str) -> None:
    found = page(file("a.wav"), address=address)
    assert f"<code>{portal}</code>" in found
    assert 'href="/my' not in found
    assert "<form" not in found
