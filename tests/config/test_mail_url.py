"""Which mail server a URL names, and who mails come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.mail_url import MailServer, Sender, check_address, locate_mail_server, read_sender
from gateway.config.settings import load
from gateway.errors import ConfigurationError
from tests.support.rows import each_row


@each_row(
    ("url", "server"),
    [
        ("smtp://mail.example.com", MailServer("mail.example.com", 25)),
        ("smtp://u:p@mail.example.com", MailServer("mail.example.com", 587, user="u", password="p")),
        ("smtps://u:p@mail.example.com/", MailServer("mail.example.com", 465, True, "u", "p")),
        ("smtp://mail.example.com:2525", MailServer("mail.example.com", 2525)),
        ("smtp://a%40b.example:p%3A%2F%C3%BC@h", MailServer("h", 587, False, "a@b.example", "p:/ü")),
        ("smtp://localhost:1025", MailServer("localhost", 1025, is_local=True)),
        ("smtp://127.0.0.1:1025", MailServer("127.0.0.1", 1025, is_local=True)),
        ("smtp://[::1]:1025", MailServer("::1", 1025, is_local=True)),
        ("smtp://[2001:db8::1]", MailServer("2001:db8::1", 25)),
        ("smtp://büro.example", MailServer("xn--bro-hoa.example", 25)),
    ],
)
def test_servers(url: str, server: MailServer) -> None:
    assert locate_mail_server(url) == server


def test_a_password_from_elsewhere() -> None:
    assert locate_mail_server("smtp://u@h", "from a file").password == "from a file"
    assert locate_mail_server("smtp://u:old@h", "new").password == "new"


@each_row(
    "url",
    [
        "",
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp://:25",
        "smtp://h:0",
        "smtp://h:70000",
        "smtp://h:secret",
        "smtp://u@h",
        "smtp://:p@h",
        "smtp://u:secret@h/path",
        "smtp://u:se/cret@h",
        "smtp://u:sec#ret@h",
        "smtp://u:secret@h?x=1",
        "smtp://h\r\nsecret",
        "smtp://u:%00@h",
        "smtp://u:%ff@h",
    ],
)
def test_what_is_no_server(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is looked at
        locate_mail_server(url)
    assert "secret" not in str(caught.value)
    assert "smtp" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("shop@example.com", Sender("", "shop@example.com")),
        ("Example Shop <shop@example.com>", Sender("Example Shop", "shop@example.com")),
        ('"Müller, Söhne" <a.b+c@büro.example>', Sender("Müller, Söhne", "a.b+c@xn--bro-hoa.example")),
        ("root@localhost", Sender("", "root@localhost")),
    ],
)
def test_senders(text: str, sender: Sender) -> None:
    assert read_sender(text) == sender


@each_row(
    "text",
    [
        *(
            "",
            "shop",
            "a@b@c",
            "a b@example.com",
            "<>",
            "a@",
            "@example.com",
            "a@exa mple.com",
            "a@-x.example",
        ),
        *("Shop <a@example.com>\r\nBcc: b@example.com", "ä@example.com", "x" * 101 + " <a@example.com>"),
        "Shop\u202e <a@example.com>",
    ],
)
def test_what_is_no_sender(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_sender(text)


def test_where_answers_go_has_no_name() -> None:
    assert check_address("help@büro.example") == "help@xn--bro-hoa.example"
    with pytest.raises(ValueError, match="without a name"):
        check_address("Help <help@example.com>")


def test_faults_of_the_settings_name_them_and_no_password(tmp_path: Path) -> None:
    environ = {
        "GATEWAY_MAIL_URL": "smtp://u:hunter2@h/x",
        "GATEWAY_MAIL_FROM": "nobody",
        "GATEWAY_MAIL_REPLY_TO": "nobody",
    }
    with pytest.raises(ConfigurationError) as caught:
        load({}, None, environ)
    faults = "\n".join(caught.value.faults)
    assert all(name in faults for name in environ)
    assert "hunter2" not in faults
    config = tmp_path / "gateway.toml"
    config.write_text('[mail]\nurl = "smtp://u:hunter2@h"\nfrom = "Shop <a@example.com>"\nper_minute = 5\n')
    settings = load({}, config, {})
    assert (settings.mail_from, settings.mail_per_minute) == ("Shop <a@example.com>", 5)
    assert "hunter2" not in repr(settings)
