"""What is wrong with a value, in our own words, by the type of pydantic's error.

A library's sentence ("Input should be greater than or equal to 1") speaks of an input, which is no word of
ours, and changes with the library. `TEXTS` has a row for each type that our models can cause; a type without
one gets FALLBACK, never the library's text. Each text completes a sentence that begins with the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FALLBACK: Final = "has a value that is not allowed here"
TEXTS: Final[Mapping[str, str]] = {
    "extra_forbidden": "is not a field of this request",
    "missing": "is required",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be a string",
    "string_sub_type": "must be a string",
    "string_unicode": "has half a surrogate pair, which is not a character",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "too_short": "must have at least {min_length} item(s), not {actual_length}",
    "too_long": "must have at most {max_length} items",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "none_required": "must be null",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "is_instance_of": FALLBACK,
    "path_type": "must be a path",
}


def describe(detail: Mapping[str, Any]) -> str:
    """Say what is wrong. detail: an error of pydantic, with its context. Quotes nothing of the value."""
    context = dict(detail.get("ctx") or {})
    if detail["type"] == "value_error":
        return str(context["error"])
    if detail["type"] == "gateway_fault":  # a validator of ours has said it (gateway.web.validation)
        return str(context["message"])
    return TEXTS.get(detail["type"], FALLBACK).format_map(context)
