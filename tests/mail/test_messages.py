"""What mails say, in both languages, and that nothing in them can be more than text."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gateway.config.mail_url import Sender
from gateway.config.page_settings import LANGUAGES
from gateway.config.settings import Settings
from gateway.mail import letters
from gateway.mail.languages import language_of
from gateway.mail.letters import Letter
from gateway.mail.messages import Envelope, Frame, make_message, one_line
from gateway.pages.look import Look
from gateway.pages.texts import texts_of
from tests.support.rows import each_row

PORTAL = "https://shop.example/my"
LINK = "https://shop.example/my/sign-in?a=1&b=2#token"
MOMENT = 1_795_888_533_983
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)

HOSTILE = (
    "a\r\nBcc: evil@example.com",
    "a\nSubject: other",
    "a\r\n\r\n<script>alert(1)</script>",
    "=?utf-8?q?a=0D=0ABcc:_evil@example.com?=",
    "=?utf-8?b?YQ0KQmNjOiBldmlsQGV4YW1wbGUuY29t?=",
    "<b>&amp;\"'",
    "\u202egpj.exe",
    "a\u2028b\u0085c\x0bd\x0ce\x1b[31m\x00",
    "{{ 7*7 }}{% raw %}%(seller)s %s",
    "\ud800",
    "x" * 5000,
    "",
)


def frame(**settings: Any) -> Frame:
    given = Settings.model_validate(
        {"seller_name": "Ann's Drums", "seller_links": "Imprint=https://a.example", **settings}
    )
    return Frame(Look.of(given), Sender("", "shop@example.com"), given.mail_reply_to, PORTAL)


def all_letters(language: str, text: str = "Épic Drums") -> dict[str, Letter]:
    texts = texts_of(language)
    personal: dict[str, Any] = {"seller": text, "link": LINK, "code": "482 113", "minutes": 15}
    return {
        "sign_in": letters.sign_in(texts, **personal),
        "change": letters.address_change(texts, old="a@example.com", new="b@example.com", **personal),
        "changed": letters.address_changed(
            texts, seller=text, old="a@example.com", new="b@example.com", portal=PORTAL, has_reply_to=True
        ),
        "seat": letters.seat(texts, seller=text, product=text, link=PORTAL),
        "ready": letters.ready(
            texts, seller=text, number=text, products=[text] * 30, portal=PORTAL, address="a@example.com"
        ),
        "ready_one": letters.ready(
            texts, seller=text, number=None, products=[text], portal=PORTAL, address="a@example.com"
        ),
        "version": letters.new_version(
            texts, seller=text, product=text, version=text, notes=text, portal=PORTAL, address="a@example.com"
        ),
        "test": letters.test(texts, seller=text, portal=PORTAL),
    }


def read(content: bytes) -> EmailMessage:
    message = email.message_from_string(content.decode(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def body(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content())


class Elements(HTMLParser):
    """The elements of a page, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.urls: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.urls += [value or "" for name, value in attrs if name in ("href", "src")]


@each_row("language", LANGUAGES)
@each_row("name", all_letters("en"))
def test_a_mail_has_what_a_mail_needs(name: str, language: str) -> None:
    letter = all_letters(language)[name]
    envelope = Envelope("0" * 26, "ünal@xn--bcher-kva.example", language, MOMENT)
    content = make_message(letter, frame(mail_reply_to="help@example.com"), envelope)
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert b"\n" not in content.replace(b"\r\n", b"")
    message = read(content)
    assert message["From"].addresses[0].display_name == "Ann's Drums"
    assert str(message["To"]) == "ünal@xn--bcher-kva.example"
    assert str(message["Message-ID"]) == f"<{'0' * 26}@example.com>"
    assert message["Date"].datetime.timestamp() == MOMENT // 1000
    assert (str(message["Auto-Submitted"]), str(message["Reply-To"])) == (
        "auto-generated",
        "help@example.com",
    )
    assert "List-Unsubscribe" not in message
    text, html = body(message, "plain"), body(message, "html")
    assert f'<html lang="{language}">' in html
    for block in letter.blocks:
        words = " ".join(block.text.split())[:60]
        assert words in " ".join(text.split())
        if block.url:
            assert block.url in text
            assert block.url in Elements(html).urls
    assert "https://a.example" in text
    assert "https://a.example" in html
    assert {url.partition(":")[0] for url in Elements(html).urls} <= {"https"}


def test_both_languages_are_written() -> None:
    for name, english in all_letters("en").items():
        german = all_letters("de")[name]
        assert german.subject != english.subject
        for one, other in zip(english.blocks, german.blocks, strict=True):
            if one.kind in ("paragraph", "button", "small"):
                assert one.text != other.text, one.text


