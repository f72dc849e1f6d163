"""*Generate Download Token* and *Test Download*: what is asked for is made, and shown once."""

from __future__ import annotations

import re

import pytest

from gateway.secrets import token_id
from gateway.web.dashboard.minting import qr_code
from tests.support.control_plane import MAX_TTL, PUBLIC_URL, Api, read_store
from tests.support.dashboard import Answer, Visitor
from tests.support.store_server import StoreServer

URL = re.compile(rf"{PUBLIC_URL}/download/(ct_[A-Za-z0-9_-]{{43}})/file%200\.bin")


def token_of(answer: Answer) -> str:
    """The token of the link that a page shows."""
    found = set(URL.findall(answer.text))
    assert len(found) == 1, answer.text
    return str(found.pop())


async def test_a_link_is_made_as_it_was_asked_for_and_shown_once(
    api: Api, owner: Visitor, store: StoreServer
) -> None:
    answer = await owner.post(
        "/products/drums/token",
        **{
            "version": "1.0.0",
            "expiresIn": "2h",
            "maxDownloads": "3",
            "maxConnections": "4",
            "maxRate": "2 MiB",
            "bindTo": "network",
            "customer.email": "ann@example.com",
            "customer.name": "Ann",
            "metadata": "order = 1001\n\nnote=a = b",
        },
    )
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    token = token_of(answer)
    assert "<svg" in answer.text
    assert "data-copy" in answer.text
    record = await api.store.tokens.get(token_id(token))
    assert record is not None
    assert (record.product, record.version, record.max_downloads) == ("drums", "1.0.0", 3)
    assert (record.email, record.name) == ("ann@example.com", "Ann")
    assert dict(record.metadata) == {"order": "1001", "note": "a = b"}
    assert (record.caps.connections, record.caps.rate, record.caps.binding) == (4, 2 * 2**20, "network")
    assert record.expires - record.created == 7_200_000
    for path in (f"/tokens/{record.id}", "/tokens", "/", "/settings/changes"):
        assert token not in (await owner.get(path)).text
    [change] = await api.store.audit.latest(1)
    assert (change.by, change.action, change.what["token"]) == ("maria", "token.create", record.id)
    assert token not in await read_store(store.url)


async def test_a_link_needs_nothing_but_a_click(api: Api, owner: Visitor) -> None:
    form = await owner.get("/products/drums/token")
    assert 'value="1d"' in form.text
    record = await api.store.tokens.get(token_id(token_of(await owner.post("/products/drums/token"))))
    assert record is not None
    assert record.expires - record.created == 86_400_000
    assert record.version == "1.0.0"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expiresIn", "soon"),
        ("expiresIn", "0"),
        ("expiresIn", f"{MAX_TTL + 1}"),
        ("maxDownloads", "0"),
        ("maxDownloads", "many"),
        ("maxDownloads", "-1"),
        ("maxConnections", "x"),
        ("maxRate", "fast"),
        ("maxConnectionRate", "-5"),
        ("bindTo", "planet"),
        ("customer.email", "nobody"),
        ("customer.name", "x" * 1000),
        ("metadata", "no equals sign"),
        ("metadata", "a=1\na=2"),
        ("version", "7.7.7"),
        ("version", "<script>"),
    ],
)
async def test_what_is_wrong_is_said_and_what_was_typed_stays(
    api: Api, owner: Visitor, field: str, value: str
) -> None:
    answer = await owner.post("/products/drums/token", **{"customer.name": "Ann Keeps", field: value})
    assert answer.status == 422
    assert 'class="fault"' in answer.text or 'role="alert"' in answer.text
    assert "<script>" not in answer.text
    if field != "customer.name":
        assert "Ann Keeps" in answer.text
    assert not URL.search(answer.text)


async def test_a_test_download_is_marked_and_lives_a_day(api: Api, owner: Visitor) -> None:
    answer = await owner.post("/products/drums/test")
    assert answer.status == 200
    token = token_of(answer)
    assert f'href="{PUBLIC_URL}/download/{token}' in answer.text
    record = await api.store.tokens.get(token_id(token))
    assert record is not None
    assert dict(record.metadata) == {"test": "true"}
    assert record.expires - record.created == 86_400_000
    assert "Test" in (await owner.get(f"/tokens/{record.id}")).text


async def test_an_archived_product_gets_no_link(api: Api, owner: Visitor) -> None:
    await owner.send("/products/drums", status="archived")
    assert (await owner.post("/products/drums/token")).status == 422
    assert "archived" in (await owner.send("/products/drums/test")).notice


async def test_a_version_of_several_files_has_the_link_of_its_index(api: Api, owner: Visitor) -> None:
    answer = await owner.post("/products/drums/token", version="2.0.0")
    assert answer.status == 200
    assert re.search(rf"{PUBLIC_URL}/download\?token=ct_", answer.text)


def test_a_qr_code_is_black_on_white() -> None:
    code = qr_code("https://downloads.example/download/ct_x/<>")
    assert code.startswith("<svg")
    assert "#fff" in code
    assert "<>" not in code
