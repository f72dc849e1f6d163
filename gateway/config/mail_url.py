"""The settings `mail_url` and `mail_from`: which mail server they name, and who mails come from. Pure.

    smtp://[USER:PASSWORD@]HOST[:PORT]     STARTTLS where it is offered; port 587 with a user, else 25
    smtps://[USER:PASSWORD@]HOST[:PORT]    TLS from the first byte; port 465

User and password are quoted as in every URL (`%40` for `@`). A fault never quotes them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

import idna

RELAY_PORT: Final = 25
SUBMISSION_PORT: Final = 587
"""RFC 6409: where a mail server takes mails from who signs in."""
TLS_PORT: Final = 465
"""RFC 8314 section 3.3: the same with TLS from the first byte."""
MOST_NAME: Final = 100
"""Characters of a sender's name: what fits into one line of a header once it is encoded."""

_FORMS: Final = "write smtp://USER:PASSWORD@HOST:PORT or smtps://USER:PASSWORD@HOST:PORT"
_ADDRESS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[^@\s]+")
"""A sender's address. Its local part is ASCII, because not every server of a customer takes another one."""
_SENDER: Final = re.compile(
    r"(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<name>[^<>\"]*))\s*<(?P<address>[^<>\s]+)>|(?P<alone>[^<>\s]+)"
)


@dataclass(frozen=True)
class MailServer:
    """A mail server. has_tls: from the first byte. user, password: None where nobody signs in.

    is_local: it is on this machine, so that nobody can listen or pretend to be it.
    """

    host: str
    port: int
    has_tls: bool = False
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    is_local: bool = False

    @property
    def label(self) -> str:
        """Names the server to people, without a password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'smtps' if self.has_tls else 'smtp'}://{host}:{self.port}"


@dataclass(frozen=True)
class Sender:
    """Who mails come from. address: with its domain in ASCII."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """What is after the @."""
        return self.address.rpartition("@")[2]


def check_mail_url(value: object) -> str | None:
    """Read the setting unchanged. Raises ValueError, which quotes nothing of it."""
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    locate_mail_server(text)
    return text


def locate_mail_server(url: str, password: str | None = None) -> MailServer:
    """The server of a URL. password: one from elsewhere, in place of the URL's. Raises ValueError."""
    if not url.isprintable() or " " in url:
        raise ValueError(f"has a space or a character that cannot be seen: {_FORMS}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"is not a URL with a valid host and port: {_FORMS}") from None
    if parts.scheme not in ("smtp", "smtps"):
        raise ValueError(f"is not an smtp:// or smtps:// URL: {_FORMS}")
    host = _host(parts.hostname)
    if host is None or port == 0:
        raise ValueError(f"names no host: {_FORMS}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            f"has something after the port; quote such signs in a password, as %2F for /: {_FORMS}"
        )
    user = _credential(parts.username)
    secret = password if password is not None else _credential(parts.password)
    if (user is None) != (secret is None):
        missing = "password" if secret is None else "user"
        raise ValueError(f"has no {missing}: {_FORMS}, or leave user and password out")
    has_tls = parts.scheme == "smtps"
    usual = TLS_PORT if has_tls else SUBMISSION_PORT if user is not None else RELAY_PORT
    return MailServer(host, port or usual, has_tls, user, secret, _is_local(host))


def _credential(text: str | None) -> str | None:
    if not text:
        return None
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"has a user or password that is not UTF-8: {_FORMS}") from None
    if "\0" in plain:
        raise ValueError(f"has a NUL character in its user or password: {_FORMS}")
    return plain


def _host(name: str | None) -> str | None:
    """A host as the network writes it; None for what is none."""
    if not name:
        return None
    if ":" in name or name.isascii():
        return name
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_sender(value: object) -> str | None:
    """Read the setting unchanged. Raises ValueError."""
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    read_sender(text)
    return text


def check_address(value: object) -> str | None:
    """Read an address without a name, with its domain in ASCII. Raises ValueError."""
    if value is None:
        return None
    sender = read_sender(value.strip() if isinstance(value, str) else "")
    if sender.name:
        raise ValueError("must be an address without a name, as in shop@example.com")
    return sender.address


def read_sender(text: str) -> Sender:
    """Read `address` or `Name <address>`. Raises ValueError."""
    form = "must be an address, as in shop@example.com or Example Shop <shop@example.com>"
    if any(unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp", "Cs") for each in text):
        raise ValueError(f"{form}, without a line break or another character that cannot be seen")
    found = _SENDER.fullmatch(text.strip())
    if found is None:
        raise ValueError(form)
    name = re.sub(r"\\(.)", r"\1", found["quoted"] or "") or (found["name"] or "").strip()
    address = found["address"] or found["alone"]
    if not _ADDRESS.fullmatch(address) or len(address) > 254:
        raise ValueError(form)
    if len(name) > MOST_NAME:
        raise ValueError(f"has a name of more than {MOST_NAME} characters")
    local, _, domain = address.rpartition("@")
    try:
        domain = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        if domain != "localhost":
            raise ValueError(form) from None
    return Sender(name, f"{local}@{domain}")