@each_row("text", HOSTILE, ids=[f"text {number}" for number in range(len(HOSTILE))])
def test_what_others_wrote_stays_text(text: str) -> None:
    expected = {str(name) for name in read(make_message(all_letters("en")["ready"], frame(), _TO))}
    for name, letter in all_letters("en", text).items():
        named = frame(seller_name=text) if text.strip() and text != "\ud800" else frame()
        content = make_message(letter, named, _TO)
        message = read(content)
        assert {str(each) for each in message} == expected, name
        assert [each.addr_spec for each in message["To"].addresses] == ["ann@example.com"]
        assert [each.addr_spec for each in message["From"].addresses] == ["shop@example.com"]
        subject = str(message["Subject"])
        assert subject.isprintable()
        assert len(subject) <= 150
        html = Elements(body(message, "html"))
        assert html.names <= {"html", "head", "meta", "title", "body", "table", "tr", "td", "a", "br", "span"}
        assert set(html.urls) <= {PORTAL, LINK, "https://a.example"}
        assert "\u202e" not in body(message, "html") + body(message, "plain")


_TO = Envelope("0" * 26, "ann@example.com", "en", MOMENT)


@pytest.mark.parametrize(
    ("recipient", "shown"),
    [
        ("ann@example.com", "ann@example.com"),
        ('"a b"@example.com', '"a b"@example.com'),
        ('"a\\"b"@example.com', '"a\\"b"@example.com'),
        ("ünal@example.com", "ünal@example.com"),
        ("o'neil+tag@xn--bcher-kva.example", "o'neil+tag@xn--bcher-kva.example"),
    ],
)
def test_addresses(recipient: str, shown: str) -> None:
    envelope = Envelope("0" * 26, recipient, "en", MOMENT)
    message = read(make_message(all_letters("en")["test"], frame(), envelope))
    [address] = message["To"].addresses
    assert address.addr_spec == shown


def test_news_for_many_say_how_to_get_no_more() -> None:
    envelope = Envelope("0" * 26, "ann@example.com", "en", MOMENT, to_many=True)
    letter = all_letters("en")["version"]
    message = read(make_message(letter, frame(mail_reply_to="help@example.com"), envelope))
    assert re.fullmatch(
        r"<mailto:help@example\.com\?subject=Unsubscribe%200{26}>", str(message["List-Unsubscribe"]).strip()
    )
    assert "List-Unsubscribe" not in read(make_message(letter, frame(), envelope))


@pytest.mark.parametrize("reply_to", [None, "help@example.com"])
@pytest.mark.parametrize(("scheme", "one_click"), [("https", True), ("http", False)])
def test_news_are_ended_by_one_click(reply_to: str | None, scheme: str, one_click: bool) -> None:
    """RFC 8058: an HTTPS URI in List-Unsubscribe, and List-Unsubscribe-Post. RFC 2369: the best way first."""
    link = f"{scheme}://shop.example/my/news/{'s' * 43}"
    envelope = Envelope("0" * 26, "ann@example.com", "en", MOMENT, to_many=True, unsubscribe=link)
    letter = all_letters("en")["version"]
    message = read(make_message(letter, frame(mail_reply_to=reply_to), envelope))
    ways = re.sub(r"\s", "", str(message["List-Unsubscribe"])).split(",")
    assert ways[0] == f"<{link}>"
    assert [way.startswith("<mailto:") for way in ways[1:]] == [True] * (reply_to is not None)
    said = message["List-Unsubscribe-Post"]
    assert (said is not None and str(said) == "List-Unsubscribe=One-Click") == one_click


def test_the_logo_is_in_the_mail_and_nothing_is_loaded(tmp_path: Path) -> None:
    logo = tmp_path / "logo.png"
    logo.write_bytes(PNG)
    message = read(make_message(all_letters("en")["test"], frame(seller_logo=logo), _TO))
    assert Elements(body(message, "html")).urls[0] == "cid:logo"
    [image] = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert (image["Content-ID"], image.get_content()) == ("<logo>", PNG)
    logo.write_text("<svg></svg>")  # mail programs show none
    message = read(make_message(all_letters("en")["test"], frame(seller_logo=logo), _TO))
    assert "cid:" not in body(message, "html")


def test_a_line_of_a_header() -> None:
    assert one_line("  a\r\n b\t") == "a b"
    assert len(one_line("x" * 500, 100)) == 100


@pytest.mark.parametrize(
    ("country", "default", "language"),
    [("DE", "en", "de"), ("at", "en", "de"), ("CH", "en", "de"), ("US", "de", "en"), (None, "de", "de")],
)
def test_the_language_of_a_customer(country: str | None, default: str, language: str) -> None:
    assert language_of(country, default) == language
