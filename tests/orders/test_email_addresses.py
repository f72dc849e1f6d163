"""E-mail addresses: normal forms of what certainly is the same mailbox, and refusals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.orders.email_addresses import MAX_LENGTH, AddressError, normalise
from tests.support.rows import each_row

LONG_DOMAIN = ".".join(["d" * 63] * 2 + ["d" * 61])  # 189 bytes: with a local part of 64 and the @, 254


@each_row(
    ("written", "normal"),
    [
        ("ann@example.com", "ann@example.com"),
        ("ann@EXAMPLE.Com", "ann@example.com"),
        (" ann@example.com\n", "ann@example.com"),
        ("\u00a0ann@example.com", "ann@example.com"),
        # never by guess
        ("Ann@example.com", "Ann@example.com"),
        ("a.n.n@gmail.com", "a.n.n@gmail.com"),
        ("ann+drums@gmail.com", "ann+drums@gmail.com"),
        ("ann@googlemail.com", "ann@googlemail.com"),
        # quotes
        ('"ann"@example.com', "ann@example.com"),
        (r'"a\nn"@example.com', "ann@example.com"),
        ('"ann lee"@example.com', '"ann lee"@example.com'),
        (r'"ann\ lee"@example.com', '"ann lee"@example.com'),
        ('"a@b"@example.com', '"a@b"@example.com'),
        (r'"a\"b"@example.com', r'"a\"b"@example.com'),
        (r'"a\\b"@example.com', r'"a\\b"@example.com'),
        ("a..b@example.com", '"a..b"@example.com'),
        ("ann.@example.com", '"ann."@example.com'),
        # signs
        ("o'neil!#$%&*+-/=?^_`{|}~@example.com", "o'neil!#$%&*+-/=?^_`{|}~@example.com"),
        # Unicode
        ("jörg@example.com", "jörg@example.com"),
        ("jo\u0308rg@example.com", "jörg@example.com"),
        ("δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@xn--hxajbheg2az3al.xn--jxalpdlp"),
        ("ann@Bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example"),
        ("ann@bu\u0308cher.example", "ann@xn--bcher-kva.example"),
        ("ann@faß.de", "ann@xn--fa-hia.de"),
        ("ann@fass.de", "ann@fass.de"),  # another domain, since IDNA 2008
        ("ann@\u0430pple.com", "ann@xn--pple-43d.com"),  # a Cyrillic a: looks the same, and is not
        ("ann@ｅｘａｍｐｌｅ。com", "ann@example.com"),
        ("نام\u200cها@example.com", "نام\u200cها@example.com"),
        # hosts
        ("ann@localhost", "ann@localhost"),
        ("ann@1.example", "ann@1.example"),
        # lengths
        (f"{'a' * 64}@{LONG_DOMAIN}", f"{'a' * 64}@{LONG_DOMAIN}"),
        (f"{'ä' * 32}@example.com", f"{'ä' * 32}@example.com"),
    ],
)
def test_normal_forms(written: str, normal: str) -> None:
    assert normalise(written) == normal
    assert normalise(normal) == normal


@each_row(
    "text",
    [
        "",
        "@",
        "ann",
        "ann@",
        "@example.org",
        "ann@@example.com",
        "ann lee@example.com",
        "ann@exam ple.com",
        "Ann <ann@example.com>",
        "<ann@example.com>",
        "ann@example.com, bob@example.com",
        "ann@example.com;bob@example.com",
        "ann(comment)@example.com",
        "ann@example.com(comment)",
        '"ann@example.com',
        'a"n"n@example.com',
        '""@example.com',
        "ann@example.com\r\nBcc: bob@example.com",
        "ann\r\nBcc:bob@example.com",
        '"ann\r\nBcc: bob"@example.com',
        "ann%0d\x0a@example.com",
        "ann\0@example.com",
        "ann\x7f@example.com",
        "ann\u0085@example.com",
        "ann\u2028@example.com",
        "ann\u202e@example.com",
        "ann\u200b@example.com",
        "ann\ud800@example.com",
        "ann@[192.0.2.1]",
        "ann@example.com.",
        "ann@.example.com",
        "ann@example..com",
        "ann@-example.com",
        "ann@exam_ple.com",
        "ann@xn--a.example",
        "ann@\u202eexample.com",
        "mailto:ann@example.com",
        f"{'a' * 65}@example.com",
        f"{'ä' * 33}@example.com",
        f"{'a' * 64}@a.{LONG_DOMAIN}",
        f"ann@{'d' * 64}.com",
        "a" * 1_000_000 + "@example.com",
    ],
)
def test_what_is_no_address_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        normalise(text)
    assert len(text) < 4 or text not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.text() | st.builds("{}@{}".format, st.text(min_size=1), st.text(min_size=1)))
def test_a_normal_form_stays_as_it_is_and_is_safe_in_a_header(text: str) -> None:
    try:
        normal = normalise(text)
    except AddressError:
        return
    assert normalise(normal) == normal
    assert len(normal.encode()) <= MAX_LENGTH
    assert normal.isprintable() or "\u200c" in normal or "\u200d" in normal
