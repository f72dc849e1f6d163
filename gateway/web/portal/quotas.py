"""How often something may be done on the customer's pages. `gateway/web/quotas.py` counts.

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

from typing import Final

from gateway.web.quotas import HOUR, QUARTER, Quota

MAILS_OF_ADDRESS: Final = Quota("mails-of-address", 5, QUARTER)
MAILS_OF_CLIENT: Final = Quota("mails-of-client", 20, QUARTER)
MAILS_OF_ALL: Final = Quota("mails-of-all", 3000, QUARTER)
CODES_OF_CLIENT: Final = Quota("codes-of-client", 30, QUARTER)
CODES_OF_ALL: Final = Quota("codes-of-all", 1000, QUARTER)
LINKS_OF_CUSTOMER: Final = Quota("links-of-customer", 300, HOUR)
SEATS_OF_CUSTOMER: Final = Quota("seats-of-customer", 30, HOUR)
MOVES_OF_CUSTOMER: Final = Quota("moves-of-customer", 5, HOUR)
