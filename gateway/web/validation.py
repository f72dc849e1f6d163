"""Checking parsed JSON and URL parameters against pydantic models; every field that is wrong is named."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from gateway.config.messages import describe
from gateway.products.validation import Fault
from gateway.web.problems import invalid

MAX_PARAMETERS: Final = 32
"""The most parameters of a URL that are looked at: no URL has more than six."""

Model = TypeVar("Model", bound=BaseModel)


def fault(message: str) -> PydanticCustomError:
    """Make the exception with which a validator of ours refuses a value; the caller reads the message."""
    return PydanticCustomError("gateway_fault", "{message}", {"message": message})


def validate(model: type[Model], document: Any) -> Model:
    """Check a parsed body against a model. Raises Problem, which names each field that is wrong."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid(_faults(error)) from None


def validate_query(model: type[Model], request: web.BaseRequest) -> Model:
    """Check the parameters of a URL against a model; each may be given once. Raises Problem."""
    if request.rel_url.raw_query_string.count("&") >= MAX_PARAMETERS:
        raise invalid([("the URL", f"may have {MAX_PARAMETERS} parameters at most")])
    query = request.query
    repeated = [name for name in query if len(query.getall(name)) > 1]
    if repeated:
        raise invalid([(name, "may be given only once") for name in dict.fromkeys(repeated)])
    return validate(model, dict(query))


def _faults(error: ValidationError) -> list[Fault]:
    faults: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        faults.setdefault(_path(detail["loc"]) or "body", describe(detail))
    return list(faults.items())


def _path(location: tuple[int | str, ...]) -> str:
    """Write a location as a caller would: files[3].size."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path
