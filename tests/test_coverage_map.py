"""Each module has its own test file at the same place, or a line here names the one that covers it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

COVERED_BY = {
    "__main__": "cli/test_commands",
    "backup.contents": "backup/test_restoring",
    "backup.taking": "backup/test_restoring",
    "catalogue.records": "catalogue/test_catalogue",
    "catalogue.removal": "cli/test_product_changes",
    "catalogue.rules": "catalogue/test_catalogue",
    "cli": "cli/test_faults",
    "cli.audit": "cli/test_product_changes",
    "cli.app": "cli/test_help",
    "cli.backups": "backup/test_restoring",
    "cli.connection_events": "cli/test_connections",
    "cli.customers": "cli/test_sales",
    "cli.entitlements": "cli/test_sales",
    "cli.mappings": "cli/test_connections",
    "cli.order_import": "cli/test_sales",
    "cli.orders": "cli/test_sales",
    "cli.secret_input": "cli/test_connections",
    "cli.working": "cli/test_sales",
    "cli.checks": "cli/test_check",
    "cli.checks.connections": "cli/test_connections",
    "cli.checks.access_log": "cli/test_check_access_log",
    "cli.checks.cache": "cli/test_check_cache",
    "cli.checks.certificates": "cli/test_certificates",
    "cli.checks.database": "cli/test_database",
    "cli.checks.descriptors": "cli/test_check",
    "cli.checks.ports": "cli/test_check",
    "cli.checks.proxy": "cli/test_check",
    "cli.checks.storages": "cli/test_check",
    "cli.checks.store": "cli/test_check",
    "cli.checks.trust": "cli/test_check",
    "cli.keys": "cli/test_commands",
    "cli.options": "cli/test_help",
    "cli.output": "cli/test_commands",
    "cli.products": "cli/test_commands",
    "cli.serving": "supervisor/test_up",
    "cli.token_values": "cli/test_faults",
    "dataplane.delivery.paced": "dataplane/test_token_rates",
    "tokens.binding": "dataplane/test_token_limits",
    "tokens.deliveries": "tokens/test_leases",
    "tokens.places": "dataplane/test_token_limits",
    "tokens.transfers": "dataplane/test_token_limits",
    "cli.tokens": "cli/test_commands",
    "config.readers": "config/test_settings",
    "config.redis_options": "config/test_settings",
    "config.reference": "test_docs",
    "config.sources": "config/test_settings",
    "config.storages": "config/test_settings",
    "config.usage_settings": "config/test_settings",
    "database.errors": "database/test_engine",
    "database.migrations.env": "database/test_migrating",
    "database.migrations.versions.v0001_first_tables": "database/test_migrating",
    "database.migrations.versions.v0004_receipts": "database/test_migrating",
    "database.attempt_texts": "usage/test_retention",
    "database.migrations.versions.v0003_no_statistics_of_persons": "web/api/test_erasing",
    "database.metadata": "database/test_migrating",
    "database.migrations.versions.v0002_usage": "database/test_migrating",
    "database.usage_tables": "database/test_migrating",
    "usage.client_classes": "usage/test_downloads",
    "usage.queries": "web/api/test_usage",
    "usage.token_copies": "web/api/test_usage",
    "web.api.usage_models": "web/api/test_usage",
    "usage.known_tokens": "usage/test_applying",
    "database.statements": "database/test_engine",
    "database.tables": "database/test_migrating",
    "connections.applying": "connections/test_receiving",
    "connections.desk": "web/hooks/test_application",
    "connections.inbox": "connections/test_receiving",
    "connections.reconciling": "connections/test_looking_up",
    "dataplane.connection_server": "dataplane/test_connection",
    "dataplane.passage": "dataplane/test_passing",
    "dataplane.delivery.client_socket": "dataplane/delivery/test_transfer",
    "dataplane.delivery.file_parts": "dataplane/delivery/test_relay",
    "dataplane.delivery.sender": "dataplane/delivery/test_transfer",
    "dataplane.download": "contracts/test_download",
    "dataplane.health": "dataplane/test_connection",
    "dataplane.server": "dataplane/test_connection",
    "dataplane.wiring": "dataplane/test_worker",
    "errors": "contracts/test_download",
    "http.media_types": "http/test_file_names",
    "manifest": "products/test_repository",
    "mint.context": "mint/test_service",
    "mint.dispatcher": "mint/test_problems",
    "tokens.idempotency": "mint/test_minting",
    "mint.models": "mint/test_minting",
    "mint.routes": "mint/test_minting",
    "orders.customer_store": "orders/test_privacy",
    "orders.entitlements": "orders/test_enforcing",
    "orders.fact_store": "orders/test_applying",
    "orders.mapping_store": "orders/test_applying",
    "orders.minting": "orders/test_enforcing",
    "orders.order_writer": "orders/test_applying",
    "orders.order_queries": "web/api/test_orders",
    "config.customer_data": "test_docs",
    "config.cache_settings": "config/test_settings",
    "database.cleaning": "web/api/test_erasing",
    "orders.cleaning": "web/api/test_erasing",
    "orders.usage_traces": "web/api/test_erasing",
    "orders.erasing": "web/api/test_erasing",
    "store.log_rewriting": "web/api/test_erasing",
    "tokens.erasing": "web/api/test_erasing",
    "web.api.customer_export": "web/api/test_exporting",
    "web.api.customer_work": "web/api/test_orders",
    "web.api.customers": "web/api/test_orders",
    "web.download_urls": "web/api/test_entitlement_urls",
    "web.idempotency": "mint/test_minting",
    "web.api.entitlements": "web/api/test_orders",
    "web.api.mappings": "web/api/test_orders",
    "web.api.order_documents": "web/api/test_orders",
    "web.api.order_models": "web/api/test_orders",
    "web.api.order_responses": "web/api/test_orders",
    "orders.fact_text": "orders/test_facts",
    "orders.knowledge": "orders/test_convergence",
    "orders.states": "orders/test_facts",
    "orders.importing.reading": "orders/importing/test_grouping",
    "orders.importing.spool": "orders/importing/test_grouping",
    "orders.importing.writer": "orders/importing/test_importing",
    "orders.limits": "web/api/test_orders",
    "platforms.clients.fastspring": "platforms/clients/test_registry",
    "platforms.clients.gumroad": "platforms/clients/test_registry",
    "platforms.clients.interface": "platforms/clients/test_registry",
    "platforms.clients.lemon_squeezy": "platforms/clients/test_registry",
    "platforms.clients.paddle": "platforms/clients/test_registry",
    "platforms.clients.shopify": "platforms/clients/test_registry",
    "platforms.clients.stripe": "platforms/clients/test_registry",
    "platforms.clients.times": "platforms/clients/test_registry",
    "platforms.clients.woocommerce": "platforms/clients/test_registry",
    "platforms.interface": "platforms/test_registry",
    "platforms.standard_webhooks": "platforms/test_signatures",
    "platforms.stripe_invoices": "platforms/test_stripe",
    "products.bucket_scanning": "products/test_bucket_publishing",
    "products.contents": "e2e/test_moved_files",
    "products.demo": "supervisor/test_quick_start",
    "products.left_out": "cli/test_product_changes",
    "products.hashing": "products/test_publishing",
    "products.locating": "e2e/test_moved_files",
    "products.relocating": "e2e/test_moved_files",
    "products.validation": "products/test_repository",
    "runtime.descriptors": "dataplane/test_descriptors",
    "runtime.heartbeat": "supervisor/test_watch",
    "runtime.parent_death": "supervisor/test_supervisor",
    "runtime.peers": "dataplane/test_trust",
    "runtime.process": "supervisor/test_supervisor",
    "runtime.signals": "supervisor/test_signals",
    "runtime.tls": "dataplane/delivery/test_transfer",
    "storage.cache.slice_files": "storage/cache/test_slices",
    "storage.catalog": "storage/s3/test_catalog",
    "storage.file_locks": "storage/cache/test_budget",
    "storage.interface": "storage/test_registry",
    "storage.local.comparisons": "storage/local/test_verified",
    "storage.local.descriptors": "storage/local/test_storage",
    "storage.local.registered_folders": "storage/local/test_storage",
    "storage.object_storage": "storage/s3/test_storage",
    "storage.obstore.errors": "storage/obstore/test_stream",
    "storage.obstore.object": "storage/obstore/test_stream",
    "storage.obstore.storage": "storage/obstore/test_stream",
    "storage.proxies": "storage/test_object_catalog",
    "storage.s3.bodies": "storage/s3/test_listing",
    "storage.s3.client": "storage/s3/test_storage",
    "storage.s3.connection": "storage/s3/test_stream",
    "storage.s3.describing": "storage/s3/test_catalog",
    "storage.s3.opening": "storage/s3/test_pool",
    "storage.s3.receive_buffer": "storage/s3/test_stream",
    "store.client_connection": "store/test_failover",
    "store.client_server": "store/test_client",
    "store.faults": "store/test_failover",
    "store.pipeline_connection": "store/test_pipeline",
    "store.pipeline_opening": "store/test_failover",
    "store.primary_watch": "store/test_failover",
    "supervisor.child": "supervisor/test_supervisor",
    "supervisor.children": "supervisor/test_supervisor",
    "supervisor.commands": "supervisor/test_supervisor",
    "supervisor.core": "supervisor/test_supervisor",
    "supervisor.slots": "supervisor/test_supervisor",
    "supervisor.store_keeper": "supervisor/test_supervisor",
    "tokens.records": "tokens/test_repository",
    "tokens.repositories": "tokens/test_repository",
    "tokens.validation": "tokens/test_repository",
    "web.api.application": "web/test_application",
    "web.api.connection_models": "web/hooks/test_application",
    "web.api.connections": "web/hooks/test_application",
    "web.api.context": "web/test_application",
    "web.api.models": "web/api/test_problems",
    "web.api.version_files": "web/api/test_buckets",
    "web.auditing": "tokens/test_audit",
    "web.authentication": "web/api/test_problems",
    "web.connection": "web/test_server",
    "web.documents": "web/test_service",
    "web.health": "web/test_service",
    "tokens.terms": "tokens/test_claims",
    "web.models": "web/api/test_problems",
    "web.problems": "web/api/test_problems",
    "web.quick_response": "mint/test_responses",
    "web.responses": "web/test_application",
    "web.routes": "web/test_application",
    "web.validation": "web/api/test_problems",
}
"""Modules below `gateway`, and the test file of each below `tests`."""


def has_code(file: Path) -> bool:
    """Whether a module has more than a docstring and names that it passes on."""
    return file.name != "__init__.py" or any(
        line.startswith(("def ", "class ", "async def ")) for line in file.read_text().splitlines()
    )


MODULES = {
    ".".join(file.relative_to(ROOT / "gateway").with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted((ROOT / "gateway").rglob("*.py"))
    if has_code(file)
}


def own_test(module: str) -> Path:
    """Where the module's own test file is, if there is one."""
    *rooms, name = module.split(".")
    return ROOT.joinpath("tests", *rooms, f"test_{name}.py")


@pytest.mark.parametrize("module", MODULES)
def test_each_module_has_a_test_file(module: str) -> None:
    if module in COVERED_BY:
        assert (ROOT / "tests" / f"{COVERED_BY[module]}.py").exists()
    else:
        assert own_test(module).exists(), (
            f"write {own_test(module).relative_to(ROOT)}, or a line in COVERED_BY"
        )


def test_each_line_is_needed() -> None:
    assert [module for module in COVERED_BY if module not in MODULES] == []
    assert [module for module in COVERED_BY if own_test(module).exists()] == []
