"""Facts as JSON, for the database, and back. Pure.

A text holds the fact's kind beside its fields, so that it can be read without knowing what it is. What was
written by an older version of the gateway is read by a newer one, because a new field of a fact always has a
default.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from gateway.orders.facts import (
    Alias,
    CustomerFact,
    Deleted,
    Dispute,
    OrderLines,
    OrderSnapshot,
    Refund,
    RefundSnapshot,
    Subscription,
)
from gateway.orders.knowledge import Paid, Part

KINDS: Final[tuple[type[Part], ...]] = (
    OrderSnapshot,
    OrderLines,
    Alias,
    Refund,
    RefundSnapshot,
    Dispute,
    Subscription,
    Deleted,
    CustomerFact,
    Paid,
)
_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {each.kind: TypeAdapter(each) for each in KINDS}


def write_fact(fact: Part) -> dict[str, Any]:
    """Make the JSON object of a fact."""
    content: dict[str, Any] = _ADAPTERS[fact.kind].dump_python(fact, mode="json")
    return {"kind": fact.kind, **content}


def read_fact(content: dict[str, Any]) -> Part:
    """Read what `write_fact` wrote. Raises ValueError where it is something else."""
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in _ADAPTERS:
        raise ValueError("there is no such kind of fact")
    fact: Part = _ADAPTERS[kind].validate_python(
        {name: value for name, value in content.items() if name != "kind"}
    )
    return fact
