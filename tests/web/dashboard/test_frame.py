"""Who may open which page: a walk through all rows of the table, with both roles and without."""

from __future__ import annotations

import re

import pytest

from gateway.config.settings import Settings
from gateway.users.roles import EVERYBODY, OWNERS, Role
from gateway.web.dashboard.application import SCREENS
from gateway.web.dashboard.frame import OPEN, next_path
from tests.support.control_plane import Api
from tests.support.dashboard import PREFIX, Answer, Visitor
from tests.support.dashboard_data import make_ordinary_day, record_shared_link
from tests.support.rows import each_row

BEFORE_SIGN_IN = {
    ("GET", "/first-visit"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/join"),
    ("POST", "/join"),
    ("POST", "/passkey/options"),
    ("POST", "/passkey/sign-in"),
}
"""All that is there for whom nobody knows."""
SECRETS = ("/settings/", "/connect")
"""Keys, secrets and users are below these: an owner's alone."""


def path_of(path: str) -> str:
    """A path with something in the place of each name."""
    return re.sub(r"\{\w+\}", "x", path)


async def ask(visitor: Visitor, method: str, path: str) -> Answer:
    if method == "POST":
        return await visitor.post(path_of(path))
    return await visitor.get(path_of(path))


def test_every_row_has_a_role_and_every_change_a_name() -> None:
    for screen in SCREENS:
        assert screen.method in ("GET", "POST"), screen.path
        assert screen.roles in (OPEN, EVERYBODY, OWNERS), screen.path
        if screen.roles == OPEN:
            assert (screen.method, screen.path) in BEFORE_SIGN_IN
        elif screen.method == "POST":
            assert re.fullmatch(r"[a-z_]+\.[a-z_]+", screen.audit), screen.path
        if screen.path.startswith(SECRETS):
            assert screen.roles == OWNERS or screen.path.startswith("/settings/own"), screen.path
    assert len({(screen.method, screen.path) for screen in SCREENS}) == len(SCREENS)


async def test_nobody_gets_anywhere_without_signing_in(owner: Visitor, stranger: Visitor) -> None:
    for screen in SCREENS:
        if screen.roles != OPEN:
            answer = await ask(stranger, screen.method, screen.path)
            assert answer.status == 303, screen.path
            assert answer.location.partition("?")[0] == "/sign-in", screen.path
            assert answer.text == ""


async def test_staff_is_refused_what_is_an_owners(staff: Visitor) -> None:
    for screen in SCREENS:
        if screen.roles == OWNERS:
            answer = await ask(staff, screen.method, screen.path)
            assert answer.status == 403, screen.path
            assert "You may not do that" in answer.text


@pytest.mark.slow
async def test_staff_is_let_in_elsewhere(staff: Visitor) -> None:
    for screen in SCREENS:
        if screen.roles == EVERYBODY and screen.path != "/sign-out":
            answer = await ask(staff, screen.method, screen.path)
            assert answer.status not in (403, 500), screen.path
            assert answer.location.partition("?")[0] != "/sign-in", screen.path


async def test_a_role_that_is_taken_away_ends_at_once(owner: Visitor, staff: Visitor, api: Api) -> None:
    assert (await owner.get("/settings/changes")).status == 200
    assert (await staff.get("/settings/changes")).status == 403


async def test_who_is_not_signed_in_comes_back_to_the_page_that_was_asked_for(
    owner: Visitor, stranger: Visitor
) -> None:
    answer = await stranger.get("/settings/changes?by=maria&action=user")
    assert answer.location == "/sign-in?next=%2Fsettings%2Fchanges%3Fby%3Dmaria%26action%3Duser"
    answer = await stranger.get("/settings/changes", headers={"HX-Request": "true"})
    assert (answer.status, answer.text) == (204, "")
    assert answer.headers["HX-Redirect"].startswith(f"{PREFIX}/sign-in?next=")


@each_row(
    "asked",
    [
        "",
        "x",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "/x\r\nSet-Cookie: a=b",
        "/x\\y",
        "/ä",
        "/" + "x" * 2000,
        "javascript:alert(1)",
        "/x y",
        "\t/x",
    ],
)
def test_nothing_leads_to_another_site(asked: str) -> None:
    assert next_path(asked) == "/"


def test_a_path_of_ours_leads_there() -> None:
    for path in ("/", "/products", "/orders?email=a%40b.example&after=1", "/x#y"):
        assert next_path(path) == path


@pytest.mark.slow
async def test_staff_are_shown_no_way_to_what_is_an_owners(
    api: Api, settings: Settings, staff: Visitor
) -> None:
    """No page that links lead to from the first one refuses, and no form is one that they may not send."""
    await make_ordinary_day(api, settings)
    await record_shared_link(settings)
    to_see, seen = ["/"], set[str]()
    may_send = [
        re.compile(re.sub(r"\{\w+\}", "[^/]+", screen.path))
        for screen in SCREENS
        if screen.method == "POST" and Role.STAFF in screen.roles
    ]
    while to_see:
        path = to_see.pop()
        if path in seen:
            continue
        seen.add(path)
        page = await staff.get(path)
        assert page.status < 400, path
        if not page.headers.get("Content-Type", "").startswith("text/html"):
            continue
        for form, address in re.findall(rf'(action|href)="{PREFIX}(/[^"#?]*)', page.text):
            if form == "href" and not address.startswith("/static/"):
                to_see.append(address)
            elif form == "action" and f'method="post" action="{PREFIX}{address}"' in page.text:
                assert any(each.fullmatch(address) for each in may_send), f"{path} sends to {address}"
    assert len(seen) > 30
    assert "/unmapped" in seen
    assert not [path for path in seen if path.startswith(SECRETS)]
