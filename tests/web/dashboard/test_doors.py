"""Signing in and out, and links that make users: one answer for what is wrong, a new session otherwise."""

from __future__ import annotations

import asyncio
import re

import pytest

from gateway.config.settings import Settings
from gateway.users.announcing import invite_command
from gateway.users.links import Purpose, make_link, make_setup_link
from gateway.users.repository import UserRepository
from gateway.users.roles import Role
from gateway.web.dashboard.attempts import OF_ADDRESS, OF_NAME, SignInLines
from gateway.web.problems import Problem
from tests.support.control_plane import Api, read_store
from tests.support.dashboard import Visitor, join, open_database_of, open_visitor, sign_in
from tests.support.requests import request_from
from tests.support.users import PASSWORD

OTHER = "seven plums at noon"


async def link_of(settings: Settings, purpose: Purpose, role: Role = Role.STAFF, name: str = "") -> str:
    async with open_database_of(settings) as database:
        user = await UserRepository(database).find(name)
        return await make_link(database, purpose, role, "maria", None if user is None else user.id)


async def test_the_first_visit_leads_to_the_set_up(stranger: Visitor, settings: Settings) -> None:
    for path in ("", "/dashboard", "/dashboard/", "/dashboard/products"):
        answer = await stranger.request("GET", path or "/", allow_redirects=True)
        assert answer.status in (200, 404)
    page = await stranger.get("/sign-in", allow_redirects=True)
    assert f"<code>{invite_command(settings, stranger.url)}</code>" in page.text


async def test_a_link_sets_the_dashboard_up_once(stranger: Visitor, settings: Settings) -> None:
    async with open_database_of(settings) as database:
        secret = await make_setup_link(database)
        other = await make_setup_link(database)
    assert secret is not None
    for method in ("GET", "HEAD", "GET"):  # a scanner of mails, and a person after it
        page = await stranger.request(method, f"/dashboard/join?link={secret}")
        assert page.status == 200
    assert "You become the owner" in page.text
    answer = await stranger.post("/join", link=secret, name=" Maria  Schmidt ", password=PASSWORD)
    assert (answer.status, answer.location) == (303, "/")
    home = await stranger.get("/")
    assert home.status == 200
    assert "Maria Schmidt" in home.text
    for used in (secret, other or "", "x", ""):
        assert (await stranger.get(f"/join?link={used}")).status == 404
        again = await stranger.post("/join", link=used, name="eve", password=PASSWORD)
        assert again.status in (404, 429)
    assert (await stranger.get("/first-visit")).location == "/sign-in"


async def test_of_two_who_set_up_at_once_one_wins(api: Api, settings: Settings) -> None:
    async with open_database_of(settings) as database:
        secrets = [await make_setup_link(database) or "" for _ in range(2)]
    async with open_visitor(api.url) as first, open_visitor(api.url) as second:
        answers = await asyncio.gather(
            *(
                visitor.post("/join", link=secret, name=f"user {number}", password=PASSWORD)
                for number, (visitor, secret) in enumerate(
                    [(first, secrets[0]), (second, secrets[0]), (second, secrets[1])]
                )
            )
        )
        assert sorted(answer.status for answer in answers) == [303, 404, 404]


@pytest.mark.parametrize(
    ("name", "password", "text"),
    [
        ("maria", "short", "at least 12 characters"),
        ("maria", "password1234", "tried first"),
        ("mariaschmidt", "mariaschmidt1", "easy to guess"),
        ("cli", PASSWORD, "cannot be a name"),
        ("x" * 81, PASSWORD, "cannot be a name"),
        ("", PASSWORD, "cannot be a name"),
        ("maria", "kX9#" + "z" * 400, "at most 256"),
    ],
)
async def test_what_is_wrong_with_a_new_user_is_said_and_the_link_stays(
    stranger: Visitor, settings: Settings, name: str, password: str, text: str
) -> None:
    async with open_database_of(settings) as database:
        secret = await make_setup_link(database) or ""
    page = await stranger.post("/join", link=secret, name=name, password=password)
    assert page.status == 422
    assert text in page.text
    assert password not in page.text.replace("12 characters", "") or password == ""
    assert (await stranger.get(f"/join?link={secret}")).status == 200


async def test_an_invitation_makes_a_user_of_its_role(
    owner: Visitor, stranger: Visitor, settings: Settings
) -> None:
    secret = await link_of(settings, Purpose.INVITE)
    assert "maria invites you as staff" in (await stranger.get(f"/join?link={secret}")).text
    taken = await stranger.post("/join", link=secret, name="MARIA", password=PASSWORD)
    assert (taken.status, "has this name already" in taken.text) == (422, True)
    assert (await stranger.post("/join", link=secret, name="sven", password=PASSWORD)).status == 303
    assert (await stranger.get("/settings/changes")).status == 403


async def test_a_reset_link_ends_all_sessions_of_its_user(
    owner: Visitor, staff: Visitor, stranger: Visitor, settings: Settings
) -> None:
    secret = await link_of(settings, Purpose.RESET, Role.STAFF, "sven")
    assert "For sven" in (await stranger.get(f"/join?link={secret}")).text
    assert (await stranger.post("/join", link=secret, password=OTHER)).status == 303
    assert "sven" in (await stranger.get("/")).text
    assert (await staff.get("/")).location.startswith("/sign-in")
    assert (await owner.get("/")).status == 200
    assert (await sign_in(staff, "sven")).status == 401
    assert (await sign_in(staff, "sven", OTHER)).status == 303


