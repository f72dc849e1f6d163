"""From what a form has to the bodies of the admin API, whose models then say what is wrong with it.

A field of a form has the name of the API's field (`maxDownloads`, `customer.email`), so that a fault that the
API names is shown beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

from gateway.config.units import parse_duration, parse_size
from gateway.errors import Declined
from gateway.usage.queries import DAY_MS, EPOCH
from gateway.web.forms import Form
from gateway.web.problems import Problem

MAX_PAIRS: Final = 100
"""Lines of metadata that are read; 4 KiB have no more."""


def faults_of(refusal: Problem | Declined, names: Iterable[str]) -> dict[str, str]:
    """What is wrong, by the names of a form's fields; under "" what concerns none of them."""
    known = set(names)
    found = {name: text for name, text in reversed(refusal.faults) if name in known}
    others = [
        text if name == "body" else f"{name} {text}" for name, text in refusal.faults if name not in known
    ]
    if others or not refusal.faults:
        found[""] = "; ".join(others) or text_of(refusal)
    return found


def text_of(refusal: Problem | Declined) -> str:
    """A refusal as one sentence."""
    if refusal.faults:
        return "; ".join(f"{name} {text}" for name, text in refusal.faults)
    return refusal.detail if isinstance(refusal, Problem) else str(refusal)


def number(form: Form, name: str) -> int | str | None:
    """A whole number; None for an empty field; another text as it is, for the model to refuse."""
    text = form.text(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else text or None


def seconds(form: Form, name: str) -> int | None:
    """A time such as `7d`, in seconds. Raises Problem."""
    return _read(form, name, lambda text: int(parse_duration(text)))


def size(form: Form, name: str) -> int | None:
    """A size such as `2 MiB`, in bytes. Raises Problem."""
    return _read(form, name, parse_size)


def _read(form: Form, name: str, read: Any) -> int | None:
    text = form.text(name)
    if not text:
        return None
    try:
        return int(read(text))
    except (ValueError, OverflowError) as error:
        raise Problem("invalid_request", "A field is not right.", [(name, str(error))]) from None


def pairs(form: Form, name: str) -> dict[str, str] | None:
    """Metadata, a line for each `name = value`. Raises Problem."""
    found: dict[str, str] = {}
    for line in form.text(name).splitlines()[:MAX_PAIRS]:
        key, equals, value = (part.strip() for part in line.partition("="))
        if not line.strip():
            continue
        if not equals or not key or key in found:
            raise Problem(
                "invalid_request", "A field is not right.", [(name, "must be lines of NAME = VALUE")]
            )
        found[key] = value
    return found or None


def write_pairs(values: Mapping[str, Any]) -> str:
    """Metadata as `pairs` reads it."""
    return "\n".join(f"{name} = {value}" for name, value in values.items())


def without_nothing(document: Mapping[str, Any]) -> dict[str, Any]:
    """A body without the fields that nobody has filled in."""
    return {name: value for name, value in document.items() if value not in (None, "", {})}


def day(text: str) -> int | None:
    """The number of a day (YYYY-MM-DD) since 1970, as a browser writes it; None for another text."""
    try:
        found = (date.fromisoformat(text) - EPOCH).days if len(text) == 10 else -1
    except ValueError:
        return None
    return found if found >= 0 else None


def write_day(number_of_day: int) -> str:
    """A day as `day` reads it."""
    return date.fromordinal(EPOCH.toordinal() + number_of_day).isoformat()


def moment(text: str, *, is_end: bool = False) -> int | None:
    """The first moment of a day, or of the next one (`is_end`), in ms since 1970; None for any other text."""
    found = day(text)
    return None if found is None else (found + is_end) * DAY_MS
