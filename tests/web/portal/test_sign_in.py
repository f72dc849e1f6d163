"""Signing in by mail, and who attacks it: all against the real process, store and databases."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from gateway.web.portal.codes import MAX_TRIES, new_secret
from gateway.web.portal.quotas import MAILS_OF_ADDRESS, MAILS_OF_CLIENT
from tests.support.portal import Answer, Portal, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def ask(visitor: Visitor, email: str) -> Answer:
    """Ask for a mail; the page to which that leads."""
    sent = await visitor.post("/sign-in", email=email)
    assert (sent.status, sent.location) == (303, "/my/code")
    return await visitor.get("/code")


def is_signed_in(page: Answer) -> bool:
    return "Sign out" in page.words


def other_than(code: str) -> str:
    return f"{(int(code.replace(' ', '')) + 1) % 10**8:08}"


async def test_the_link_of_the_mail_shows_a_button_that_signs_in(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    asking, phone = portal.visitor(), portal.visitor()
    page = await ask(asking, email)
    assert email in page.words
    letter = await portal.letter(email)
    button = await phone.get(letter.link)
    assert (button.status, f"You sign in as {email} ." in button.words) == (200, True)
    assert not is_signed_in(await phone.get())
    used = await phone.post(letter.link)
    assert (used.status, used.location) == (303, "/my/")
    assert is_signed_in(await phone.get())
    assert "Epic Kit" in (await phone.get()).words
    assert not is_signed_in(await asking.get()), "only the browser that pressed the button is signed in"


async def test_the_code_works_in_the_browser_that_asked_and_in_no_other(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    asking, other = portal.visitor(), portal.visitor()
    await ask(asking, email)
    code = (await portal.letter(email)).code
    await ask(other, portal.address("nobody"))
    refused = await other.post("/code", code=code)
    assert (refused.status, is_signed_in(await other.get())) == (403, False)
    bare = portal.visitor()
    assert (await bare.post("/code", code=code)).status == 403
    assert (await bare.get("/code")).location == "/my/"
    used = await asking.post("/code", code=code)
    assert (used.status, used.location) == (303, "/my/")
    assert is_signed_in(await asking.get())
    assert (await asking.post("/code", code=code)).status == 403, "a code is used once"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_scanner_that_opens_everything_uses_nothing_up(portal: Portal, method: str) -> None:
    email = portal.address()
    await portal.buy(email)
    asking, scanner = portal.visitor(), portal.visitor()
    await ask(asking, email)
    letter = await portal.letter(email)
    for _ in range(3):
        found = await scanner.ask(method, letter.link)
        assert not any("customer" in name for name in scanner.cookies)
        for path in set(re.findall(r'(?:href|src|action)="(/my[^"]*)"', found.text)):
            await scanner.ask(method, path)
    assert not is_signed_in(await scanner.get())
    assert (await asking.post(letter.link)).status == 303
    assert is_signed_in(await asking.get())


async def test_after_a_scanner_that_presses_buttons_the_code_still_signs_in(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    asking = portal.visitor()
    await ask(asking, email)
    letter = await portal.letter(email)
    assert (await portal.visitor().post(letter.link)).status == 303
    assert (await asking.post("/code", code=letter.code)).status == 303
    assert is_signed_in(await asking.get())


async def test_a_link_is_used_once_and_a_newer_mail_replaces_it(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    first = portal.visitor()
    await ask(first, email)
    old = await portal.letter(email)
    await ask(first, email)
    new = await portal.letter(email, 2)
    for link in (old.link, old.link[:-1] + "x", f"/my/sign-in/{new_secret()}"):
        for answer in (await first.get(link), await first.post(link)):
            assert answer.status == 410
            assert "does not work any more" in answer.words
    assert (await first.post("/code", code=old.code)).status == 403
    assert (await portal.visitor().post(new.link)).status == 303
    replayed = portal.visitor()
    assert (await replayed.post(new.link)).status == 410
    assert not is_signed_in(await replayed.get())


async def test_codes_are_guessed_a_few_times_only(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    asking = portal.visitor()
    await ask(asking, email)
    code = (await portal.letter(email)).code
    for _ in range(MAX_TRIES):
        assert (await asking.post("/code", code=other_than(code))).status == 403
    spent = await asking.post("/code", code=code)
    assert (spent.status, "tried too often" in spent.words) == (403, True)
    assert not is_signed_in(await asking.get())


@pytest.mark.parametrize(
    "code", ["", "1234", "abcd efgh", "1" * 500, "'; DROP TABLE customer; --", "<b>12345678"]
)
async def test_what_is_no_code_is_told_and_costs_no_try(portal: Portal, code: str) -> None:
    email = portal.address()
    await portal.buy(email)
    asking = portal.visitor()
    await ask(asking, email)
    right = (await portal.letter(email)).code
    for _ in range(MAX_TRIES + 1):
        answer = await asking.post("/code", code=code)
        assert answer.status in (403, 422)
        if answer.status == 403:  # eight digits after all
            break
    else:
        assert (await asking.post("/code", code=right)).status == 303


def without_secrets(answer: Answer, email: str) -> tuple[int, str, list[tuple[str, str]]]:
    fields = [
        (name, re.sub(r"=[^;]*", "=", value, count=1) if name == "Set-Cookie" else value)
        for name, value in sorted(answer.headers.items())
        if name not in ("Date", "Content-Length")
    ]
    return answer.status, answer.text.replace(email, "EMAIL"), fields


async def test_every_address_gets_the_same_answers(portal: Portal) -> None:
    known, unknown = portal.address("known"), portal.address("other")
    await portal.buy(known)
    told: dict[str, list[Any]] = {}
    for email in (known, unknown):
        visitor = portal.visitor()
        said = [await visitor.post("/sign-in", email=email), await visitor.get("/code")]
        said += [await visitor.post("/code", code="00000000") for _ in range(MAX_TRIES + 1)]
        said += [await visitor.post("/sign-in", email=email) for _ in range(MAILS_OF_ADDRESS.limit)]
        told[email] = [without_secrets(answer, email) for answer in said]
        assert said[-1].status == 429
    assert told[known] == told[unknown]
    await portal.letter(known)
    assert portal.letters(unknown) == []


async def test_what_depends_on_the_address_happens_after_the_answer(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many commands and statements before the answer for every address, and the mail behind it."""
    from gateway.database.engine import Database  # noqa: PLC0415
    from gateway.store.client import StoreClient  # noqa: PLC0415
    from gateway.web.portal.errands import Errands  # noqa: PLC0415

    work: list[tuple[asyncio.Task[Any] | None, str]] = []  # by task: others of the process work, too
    done: list[list[str]] = []
    waiting: list[Any] = []
    run, reading = StoreClient.run, Database.reading

    async def run_noted(self: StoreClient, script: Any, keys: Any, *arguments: Any) -> Any:
        work.append((asyncio.current_task(), keys[0].partition("{")[0]))
        return await run(self, script, keys, *arguments)

    def reading_noted(self: Database) -> Any:
        work.append((asyncio.current_task(), "database"))
        return reading(self)

    async def run_after(self: Errands, request: Any, response: Any, errand: Any) -> Any:
        done.append([what for task, what in work if task is asyncio.current_task()])
        waiting.append(errand)
        return response

    known, unknown = portal.address("known"), portal.address("other")
    await portal.buy(known)
    monkeypatch.setattr(StoreClient, "run", run_noted)
    monkeypatch.setattr(Database, "reading", reading_noted)
    monkeypatch.setattr(Errands, "run_after", run_after)
    for email in (known, unknown):
        work.clear()
        assert (await portal.visitor().post("/sign-in", email=email)).status == 303
    monkeypatch.undo()
    assert portal.letters(known) == []
    for errand in waiting:
        await errand
    assert done[0] == done[1]
    assert done[0].count("database") == 1
    assert "dg:code:" in done[0]
    await portal.letter(known)


