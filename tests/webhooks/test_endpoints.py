"""Endpoints: their secrets, rotations, and what is kept of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.connections.sealing import KEY_FILE, SecretBox
from gateway.database.types import now
from gateway.database.webhook_tables import WEBHOOK
from gateway.errors import Declined
from gateway.webhooks import endpoints
from gateway.webhooks.endpoints import MOST_SECRETS, EndpointRepository
from tests.support.outbox import Outbox


async def test_secrets_are_sealed(outbox: Outbox) -> None:
    made = await outbox.add()
    [secret] = made.signing(now())
    async with outbox.database.reading() as sql:
        [row] = (await sql.execute(select(WEBHOOK))).all()
    assert secret.encode() not in row.secrets
    assert secret not in repr(made)
    assert (await outbox.endpoints.get(made.id)).signing(now()) == [secret]


async def test_both_secrets_sign_until_the_overlap_is_over(outbox: Outbox) -> None:
    made = await outbox.add()
    [old] = made.signing(now())
    after = await outbox.endpoints.rotate(made.id, 100)
    new, still = after.signing(now())
    assert still == old
    assert after.signing(now() + 100_001) == [new]
    assert (await outbox.endpoints.get(made.id)).signing(now()) == [new, old]


async def test_an_overlap_of_nothing_ends_all_others_at_once(outbox: Outbox) -> None:
    made = await outbox.add()
    await outbox.endpoints.rotate(made.id, 100)
    after = await outbox.endpoints.rotate(made.id, 0)
    assert len(after.secrets) == 1


async def test_rotations_are_bounded_and_never_lengthen_an_overlap(outbox: Outbox) -> None:
    made = await outbox.add()
    short = await outbox.endpoints.rotate(made.id, 10)
    end = short.secrets[1].until
    for _ in range(MOST_SECRETS + 2):
        after = await outbox.endpoints.rotate(made.id, 1000)
        ends = {each.text: each.until for each in after.secrets}
        assert ends.get(short.secrets[1].text, end) == end
    assert len(after.secrets) == MOST_SECRETS


async def test_there_is_a_most_of_endpoints(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MOST_ENDPOINTS", 2)
    await outbox.add()
    await outbox.add()
    with pytest.raises(Declined, match="remove one") as refused:
        await outbox.add()
    assert refused.value.code == "webhook_limit"


async def test_one_that_is_not_there(outbox: Outbox) -> None:
    for work in (
        outbox.endpoints.get("0" * 26),
        outbox.endpoints.change("0" * 26, {"name": "x"}),
        outbox.endpoints.rotate("0" * 26),
        outbox.endpoints.remove("0" * 26),
    ):
        with pytest.raises(Declined) as refused:
            await work
        assert refused.value.code == "webhook_unknown"


async def test_a_lost_key_is_told_and_a_rotation_mends_it(outbox: Outbox, tmp_path: Path) -> None:
    made = await outbox.add()
    (tmp_path / KEY_FILE).unlink()
    (tmp_path / KEY_FILE).write_bytes(bytes(32))
    others = EndpointRepository(outbox.database, SecretBox(tmp_path))
    found = await others.get(made.id)
    assert "another key" in str(found.unreadable)
    sealed, failed = await others.seal_anew()
    assert (sealed, list(failed)) == (0, [made.id])
    assert (await others.rotate(made.id)).unreadable is None
    assert len((await others.get(made.id)).signing(now())) == 1


async def test_secrets_are_sealed_anew_with_the_key_of_now(outbox: Outbox, tmp_path: Path) -> None:
    made = await outbox.add()
    new = SecretBox(tmp_path, key="00" * 32)
    others = EndpointRepository(outbox.database, new)
    assert await others.seal_anew() == (1, {})
    assert await others.seal_anew() == (0, {})
    (tmp_path / KEY_FILE).unlink()
    found = await EndpointRepository(outbox.database, SecretBox(tmp_path, key="00" * 32)).get(made.id)
    assert found.signing(now()) == made.signing(now())


async def test_what_is_switched_off_may_be_switched_off_again(outbox: Outbox) -> None:
    made = await outbox.add()
    first = await outbox.endpoints.change(made.id, {"enabled": False})
    assert first.disabled is not None
    assert await outbox.endpoints.change(made.id, {"enabled": False}) == first
    assert (await outbox.endpoints.change(made.id, {"enabled": True})).disabled is None
