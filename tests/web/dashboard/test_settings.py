"""Settings: one's own password and sessions, users, and API keys; each change has its line in the trail."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.users.repository import User, UserRepository
from gateway.users.roles import Role
from tests.support.authenticator import Authenticator
from tests.support.control_plane import Api, read_store
from tests.support.dashboard import Visitor, check_markup, join, open_database_of, open_visitor, sign_in
from tests.support.users import PASSWORD

NEW = "seven plums at noon"
MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


async def users_of(settings: Settings) -> dict[str, User]:
    async with open_database_of(settings) as database:
        return {user.name: user for user in await UserRepository(database).list_all()}


async def actions_of(api: Api) -> list[tuple[str, str]]:
    return [(each.by, each.action) for each in await api.store.audit.latest(20)]


async def test_ones_own_password_is_changed_and_other_sessions_end(owner: Visitor, api: Api) -> None:
    async with open_visitor(api.url) as other:
        assert (await sign_in(other)).status == 303
        wrong = await owner.post("/settings/own/password", current="not it at all", password=NEW)
        assert (wrong.status, "This is not your password." in wrong.text) == (422, True)
        weak = await owner.post("/settings/own/password", current=PASSWORD, password="password1234")
        assert (weak.status, "tried first" in weak.text) == (422, True)
        page = await owner.send("/settings/own/password", current=PASSWORD, password=NEW)
        assert "Your password is changed" in page.notice
        assert "is changed" not in (await owner.get("/settings")).text, "a notice is shown once"
        assert (await other.get("/")).location == "/sign-in"
        assert (await sign_in(other)).status == 401
        assert (await sign_in(other, "maria", NEW)).status == 303
    assert ("maria", "user.password") in await actions_of(api)


async def test_guessing_ones_own_password_in_a_stolen_session_is_stopped(owner: Visitor) -> None:
    statuses = [
        (await owner.post("/settings/own/password", current=f"guess {each}", password=NEW)).status
        for each in range(12)
    ]
    assert statuses == [422] * 10 + [429] * 2


async def test_own_sessions_are_listed_and_ended_and_no_others(
    owner: Visitor, staff: Visitor, api: Api, settings: Settings
) -> None:
    async with open_visitor(api.url) as other:
        await sign_in(other)
        page = await owner.get("/settings")
        ids = set(re.findall(r'name="which" value="([0-9a-f]{64})"', page.text))
        assert len(ids) == 1
        assert owner.cookie() not in page.text
        foreign = await staff.post("/settings/own/sessions/end", which=ids.copy().pop())
        assert foreign.status == 404
        assert (await other.get("/")).status == 200
        await owner.send("/settings/own/sessions/end", which=ids.pop())
        assert (await other.get("/")).status == 303
        await sign_in(other)
        await owner.send("/settings/own/sessions/end", which="others")
        assert (await other.get("/")).status == 303
        assert (await owner.get("/")).status == 200
    assert (await owner.post("/settings/own/sessions/end", which="x")).status == 404


async def test_an_invitation_is_shown_once_and_can_be_withdrawn(
    owner: Visitor, stranger: Visitor, api: Api
) -> None:
    page = await owner.post("/settings/users/invite", role="staff")
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    found = re.search(r'value="(http://127[^"]+/dashboard/join\?link=[\w-]+)"', page.text)
    assert found
    later = (await owner.get("/settings/users")).text
    assert found[1].partition("link=")[2] not in later
    assert (await owner.post("/settings/users/invite", role="king")).status == 400
    [identifier] = re.findall(r"/settings/invitations/([0-9a-f]{64})/withdraw", later)
    assert (
        "The invitation is void." in (await owner.send(f"/settings/invitations/{identifier}/withdraw")).notice
    )
    assert (await owner.post(f"/settings/invitations/{identifier}/withdraw")).status == 404
    assert (await stranger.request("GET", found[1].removeprefix(api.url))).status == 404
    assert [each for each in await actions_of(api) if each[0] == "maria"][:2] == [
        ("maria", "user.withdraw"),
        ("maria", "user.invite"),
    ]


async def test_users_change_their_roles_and_are_removed(
    owner: Visitor, staff: Visitor, settings: Settings, api: Api
) -> None:
    users = await users_of(settings)
    sven, maria = users["sven"].id, users["maria"].id
    refused = await owner.send(f"/settings/users/{maria}/role", role="staff")
    assert "There must be an owner" in refused.notice
    await owner.send(f"/settings/users/{sven}/role", role="owner")
    assert (await staff.get("/settings/users")).status == 200
    await owner.send(f"/settings/users/{sven}/role", role="staff")
    assert (await staff.get("/settings/users")).status == 403
    reset = await owner.post(f"/settings/users/{sven}/reset")
    assert "/join?link=" in reset.text
    await owner.send(f"/settings/users/{sven}/sign-out")
    assert (await staff.get("/")).status == 303
    assert (await sign_in(staff, "sven")).status == 303
    assert "sven is removed" in (await owner.send(f"/settings/users/{sven}/remove")).notice
    assert (await staff.get("/")).status == 303
    assert (await sign_in(staff, "sven")).status == 401
    for path in ("role", "reset", "sign-out", "remove"):
        assert (await owner.post(f"/settings/users/{sven}/{path}", role="owner")).status == 404
    done = [action for by, action in await actions_of(api) if by == "maria"]
    assert done[:2] == ["user.remove", "user.end_sessions"]


async def test_an_owner_who_becomes_staff_is_led_away(
    owner: Visitor, staff: Visitor, settings: Settings
) -> None:
    users = await users_of(settings)
    await owner.send(f"/settings/users/{users['sven'].id}/role", role="owner")
    answer = await owner.post(f"/settings/users/{users['maria'].id}/role", role="staff")
    assert answer.location == "/settings"
    assert "You are staff now." in (await owner.get("/settings")).notice


async def test_a_key_is_shown_once_works_and_is_revoked(owner: Visitor, api: Api, settings: Settings) -> None:
    page = await owner.post("/settings/keys/create", name="shop", role="admin", expires="30")
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    [key] = set(re.findall(r"gk_[\w-]{43}", page.text))
    later = (await owner.get("/settings/keys")).text
    assert key not in later
    assert key not in await read_store(settings.redis_url or "")
    assert (await api.ask("GET", "/api/products", key=key))[0] == 200
    [identifier] = re.findall(r"/settings/keys/([0-9a-f]{16})/revoke", later)[:1]
    assert "The key shop is revoked" in (await owner.send(f"/settings/keys/{identifier}/revoke")).notice
    assert (await api.ask("GET", "/api/products", key=key))[0] == 401
    assert (await owner.post(f"/settings/keys/{identifier}/revoke")).status == 404
    assert (await actions_of(api))[:2] == [("maria", "key.revoke"), ("maria", "key.create")]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "", "role": "mint"},
        {"name": "x" * 500, "role": "mint"},
        {"name": "shop", "role": "owner"},
        {"name": "shop", "role": "mint", "expires": "100000"},
    ],
)
async def test_a_key_that_is_wrong_is_said_so(owner: Visitor, fields: dict[str, str]) -> None:
    page = await owner.post("/settings/keys/create", **{"expires": "", **fields})
    assert page.status == 422
    assert 'aria-invalid="true"' in page.text
    assert "gk_" not in page.text


async def test_names_are_shown_as_text(owner: Visitor, api: Api, settings: Settings) -> None:
    """XSS in what a user or a key is called, in a browser's name, and in what a form sends back."""
    name = "<b>\u202eevil"
    async with open_visitor(api.url) as visitor:
        visitor.session.headers["User-Agent"] = MARKUP
        failed = await visitor.post("/sign-in", name=MARKUP, password="x")
        await join(visitor, settings, "<i>sven</i>", Role.STAFF)
        pages = [failed, await visitor.get("/settings"), await visitor.get("/")]
    await api.store.keys.create(MARKUP)
    await api.store.audit.record("<u>x</u>", "<s>", {"<a>": name})
    pages.append(await owner.post("/settings/keys/create", name=MARKUP, role="mint", expires=""))
    pages += [await owner.get(path) for path in ("/settings/keys", "/settings/users", "/settings/changes")]
    pages.append(await owner.get("/settings/changes", params={"by": MARKUP, "action": MARKUP}))
    for page in pages:
        check_markup(page)


