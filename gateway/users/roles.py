"""The roles of users, and the form of their names. Pure.

    owner   may do everything
    staff   may work with products, tokens, orders, customers and usage; not with keys, secrets and users

Names stand in the audit trail beside `cli` and the ids of API keys, so nobody can take one that looks like
these.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Final

LONGEST_NAME: Final = 80
"""Characters of a user's name: an e-mail address of a long domain fits."""
_RESERVED: Final = re.compile(r"cli|system|nobody|[0-9a-f]{16}")


class Role(StrEnum):
    """What a user may do."""

    OWNER = "owner"
    STAFF = "staff"


EVERYBODY: Final = frozenset(Role)
OWNERS: Final = frozenset((Role.OWNER,))


def clean_name(name: str) -> str:
    """The name as it is shown: NFC, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def login_of(name: str) -> str:
    """The name as it is compared: capitals and the way of writing a sign make no difference."""
    return unicodedata.normalize("NFKC", clean_name(name)).casefold()


def is_user_name(name: str) -> bool:
    """Whether a cleaned name may be one of a user."""
    return (
        0 < len(name) <= LONGEST_NAME and name.isprintable() and _RESERVED.fullmatch(login_of(name)) is None
    )
