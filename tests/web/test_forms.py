"""What a form may send, and what is refused before anything is done with it."""

from __future__ import annotations

import pytest

from gateway.web.bodies import BODY_LIMIT
from tests.support.control_plane import PUBLIC_URL, Api

FORM = "application/x-www-form-urlencoded"
PATH = "/my/language"


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"language=de&back=/my/", FORM, 303),
        (b"language=de", FORM + "; charset=utf-8", 303),
        (b"", FORM, 303),
        (b"language=de", "text/plain", 415),
        (b"{}", "application/json", 415),
        (b"language=\xff", FORM, 400),
        (b"language=%ff", FORM, 400),
        (b"language=%00", FORM, 400),
        (b"&".join([b"a=b"] * 201), FORM, 400),
        (b"a=" + b"b" * BODY_LIMIT, FORM, 413),
    ],
)
async def test_a_form(portal: Api, body: bytes, media_type: str, status: int) -> None:
    headers = {"Content-Type": media_type, "Origin": PUBLIC_URL}
    async with portal.session.post(
        portal.url + PATH, data=body, headers=headers, allow_redirects=False
    ) as response:
        assert response.status == status


@pytest.mark.parametrize(
    ("back", "to"),
    [
        ("/my/orders?page=2", "/my/orders?page=2"),
        ("/my", "/my/"),
        ("", "/my/"),
        ("https://evil.example/", "/my/"),
        ("//evil.example", "/my/"),
        ("/my//evil.example", "/my/"),
        ("/my/\\evil.example", "/my/"),
        ("javascript:alert(1)", "/my/"),
        ("/elsewhere", "/my/elsewhere"),
        ("/my/\r\nSet-Cookie: a=b", "/my/"),
    ],
)
async def test_a_form_leads_back_to_our_own_pages_only(portal: Api, back: str, to: str) -> None:
    async with portal.session.post(
        portal.url + PATH, data={"language": "de", "back": back}, allow_redirects=False
    ) as response:
        assert (response.status, response.headers["Location"]) == (303, to)
        assert response.cookies["language"].value == "de"
        assert "a" not in response.cookies
