"""A large table of cases as one test: `@each_row` where `@pytest.mark.parametrize` would make a test of each.

pytest takes some 5 ms of CPU time for each test: to collect it in every process, to run it, and to report it.
That is a thousand times as long as many rules take. `each_row` tries all rows in one test, and reports those
that fail together, each with its name and its values:

    @each_row(("text", "wanted"), [("0", 0), ("1k", 1024), pytest.param("", None, id="nothing")])
    def test_a_size(text: str, wanted: int | None) -> None:
        assert read_size(text) == wanted

The rows share the fixtures of the test. A test that changes one, or that takes long, is better parametrized.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

import pytest

LONGEST_VALUE = 200
"""How many characters of a value the report of a row shows."""


class Row(NamedTuple):
    """A row of a table. name: what the report calls it."""

    name: str
    values: dict[str, Any]


def each_row(
    names: str | Sequence[str],
    rows: Iterable[Any],
    *,
    ids: Iterable[str] | Callable[[Any], object] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Call a test once for each row of a table. The arguments are those of `parametrize`.

    Raises ValueError if a row has a marker, or not as many values as there are names.
    """
    columns = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
    table = [read_row(columns, number, row) for number, row in enumerate(rows)]
    if callable(ids):
        table = [row._replace(name="-".join(str(ids(each)) for each in row.values.values())) for row in table]
    elif ids is not None:
        table = [row._replace(name=name) for row, name in zip(table, ids, strict=True)]
    if not table:
        raise ValueError("a table without rows tests nothing")

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(test):

            @wraps(test)
            async def try_rows(**fixtures: Any) -> None:
                failures: list[BaseException] = []
                for row in table:
                    with trying(row, failures):
                        await test(**fixtures, **row.values)
                report(failures, len(table))

        else:

            @wraps(test)
            def try_rows(**fixtures: Any) -> None:
                failures: list[BaseException] = []
                for row in table:
                    with trying(row, failures):
                        test(**fixtures, **row.values)
                report(failures, len(table))

        signature = inspect.signature(test)
        unknown = [column for column in columns if column not in signature.parameters]
        if unknown:
            raise ValueError(f"the test takes no {', '.join(unknown)}")
        kept = [each for name, each in signature.parameters.items() if name not in columns]
        try_rows.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return try_rows

    return decorate


def read_row(columns: list[str], number: int, row: Any) -> Row:
    """One row as `parametrize` takes it: a value, a sequence of values, or a `pytest.param`."""
    name = f"row {number}"
    if isinstance(row, type(pytest.param())):
        if row.marks:
            raise ValueError("a row has no markers of its own")
        values, name = row.values, str(row.id or name)
    else:
        values = (row,) if len(columns) == 1 else tuple(row)
    return Row(name, dict(zip(columns, values, strict=True)))


@contextmanager
def trying(row: Row, failures: list[BaseException]) -> Iterator[None]:
    """Add what fails within the block to the failures, with a note of which row it is about."""
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        values = ", ".join(f"{name}={repr(value)[:LONGEST_VALUE]}" for name, value in row.values.items())
        error.add_note(f"{row.name}: {values}")
        failures.append(error)


def report(failures: list[BaseException], total: int) -> None:
    """Raise what failed, if anything did."""
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {total} rows failed", failures)
