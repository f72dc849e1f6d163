"""A row of the outbox becomes a mail: who gets it, in which language, and what it says.

Everything is looked up when the mail is sent, so that it says what holds then: a customer who has moved gets
it at the new address, and what was refunded meanwhile is not announced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections.sealing import SealError, SecretBox
from gateway.database.tables import ENTITLEMENT, ORDER, ORDER_LINE, PRODUCT, VERSION
from gateway.http.file_names import shown
from gateway.mail import letters
from gateway.mail.announcing import includes
from gateway.mail.kinds import RULES, Kind
from gateway.mail.languages import language_of
from gateway.mail.letters import Letter
from gateway.mail.messages import Envelope, Frame, make_message
from gateway.mail.news import read_choice
from gateway.mail.smtp import Outgoing
from gateway.orders.customer_store import get_customer
from gateway.orders.entitlement_rules import EntitlementStatus
from gateway.pages.texts import Texts, texts_of

NAME: Final = "mail/"
"""What comes before a mail's id in the name for which its secrets are encrypted."""


class NoUse(Exception):
    """A mail is of no use any more. The text says why."""


@dataclass(frozen=True)
class Composer:
    """Writes mails. language: of whom no other is known."""

    frame: Frame
    box: SecretBox
    language: str

    async def compose(self, sql: AsyncConnection, row: Row[Any], moment: int) -> Outgoing:
        """Write a mail. moment: now, ms. Raises NoUse, DatabaseError."""
        kind = Kind(row.kind)
        secret = self._open(row)
        address = row.recipient
        country = None
        if row.customer_id is not None:
            country = await _country_of(sql, row.customer_id)
        if address is None:
            customer = None if row.customer_id is None else await get_customer(sql, row.customer_id)
            if customer is None or customer.email is None:
                raise NoUse("its customer has no address any more")
            address = customer.email
        language = row.language or language_of(country, self.language)
        texts = texts_of(language)
        unsubscribe = ""
        if kind is Kind.READY:
            letter = await self._ready(sql, texts, row, address)
        elif kind is Kind.VERSION:
            unsubscribe = await self._unsubscribing(sql, row.customer_id)
            letter = await self._version(sql, texts, row, address, unsubscribe)
        else:
            letter = self._personal(texts, kind, row, secret)
        envelope = Envelope(row.id, address, language, moment, RULES[kind].to_many, unsubscribe)
        link = secret.get("link") if kind is Kind.SIGN_IN else None
        content = make_message(letter, self.frame, envelope)
        return Outgoing(row.id, kind, self.frame.sender.address, address, content, link)

    def _open(self, row: Row[Any]) -> dict[str, Any]:
        if row.sealed is None:
            return {}
        try:
            return self.box.open(row.sealed, NAME + row.id)
        except SealError:
            raise NoUse("its link was encrypted with a key that is not here any more") from None

    def _personal(self, texts: Texts, kind: Kind, row: Row[Any], secret: dict[str, Any]) -> Letter:
        """A letter whose facts are all in the row."""
        seller, portal = self.frame.look.name, self.frame.portal
        if kind is Kind.SIGN_IN:
            return letters.sign_in(texts, seller=seller, **secret)
        if kind is Kind.ADDRESS_CHANGE:
            return letters.address_change(texts, seller=seller, **secret)
        if kind is Kind.ADDRESS_CHANGED:
            has_reply_to = self.frame.reply_to is not None
            return letters.address_changed(
                texts, seller=seller, portal=portal, has_reply_to=has_reply_to, **secret
            )
        if kind is Kind.SEAT:
            return letters.seat(texts, seller=seller, **secret)
        assert kind is Kind.TEST, row.kind
        return letters.test(texts, seller=seller, portal=portal)

    async def _ready(self, sql: AsyncConnection, texts: Texts, row: Row[Any], address: str) -> Letter:
        order = (await sql.execute(select(ORDER).where(ORDER.c.id == row.about["order"]))).first()
        products = []
        if order is not None:
            found = await sql.execute(
                select(ENTITLEMENT.c.product_id, PRODUCT.c.name)
                .select_from(
                    ENTITLEMENT.join(ORDER_LINE, ORDER_LINE.c.id == ENTITLEMENT.c.line_id).outerjoin(
                        PRODUCT, PRODUCT.c.id == ENTITLEMENT.c.product_id
                    )
                )
                .where(
                    ORDER_LINE.c.order_id == order.id,
                    ENTITLEMENT.c.customer_id == row.customer_id,
                    ENTITLEMENT.c.status == EntitlementStatus.ACTIVE,
                )
                .order_by(ORDER_LINE.c.position, ENTITLEMENT.c.id)
            )
            products = list(dict.fromkeys(shown(each.name or each.product_id) for each in found))
        if order is None or not products:
            raise NoUse("nothing of the order can be downloaded any more")
        return letters.ready(
            texts,
            seller=self.frame.look.name,
            number=order.number,
            products=products,
            portal=self.frame.portal,
            address=address,
        )

    async def _unsubscribing(self, sql: AsyncConnection, customer_id: str) -> str:
        """The link that ends mails about new versions. Raises NoUse where it was used."""
        secret, wanted = await read_choice(sql, customer_id)
        if not wanted:
            raise NoUse("the customer wants no mails about new versions")
        return f"{self.frame.portal}/news/{secret}" if secret is not None else ""

    async def _version(
        self, sql: AsyncConnection, texts: Texts, row: Row[Any], address: str, unsubscribe: str
    ) -> Letter:
        product, version = row.about["product"], row.about["version"]
        found = (
            await sql.execute(
                select(VERSION.c.notes, VERSION.c.published, PRODUCT.c.name, PRODUCT.c.status)
                .join(PRODUCT, PRODUCT.c.id == VERSION.c.product)
                .where(VERSION.c.product == product, VERSION.c.version == version)
            )
        ).first()
        if found is None or found.status != "active":
            raise NoUse("the version is not offered any more")
        owned = await sql.execute(
            select(ENTITLEMENT.c.id)
            .where(ENTITLEMENT.c.customer_id == row.customer_id, includes(product, version, found.published))
            .limit(1)
        )
        if owned.first() is None:
            raise NoUse("the customer has no right to the version any more")
        return letters.new_version(
            texts,
            seller=self.frame.look.name,
            product=shown(found.name or product),
            version=version,
            notes=found.notes,
            portal=self.frame.portal,
            address=address,
            unsubscribe=unsubscribe,
        )


async def _country_of(sql: AsyncConnection, customer_id: str) -> str | None:
    """The country of a customer's latest order that tells one."""
    theirs = or_(ORDER.c.customer_id == customer_id, ORDER.c.recipient_id == customer_id)
    found = await sql.execute(
        select(ORDER.c.country)
        .where(theirs, ORDER.c.country.is_not(None))
        .order_by(ORDER.c.placed.desc(), ORDER.c.id.desc())
        .limit(1)
    )
    country: str | None = found.scalar_one_or_none()
    return country
