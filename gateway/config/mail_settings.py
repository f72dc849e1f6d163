"""The settings of mails: a part of `Settings` (settings.py)."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator

from gateway.config.mail_url import check_address, check_mail_url, check_sender
from gateway.config.readers import AbsolutePath, Seconds, Switch, setting, whole

MailURL = Annotated[str | None, BeforeValidator(check_mail_url)]
SenderText = Annotated[str | None, BeforeValidator(check_sender)]
AddressText = Annotated[str | None, BeforeValidator(check_address)]
_DAYS: Final = whole(1, 36_500)


class MailSettings(BaseModel):
    """How mails leave, and how many."""

    mail_url: MailURL = setting(
        None,
        "The mail server that takes our mails: smtp://USER:PASSWORD@HOST:PORT (STARTTLS wherever it is "
        "offered) or smtps://… (TLS from the first byte).",
        unit="URL",
        default_text="each mail is a file below `data`/mail",
        repr=False,
    )
    mail_password_file: AbsolutePath | None = setting(
        None,
        "A file with the password of the mail server, in place of one in `mail.url`.",
        unit="path",
        default_text="the password of `mail.url`",
    )
    mail_ca: AbsolutePath | None = setting(
        None,
        "The certificates (PEM) of who may have signed that of the mail server, for a server of your own.",
        unit="path",
        default_text="those that the system trusts",
    )
    mail_from: SenderText = setting(
        None,
        "Who mails come from: an address, or `Name <address>`. The mail server must let you use it.",
        unit="address of mail",
        default_text="no-reply at the host of `public_url`",
    )
    mail_reply_to: AddressText = setting(
        None,
        "Where answers to mails go, and requests to get no more of them: an address.",
        unit="address of mail",
        default_text="nobody reads answers, and mails say so",
    )
    mail_timeout: Seconds = setting(30.0, "How long the mail server may take for one answer.", unit="seconds")
    mail_per_minute: Annotated[int, whole(1, 1_000_000)] = setting(
        120,
        "How many mails leave in a minute, from all machines together. More wait; mails for signing in go "
        "first, and a fifth is kept for them. Look up what your mail server allows.",
        unit="mails a minute",
    )
    mail_per_recipient: Annotated[int, whole(1, 10_000)] = setting(
        12,
        "How many mails one address gets in an hour. Further mails for signing in are not sent, because "
        "strangers can ask for them; others wait.",
        unit="mails an hour",
    )
    mail_new_versions: Switch = setting(
        False,
        "Whether customers get a mail when a version is published or made active, unless the one who does it "
        "says otherwise (`notify`).",
    )
    mail_files: Annotated[int, whole(1, 1_000_000)] = setting(
        1000,
        "How many mails are kept as files below `data`/mail, where there is no mail server. The oldest go "
        "first.",
        unit="files",
    )
    retention_mails: Annotated[int, _DAYS] = setting(
        30,
        "How long it is kept which mails were sent, or failed, to whom; also how long mails are kept as "
        "files. What they said is not kept at all.",
        unit="days",
    )