async def test_one_client_asks_for_few_mails_whatever_the_addresses(portal: Portal) -> None:
    visitor = portal.visitor()
    statuses = []
    for number in range(MAILS_OF_CLIENT.limit + 1):
        visitor.address = f"2001:db8:ffff:1::{number + 1:x}"  # of one /64
        statuses.append((await visitor.post("/sign-in", email=portal.address())).status)
    assert statuses == [303] * MAILS_OF_CLIENT.limit + [429]
    visitor.address = "2001:db8:ffff:2::1"
    assert (await visitor.post("/sign-in", email=portal.address())).status == 303


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example.com\r\nBcc: x@example.com",
        "a" * 3000 + "@example.com",
        "ann@example.com, bob@example.com",
        "<script>@x",
    ],
)
async def test_what_is_no_address_is_told_beside_the_field(portal: Portal, email: str) -> None:
    answer = await portal.visitor().post("/sign-in", email=email)
    assert answer.status == 422
    assert "This is no e-mail address" in answer.words
    assert "<script>@" not in answer.text


@pytest.mark.parametrize(
    "fields",
    [
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"Forwarded": "host=evil.example"},
        {"X-Forwarded-Proto": "https", "Host": "evil.example:8443"},
    ],
)
async def test_links_of_mails_never_come_from_the_host_field(portal: Portal, fields: dict[str, str]) -> None:
    email = portal.address()
    await portal.buy(email)
    sent = await portal.visitor().post("/sign-in", headers=fields, email=email)
    assert (sent.status, sent.location) == (303, "/my/code")
    letter = await portal.letter(email)
    assert "evil" not in letter.text + letter.html


