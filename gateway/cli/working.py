"""What the commands on orders, customers, entitlements and connections share.

They do what the admin API does, by the same functions, on the database and the store themselves (decision
0032): no key and no running web process is needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gateway.cli.options import Invocation, fail
from gateway.errors import ConfigurationError

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue

Result = TypeVar("Result")

PAGE_ROWS: Final = 200
"""Rows that are read together: few enough for the memory, and one transaction for most lists."""
FLAGS: Final = {
    "customer.email": "--email",
    "customer.name": "--name",
    "orderId": "ORDER",
    "source": "--source",
    "number": "--number",
    "placedAt": "--placed-at",
    "country": "--country",
    "status": "--status",
    "email": "EMAIL",
    "name": "--name",
    "productId": "PRODUCT",
    "version": "--version",
    "until": "--until",
    "quantity": "--quantity",
    "reason": "--reason",
    "override": "DECISION",
    "secrets": "--secret-file",
    "apiKey": "--api-key-file",
    "shopUrl": "--shop-url",
    "kind": "KIND",
}
"""What sets each field of the API on the command line."""


@contextmanager
def problems_as_faults(flags: Mapping[str, str] = FLAGS) -> Iterator[None]:
    """Turn what the API would answer into lines that name the arguments."""
    from gateway.web.problems import Problem  # noqa: PLC0415 - slow to import

    try:
        yield
    except Problem as problem:
        if problem.faults:
            lines = [f"{_flag(flags, field)}: {message}" for field, message in problem.faults]
            raise ConfigurationError(lines) from None
        raise fail(_lower(problem.detail)) from None


def _flag(flags: Mapping[str, str], field: str) -> str:
    return flags.get(field) or flags.get(field.partition("[")[0]) or field


def _lower(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")


def change(invocation: Invocation, work: Callable[[Catalogue], Awaitable[Result]]) -> Result:
    """Do some work on database and store, and end the tokens of what it has revoked."""

    async def do(catalogue: Catalogue) -> Result:
        result = await work(catalogue)
        await end_tokens(catalogue)
        return result

    with problems_as_faults():
        return invocation.with_catalogue(do)


def look(invocation: Invocation, work: Callable[[Catalogue], Awaitable[Result]]) -> Result:
    """Do some work that changes nothing."""
    with problems_as_faults():
        return invocation.with_catalogue(work)


async def end_tokens(catalogue: Catalogue) -> None:
    """End the tokens of all entitlements that are not active any more."""
    from gateway.orders.enforcing import Enforcer  # noqa: PLC0415

    enforcer = Enforcer(catalogue.database, catalogue.store.tokens)
    while await enforcer.enforce():
        pass


async def pages(read: Callable[[int, str | None], Awaitable[list[Any]]], limit: int) -> list[Any]:
    """Read pages of a list until there are `limit` rows. read: is given a limit and the last row's id."""
    found: list[Any] = []
    while len(found) < limit:
        page = await read(min(limit - len(found), PAGE_ROWS), found[-1].id if found else None)
        found += page
        if len(page) < PAGE_ROWS:
            break
    return found


def read_time(flag: str, text: str | None) -> str | None:
    """Read a date or a time of the command line as the API writes it."""
    from gateway.orders.importing.cells import CellFault, read_moment  # noqa: PLC0415
    from gateway.web.times import format_time  # noqa: PLC0415

    if text is None:
        return None
    try:
        return format_time(read_moment(text))
    except CellFault as fault:
        raise fail(f"{flag}: {fault}") from None


def read_address(flag: str, text: str | None) -> str | None:
    """Read an address as its normal form."""
    from gateway.orders.email_addresses import AddressError, normalise  # noqa: PLC0415

    if text is None:
        return None
    try:
        return normalise(text)
    except AddressError as fault:
        raise fail(f"{flag}: the address {fault}") from None
