"""Names of files in Content-Disposition and on pages, and the media types that they tell."""

from __future__ import annotations

import email
import email.policy
import re
import unicodedata
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http.file_names import (
    MAX_NAME_BYTES,
    content_disposition,
    download_name,
    media_type,
    shown,
    turns_text,
)
from tests.support.rows import each_row

NAMES = st.text(st.characters(), max_size=300)
"""Any text, lone surrogates too."""

DISPOSITION = re.compile(
    r"attachment; filename=\"((?:[ !#-\[\]-~])+)\""
    r"(?:; filename\*=UTF-8''((?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+))?"
)
"""RFC 6266 section 4.1 and RFC 8187 section 3.2.1, without the escapes we never make."""


@each_row(
    ("name", "plain"),
    [
        ("drums.zip", "drums.zip"),
        ("Epic Drums v1.zip", "Epic Drums v1.zip"),
        ("kits/rock/kick.wav", "kick.wav"),
        ("..\\..\\evil.exe", "evil.exe"),
        ("../../etc/passwd", "passwd"),
        ("C:\\a.txt", "a.txt"),
        ("it's (1)*.txt", "it's (1)*.txt"),
        ("a, b & c = d + e.txt", "a, b & c = d + e.txt"),
        ("what? [#1] {x} <y>.txt", "what? [#1] {x} <y>.txt"),
        ("a\r\nSet-Cookie: x=1.txt", "aSet-Cookie: x=1.txt"),
        ("a\x00b\x7fc\x85.txt", "abc.txt"),
        ("exe\u202egpj.txt", "exegpj.txt"),
        ("\u061ca\u200eb\u200fc\u2066d\u2069.txt", "abcd.txt"),
        (".bashrc", "bashrc"),
        (". .hidden", "hidden"),
        ("\x00.htaccess", "htaccess"),
        ("---.zip", "---.zip"),
        ("..", "download"),
        ("", "download"),
        ("folder/", "download"),
        ("   ", "download"),
        ("\x01\x02", "download"),
        ("bad\udcff\ud800.wav", "bad__.wav"),
        ("x" * 300 + ".wav", "x" * 196 + ".wav"),
    ],
)
def test_a_name_that_everybody_reads_alike_stands_alone(name: str, plain: str) -> None:
    assert content_disposition(name) == f'attachment; filename="{plain}"'


@each_row(
    ("name", "fallback"),
    [
        # read differently by some parser
        ('say "hi".txt', "say _hi_.txt"),
        ("a;b.txt", "a_b.txt"),
        ("100%41.txt", "100_41.txt"),
        ("=?UTF-8?Q?x?=.txt", "=_UTF-8?Q?x?=.txt"),
        # transliterated
        ("Übergröße.wav", "Ubergrosse.wav"),
        ("naïve café.mp3", "naive cafe.mp3"),
        ("cafe\u0301.mp3", "cafe.mp3"),
        ("Łódź.zip", "Lodz.zip"),
        ("Ærø.zip", "Aero.zip"),
        ("Крах.zip", "Krakh.zip"),
        ("Ελληνικά.pdf", "Ellinika.pdf"),
        ("ダウンロード.zip", "daunrodo.zip"),
        ("\u65e5\u672c", "RiBen"),
        ("한국어.zip", "HanGugEo.zip"),
        ("ไทย.zip", "aithy.zip"),
        ("עברית.bin", "'vryt.bin"),
        ("العربية.zip", "l`rbyh.zip"),
        ("€ rates", "EUR rates"),
        ("№ 5 – “best” ½.wav", "No 5 - _best_ 1_2.wav"),
        ("\U0001f941.mid", "drum.mid"),
        ("\U0001f941 loops.zip", "drum loops.zip"),
        ("архив.зип", "arkhiv.zip"),
        ("\uff0fa\uff02\uff3c.txt", "_a__.txt"),
        ("\u2026x.txt", "x.txt"),
        # nothing in ASCII is like it
        ("\ue000\ue001.bin", "download.bin"),
        ("a\ue000b.bin", "a_b.bin"),
        ("\u0301.zip", "download.zip"),
        ("ж" * 255, "zh" * 100),
        ("ж" * 255 + ".wav", "zh" * 98 + ".wav"),
        ("日" * 255 + ".wav", "Ri" * 65 + ".wav"),
        ("ﷺ" * 66 + ".wav", ("salla Allah `alayhi wa-sallam" * 7)[:196] + ".wav"),
    ],
)
def test_the_name_in_ascii(name: str, fallback: str) -> None:
    extended = quote(download_name(name), safe="!#$&+-.^_`|~")
    assert content_disposition(name) == f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{extended}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 300 + ".wav", "x" * 196 + ".wav"),
        ("x" * 300, "x" * 200),
        ("\u00e9" * 300 + ".wav", "\u00e9" * 98 + ".wav"),
        ("\U0001f941" * 300 + ".wav", "\U0001f941" * 49 + ".wav"),
        ("a." + "x" * 300, "a." + "x" * 198),
    ],
    ids=["ASCII", "no extension", "two bytes", "four bytes", "no real extension"],
)
def test_long_names_keep_their_extension(name: str, expected: str) -> None:
    assert download_name(name) == expected
    assert len(expected.encode()) <= MAX_NAME_BYTES


