"""A letter as a mail: header fields, text and HTML. Pure, apart from the templates.

Nothing that a stranger wrote can make a header field or end one: texts in header fields are one line of what
can be seen, without what looks like an encoded word (RFC 2047), and addresses are normal forms
(`gateway.orders.email_addresses`), which have no spaces and no line breaks.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import quote

from gateway.config.mail_url import Sender
from gateway.mail.letters import Block, Letter
from gateway.pages.look import Look
from gateway.pages.templates import render
from gateway.pages.texts import texts_of

WIDTH: Final = 72
"""Characters of a line of the text."""
MOST_SUBJECT: Final = 150
MOST_LINE: Final = 300
_LOGO: Final = "logo"
_IMAGES: Final = ("image/png", "image/jpeg", "image/webp")
"""What mail programs show. An SVG is left out, because hardly any does."""


@dataclass(frozen=True)
class Frame:
    """What all mails of a seller have. reply_to: where answers go. portal: the URL of the customers' page."""

    look: Look
    sender: Sender
    reply_to: str | None
    portal: str


@dataclass(frozen=True)
class Envelope:
    """What belongs to one mail. moment: ms since 1970. to_many: it is news for many.

    unsubscribe: the link by which the recipient gets no more of it; empty where there is none.
    """

    id: str
    recipient: str
    language: str
    moment: int
    to_many: bool = False
    unsubscribe: str = ""


def one_line(text: str, most: int = MOST_LINE) -> str:
    """A text for a header field: one line of what can be seen."""
    line = re.sub(r"\s+", " ", "".join(each if each.isprintable() else " " for each in text)).strip()
    line = line.replace("=?", "= ?")
    return line if len(line) <= most else f"{line[: most - 1]}…"


def make_message(letter: Letter, frame: Frame, envelope: Envelope) -> bytes:
    """Write a mail."""
    letter = _whole(letter)
    message = EmailMessage(SMTP if envelope.recipient.isascii() else SMTPUTF8)
    name = frame.sender.name or frame.look.name
    message["From"] = _mailbox(name, frame.sender.address)
    message["To"] = _mailbox("", envelope.recipient)
    message["Subject"] = one_line(letter.subject, MOST_SUBJECT)
    message["Date"] = format_datetime(datetime.fromtimestamp(envelope.moment / 1000, UTC))
    message["Message-ID"] = f"<{envelope.id}@{frame.sender.domain}>"
    if frame.reply_to is not None:
        message["Reply-To"] = _mailbox("", frame.reply_to)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
    message["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    if envelope.to_many:
        message["Precedence"] = "bulk"
        _say_how_to_unsubscribe(message, frame, envelope)
    message.set_content(write_text(letter, frame, envelope.language), cte="quoted-printable")
    logo = frame.look.logo if frame.look.logo is not None and frame.look.logo[0] in _IMAGES else None
    html = write_html(letter, frame, envelope.language, has_logo=logo is not None)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    if logo is not None:
        main, _, sub = logo[0].partition("/")
        part: Any = message.get_payload(1)
        part.add_related(logo[1], main, sub, cid=f"<{_LOGO}>", disposition="inline", filename=f"logo.{sub}")
    return message.as_bytes()


def _say_how_to_unsubscribe(message: EmailMessage, frame: Frame, envelope: Envelope) -> None:
    """RFC 2369, section 3.2; RFC 8058, section 3.1: one click is for an HTTPS URI only."""
    ways = [f"<{envelope.unsubscribe}>"] if envelope.unsubscribe else []
    if frame.reply_to is not None:
        subject = quote(f"Unsubscribe {envelope.id}")
        ways.append(f"<mailto:{quote(frame.reply_to, safe='@')}?subject={subject}>")
    if ways:
        message["List-Unsubscribe"] = ", ".join(ways)
    if envelope.unsubscribe.startswith("https://"):
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"


def _whole(letter: Letter) -> Letter:
    """The letter without halves of surrogate pairs, which are no characters; shops do send them."""
    blocks = tuple(replace(block, text=_valid(block.text)) for block in letter.blocks)
    return Letter(_valid(letter.subject), blocks)


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _mailbox(name: str, address: str) -> Address:
    local, _, domain = address.rpartition("@")
    if local.startswith('"'):
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return Address(one_line(name, 100), local, domain)


def write_text(letter: Letter, frame: Frame, language: str) -> str:
    """The plain text of a mail."""
    texts = texts_of(language)
    parts: list[str] = []
    for block in letter.blocks:
        text = _text_of(block)
        if block.kind == "item" and parts and parts[-1].startswith("- "):
            parts[-1] += f"\n{text}"
        else:
            parts.append(text)
    footer = "\n".join([frame.look.name, *(f"{label}: {url}" for label, url in frame.look.links)])
    parts += [f"-- \n{footer}"]
    if frame.reply_to is None:
        parts.insert(-1, _wrap(texts.gettext("Nobody reads answers to this mail.")))
    return _visible("\n\n".join(parts)) + "\n"


def _text_of(block: Block) -> str:
    if block.kind in ("button", "link"):
        return f"{block.text}:\n{block.url}"
    if block.kind == "code":
        return f"    {block.text}"
    if block.kind == "item":
        return f"- {' '.join(block.text.split())}"
    if block.kind == "notes":
        return "\n".join(_wrap(line) for line in block.text.splitlines())
    return _wrap(block.text)


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _visible(text: str) -> str:
    return "".join(each if each.isprintable() or each == "\n" else " " for each in text)


def write_html(letter: Letter, frame: Frame, language: str, *, has_logo: bool) -> str:
    """The HTML of a mail."""
    values = {
        "subject": letter.subject,
        "blocks": letter.blocks,
        "seller": frame.look.name,
        "links": frame.look.links,
        "colours": frame.look.light,
        "logo": f"cid:{_LOGO}" if has_logo else None,
        "has_reply_to": frame.reply_to is not None,
        "portal": frame.portal,
    }
    return render("mail/letter.html", language, values)
