"""Reads at a replica over TLS: Debian's Redis, every connection of the cluster's included, speaks it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from greenroom import Greenroom, Outcome
from tests.support.cluster_slots import key_of, off_loop, old
from tests.support.episode_caches import EPISODE, Episode, Loads
from tests.support.patience import until, wait_for
from tests.support.real_cluster import FORMED, Member
from tests.support.real_servers import free_port, redis_binary
from tests.support.replica_probe import calls_of
from tests.support.tls_proxy import WITH_OPENSSL, Authority

pytestmark = [
    WITH_OPENSSL,
    pytest.mark.skipif(redis_binary() is None, reason="Debian's redis-server is not installed"),
]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> Iterator[tuple[int, Member, Member]]:
    """The primary's port for TLS, the primary of all slots, and its replica."""
    binary, shows = redis_binary(), authority.signs("node", "IP:127.0.0.1")
    assert binary is not None
    ports, members = [free_port(), free_port()], []
    try:
        for port in ports:
            (tmp_path / str(port)).mkdir()
            files = "--tls-ca-cert-file", str(authority.cacert), "--tls-cert-file", str(shows.cert)
            tls = "--tls-port", str(port), *files, "--tls-key-file", str(shows.key), "--tls-auth-clients", "no"
            everywhere = "--tls-cluster", "yes", "--tls-replication", "yes"
            member = Member(binary, tmp_path / str(port), 60_000, *tls, *everywhere)
            member.start()
            members.append(member)
        primary, replica = members
        primary.ok("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        replica.meet(primary)
        name = primary.name
        wait_for(lambda: name in replica("CLUSTER", "NODES").decode(), FORMED)
        wait_for(lambda: replica("CLUSTER", "REPLICATE", name) == b"OK", FORMED)
        wait_for(lambda: replica.synced, FORMED)
        for member in members:
            wait_for(lambda member=member: member.info["cluster_state"] == "ok", FORMED)
        yield ports[0], primary, replica
    finally:
        for member in members:
            member.kill()


async def test_values_are_read_at_a_replica_over_tls_and_drops_reach_it(
    authority: Authority, pair: tuple[int, Member, Member]
) -> None:
    port, primary, replica = pair
    address = f"rediss+cluster://127.0.0.1:{port}?cacert={authority.cacert}"
    load = Loads()
    async with Greenroom(address, replica_reads=True) as room:
        assert room.unavailable is None
        episodes = room.cache(EPISODE, load=load, near_for=timedelta(0))
        await off_loop(lambda: primary.ok("SET", key_of("e1"), old("e1"), "EX", 1800))

        async def read_there() -> bool:
            before = await off_loop(lambda: calls_of(replica, "get"))
            assert (await episodes.get_result("e1")).outcome is Outcome.HIT
            return bool(await off_loop(lambda: calls_of(replica, "get")) > before)

        async with asyncio.timeout(30):
            while not await read_there():
                await asyncio.sleep(0.01)
        load.version = 2
        await episodes.invalidate("e1")
        assert await episodes.get("e1") == Episode("e1", 2)
        await off_loop(primary.replicated)
        async with asyncio.timeout(30):
            while not await read_there():
                await asyncio.sleep(0.01)
        assert await episodes.get("e1") == Episode("e1", 2)
        # The replica is gone: its primary is read from.
        replica.kill()
        assert await episodes.get("e1") == Episode("e1", 2)
        await until(lambda: room.unavailable is None)
    assert load.calls == ["e1"]
