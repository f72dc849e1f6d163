"""Receipts: what a customer was sent, as a signed document for a dispute.

    {"success": true, "receipt": {…}, "jws": "…"}

The receipt is made from the tables at the moment it is asked for, and is stored nowhere. So after an erasure
it has no person in it, and after `retention.addresses` networks in the place of addresses. Texts that came
from outside (names, programs, metadata) are in it without control characters.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Row

from gateway.config.units import format_size
from gateway.database.engine import Database
from gateway.database.types import now
from gateway.usage.downloads import Attempt
from gateway.usage.evidence import Access, Payment, stripe_evidence, visa_evidence
from gateway.usage.receipt_facts import FileFacts, OrderFacts, ReceiptFacts, read_receipt_facts
from gateway.web.times import format_time

if TYPE_CHECKING:
    from gateway.tokens.records import TokenRecord
    from gateway.web.signing_keys import SigningKeys

VERSION: Final = 1
"""Of the form of a receipt. New fields do not change it."""
MOST_ATTEMPTS: Final = 5_000
"""Requests that are listed, the first and the last ones of each file, so that a receipt has a few MB at most.
What is counted is always right."""
LEAST_ATTEMPTS: Final = 4
"""Requests that are listed of each file, however many files there are."""
MOST_SPANS: Final = 1_000
"""Spans of one file's coverage that are listed; a file that is complete has one."""
SPANS_OF_ATTEMPT: Final = 16
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LINE_ENDS: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


async def make_receipt(
    database: Database, identifier: str, record: TokenRecord | None, issuer: str
) -> dict[str, Any] | None:
    """Make the receipt of a token, also of one that the store has forgotten. None: it was never known.

    record: what the store knows of it. issuer: what public URLs begin with. Raises DatabaseError.
    """
    moment = now()
    async with database.reading() as sql:
        product, version = (record.product, record.version) if record else ("", "")
        facts = await read_receipt_facts(sql, identifier, product, version, moment)
    if record is None and facts.token is None:
        return None
    return receipt_document(identifier, record, facts, issuer, moment)


async def signed_receipt(receipt: dict[str, Any], keys: SigningKeys) -> dict[str, Any]:
    """The answer of the API: a receipt with its signature. Raises DatabaseError."""
    payload = json.dumps(receipt, ensure_ascii=False, separators=(",", ":")).encode()
    return {"success": True, "receipt": receipt, "jws": await keys.sign(payload)}