async def test_signing_in_makes_a_new_session_and_ends_the_one_before(portal: Portal) -> None:
    ann, bob = portal.address("ann"), portal.address("bob")
    await portal.buy(ann)
    await portal.buy(bob, name="Bob")
    visitor = await portal.signed_in(bob)
    before = dict(visitor.cookies)
    await ask(visitor, ann)
    assert (await visitor.post((await portal.letter(ann)).link)).status == 303
    assert visitor.cookies["customer"] != before["customer"]
    assert ann in (await visitor.get("/account")).words
    left = portal.visitor()
    left.cookies = before
    assert not is_signed_in(await left.get())


async def test_a_session_that_an_attacker_has_chosen_is_worth_nothing(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    chosen = new_secret()
    visitor, attacker = portal.visitor(), portal.visitor()
    visitor.cookies["customer"] = attacker.cookies["customer"] = chosen
    await ask(visitor, email)
    await visitor.post("/code", code=(await portal.letter(email)).code)
    assert is_signed_in(await visitor.get())
    assert visitor.cookies["customer"] != chosen
    assert not is_signed_in(await attacker.get())


async def test_signing_out_ends_the_session(portal: Portal) -> None:
    visitor, _, _ = await portal.buyer()
    kept = portal.visitor()
    kept.cookies = dict(visitor.cookies)
    assert (await visitor.post("/sign-out")).location == "/my/"
    assert "customer" not in visitor.cookies
    assert not is_signed_in(await kept.get())


async def test_a_customer_who_was_moved_by_the_seller_is_signed_out(portal: Portal) -> None:
    visitor, email, _ = await portal.buyer()
    asking = portal.visitor()
    await ask(asking, email)
    letter = await portal.letter(email)
    new = portal.address("moved")
    from gateway.web.api.customer_work import move_to  # noqa: PLC0415

    await move_to(portal.database, await portal.customer(email), new)
    assert not is_signed_in(await visitor.get())
    assert (await asking.post(letter.link)).status == 410, "the link was sent to the former address"
    assert (await asking.post("/code", code=letter.code)).status == 403
    assert is_signed_in(await (await portal.signed_in(new)).get())


async def test_the_mail_is_in_the_language_of_the_page(portal: Portal) -> None:
    email = portal.address()
    await portal.buy(email)
    await portal.visitor().post("/sign-in", headers={"Accept-Language": "de"}, email=email)
    assert re.search(r"anmelden|Anmelden|Anmeldung", (await portal.letter(email)).text)
