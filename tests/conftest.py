"""Fixtures for every test: a real store, real workers, an S3 server, and the event loop of the product."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from coverage import Coverage

from gateway.database.engine import Database
from gateway.tokens.repositories import Repositories

# pytest explains the assertions of these modules, too, if they are registered before they are imported.
pytest.register_assert_rewrite("tests.support")

from tests.support.azurite import Azurite  # noqa: E402
from tests.support.backends import make_backend  # noqa: E402
from tests.support.buckets import S3Server  # noqa: E402
from tests.support.databases import ENGINES, Databases, memory_folder  # noqa: E402
from tests.support.examples import try_thoroughly  # noqa: E402
from tests.support.plane import Plane, run_plane  # noqa: E402
from tests.support.postgres import PostgresServer  # noqa: E402
from tests.support.shop import Shop  # noqa: E402
from tests.support.slowness import mark_slow  # noqa: E402
from tests.support.store_server import StoreServer, run_store  # noqa: E402
from tests.support.swift import NoFolderError, SharedS3  # noqa: E402
from tests.support.timing import hold_limits  # noqa: E402

# Shells start background jobs with SIGINT ignored, and nohup ignores SIGHUP. Every process that a test starts
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# OpenTelemetry sends spans every 5 seconds, and tests wait for them (milliseconds).
os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One emulator of Azure's storage for all tests; skips them where it is not installed."""
    with Azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="session")
def shared_store() -> Iterator[StoreServer]:
    """One store for the tests that only need an empty one; see `store`."""
    with run_store() as server:
        yield server


@pytest.fixture
def store(shared_store: StoreServer) -> StoreServer:
    """The shared store, emptied."""
    shared_store.empty()
    return shared_store


@pytest.fixture
def own_store() -> Iterator[StoreServer]:
    """A store that the test may stop and start as it likes."""
    with run_store() as server:
        yield server


@pytest.fixture
async def repos(store: StoreServer) -> AsyncIterator[Repositories]:
    """The repositories of the shared store."""
    async with Repositories.connect(store.url, 10) as connected:
        yield connected


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the tests that only need a database of their own; skips them without PostgreSQL."""
    server = PostgresServer.make()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that the test may stop and start as it likes."""
    server = PostgresServer.make()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def databases_by_engine() -> dict[str, Databases]:
    """What was made already: pytest sets a fixture with parameters up anew when the parameter changes."""
    return {}


@pytest.fixture(scope="session", params=ENGINES)
def databases(request: pytest.FixtureRequest, databases_by_engine: dict[str, Databases]) -> Databases:
    """What makes databases on an engine. A test that uses it runs once on each."""
    if request.param not in databases_by_engine:
        server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
        folder = memory_folder() / request.param
        folder.mkdir()
        databases_by_engine[request.param] = Databases(folder, server)
    return databases_by_engine[request.param]


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[Database]:
    """A new database with all tables. A test that uses it runs once on each engine."""
    location = await databases.make()
    async with Database.of(location) as made:
        yield made
    await databases.remove(location)


@pytest.fixture
async def empty_database(databases: Databases) -> AsyncIterator[Database]:
    """A new database without tables. A test that uses it runs once on each engine."""
    location = await databases.make(empty=True)
    async with Database.of(location) as made:
        yield made
    await databases.remove(location)


@pytest.fixture(scope="session")
def plane(request: pytest.FixtureRequest, planes: Callable[..., Plane]) -> Plane:
    """One worker with the default settings, for tests that do not change it; its files are on a backend."""
    return planes(getattr(request, "param", "local"))


@pytest.fixture(scope="session")
def pair(request: pytest.FixtureRequest, planes: Callable[..., Plane]) -> Plane:
    """The same with two workers on one port."""
    return planes(getattr(request, "param", "local"), workers=2)


@pytest.fixture(scope="session")
def planes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Plane]]:
    """Planes by backend and number of workers, each started once, for the first test that asks."""
    running: dict[tuple[str, int], Plane] = {}

    with ExitStack() as stack:

        def get(name: str, workers: int = 1) -> Plane:
            if (name, workers) not in running:
                servers = {} if name == "local" else request.getfixturevalue("s3_servers")
                backend = None if name == "local" else make_backend(name, servers)
                folder = tmp_path_factory.mktemp(f"plane-{name}")
                plane = stack.enter_context(run_plane(folder, backend, workers=workers))
                running[name, workers] = plane
            return running[name, workers]

        yield get