async def test_a_passkey_is_added_and_removed(owner: Visitor, api: Api) -> None:
    url = f"http://localhost:{api.port}"
    async with open_visitor(url) as visitor:
        await sign_in(visitor)
        asked = await visitor.post("/settings/own/passkeys/options")
        options: dict[str, Any] = json.loads(asked.text)
        device = Authenticator(url, "localhost")
        answer = device.register(options)
        page = await visitor.send("/settings/own/passkeys", name="Phone", answer=answer)
        assert "The passkey is added" in page.notice
        assert "Phone" in page.text
        again = await visitor.send("/settings/own/passkeys", name="Phone", answer=answer)
        assert "could not be added" in again.notice, "a challenge counts once"
        [which] = re.findall(r'name="which" value="([\w-]{22})"', page.text)
        stranger = await owner.post("/settings/own/passkeys/remove", which="x")
        assert stranger.status == 404
        assert "is removed" in (await visitor.send("/settings/own/passkeys/remove", which=which)).notice
        assert (await visitor.post("/settings/own/passkeys/remove", which=which)).status == 404
    assert [action for _, action in await actions_of(api)][:2] == ["passkey.delete", "passkey.create"]
    assert "http://localhost" in (await owner.get("/settings")).text, "passkeys do not work here"
    assert (await owner.post("/settings/own/passkeys/options")).status == 404
