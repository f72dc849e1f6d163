"""What other parts call to have a mail sent: it is put into the outbox, and leaves afterwards.

Where a mail has a link or a code, they are encrypted for the mail's id until it is sent.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.connections.sealing import SecretBox
from gateway.database.types import new_id, now
from gateway.mail.composing import NAME
from gateway.mail.kinds import Kind
from gateway.mail.outbox import MINUTE, NewMail, Outbox

SIGN_IN_MINUTES: Final = 15


class Mailer:
    """Puts mails into the outbox. Every method raises DatabaseError, and opens a transaction of its own.

    Addresses are in their normal form (`gateway.orders.email_addresses`). language: one of LANGUAGES, or None
    for that of the customer's country, else of the setting. customer_id: whose mail it is, if that is known;
    it goes with them when they are erased.
    """

    def __init__(self, outbox: Outbox, box: SecretBox) -> None:
        self._outbox: Final = outbox
        self._box: Final = box

    async def send_sign_in(
        self,
        address: str,
        link: str,
        code: str,
        *,
        minutes: int = SIGN_IN_MINUTES,
        language: str | None = None,
        customer_id: str | None = None,
    ) -> bool:
        """Send a link and a code for signing in. minutes: how long they are good; later it is not sent.

        A former one to the address that still waits is not sent any more. Returns False where the address has
        had so many mails in this hour that this one is not sent.
        """
        secret = {"link": link, "code": code, "minutes": minutes}
        return await self._put(
            Kind.SIGN_IN, address, secret, customer_id, language, minutes=minutes, replaces=True
        )

    async def send_address_change(
        self,
        address: str,
        *,
        old: str,
        new: str,
        link: str,
        code: str,
        customer_id: str,
        minutes: int = SIGN_IN_MINUTES,
        language: str | None = None,
    ) -> bool:
        """Ask one of two mailboxes to confirm a change of address. address: `old` or `new`.

        Returns False where the address has had too many mails in this hour.
        """
        secret = {"old": old, "new": new, "link": link, "code": code, "minutes": minutes}
        return await self._put(
            Kind.ADDRESS_CHANGE, address, secret, customer_id, language, minutes=minutes, replaces=True
        )

    async def send_address_changed(
        self, *, old: str, new: str, customer_id: str, language: str | None = None
    ) -> None:
        """Tell both mailboxes that the address was changed."""
        for address in dict.fromkeys((old, new)):
            await self._put(Kind.ADDRESS_CHANGED, address, {"old": old, "new": new}, customer_id, language)

    async def send_seat(
        self,
        address: str,
        *,
        product: str,
        link: str,
        customer_id: str | None = None,
        language: str | None = None,
    ) -> bool:
        """Tell somebody that they were given a seat. product: its name. link: to the portal.

        Returns False where the address has had too many mails in this hour.
        """
        return await self._put(Kind.SEAT, address, {"product": product, "link": link}, customer_id, language)

    async def _put(
        self,
        kind: Kind,
        address: str,
        secret: dict[str, Any],
        customer_id: str | None,
        language: str | None,
        *,
        minutes: int | None = None,
        replaces: bool = False,
    ) -> bool:
        identifier = new_id()
        mail = NewMail(
            identifier,
            kind,
            {},
            recipient=address,
            customer_id=customer_id,
            language=language,
            sealed=self._box.seal(secret, NAME + identifier),
            expires=None if minutes is None else now() + minutes * MINUTE,
        )
        return await self._outbox.put(mail, replaces=replaces)
