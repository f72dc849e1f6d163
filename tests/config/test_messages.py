"""Messages about wrong values are ours, for every type of error that the models of the APIs can cause."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gateway.config.messages import TEXTS, describe
from gateway.mint.models import mint_model
from gateway.web.api.models import ListTokens, RegisterVersion, UpdateProduct, UpdateToken
from tests.support.rows import each_row

FILE: dict[str, Any] = {"name": "a", "size": 1, "storage": "main", "key": "a"}


@each_row(
    ("model", "value", "message"),
    [
        (mint_model(100), {"productId": "p", "expiresIn": 0}, "must be at least 1"),
        (mint_model(100), {"productId": "p", "expiresIn": 101}, "must be at most 100"),
        (mint_model(100), {"productId": "p", "expiresIn": 1.5}, "must be a whole number"),
        (mint_model(100), {"productId": "p", "maxDownloads": True}, "must be a whole number"),
        (mint_model(100), {"productId": 1}, "must be a string"),
        (mint_model(100), {"productId": ".."}, "must match the pattern ^[A-Za-z0-9]"),
        (
            mint_model(100),
            {"productId": "p", "customer": {"email": "a@" + "b" * 300}},
            "must have at most 254",
        ),
        (mint_model(100), {"productId": "p", "customer": 1}, "must be a JSON object"),
        (mint_model(100), {"productId": "p", "metadata": [1]}, "must be a JSON object"),
        (mint_model(100), [], "must be a JSON object"),
        (mint_model(100), {}, "is required"),
        (mint_model(100), {"productId": "p", "x": 1}, "is not a field of this request"),
        (RegisterVersion, {"version": "1", "files": []}, "must have at least 1 item(s), not 0"),
        (RegisterVersion, {"version": "1", "files": {}}, "must be a list"),
        (
            RegisterVersion,
            {"version": "1", "files": [{**FILE, "name": ""}]},
            "must have at least 1 character(s)",
        ),
        (RegisterVersion, {"version": "1", "files": [{**FILE, "modified": 2**63}]}, "must be less than"),
        (RegisterVersion, {"version": "1", "files": [FILE], "trust": 1}, "must be true or false"),
        (UpdateProduct, {"status": "gone"}, "must be 'active' or 'archived'"),
        (UpdateToken, {}, "must change something"),
        (ListTokens, {"limit": "x"}, "must be a whole number"),
        (ListTokens, {"limit": "0"}, "must be at least 1"),
    ],
)
def test_no_message_is_the_librarys(model: type[BaseModel], value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(value)
    texts = [describe(detail) for detail in raised.value.errors()]
    assert message in texts[0]
    assert not any("Input" in text or "input should" in text for text in texts)


def test_a_type_without_a_row_is_not_quoted() -> None:
    assert "moon" not in describe({"type": "unknown", "msg": "Input should be the moon"})
    assert all(text[0].islower() for text in TEXTS.values())
