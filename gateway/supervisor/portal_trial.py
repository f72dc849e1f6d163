"""What `up` says about the customers' pages, and the demo customer with whom they can be tried at once.

Without PATH and without a mail server, the demo product is "bought" by DEMO_ADDRESS, as a test order. The
mail to sign in is a file then, and its link is printed. With a mail server there is no demo customer, because
no mail could reach one: example.com is nobody's (RFC 2606 section 3).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from gateway.config.settings import Settings, base_url
from gateway.database.migrating import open_database
from gateway.mail.files import FOLDER
from gateway.orders.applying import put_snapshot
from gateway.orders.facts import Identifier, ItemKey, Line, OrderSnapshot, Person
from gateway.orders.order_writer import Source
from gateway.orders.states import OrderStatus

DEMO_ADDRESS: Final = "demo@example.com"
DEMO_ORDER: Final = "DEMO-1"
DEMO_SOURCE: Final = Source("demo")


def has_demo_customer(settings: Settings, *, is_demo: bool) -> bool:
    """Whether there is a demo customer. is_demo: whether `up` serves its demo product."""
    return is_demo and settings.mail_url is None


async def buy_demo(settings: Settings, product: str) -> None:
    """Let the demo customer have the demo product. It may be repeated. Raises DatabaseError."""
    line = Line("1", (Identifier(ItemKey.PRODUCT, product),), "Demo", 1)

    def make(moment: int) -> OrderSnapshot:
        return OrderSnapshot(
            order_id=DEMO_ORDER,
            as_of=moment,
            status=OrderStatus.PAID,
            customer=Person(None, DEMO_ADDRESS, "Demo customer"),
            number=DEMO_ORDER,
            lines=(line,),
            test=True,
        )

    async with open_database(settings) as database:
        await put_snapshot(database, DEMO_SOURCE, make)


def describe_portal(settings: Settings, folder: list[str], *, is_demo: bool) -> Iterator[str]:
    """Lines for a person. folder: the flag that names the data folder, if it is not the usual one."""
    yield f"Customers find their purchases at {base_url(settings)}/my"
    if has_demo_customer(settings, is_demo=is_demo):
        yield f"  To try it, open that page and sign in as {DEMO_ADDRESS}, who has bought the demo;"
        yield "  the link of the mail is printed here."
    else:
        words = ("entitlement", "add", "EMAIL", "PRODUCT", "--reason", "trial")
        grant = shlex.join(["download-gateway", *folder, *words])
        yield f"  To try it, give yourself a product, and sign in there with that address:\n  {grant}"
    if settings.mail_url is None:
        yield f"  There is no mail server yet (mail.url): mails are files in {settings.data / FOLDER}"