def receipt_document(
    identifier: str, record: TokenRecord | None, facts: ReceiptFacts, issuer: str, moment: int
) -> dict[str, Any]:
    """Make the document from what was read. moment: now, in ms."""
    payment = _payment(record, facts)
    accesses = [_access(file, attempt) for file in facts.all_files for attempt in file.attempts]
    document = {
        "type": "download-receipt",
        "version": VERSION,
        "issuer": issuer,
        "issuedAt": format_time(moment),
        "token": _token(identifier, record, facts),
        "product": {
            "productId": _product_of(record, facts)[0],
            "name": facts.product_name,
            "version": _product_of(record, facts)[1],
            "files": facts.files_of_version,
        },
        "customer": {"id": payment.account, "email": payment.email, "name": payment.name},
        "order": _order(facts),
        "entitlement": _entitlement(facts),
        "summary": _summary(facts.files),
        "files": [
            _file(each, max(LEAST_ATTEMPTS, MOST_ATTEMPTS // len(facts.files))) for each in facts.files
        ],
        "evidence": {
            "stripe": stripe_evidence(payment, accesses),
            "visaCompellingEvidence3": visa_evidence(payment, [_earlier(each) for each in facts.earlier]),
        },
    }
    cleaned: dict[str, Any] = _clean(document)
    return cleaned


def _product_of(record: TokenRecord | None, facts: ReceiptFacts) -> tuple[str, str]:
    """The product and version that a token opens."""
    if facts.token is not None and facts.token.product:
        return facts.token.product, facts.token.version or ""
    return (record.product, record.version) if record is not None else ("", "")


def _token(identifier: str, record: TokenRecord | None, facts: ReceiptFacts) -> dict[str, Any]:
    row, link = facts.token, facts.link
    ended = record.revoked if record is not None else link.ended if link is not None else None
    status = record.status if record is not None else "expired" if ended is None else "revoked"
    created, expires = (
        (record.created, record.expires) if record is not None else (row.created, row.expires)  # type: ignore[union-attr]
    )
    metadata = dict(record.metadata) if record is not None else row.metadata if row is not None else None
    return {
        "tokenId": identifier,
        "status": status,
        "createdAt": format_time(created),
        "expiresAt": format_time(expires),
        "revokedAt": None if ended is None else format_time(ended),
        "test": row.test if row is not None else False,
        "metadata": metadata or {},
    }


def _order(facts: ReceiptFacts) -> dict[str, Any] | None:
    if facts.order is None:
        return None
    row, line = facts.order.row, facts.line
    return {
        "source": row.source,
        "orderId": row.external_id,
        "number": row.number,
        "status": row.status,
        "placedAt": format_time(row.placed),
        "country": row.country,
        "test": row.test,
        "total": row.details.get("total"),
        "purchaseIp": facts.order.ip,
        "payments": [{"kind": kind, "id": value} for kind, value in facts.order.payments],
        "customer": _person(facts.order.buyer, row.customer_id),
        "line": None
        if line is None
        else {
            "id": line.external_id,
            "title": line.title,
            "quantity": line.quantity,
            "refunded": line.refunded,
        },
    }


def _person(row: Row[Any] | None, identifier: str | None) -> dict[str, Any]:
    return {
        "id": identifier,
        "email": row.email if row is not None else None,
        "name": row.name if row is not None else None,
    }


def _entitlement(facts: ReceiptFacts) -> dict[str, Any] | None:
    """The right that the token came from, and what all its tokens received."""
    row = facts.entitlement
    if row is None:
        return None
    return {
        "id": row.id,
        "status": row.status,
        "quantity": row.quantity,
        "customer": _person(facts.holder, row.customer_id),
        "tokens": len({attempt.token for file in facts.all_files for attempt in file.attempts}),
        "files": [_file(each) for each in facts.all_files],
    }


def _summary(files: tuple[FileFacts, ...]) -> dict[str, Any]:
    downloads = [each for file in files for each in file.downloads]
    completed = [each.completed for each in downloads if each.completed is not None]
    return {
        "bytes": sum(each.bytes for each in downloads),
        "started": len(downloads),
        "completed": len(completed),
        "attempts": sum(each.times for each in downloads),
        "firstAt": _moment(min((each.first_at for each in downloads), default=None)),
        "lastAt": _moment(max((each.last_at for each in downloads), default=None)),
        "completeFiles": sum(_is_complete(file) for file in files),
    }


def _is_complete(file: FileFacts) -> bool:
    return sum(stop - start for start, stop in file.coverage) == file.size


def _file(file: FileFacts, shown: int | None = None) -> dict[str, Any]:
    """What was received of one file. shown: how many requests are listed; None: they are left out."""
    completed = [each.completed for each in file.downloads if each.completed is not None]
    coverage = file.coverage
    covered = sum(stop - start for start, stop in coverage)
    document: dict[str, Any] = {
        "name": file.name,
        "productId": file.product,
        "version": file.version,
        "size": file.size,
        "sha256": file.sha256,
        "bytes": sum(each.bytes for each in file.downloads),
        "coverage": [[start, stop] for start, stop in coverage[:MOST_SPANS]],
        "coveredBytes": covered,
        "complete": covered == file.size,
        "started": len(file.downloads),
        "completed": len(completed),
        "requests": sum(each.times for each in file.downloads),
        "firstAt": _moment(file.downloads[0].first_at),
        "completedAt": _moment(min(completed, default=None)),
        "lastAt": _moment(max(each.last_at for each in file.downloads)),
    }
    if shown is not None:
        listed = file.attempts
        if len(listed) > shown:
            listed = listed[: shown - shown // 2] + listed[-(shown // 2) :]
        document["attempts"] = [_attempt(each) for each in listed]
    return document


def _attempt(each: Attempt) -> dict[str, Any]:
    return {
        "startedAt": _moment(each.started),
        "endedAt": _moment(each.ended),
        "address": each.client or None,
        "userAgent": each.agent or None,
        "bytes": each.sent,
        "spans": [[start, stop] for start, stop in each.spans[:SPANS_OF_ATTEMPT]],
        "requests": each.times,
    }


def _access(file: FileFacts, each: Attempt) -> Access:
    return Access(
        each.started,
        each.ended,
        _text(each.client),
        _text(each.agent),
        _text(f"{file.name} ({file.product} {file.version})"),
        file.size,
        each.spans,
        each.sent,
        each.times,
        each.token,
    )


def _payment(record: TokenRecord | None, facts: ReceiptFacts) -> Payment:
    """The purchase behind a token; of one that was made without an order, what the token says."""
    product, version = _product_of(record, facts)
    files = "; ".join(
        f"{file.name}, {format_size(file.size)}, SHA-256 {file.sha256}" for file in facts.all_files[:20]
    )
    description = f"Download of {facts.product_name or product} {version}".rstrip()
    description += f": {files}" if files else ""
    if facts.order is not None:
        return _of_order(facts.order, description)
    row = facts.token
    email, name = (record.email, record.name) if record is not None else (row.email, row.name)  # type: ignore[union-attr]
    account = row.customer if row is not None and not str(row.customer or "").startswith("m:") else None
    if facts.holder is not None:
        account, email, name = facts.holder.id, facts.holder.email, facts.holder.name
    placed = record.created if record is not None else row.created  # type: ignore[union-attr]
    return Payment("", "", None, placed, account, email, name, None, description)


def _of_order(order: OrderFacts, description: str) -> Payment:
    buyer = order.buyer
    return Payment(
        order.row.source,
        order.row.external_id,
        order.row.number,
        order.row.placed,
        order.row.customer_id,
        buyer.email if buyer else None,
        buyer.name if buyer else None,
        order.ip,
        description,
        order.payments,
    )


def _earlier(order: OrderFacts) -> Payment:
    titles = "; ".join(line.title or line.item_value or line.external_id for line in order.lines)
    return _of_order(order, titles)


def _moment(microseconds: int | None) -> str | None:
    return None if microseconds is None else format_time(microseconds // 1000)


def _clean(value: Any, key: str = "") -> Any:
    """Texts without control characters, and as every encoder takes them. Only a log may have lines."""
    if isinstance(value, dict):
        return {_text(str(name)): _clean(each, str(name)) for name, each in value.items()}
    if isinstance(value, list):
        return [_clean(each, key) for each in value]
    if not isinstance(value, str):
        return value
    if key == "access_activity_log":
        return _LINE_ENDS.sub(" ", value).encode("utf-8", "replace").decode()
    return _text(value)


def _text(value: str) -> str:
    return _CONTROL.sub(" ", value).encode("utf-8", "replace").decode()
