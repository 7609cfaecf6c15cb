"""Fixtures on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from greenroom.caching.backing import Backing
from greenroom.engine import Address, Engine, Limits, engine_at
from tests.caches import open_backing
from tests.cluster import Cluster
from tests.cluster_sessions import SOON, Process
from tests.servers import Server, redis_binary, valkey_binary
from tests.serving import TOKEN, Serve, Service
from tests.sessions import Open, Store, close_sessions, open_sessions
from tests.streams import Studio, studio_of

# A machine that is busy is no failure.
settings.register_profile("greenroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("greenroom")

CLUSTER = "cluster"


def _binaries() -> list[Any]:
    redis = redis_binary()
    skip = pytest.mark.skip(reason="redis-server is not installed; .ci/run installs it")
    return [
        pytest.param(valkey_binary(), id="valkey"),
        pytest.param(redis, id="redis", marks=[] if redis else [skip]),
    ]


_CLUSTER = pytest.param(CLUSTER, id="cluster")


TOLD = pytest.StashKey[list[str]]()
"""What tests have measured on their way, printed at the end."""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash[TOLD]:
        terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TOLD] = []
    config.addinivalue_line("markers", "on_cluster: what is said of one server here holds for a cluster too")
    config.addinivalue_line("markers", "one_server: a test of a file that is `on_cluster`, which needs one server")
    config.addinivalue_line("markers", "once_on_cluster: one of its other parameters is enough there")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seen, left_out = set[str](), list[pytest.Item]()
    for item in items:
        calls = getattr(item, "callspec", None)
        if calls is not None and calls.params.get("server") == CLUSTER and item.get_closest_marker("once_on_cluster"):
            function = item.nodeid.partition("[")[0]
            if function in seen:
                left_out.append(item)
            seen.add(function)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        wanted = {mark.name for mark in metafunc.definition.iter_markers()}
        everywhere = "on_cluster" in wanted and "one_server" not in wanted
        metafunc.parametrize("server", _binaries() + [_CLUSTER] * everywhere, indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server | Cluster]:
    """A server of its own for one test, on each kind of server at hand; a cluster where the test is `on_cluster`."""
    if request.param == CLUSTER:
        cluster: Cluster = request.getfixturevalue("steady")
        cluster.fresh()
        yield cluster
        return
    server = Server(request.param, tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that no test hurts, one for all; it gives no node up, however busy the machine is."""
    cluster = Cluster(valkey_binary(), tmp_path_factory.mktemp("steady"), timeout=60_000)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of its own for one test, of nodes that are soon given up."""
    cluster = Cluster(valkey_binary(), tmp_path)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    """A Valkey of its own for one test."""
    server = Server(valkey_binary(), tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Server]:
    """A Valkey of its own for one test that has its data again when it is started again."""
    # With its usual fsync in the background it may answer writes that its file does not have yet.
    server = Server(valkey_binary(), tmp_path, "--appendonly", "yes", "--appendfsync", "no")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Opens engines to a server or a cluster, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def opened(server: Server | Cluster, **options: Any) -> Engine:
            engine = engine_at(Address.parse(server.address), **options)
            stack.push_async_callback(engine.close)
            await engine.start()
            return engine

        yield opened


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`greenroom serve` with its sample, one for all tests of a file: each test makes the topics that it changes.

    A file may have settings of its own in `SERVE_ENV`.
    """
    env = {"GREENROOM_EDITOR_TOKEN": TOKEN} | getattr(request.module, "SERVE_ENV", {})
    service = Service(tmp_path_factory.mktemp("serve"), env=env).start()
    yield service
    service.stop()


@pytest.fixture
async def studio(service: Service) -> AsyncIterator[Studio]:
    """A worker made by hand beside that service."""
    async with studio_of(service) as studio:
        yield studio


@pytest.fixture
async def back() -> AsyncIterator[Callable[..., Awaitable[Backing]]]:
    """Opens what caches stand on, one as each process has, and closes it after the test."""
    async with AsyncExitStack() as stack:

        async def opened(server: Server, **options: Any) -> Backing:
            backing = await open_backing(server.address, **options)
            stack.push_async_callback(backing.close)
            return backing

        yield opened


@pytest.fixture
async def store() -> AsyncIterator[Open]:
    """Opens sessions, as one process has them, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def opened(server: Any, *args: Any, **options: Any) -> Store:
            sessions = await open_sessions(server, *args, **options)
            stack.push_async_callback(close_sessions, sessions)
            return sessions

        yield opened


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    """Opens the sessions of a process of the platform on a cluster, and closes them after the test."""
    from tests.web import sessions_on

    async with AsyncExitStack() as stack:

        async def opened(cluster: Any, limits: Limits = SOON) -> Store:
            return await stack.enter_async_context(sessions_on(cluster.address, engine_limits=limits))

        yield opened


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts services in the test's directory with the tests' token, and ends them after the test, however it went."""
    with ExitStack() as stack:

        def started(
            *flags: str, home: str = ".", env: dict[str, str] | None = None, data_dir: Path | None = None
        ) -> Service:
            directory = tmp_path / home
            directory.mkdir(exist_ok=True)
            token = {"GREENROOM_EDITOR_TOKEN": TOKEN}
            service = Service(directory, *flags, env=token if env is None else env, data_dir=data_dir)
            stack.callback(service.kill)
            return service.start()

        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless Chromium for all tests of a file; `WITH_CHROMIUM` skips them where it is missing."""
    from tests.page import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Any, service: Service) -> Iterator[Callable[..., Any]]:
    """Makes visitors of the file's service, given the options of their browser; what their pages did is checked."""
    from tests.page import Visitor

    visitors: list[Visitor] = []

    def made(url: str = service.url, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, url, **options))
        return visitors[-1]

    yield made
    for one in visitors:
        one.check()
        one.context.close()
