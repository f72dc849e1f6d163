"""The settings of traces, and with those of usage a part of `Settings` (settings.py)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator

from gateway.config.readers import Endpoint, setting
from gateway.config.usage_settings import UsageSettings


def _share(value: object) -> float:
    text = value.strip() if isinstance(value, str) else value
    try:
        number = float(text) if isinstance(text, str | int | float) and not isinstance(text, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:  # also for nan
        raise ValueError(f"must be a number from 0 to 1, such as 0.01, not {str(value)[:40]!r}")
    return number


class TraceSettings(BaseModel):
    """Which requests are traced with OpenTelemetry, and where the traces go."""

    traces_share: Annotated[float, BeforeValidator(_share)] = setting(
        0.0,
        "Which share of the requests is traced with OpenTelemetry (extra `traces`), from 0 for none, which "
        "costs nothing, to 1 for all. Where a trusted proxy sends `traceparent`, its decision holds instead. "
        "A traced download does not take the quickest way.",
    )
    traces_endpoint: Endpoint = setting(
        "http://127.0.0.1:4318",
        "Where traces are sent: the collector's URL for OTLP over HTTP, without /v1/traces.",
        unit="URL",
    )


class ReportSettings(UsageSettings, TraceSettings):
    """What is told of requests: events of usage, and traces."""
