"""How often something may be done on the customer's pages, counted in the store by all web processes.

| what | by | limit | because |
| --- | --- | --- | --- |
| mails to sign in | address | 5 in 15 minutes | nobody fills another's mailbox |
| mails to sign in | client | 20 in 15 minutes | nobody goes through a list of addresses |
| mails to sign in | all | 3,000 in 15 minutes | the mail server's good name, and guessing |
| wrong codes | client | 30 in 15 minutes | guessing |
| wrong codes | all | 1,000 in 15 minutes | guessing from many addresses |
| links to download | customer | 300 in an hour | each one is a token in the store |
| invitations to a seat | customer | 30 in an hour | they are mails to others |
| mails to move | customer | 5 in an hour | they are mails to others |

A client is an IPv4 address, or the /64 of an IPv6 address. An address is counted whether or not anybody has
bought with it, so that the answer over the limit is the same for every address.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.store.client import StoreClient
from gateway.store.key_names import quota_key
from gateway.store.scripts import Script
from gateway.web.portal.codes import hash_of
from gateway.web.problems import too_many_attempts

QUARTER: Final = 900_000
HOUR: Final = 3_600_000
_TAKE: Final = Script.load("take_quota")


class Quota(NamedTuple):
    """One row. window: milliseconds."""

    name: str
    limit: int
    window: int


MAILS_OF_ADDRESS: Final = Quota("mails-of-address", 5, QUARTER)
MAILS_OF_CLIENT: Final = Quota("mails-of-client", 20, QUARTER)
MAILS_OF_ALL: Final = Quota("mails-of-all", 3000, QUARTER)
CODES_OF_CLIENT: Final = Quota("codes-of-client", 30, QUARTER)
CODES_OF_ALL: Final = Quota("codes-of-all", 1000, QUARTER)
LINKS_OF_CUSTOMER: Final = Quota("links-of-customer", 300, HOUR)
SEATS_OF_CUSTOMER: Final = Quota("seats-of-customer", 30, HOUR)
MOVES_OF_CUSTOMER: Final = Quota("moves-of-customer", 5, HOUR)


class Quotas:
    """The counts in the store."""

    def __init__(self, store: StoreClient) -> None:
        self._store = store

    async def take(self, *wanted: tuple[Quota, str]) -> None:
        """Take one of each quota. Each has the name of who takes it; an empty name is not counted.

        They are taken in their order, and none after the first that is used up, so that whoever is over
        the limit takes nothing from the others. Raises Problem (too_many_attempts), StoreUnavailable.
        """
        for quota, name in wanted:
            if name and (waits := await self._take(quota, name)):
                raise too_many_attempts(-(-waits // 1000))

    async def _take(self, quota: Quota, name: str) -> int:
        key = quota_key(hash_of("quota", quota.name, name))
        return int(await self._store.run(_TAKE, [key], quota.limit, quota.window))
