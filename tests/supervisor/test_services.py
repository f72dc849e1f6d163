"""The table of services: each row names what exists, and everything that is driven from it agrees."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields

import pytest

from gateway.config.settings import LISTENERS, Settings
from gateway.store.folder import LONG_RUNNING
from gateway.supervisor.child import PROGRAMS, ChildContext
from gateway.supervisor.commands import HEALTH_SETTING
from gateway.supervisor.services import SERVICES, Service
from tests.support.processes import ROOT

EACH = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


def test_names_commands_and_settings_are_each_used_once() -> None:
    for column in ("name", "runner", "listen", "command"):
        values = [getattr(service, column) for service in SERVICES]
        assert len(values) == len(set(values)), column


@EACH
def test_the_function_exists_and_takes_the_arguments_of_the_row(service: Service) -> None:
    parameters = inspect.signature(service.load_runner()).parameters
    needed = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    assert needed <= set(service.arguments) <= set(parameters)
    assert set(service.arguments) <= {field.name for field in fields(ChildContext)}


def test_every_address_is_that_of_a_service_or_of_the_supervisor() -> None:
    passed = [service.takes_passed for service in SERVICES if service.takes_passed]
    assert passed == ["web_listen"]
    assert sorted(LISTENERS) == sorted([HEALTH_SETTING, *passed, *(service.listen for service in SERVICES)])


def test_customers_reach_one_service() -> None:
    assert [service.listen for service in SERVICES if service.is_public] == ["listen"]


def test_every_service_is_a_program_of_the_child() -> None:
    assert list(PROGRAMS) == [service.name for service in SERVICES]


def test_the_stores_lock_knows_the_commands_that_keep_running() -> None:
    assert {"up", *(service.command for service in SERVICES)} == LONG_RUNNING


def test_one_process_per_cpu_follows_the_setting() -> None:
    settings = Settings(workers=3)
    assert {service.name: service.count(settings) for service in SERVICES} == {
        service.name: 3 if service.one_per_cpu else 1 for service in SERVICES
    }


@pytest.mark.slow
def test_a_child_loads_no_service_until_it_runs_one() -> None:
    parts = (
        "gateway.dataplane",
        "gateway.mint",
        "gateway.web",
        "gateway.supervisor.core",
        "aiohttp",
        "typer",
    )
    code = f"import sys, gateway.supervisor.child; print([part for part in {parts} if part in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
