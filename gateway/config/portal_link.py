"""Whether pages about a dead link lead to `/my`, where a customer gets another one."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from gateway.config.settings import Settings, base_url


def is_trial(settings: Settings) -> bool:
    """Whether only this machine reaches the gateway by its URL, and mails are files."""
    host = urlsplit(base_url(settings)).hostname or ""
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    return settings.mail_url is None and is_local


def leads_to_portal(settings: Settings) -> bool:
    """Whether refusals have the link: as `portal_link` says, else where customers can sign in.

    They can where mails leave (`mail.url`), and in a trial on this machine, which prints the links of mails.
    """
    if settings.portal_link is not None:
        return settings.portal_link
    return settings.mail_url is not None or is_trial(settings)
