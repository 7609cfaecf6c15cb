"""Fixtures of real servers: one of each kind at hand, a cluster, one that keeps its data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kept_servers import KeptServers
from tests.support.real_cluster import Cluster
from tests.support.real_servers import Server, redis_binary, valkey_binary

CLUSTER = "cluster"


def _binaries() -> list[Any]:
    redis = redis_binary()
    skip = pytest.mark.skip(reason="redis-server is not installed; .ci/run installs it")
    return [
        pytest.param(valkey_binary(), id="valkey"),
        pytest.param(redis, id="redis", marks=[] if redis else [skip]),
    ]


_CLUSTER = pytest.param(CLUSTER, id="cluster")


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
        kinds = _binaries()[:1] if "one_kind" in wanted else _binaries()
        metafunc.parametrize("server", kinds + [_CLUSTER] * everywhere, indirect=True)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptServers]:
    """The servers that tests have left as they found them."""
    kept = KeptServers(tmp_path_factory.mktemp("kept"))
    yield kept
    kept.close()


@pytest.fixture
def server(request: pytest.FixtureRequest, kept: KeptServers) -> Iterator[Server | Cluster]:
    """A server for one test alone, on each kind of server at hand; a cluster where the test is `on_cluster`."""
    if request.param == CLUSTER:
        cluster: Cluster = request.getfixturevalue("steady")
        cluster.fresh()
        yield cluster
        return
    with kept.lent(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that no test hurts, one for all; it gives no node up, however busy the machine is."""
    cluster = Cluster(valkey_binary(), tmp_path_factory.mktemp("steady"), timeout=60_000)
    try:
        cluster.start()
        for node in cluster.members:
            # Six nodes that nobody asks take 1.6 % of a processor otherwise, in each worker for as long as it lives.
            node.ok("CONFIG", "SET", "hz", "2")
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of its own for one test, of nodes that are soon given up: a planned failover needs that too."""
    cluster = Cluster(valkey_binary(), tmp_path)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def valkey(kept: KeptServers) -> Iterator[Server]:
    """A Valkey for one test alone."""
    with kept.lent(valkey_binary()) as server:
        yield server


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Server]:
    """A Valkey of its own for one test that has its data again when it is started again."""
    # With its usual fsync in the background it may answer writes that its file does not have yet.
    server = Server(valkey_binary(), tmp_path, "--appendonly", "yes", "--appendfsync", "no")
    server.start()
    yield server
    server.kill()
