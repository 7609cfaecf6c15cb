"""A server that answers and takes no writes: it is left where the address leads elsewhere, and told in any case."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom import Greenroom
from greenroom.engine import Address, Channel, Limits, Script
from greenroom.engine.server.standalone import Standalone
from greenroom.errors import EngineError, EngineRefused
from tests.support.episode_caches import EPISODE, Episode
from tests.support.gateways import Gateway, eventually, gateway
from tests.support.listeners import listening
from tests.support.patience import be_patient, until, wait_for
from tests.support.real_servers import Raw, Server

Pair = tuple[Server, Server, Gateway]


@pytest.fixture
async def pair(server: Server, tmp_path: Path) -> AsyncIterator[Pair]:
    """A primary behind an address, and its replica."""
    replica = Server(server._binary, tmp_path / "replica")
    (tmp_path / "replica").mkdir()
    replica.start()
    server.raw()("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    raw = replica.raw()
    raw("REPLICAOF", "127.0.0.1", server.port)
    wait_for(lambda: b"master_link_status:up" in raw("INFO", "replication"))
    async with gateway(server) as way:
        yield server, replica, way
    replica.kill()


def exchange(primary: Server, replica: Server) -> None:
    """What a planned failover comes to: the two have changed their places, no connection is closed, nothing is lost."""
    raw = primary.raw()
    raw("SET", "last", "", "PX", 1)
    assert raw("WAIT", 1, 10_000) == 1
    replica.raw()("REPLICAOF", "NO", "ONE")
    raw("REPLICAOF", "127.0.0.1", replica.port)
    wait_for(lambda: b"master_link_status:up" in raw("INFO", "replication"))


async def load(episode_id: str) -> Episode:
    return Episode(episode_id)


async def test_writes_of_both_channels_go_to_the_new_primary(pair: Pair) -> None:
    primary, replica, way = pair
    async with Greenroom(way.address) as room:
        cache = room.cache(EPISODE, load=load, near_for=timedelta(0))
        await cache.get("e1")
        live, _ = await room.sessions.start()
        exchange(primary, replica)
        with pytest.raises(EngineError, match="READONLY"):
            await room.sessions.end(live.session_id)
        with pytest.raises(EngineError):
            await cache.invalidate("e1")
        way.target = replica.port
        await _succeeds(lambda: room.sessions.end(live.session_id))
        await _succeeds(lambda: cache.invalidate("e1"))
        assert replica.raw()("KEYS", "*episode:e1*") == []
        await eventually(lambda: room.unavailable is None)


async def test_a_process_that_writes_nothing_follows_the_address_too(pair: Pair) -> None:
    primary, replica, way = pair
    async with Greenroom(way.address) as room:
        exchange(primary, replica)
        await eventually(lambda: room.unavailable is not None)
        assert "replica" in str(room.unavailable)
        way.target = replica.port
        await eventually(lambda: _clients(replica.raw()) == {b"greenroom-plain", b"greenroom-tracked"})
        await eventually(lambda: room.unavailable is None)


async def test_the_first_write_that_is_refused_makes_it_look_for_the_new_primary(pair: Pair) -> None:
    primary, replica, way = pair
    engine = Standalone(Address.parse(way.address), limits=Limits(role_interval=3600))
    await engine.start()
    try:
        exchange(primary, replica)
        way.target = replica.port
        await _succeeds(lambda: engine.execute(Channel.PLAIN, "k", "DEL", "k"))
    finally:
        await engine.close()


async def test_at_an_address_that_stays_read_only_connections_and_reads_stay(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    primary, replica, way = pair
    async with Greenroom(way.address) as room:
        _, token = await room.sessions.start()
        exchange(primary, replica)
        before = _ids(primary.raw())
        opened = way.opened
        await eventually(lambda: way.opened > opened + 3)  # it has looked where the address leads
        assert _ids(primary.raw()) == before
        assert await room.sessions.read(token) is not None
        assert room.unavailable is not None
        # Otherwise its close waits a minute for what the read has left to be written.
        primary.raw()("REPLICAOF", "NO", "ONE")


ONE, TWO = Script("redis.call('TYPE', KEYS[1]) return 1"), Script("return 2")


def refuse_replicas(raw: Raw) -> Callable[[], Any]:
    raw("CONFIG", "SET", "min-replicas-to-write", "1")
    return lambda: raw("CONFIG", "SET", "min-replicas-to-write", "0")


def follow_nobody(raw: Raw) -> Callable[[], Any]:
    raw("REPLICAOF", "127.0.0.1", "1")
    return lambda: raw("REPLICAOF", "NO", "ONE")


def have_no_memory(raw: Raw) -> Callable[[], Any]:
    raw("CONFIG", "SET", "maxmemory", "1")
    return lambda: raw("CONFIG", "SET", "maxmemory", "0")


def deny_scripts(raw: Raw) -> Callable[[], Any]:
    raw("ACL", "SETUSER", "default", "-evalsha")
    return lambda: raw("ACL", "SETUSER", "default", "+evalsha")


def deny_a_command_in_scripts(raw: Raw) -> Callable[[], Any]:
    raw("ACL", "SETUSER", "default", "-zadd")
    return lambda: raw("ACL", "SETUSER", "default", "+zadd")


REFUSALS = [
    (follow_nobody, "READONLY"),
    (refuse_replicas, "NOREPLICAS"),
    (have_no_memory, "OOM"),
    (deny_scripts, "NOPERM"),
    (deny_a_command_in_scripts, "NOPERM"),
]


@pytest.mark.parametrize(("refuse", "code"), REFUSALS)
async def test_what_a_server_of_sessions_refuses_is_trouble_until_it_is_done(
    server: Server, refuse: Callable[[Raw], Callable[[], Any]], code: str
) -> None:
    async with Greenroom(server.address) as room:
        _, token = await room.sessions.start()
        assert room.unavailable is None
        mend = refuse(server.raw())
        with pytest.raises(EngineError, match=code):
            await room.sessions.start()
        assert code in str(room.unavailable)
        assert isinstance(room.unavailable, EngineRefused) == (code == "NOPERM")
        if code != "OOM":
            assert await room.sessions.read(token) is not None
        assert code in str(room.unavailable), "what is read proves nothing"
        mend()
        await _succeeds(room.sessions.start)
        # What the refused call has left is undone behind, by a script that was refused as well.
        await until(lambda: room.unavailable is None, 30)


@pytest.mark.parametrize(("refuse", "code"), [REFUSALS[0], REFUSALS[1], REFUSALS[3]])
async def test_what_a_server_of_caches_refuses_is_trouble_until_it_is_done(
    server: Server, refuse: Callable[[Raw], Callable[[], Any]], code: str
) -> None:
    async with Greenroom(server.address, sessions=False) as room:
        cache = room.cache(EPISODE, load=load, near_for=timedelta(0))
        mend = refuse(server.raw())
        assert await cache.get("e1") == Episode("e1")
        assert code in str(room.unavailable)
        mend()
        for number in range(1000):
            if room.unavailable is None:
                break
            await cache.get(f"other-{number}")
            await asyncio.sleep(0.01)
        assert room.unavailable is None


async def test_a_server_that_cannot_write_its_file_is_trouble_until_a_write(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    other = Server(server._binary, place)
    other.start()
    engine = Standalone(Address.parse(other.address))
    await engine.start()
    try:
        raw = other.raw()
        raw("CONFIG", "SET", "save", "3600 1")
        shutil.rmtree(place)
        raw("BGSAVE")
        wait_for(lambda: b"rdb_last_bgsave_status:err" in raw("INFO", "persistence"))
        with pytest.raises(EngineError, match="MISCONF"):
            await engine.execute(Channel.PLAIN, "k", "DEL", "k")
        assert "MISCONF" in str(engine.unavailable)
        raw("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        await engine.execute(Channel.PLAIN, "k", "DEL", "k")
        assert engine.unavailable is None
    finally:
        await engine.close()
        other.kill()


async def test_a_deletion_does_not_prove_that_there_is_memory(server: Server) -> None:
    engine = Standalone(Address.parse(server.address))
    await engine.start()
    try:
        have_no_memory(server.raw())
        with pytest.raises(EngineError, match="OOM"):
            await engine.execute(Channel.PLAIN, "k", "SET", "k", "v")
        await engine.execute(Channel.PLAIN, "k", "DEL", "k")
        assert "OOM" in str(engine.unavailable)
    finally:
        await engine.close()


async def test_a_denied_command_stays_trouble_while_others_are_carried_out(server: Server) -> None:
    engine = Standalone(Address.parse(server.address))
    await engine.start()
    try:
        server.raw()("ACL", "SETUSER", "default", "-get")
        with pytest.raises(EngineRefused):
            await engine.execute(Channel.TRACKED, "k", "GET", "k")
        await engine.execute(Channel.TRACKED, "k", "DEL", "k")
        assert "NOPERM" in str(engine.unavailable)
        server.raw()("ACL", "SETUSER", "default", "+get")
        await engine.execute(Channel.TRACKED, "k", "GET", "k")
        assert engine.unavailable is None
    finally:
        await engine.close()


async def test_a_denied_evalsha_is_trouble_until_any_script_is_carried_out(server: Server) -> None:
    engine = listening(Standalone(Address.parse(server.address)), scripts=(ONE, TWO))
    await engine.start()
    try:
        server.raw()("ACL", "SETUSER", "default", "-evalsha")
        with pytest.raises(EngineRefused):
            await engine.run(Channel.PLAIN, ONE, ("k",), ())
        assert "refuses EVALSHA" in str(engine.unavailable)
        server.raw()("ACL", "SETUSER", "default", "+@all")
        assert await engine.run(Channel.TRACKED, TWO, ("k",), ()) == 2
        assert engine.unavailable is None
    finally:
        await engine.close()


async def test_a_command_denied_in_a_script_is_trouble_until_that_script(server: Server) -> None:
    engine = listening(Standalone(Address.parse(server.address)), scripts=(ONE, TWO))
    await engine.start()
    try:
        server.raw()("ACL", "SETUSER", "default", "-type")
        with pytest.raises(EngineRefused):
            await engine.run(Channel.PLAIN, ONE, ("k",), ())
        server.raw()("ACL", "SETUSER", "default", "+@all")
        await engine.run(Channel.PLAIN, TWO, ("k",), ())
        assert engine.unavailable is not None
        await engine.run(Channel.PLAIN, ONE, ("k",), ())
        assert engine.unavailable is None
    finally:
        await engine.close()


@pytest.mark.parametrize("channel", list(Channel))
async def test_a_new_connection_ends_what_was_said_of_permissions(server: Server, channel: Channel) -> None:
    engine = listening(Standalone(Address.parse(server.address)), scripts=(ONE,))
    await engine.start()
    try:
        server.raw()("ACL", "SETUSER", "default", "-evalsha")
        with pytest.raises(EngineRefused):
            await engine.run(Channel.PLAIN, ONE, ("k",), ())
        server.raw()("ACL", "SETUSER", "default", "+@all")
        engine.reset(channel, "k", "the test")
        await eventually(lambda: engine.unavailable is None)
    finally:
        await engine.close()


async def test_a_swallowed_idle_connection_is_replaced_before_it_is_needed(server: Server) -> None:
    async with gateway(server) as way, Greenroom(way.address) as room:
        _, token = await room.sessions.start()
        way.swallow()
        opened = way.opened
        await eventually(lambda: way.opened >= opened + 2 and room.unavailable is None)
        assert await room.sessions.read(token) is not None
        assert room.counters.engine_events[way.address, "plain_lost"] == 1


async def test_pings_alone_notice_that_a_connection_was_swallowed(server: Server) -> None:
    """As at the nodes of a cluster, which nobody asks each second whether they are primaries."""
    async with gateway(server) as way:
        engine = Standalone(Address.parse(way.address), limits=Limits(role_interval=3600))
        await engine.start()
        try:
            way.swallow()
            opened = way.opened
            await eventually(lambda: way.opened >= opened + 2 and engine.unavailable is None, 30)
        finally:
            await engine.close()


async def test_no_balancer_finds_a_connection_idle(server: Server) -> None:
    limits = Limits(ping_after=0.02, tick=0.01)
    engine = Standalone(Address.parse(server.address), limits=limits)
    await engine.start()
    try:
        raw = server.raw()
        await until(lambda: {b"greenroom-plain", b"greenroom-tracked"} <= _pinging(raw), 20)
    finally:
        await engine.close()


def _pinging(raw: Raw) -> set[bytes]:
    lines = raw("CLIENT", "LIST").splitlines()
    clients = [dict(word.partition(b"=")[::2] for word in line.split()) for line in lines]
    return {one[b"name"] for one in clients if one[b"cmd"] == b"ping" and int(one[b"age"]) > 0}


def _clients(raw: Raw) -> set[bytes]:
    return {word[5:] for word in raw("CLIENT", "LIST").split() if word.startswith(b"name=greenroom")}


def _ids(raw: Raw) -> set[bytes]:
    """Our connections that stay."""
    lines = [line.split() for line in raw("CLIENT", "LIST").splitlines() if b"name=greenroom-role" not in line]
    return {words[0] for words in lines if any(word.startswith(b"name=greenroom") for word in words)}


async def _succeeds(call: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await call()
                return
            except EngineError:
                await asyncio.sleep(0.01)
