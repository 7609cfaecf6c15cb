"""`greenroom doctor` of the servers: each planted fault is found, and nothing on a server that is as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from greenroom.acl import Holds
from greenroom.engine import Address
from greenroom.engine.operator import Shard
from greenroom.findings import Checked, carry_out
from greenroom.inspection.doctor import Doctor, Watched
from greenroom.inspection.tracking import tracking
from greenroom.testing.clock import ManualClock
from greenroom_platform.cli.declarations import DECLARATIONS
from tests.support.operated import Operated
from tests.support.real_cluster import Cluster
from tests.support.real_servers import Raw, Server, free_port, redis_binary
from tests.support.tls_proxy import WITH_OPENSSL, Authority, TlsProxy

UNENCRYPTED = {"certificates"}
"""What is left out where nothing is encrypted."""


async def looked(*watched: Watched, clock: ManualClock | None = None) -> list[Checked]:
    """Every check of the servers."""
    doctor = Doctor(DECLARATIONS, "", watched) if clock is None else Doctor(DECLARATIONS, "", watched, clock)
    return await carry_out(doctor.checks())


def kinds(checked: list[Checked]) -> set[str]:
    """What was found."""
    return {finding.kind for one in checked for finding in one.findings}


def watched(operated: Operated, holds: Holds = Holds.BOTH, processes: int = 1) -> Watched:
    """The server, with all its users."""
    service, viewer, admin = map(Address.parse, (operated.service, operated.viewer, operated.admin))
    return Watched(service, holds, viewer, admin, processes)


async def test_nothing_is_found_on_a_server_as_it_should_be(operated: Operated) -> None:
    checked = await looked(watched(operated))
    assert kinds(checked) == set(), checked
    assert {one.name for one in checked if one.left_out} == UNENCRYPTED


@pytest.mark.skipif(redis_binary() is None, reason="redis-server is not installed; .ci/run installs it")
async def test_redis_tells_its_settings_and_users_as_valkey_does(tmp_path: Path) -> None:
    redis = Operated(str(redis_binary()), tmp_path)
    try:
        redis.start()
        assert kinds(await looked(watched(redis))) == set()
        redis.set("timeout", "60")
        redis.raw("ACL", "SETUSER", "greenroom-service", "-get", "+flushall")
        found = kinds(await looked(watched(redis)))
        assert {"idle_timeout", "rights_missing", "rights_beyond"} <= found
    finally:
        redis.stop()


@pytest.mark.parametrize(
    ("name", "value", "kind", "severity"),
    [
        ("maxmemory-policy", "allkeys-lru", "eviction", "error"),
        ("maxmemory-policy", "volatile-ttl", "eviction", "error"),
        ("maxmemory", "0", "no_bound", "warning"),
        ("appendonly", "no", "not_persistent", "warning"),
        ("timeout", "60", "idle_timeout", "warning"),
    ],
)
async def test_a_setting_that_loses_something_is_found(
    operated: Operated, name: str, value: str, kind: str, severity: str
) -> None:
    with operated.having(name, value):
        checked = await looked(watched(operated))
    found = [finding for one in checked for finding in one.findings]
    assert [(one.kind, one.severity) for one in found] == [(kind, severity)]
    assert all(one.what and one.why and one.mend for one in found)


async def test_a_server_that_is_nearly_full_is_found(operated: Operated) -> None:
    used = operated.raw("INFO", "memory").partition(b"used_memory:")[2].split()[0]
    with operated.having("maxmemory", str(int(used) * 21 // 20)):
        # What is tried may be refused as well: it has come too late for a warning then.
        assert {"full"} <= kinds(await looked(watched(operated))) <= {"full", "not_answered"}


async def test_caches_may_evict_what_has_a_lifetime_and_nothing_else(operated: Operated) -> None:
    caches = Watched(Address.parse(operated.admin), Holds.CACHES)
    with operated.having("maxmemory-policy", "volatile-lru"), operated.having("appendonly", "no"):
        assert kinds(await looked(caches)) == set()
    caches = Watched(Address.parse(operated.admin), Holds.CACHES)
    with operated.having("maxmemory-policy", "allkeys-lfu"):
        assert kinds(await looked(caches)) == {"eviction"}


async def test_sessions_that_were_evicted_are_found(valkey: Server) -> None:
    raw = valkey.raw()
    with having(raw, "maxmemory-policy", "allkeys-random"), having(raw, "maxmemory", "4mb"):
        for number in range(60):
            raw("SET", f"session:{number}", "x" * 100_000)
    checked = await looked(Watched(Address.parse(valkey.address), Holds.SESSIONS))
    assert "evicted" in kinds(checked)


@contextmanager
def having(raw: Raw, name: str, value: str) -> Iterator[None]:
    """Another setting of a server while the block runs."""
    before = raw("CONFIG", "GET", name)[1]
    assert raw("CONFIG", "SET", name, value) == b"OK"
    try:
        yield
    finally:
        raw("CONFIG", "SET", name, before)


async def test_a_replica_in_the_primarys_place_is_found(operated: Operated) -> None:
    assert operated.replica is not None
    checked = await looked(Watched(Address.parse(operated.replica.address), Holds.BOTH))
    assert "replica" in kinds(checked)


async def test_sessions_without_a_replica_are_found(valkey: Server) -> None:
    assert "no_replica" in kinds(await looked(Watched(Address.parse(valkey.address), Holds.SESSIONS)))
    assert "no_replica" not in kinds(await looked(Watched(Address.parse(valkey.address), Holds.CACHES)))


async def test_more_processes_than_clients_are_found(operated: Operated) -> None:
    clients = len(operated.raw("CLIENT", "LIST").splitlines())
    with operated.having("maxclients", str(clients + 20)):
        assert kinds(await looked(watched(operated))) == set()
        assert kinds(await looked(watched(operated, processes=20))) == {"maxclients"}


async def test_connections_that_were_refused_are_found(operated: Operated) -> None:
    clients = len(operated.raw("CLIENT", "LIST").splitlines())
    with operated.having("maxclients", str(clients + 1)), ExitStack() as stack:
        for _ in range(3):
            raw = operated.primary.raw()
            stack.callback(raw.close)
            with suppress(ConnectionError):
                raw("PING")
    assert kinds(await looked(watched(operated))) == {"refused_connections"}


async def test_a_server_that_does_not_answer_is_found_and_named() -> None:
    address = Address.parse(f"valkey://somebody:hidden@127.0.0.1:{free_port()}")
    checked = await looked(Watched(address, Holds.SESSIONS))
    (finding,) = [finding for one in checked for finding in one.findings]
    assert (finding.kind, finding.severity) == ("unreachable", "error")
    assert "sessions" in finding.what
    assert "hidden" not in finding.what
    assert sum(one.left_out is not None for one in checked) == len(checked) - 2, "the log-in needs no server"


async def test_a_viewer_who_cannot_log_in_is_found(operated: Operated) -> None:
    server = watched(operated)
    server.viewer = Address.parse(operated.viewer.replace("viewer:", "viewer:another-"))
    assert kinds(await looked(server)) == {"viewer_refused"}


async def test_another_machines_server_without_a_password_is_found(operated: Operated) -> None:
    """The loopback by a name that says nothing of it."""
    elsewhere = Address((("0.0.0.0", operated.primary.port),))
    assert "no_password" in kinds(await looked(Watched(elsewhere, Holds.BOTH)))


# Rights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "change", "kind"),
    [
        ("service", "-get", "rights_missing"),
        ("service", "+flushall", "rights_beyond"),
        ("service", "~other:*", "rights_beyond"),
        ("viewer", "-scan", "rights_missing"),
        ("viewer", "+set", "rights_beyond"),
    ],
)
async def test_rights_that_differ_from_the_declared_are_found(
    operated: Operated, user: str, change: str, kind: str
) -> None:
    name = f"greenroom-{user}"
    before = operated.raw("ACL", "LIST")
    (line,) = [one.decode() for one in before if one.decode().split()[1] == name]
    assert operated.raw("ACL", "SETUSER", name, change) == b"OK"
    try:
        checked = await looked(watched(operated))
    finally:
        assert operated.raw("ACL", "SETUSER", name, "reset", *line.split()[2:]) == b"OK"
    rights = {finding.kind for one in checked if one.name == "access rules" for finding in one.findings}
    assert rights == {kind}
    assert kinds(await looked(watched(operated))) == set()


async def test_a_user_that_is_not_there_is_found(operated: Operated) -> None:
    server = watched(operated)
    server.viewer = Address.parse(operated.viewer.replace("greenroom-viewer", "nobody"))
    assert kinds(await looked(server)) == {"viewer_refused", "no_user"}


async def test_without_an_administrator_rights_are_left_out_and_said_so(operated: Operated) -> None:
    server = watched(operated)
    server.admin = None
    checked = await looked(server)
    assert kinds(checked) == set()
    left_out = {one.name: one.left_out for one in checked if one.left_out}
    assert left_out.keys() == {"access rules", "settings of the servers"} | UNENCRYPTED
    assert "--admin-url" in str(left_out["access rules"])


# What is tried ----------------------------------------------------------------------------------------


@asynccontextmanager
async def swallowing(server: Server) -> AsyncIterator[Address]:
    """A way to the server on which CLIENT TRACKING ON arrives as OFF, as on one that knows nothing of it."""

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, change: bool) -> None:
        while data := await reader.read(65536):
            writer.write(data.replace(b"$2\r\nON\r\n", b"$3\r\nOFF\r\n") if change else data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(
            passed(reader, ours, change=True), passed(theirs, writer, change=False), return_exceptions=True
        )

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with listening:
        yield Address((("127.0.0.1", listening.sockets[0].getsockname()[1]),))


async def test_a_way_on_which_changes_are_not_told_is_found(valkey: Server) -> None:
    assert await tracking(Shard(Address.parse(valkey.address)), "greenroom:mark:{cache:topic:x}") == ()
    async with swallowing(valkey) as address:
        (finding,) = await tracking(Shard(address), "greenroom:mark:{cache:topic:x}", within=0.2)
    assert (finding.kind, finding.severity) == ("no_tracking", "error")


@pytest.mark.parametrize(("ahead", "found"), [(timedelta(seconds=-90), {"clocks"}), (timedelta(0), set[str]())])
async def test_a_clock_that_is_another_is_found(operated: Operated, ahead: timedelta, found: set[str]) -> None:
    clock = ManualClock(datetime.now(UTC) + ahead)
    assert kinds(await looked(watched(operated), clock=clock)) == found


@WITH_OPENSSL
@pytest.mark.parametrize(("days", "kind"), [(2, "certificate_ends"), (400, None)])
async def test_a_certificate_that_ends_soon_is_found(
    operated: Operated, tmp_path: Path, days: int, kind: str | None
) -> None:
    authority = Authority(tmp_path)
    with TlsProxy(operated.primary, authority.signs("here", "IP:127.0.0.1", days=days)) as proxy:
        address = Address.parse(f"valkeys://127.0.0.1:{proxy.port}?cacert={authority.cacert}")
        checked = await looked(Watched(address, Holds.BOTH))
    found = {finding.kind: finding.severity for one in checked for finding in one.findings}
    assert found == ({} if kind is None else {kind: "error"})


async def test_each_shard_of_a_cluster_is_looked_at(steady: Cluster) -> None:
    steady.fresh()
    server = Watched(Address.parse(steady.address), Holds.BOTH)
    checked = await looked(server)
    assert len(server.told) == 3
    assert kinds(checked) <= {"no_bound", "not_persistent", "full_coverage"}
    assert sum(finding.kind == "no_bound" for one in checked for finding in one.findings) == 3