@given(NAMES)
@example("=?")
def test_content_disposition_is_safe_for_any_name(name: str) -> None:
    match = DISPOSITION.fullmatch(content_disposition(name))
    assert match is not None
    plain, extended = match.groups()
    assert not re.search(r'[/\\"%;]|=\?', plain)
    assert not plain.startswith((".", " "))
    assert len(plain) <= MAX_NAME_BYTES
    decoded = plain if extended is None else unquote(extended, errors="strict")
    assert decoded == download_name(name)
    assert len(decoded.encode()) <= MAX_NAME_BYTES
    assert not re.search(r"[/\\\x00-\x1f\x7f]", decoded)


@given(st.text("абвгдежзиклмнопрстуфхцчшыэюяäöüéèñçßłøžščαβγδ", min_size=1, max_size=60))
def test_letters_become_letters(name: str) -> None:
    match = DISPOSITION.fullmatch(content_disposition(name + ".zip"))
    assert match is not None
    assert re.fullmatch(r"[A-Za-z'`]+\.zip", match[1])


@given(NAMES)
def test_a_download_name_stays_itself(name: str) -> None:
    assert download_name(download_name(name)) == download_name(name)


@given(
    st.from_regex(r"[\w-][\w .'()!-]{0,40}[\w-]", fullmatch=True), st.sampled_from(["", "a/", "\\", "../b/"])
)
def test_the_last_component_comes_back_as_it_is(name: str, folder: str) -> None:
    match = DISPOSITION.fullmatch(content_disposition(folder + name))
    assert match is not None
    assert (match[1] if match[2] is None else unquote(match[2])) == unicodedata.normalize("NFC", name)


@given(NAMES)
def test_other_parsers_read_the_same_name(name: str) -> None:
    message = email.message_from_string(
        f"Content-Disposition: {content_disposition(name)}\n\n", policy=email.policy.compat32
    )
    assert message.get_content_disposition() == "attachment"
    assert message.get_param("filename", header="content-disposition") is not None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain.zip", "plain.zip"),
        ("Крах עברית.zip", "Крах עברית.zip"),
        ("\u202egpj.exe", "[U+202E]gpj.exe"),
        ("a\u061c\u200e\u200f\u2066\u2069b", "a[U+061C][U+200E][U+200F][U+2066][U+2069]b"),
        ("a\nb\x85\u2028\ufeff", "a[U+000A]b[U+0085][U+2028][U+FEFF]"),
        ("\U0001f469\u200d\U0001f3a4", "\U0001f469\u200d\U0001f3a4"),  # a joiner makes one picture of two
        ("bad\udcff", "bad\ufffd"),
        ("half\ud800", "half\ufffd"),  # JSON of a platform may have one
    ],
)
def test_how_a_page_shows_a_name(name: str, expected: str) -> None:
    assert shown(name) == expected


def test_every_mark_that_unicode_has_for_direction() -> None:
    controls = {"ALM", "LRM", "RLM", "LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    marks = [chr(code) for code in range(0x110000) if chr(code) in "\u061c\u200e\u200f"]
    marks += [chr(code) for code in range(0x110000) if unicodedata.bidirectional(chr(code)) in controls]
    assert len(marks) == len(controls)
    assert all(turns_text(f"a{mark}b") for mark in marks)
    assert not turns_text("עברית العربية ไทย.zip")


@each_row(
    ("name", "expected"),
    [
        ("a.zip", "application/zip"),
        ("A.ZIP", "application/zip"),
        ("kits/a.wav", "audio/wav"),
        ("a.tar.gz", "application/gzip"),
        ("manual.pdf", "application/pdf"),
        ("index.html", "text/html"),
        ("firmware.bin", "application/octet-stream"),
        ("zip", "application/octet-stream"),
        ("folder.zip/readme", "application/octet-stream"),
        ("folder/zip", "application/octet-stream"),
        ("a.zip.", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_media_type(name: str, expected: str) -> None:
    assert media_type(name) == expected