@pytest.fixture
def make_plane(own_store: StoreServer, tmp_path: Path) -> Iterator[Callable[..., Plane]]:
    """Makes a plane on `own_store` with settings of the test's own (by name); stopped at the end."""
    running: list[Plane] = []

    def make(**options: Any) -> Plane:
        folder = tmp_path / f"plane-{len(running)}"
        folder.mkdir()
        made = Plane(folder, own_store.url, options)
        running.append(made)
        made.start()
        return made

    yield make
    try:
        for made in running:
            made.stop()
    finally:
        for made in running:
            made.kill()


@pytest.fixture(scope="session")
def s3_servers(pytestconfig: pytest.Config) -> dict[str, S3Server]:
    """A real S3 server that checks signatures, by scheme; started for the first test that asks."""
    try:
        return SharedS3(Path(pytestconfig.stash[SHARED])).servers()
    except NoFolderError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def s3_server(s3_servers: dict[str, S3Server]) -> S3Server:
    """The S3 server over plain HTTP."""
    return s3_servers["http"]


@pytest.fixture
def shop(s3_server: S3Server) -> Shop:
    """A new bucket, to be published from."""
    return Shop(s3_server)


@pytest.fixture
def versioned(s3_server: S3Server) -> Shop:
    """The same, with versions."""
    return Shop(s3_server, versions=True)


SHARED = pytest.StashKey[str]()
"""A folder that all processes of a test run share."""
OWN_S3 = pytest.StashKey[SharedS3]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--timing",
        action="store_true",
        help="hold tests marked `timing` to their limits; see tests/support/timing.py",
    )
    parser.addoption(
        "--thorough",
        action="store_true",
        help="try properties on all their examples; see tests/support/examples.py",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The main process of a run makes what its workers (of pytest-xdist) share."""
    gc.disable()  # until everything is collected
    hold_limits(config.getoption("--timing"))
    try_thoroughly(config.getoption("--thorough"))
    workers = getattr(config, "workerinput", None)
    if workers is not None or not config.getoption("numprocesses", None):
        # This process runs tests. Only pytest's own processes are measured, not those that tests start.
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    if workers is not None:
        config.stash[SHARED] = workers["shared"]
        return
    config.stash[SHARED] = tempfile.mkdtemp(prefix="dg-tests-")
    config.stash[OWN_S3] = SharedS3(Path(config.stash[SHARED]))
    config.stash[OWN_S3].open()


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist there is no such hook
def pytest_configure_node(node: Any) -> None:
    """Called by pytest-xdist in the main process, once for each worker."""
    node.workerinput["shared"] = node.config.stash[SHARED]


@pytest.hookimpl(trylast=True)  # after the fixtures of the session have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist writes what it has covered before it says that it has finished.

    Afterwards it has 10 seconds to end and is killed then, and what it covered would be lost with it.
    """
    measured = Coverage.current()
    if hasattr(session.config, "workerinput") and measured is not None:
        measured.stop()
        measured.save()


def pytest_unconfigure(config: pytest.Config) -> None:
    if OWN_S3 in config.stash:
        config.stash[OWN_S3].close()
        shutil.rmtree(config.stash[SHARED])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason why tests were skipped, with their number."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_slow(items)


def pytest_collection_finish() -> None:
    """The garbage collector never looks again at what stays for the whole run.

    Modules and tests are a million objects: each full collection of them would take half a second.
    """
    gc.freeze()
    gc.enable()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The tests of a module that names its BACKENDS; see tests/support/backends.py."""
    backends = getattr(metafunc.module, "BACKENDS", ())
    if backends:
        if metafunc.definition.get_closest_marker("any_backend"):
            backends = backends[:1]
        for name in {"plane", "pair"} & set(metafunc.fixturenames):
            metafunc.parametrize(name, backends, indirect=True, scope="session")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], object]]:
    """Every asynchronous test runs on uvloop, as the product does."""
    return {"uvloop": uvloop.new_event_loop}
