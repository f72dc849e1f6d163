"""*Mails*: what was sent to whom, and sending again."""

from __future__ import annotations

import re

from gateway.config.settings import Settings
from gateway.database.tables import OUTBOX_MAIL
from gateway.database.types import new_id, now
from tests.support.dashboard import Visitor, check_markup, open_database_of

MARKUP = "<img src=x onerror=alert(1)>\u202e"


async def write(settings: Settings, **values: object) -> str:
    row = {"id": new_id(), "kind": "ready", "priority": 2, "state": "failed", "about": {}, "created": now()}
    async with open_database_of(settings) as database, database.writing() as sql:
        await sql.execute(OUTBOX_MAIL.insert().values(**{**row, **values}))
    return str({**row, **values}["id"])


async def test_mails_are_searched_sent_again_and_saved(owner: Visitor, settings: Settings) -> None:
    assert "No mail has been written yet" in (await owner.get("/settings/mails")).text
    failed = await write(settings, recipient="jo@example.com", code=550, error="no such mailbox")
    link = await write(settings, kind="sign_in", state="sent", recipient="ann@example.com")
    page = await owner.get("/settings/mails")
    assert "550 no such mailbox" in page.text
    assert re.findall(r"/settings/mails/(\w+)/resend", page.text) == [failed]
    found = await owner.get("/settings/mails", params={"recipient": " jo@EXAMPLE.com ", "state": "failed"})
    assert "jo@example.com" in found.text
    assert "ann@example.com" not in found.text
    assert "Nothing here fits" in (await owner.get("/settings/mails?recipient=nobody")).text
    assert "on its way" in (await owner.send(f"/settings/mails/{failed}/resend")).notice
    assert "Its link is gone" in (await owner.send(f"/settings/mails/{link}/resend")).notice
    assert (await owner.post(f"/settings/mails/{'x' * 26}/resend")).status == 404
    saved = await owner.get("/settings/mails.csv?kind=sign_in")
    assert saved.text.splitlines()[1].endswith("sign_in,ann@example.com,sent,0,,")


async def test_what_a_mail_server_says_is_shown_as_text(owner: Visitor, settings: Settings) -> None:
    await write(settings, recipient=MARKUP, error=MARKUP, code=550)
    for path in ("/settings/mails", "/settings/mails?state=failed&kind=ready"):
        page = await owner.get(path)
        assert "onerror" in page.text
        check_markup(page)
