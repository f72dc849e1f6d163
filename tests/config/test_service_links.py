"""What Kubernetes and Docker set for services named like ours is no setting; a mistyped one is a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.service_links import find_service_links, has_form_of_link
from gateway.config.settings import Settings, load
from gateway.config.sources import CONFIG_VARIABLE, DEBUG_VARIABLE, variable_name
from gateway.config.storages import STORAGE_TYPES
from gateway.errors import ConfigurationError
from tests.support.rows import each_row

SERVICES = (
    "gateway", "gateway-redis", "gateway-mint", "gateway-admin", "gateway-cache", "gateway-storage",
    "gateway-listen", "gateway-public", "gateway-data", "gateway-workers", "gateway-log-level", "gateway-tls",
    "gateway-web", "gateway-config", "gateway-debug", "gateway-access-log", "gateway-env-test",
    "gateway-redis-port",
    "gateway-storage--files", "gateway-2", "download-gateway", "redis",
)  # fmt: skip


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config/gateway.toml is found by chance."""
    monkeypatch.chdir(tmp_path)


def kubernetes(service: str, host: str = "10.96.0.17") -> dict[str, str]:
    """What Kubernetes sets for a Service with three ports, of which two have names."""
    name = service.upper().replace("-", "_")
    at = f"[{host}]" if ":" in host else host
    made = {
        f"{name}_SERVICE_HOST": host,
        f"{name}_SERVICE_PORT": "6379",
        f"{name}_SERVICE_PORT_HTTP": "6379",
        f"{name}_SERVICE_PORT_MAX_LINE": "53",
        f"{name}_PORT": f"tcp://{at}:6379",
    }
    for port, protocol in ((6379, "tcp"), (53, "udp"), (9, "sctp")):
        start = f"{name}_PORT_{port}_{protocol.upper()}"
        made |= {
            start: f"{protocol}://{at}:{port}",
            f"{start}_PROTO": protocol,
            f"{start}_PORT": str(port),
            f"{start}_ADDR": host,
        }
    return made


def docker(alias: str) -> dict[str, str]:
    """What Docker sets for a linked container, beside what Kubernetes sets, too."""
    name = alias.upper().replace("-", "_")
    start = f"{name}_PORT_6379_TCP"
    return {
        f"{name}_PORT": "tcp://172.17.0.5:6379",
        f"{name}_NAME": f"/shop/{alias}",
        f"{name}_ENV_PATH": "/usr/local/bin:/usr/bin",
        f"{name}_ENV_REDIS_URL": "redis://elsewhere",
        f"{start}_START": "tcp://172.17.0.5:6379",
        f"{start}_END": "tcp://172.17.0.5:6380",
        f"{start}_PORT_START": "6379",
        f"{start}_PORT_END": "6380",
    }


@each_row("service", SERVICES)
@each_row(
    "make",
    [kubernetes, lambda service: kubernetes(service, "fd00::17"), docker],
    ids=["kubernetes", "kubernetes-ipv6", "docker"],
)
def test_variables_of_services_are_passed_over(make: object, service: str) -> None:
    assert callable(make)
    made = make(service)
    assert find_service_links(made) == made.keys()
    assert load({}, None, made) == Settings()
    assert load({}, None, made | {"GATEWAY_WORKERS": "3"}).workers == 3


@each_row(
    ("name", "value", "nearest"),
    [
        ("GATEWAY_REDIS_PORT", "6379", "GATEWAY_REDIS_URL"),
        ("GATEWAY_REDIS_PORT", "redis://redis:6379", "GATEWAY_REDIS_URL"),
        ("GATEWAY_REDIS_PORT", "tcp://redis", "GATEWAY_REDIS_URL"),
        ("GATEWAY_REDIS_HOST", "redis", "GATEWAY_REDIS_URL"),
        ("GATEWAY_REDIS_NAME", "/shop/redis", "did you mean GATEWAY_"),
        ("GATEWAY_CACHE_ENV_PATH", "/cache", "GATEWAY_CACHE_PATH"),
        ("GATEWAY_WORKER", "3", "GATEWAY_WORKERS"),
        ("GATEWAY_STORAGE_PORT", "9000", "GATEWAY_STORAGE__NAME__ROOT"),
        ("GATEWAY_STORAGE_ROOT", "/srv", "GATEWAY_STORAGE__NAME__ROOT"),
        ("GATEWAY_STORAGE__A__SERVICE_HOST", "10.0.0.1", "GATEWAY_STORAGE__A__ROOT"),
    ],
)
def test_a_mistyped_setting_is_a_fault_also_beside_other_services(
    name: str, value: str, nearest: str
) -> None:
    for others in ({}, kubernetes("gateway") | kubernetes("gateway-mint") | docker("gateway-db")):
        with pytest.raises(ConfigurationError) as caught:
            load({}, None, others | {name: value})
        assert all(fault.startswith(("GATEWAY_STORAGE__A__", f"{name}: ")) for fault in caught.value.faults)
        assert any(nearest in fault for fault in caught.value.faults)


def test_no_setting_has_a_name_that_a_service_could_take() -> None:
    attributes = [name for name in Settings.model_fields if name != "storage"]
    attributes += [f"storage__x__{key}" for model in STORAGE_TYPES.values() for key in model.model_fields]
    attributes += [
        f"storage__x_service_port_a__{key}" for model in STORAGE_TYPES.values() for key in model.model_fields
    ]
    names = [*map(variable_name, attributes), CONFIG_VARIABLE, DEBUG_VARIABLE]
    assert [name for name in names if has_form_of_link(name)] == []
    assert find_service_links(dict.fromkeys(names, "tcp://10.0.0.1:1")) == frozenset()