async def test_names_and_passwords_that_are_wrong_get_one_answer(owner: Visitor, stranger: Visitor) -> None:
    answers = {
        re.sub(r'value="[^"]*"|autofocus="[^"]*"| +', "", (await sign_in(stranger, name, password)).text)
        for name, password in (
            ("maria", "wrong password"),
            ("maria", ""),
            ("nobody at all", PASSWORD),
            ("", ""),
            ("x" * 1000, "x" * 1000),
        )
    }
    assert len(answers) == 1
    assert "The name or the password is not right.".replace(" ", "") in answers.pop()


async def test_signing_in_makes_a_new_session_and_ends_the_former(owner: Visitor, api: Api) -> None:
    """Fixation: a session that somebody else has put into the browser is worth nothing afterwards."""
    former = owner.cookie()
    assert (await sign_in(owner)).status == 303
    assert owner.cookie() not in ("", former)
    async with open_visitor(api.url) as thief:
        for value in (former, "x" * 43, owner.cookie()[:-1], ""):
            answer = await thief.get("/", headers={"Cookie": f"user={value}"})
            assert answer.location.startswith("/sign-in")


async def test_the_cookie_is_for_this_host_and_no_script(
    api: Api, stranger: Visitor, settings: Settings
) -> None:
    answer = await join(stranger, settings)
    cookie = answer.headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert part in cookie
    assert "Domain" not in cookie
    assert stranger.cookie() not in await read_store(settings.redis_url or "")


async def test_signing_out_ends_the_session(owner: Visitor, api: Api) -> None:
    held = owner.cookie()
    answer = await owner.post("/sign-out")
    assert (answer.location, owner.cookie()) == ("/sign-in", "")
    async with open_visitor(api.url) as other:
        assert (await other.get("/", headers={"Cookie": f"user={held}"})).status == 303


@pytest.mark.parametrize(
    "asked", ["https://evil.example/", "//evil.example", "/\\evil.example", "/x\r\ny: z"]
)
async def test_signing_in_leads_to_no_other_site(owner: Visitor, stranger: Visitor, asked: str) -> None:
    page = await stranger.get("/sign-in", params={"next": asked})
    assert "evil" not in page.text
    answer = await stranger.post("/sign-in", name="maria", password=PASSWORD, next=asked)
    assert answer.headers["Location"] == "/dashboard/"
    assert (await stranger.get("/sign-in", params={"next": asked})).headers["Location"] == "/dashboard/"


async def test_signing_in_goes_on_where_one_wanted_to_go(owner: Visitor, stranger: Visitor) -> None:
    answer = await stranger.post("/sign-in", name="Maria", password=PASSWORD, next="/settings/changes?by=m")
    assert answer.location == "/settings/changes?by=m"


async def test_guessing_is_stopped_by_address(owner: Visitor, api: Api) -> None:
    """Also for the right password, which could be found otherwise; and for names that nobody has."""
    async with open_visitor(api.url) as guesser:
        statuses = [
            (await sign_in(guesser, f"name {each}", "guess")).status for each in range(OF_ADDRESS.limit + 2)
        ]
        assert statuses == [401] * OF_ADDRESS.limit + [429] * 2
        answer = await sign_in(guesser)
        assert answer.status == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert "Too many attempts" in answer.text
        for path in ("/join", "/passkey/options", "/passkey/sign-in"):
            assert (await guesser.post(path, link="x")).status == 429
    assert (await owner.get("/")).status == 200


async def test_guessing_one_name_is_stopped_from_many_addresses(api: Api, settings: Settings) -> None:
    lines = SignInLines(api.store.client, settings.trusted_proxies)
    for number in range(OF_NAME.limit):
        await lines.take(request_from(f"10.0.0.{number}"), "Maria")
    for name in ("MARIA ", "maria"):
        with pytest.raises(Problem):
            await lines.take(request_from("10.0.1.1"), name)
    await lines.check(request_from("10.0.1.2"))
    await lines.take(request_from("10.0.1.2"), "sven")


async def test_what_was_right_is_not_counted(owner: Visitor, api: Api) -> None:
    """Nor does it wipe out what was wrong: whoever has a password of their own guesses no more by it."""
    async with open_visitor(api.url) as visitor:
        for _ in range(OF_ADDRESS.limit // 2):
            assert (await sign_in(visitor)).status == 303
            assert (await sign_in(visitor, password="guess")).status == 401
        for _ in range(OF_ADDRESS.limit):
            assert (await sign_in(visitor)).status == 303
        statuses = [
            (await sign_in(visitor, password="guess")).status for _ in range(OF_ADDRESS.limit // 2 + 1)
        ]
        assert statuses == [401] * (OF_ADDRESS.limit // 2) + [429]


async def test_many_guesses_at_once_are_not_more_than_the_line(owner: Visitor, api: Api) -> None:
    async with open_visitor(api.url) as visitor:
        answers = await asyncio.gather(*(sign_in(visitor, f"name {each}", "guess") for each in range(40)))
    assert [each.status for each in answers].count(429) == 40 - OF_ADDRESS.limit
