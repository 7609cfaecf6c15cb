"""Caches and sessions on a server each: what one fails at leaves the other alone, and nothing of it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from greenroom import Greenroom, Keyspace, Outcome
from greenroom.acl import Holds, Role, rules
from greenroom.errors import EngineUnavailable
from greenroom_platform.cli.declarations import DECLARATIONS
from tests.support.acl_roles import address, allow, called_commands, denied, use_everything, working
from tests.support.episode_caches import EPISODE, Episode, Loads
from tests.support.patience import until, wait_for
from tests.support.real_cluster import Cluster
from tests.support.real_servers import Server
from tests.support.running_service import API, TOKEN, Serve, command

FAR = Keyspace("cache:far:{episode_id}", Episode, ttl=timedelta(minutes=30))


@asynccontextmanager
async def apart(caches: Server, sessions: Server) -> AsyncIterator[Greenroom]:
    """A room on two servers."""
    async with Greenroom(caches.address, session_address=sessions.address) as room:
        assert room.unavailable is None
        yield room


# One of them fails ------------------------------------------------------------------------------------


async def test_without_the_server_of_the_caches_sessions_begin_go_on_and_end(valkey: Server, lasting: Server) -> None:
    async with apart(valkey, lasting) as room:
        before, token = await room.sessions.start(user_id="u1")
        episodes = room.cache(EPISODE, load=Loads(), near_for=timedelta(0))
        await episodes.get("e1")
        valkey.kill()
        await until(lambda: room.unavailable is not None)
        assert (await episodes.get_result("e1")).outcome is Outcome.BYPASSED
        live = await room.sessions.read(token)
        assert live is not None
        assert live.session_id == before.session_id
        await room.sessions.start(user_id="u1")
        assert len(await room.sessions.of_user("u1")) == 2
        assert await room.sessions.end(live.session_id)
        assert await room.sessions.read(token) is None
        assert await room.sessions.end_all("u1") == 1
        valkey.start()
        await until(lambda: room.unavailable is None)
        await episodes.get("e1")
        assert (await episodes.get_result("e1")).outcome is Outcome.HIT


async def test_without_the_server_of_the_sessions_caches_go_on_near_and_far(valkey: Server, lasting: Server) -> None:
    async with apart(valkey, lasting) as room:
        _, token = await room.sessions.start(user_id="u1")
        loads = Loads()
        near, far = room.cache(EPISODE, load=loads), room.cache(FAR, load=loads, near_for=timedelta(0))
        for _ in range(2):
            await near.get("e1")
        await far.get("e2")
        lasting.kill()
        await until(lambda: room.unavailable is not None)
        with pytest.raises(EngineUnavailable):
            await room.sessions.read(token)
        # What is near is still trusted. A server that stands still meanwhile is asked again.
        async with asyncio.timeout(30):
            while (await near.get_result("e1")).outcome is not Outcome.NEAR:
                await asyncio.sleep(0.001)
            while (await far.get_result("e2")).outcome is not Outcome.HIT:
                await asyncio.sleep(0.001)
        loads.version = 2
        await near.invalidate("e1")
        assert await near.get("e1") == Episode("e1", 2)
        lasting.start()
        await until(lambda: room.unavailable is None)
        assert await room.sessions.read(token) is not None


@pytest.mark.parametrize("down", ["caches", "sessions"])
def test_a_service_starts_without_either_and_heals(valkey: Server, lasting: Server, serve: Serve, down: str) -> None:
    victim = valkey if down == "caches" else lasting
    victim.kill()
    service = serve("--cache-url", valkey.address, "--session-url", lasting.address)
    assert f"starting anyway: cannot use the server of the {down}: {victim.address}: " in service.output()
    assert ("are read from the database" in service.output()) == (down == "caches")
    assert ("nobody can sign in" in service.output()) == (down == "sessions")
    ready = service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["engine"].startswith(f"{down}: {victim.address}: ")
    assert (valkey if victim is lasting else lasting).address not in ready.json()["engine"]
    for _ in range(2):
        topics = service.client.get(f"{API}/topics")
    assert topics.headers["cache-status"].startswith("greenroom; hit") == (down == "sessions")
    begun = service.client.patch(f"{API}/session/preferences", json={})
    assert begun.status_code == (200 if down == "caches" else 503)
    victim.start()
    wait_for(lambda: service.client.get("/health/ready").json()["status"] == "ok", 30)
    assert service.client.patch(f"{API}/session/preferences", json={}).status_code == 200


async def test_with_both_down_both_are_named(valkey: Server, lasting: Server) -> None:
    async with apart(valkey, lasting) as room:
        valkey.kill()
        lasting.kill()
        await until(lambda: f"caches: {valkey.address}: " in str(room.unavailable))
        await until(lambda: f" · sessions: {lasting.address}: " in str(room.unavailable))


async def test_of_a_cluster_the_node_is_named(cluster: Cluster) -> None:
    address = cluster.address.replace("//", "//default:topsecret@")
    for one in cluster.members:
        one.ok("CONFIG", "SET", "requirepass", "topsecret")
    victim = cluster.primaries[1]
    async with Greenroom(address) as room:
        assert room.unavailable is None
        with victim.frozen():
            await until(lambda: room.unavailable is not None)
            said = str(room.unavailable)
        assert said.startswith(f"caches and sessions: valkey://default@127.0.0.1:{victim.port}: ")
        assert "topsecret" not in said


# What is where ----------------------------------------------------------------------------------------


def test_nothing_of_the_one_is_on_the_other_or_could_be(valkey: Server, lasting: Server, serve: Serve) -> None:
    """All that the service does, where each server lets it have its own keys and commands only."""
    caches, sessions = valkey.raw(), lasting.raw()
    for raw, holds in ((caches, Holds.CACHES), (sessions, Holds.SESSIONS)):
        for role in Role:
            if rules(role, DECLARATIONS, holds=holds) is not None:
                allow(raw, role, holds=holds)
        raw("CONFIG", "RESETSTAT")
    env = {
        "GREENROOM_CACHE_URL": address(valkey, "service"),
        "GREENROOM_SESSION_URL": address(lasting, "service"),
        "GREENROOM_EDITOR_TOKEN": TOKEN,
    }
    service = serve("--sample", "off", "--work", "off", env=env)
    work = env | {"GREENROOM_CACHE_URL": address(valkey, "worker"), "GREENROOM_SESSION_URL": "valkey://192.0.2.1"}
    with working(service.data_dir, work):
        use_everything(service)
        service.client.patch(f"{API}/session/preferences", json={})
    assert denied(caches) == denied(sessions) == []
    for raw, holds in ((caches, Holds.CACHES), (sessions, Holds.SESSIONS)):
        allowed = rules(Role.SERVICE, DECLARATIONS, holds=holds)
        assert allowed is not None
        assert called_commands(raw) - {"acl|log", "acl|setuser", "config|resetstat"} <= allowed.commands
    there = {key.decode() for key in caches("KEYS", "*")}
    assert any(key.startswith("cache:") for key in there)
    there.remove("greenroom:active:{processes}")  # the processes of the service, for its operators
    assert not [key for key in there if "session" in key or "attempts" in key or "active" in key]
    there = {key.decode() for key in sessions("KEYS", "*")}
    assert any(key.startswith("session:") for key in there)
    assert not [key for key in there if "cache:" in key or "group" in key]


# Eviction ---------------------------------------------------------------------------------------------


def bounded(server: Server, policy: str) -> None:
    """Let a server evict so."""
    server.raw()("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", policy)


async def warnings(caches: Server, sessions: Server, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What opening a room says of its servers' policies."""
    caplog.set_level(logging.WARNING, "greenroom.client")
    caplog.clear()
    async with apart(caches, sessions):
        return [record.message for record in caplog.records if "maxmemory-policy" in record.message]


async def test_each_server_gets_the_advice_for_what_it_holds(
    server: Server, lasting: Server, caplog: pytest.LogCaptureFixture
) -> None:
    bounded(server, "volatile-lru")
    bounded(lasting, "noeviction")
    assert await warnings(server, lasting, caplog) == []
    (swapped,) = await warnings(lasting, server, caplog)
    assert swapped.startswith("the server of the sessions: maxmemory-policy is volatile-lru")
    bounded(server, "allkeys-lru")
    (line,) = await warnings(server, lasting, caplog)
    assert line.startswith("the server of the caches: maxmemory-policy is allkeys-lru, which may evict groups")
    assert "set volatile-lru" in line
    assert len(await warnings(server, server, caplog)) == 2


async def test_each_node_of_a_cluster_is_looked_at(steady: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "greenroom.client")
    for one in steady.primaries:
        caplog.clear()
        steady.fresh()
        one.ok("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
        async with Greenroom(steady.address):
            told = sorted(record.message.partition(",")[0] for record in caplog.records)
        assert told == [f"the server of the {what}: maxmemory-policy is allkeys-lru" for what in ("caches", "sessions")]
    steady.fresh()


def test_a_program_without_sessions_says_nothing_of_them(valkey: Server, serve: Serve, lasting: Server) -> None:
    bounded(valkey, "volatile-lru")
    env = {"GREENROOM_CACHE_URL": valkey.address, "GREENROOM_SESSION_URL": lasting.address}
    service = serve("--sample", "off", "--work", "off", env=env)
    assert "maxmemory-policy" not in service.output()
    with working(service.data_dir, env) as told:
        pass
    run = command("load", "--data-dir", service.data_dir, "-", env=env)
    assert run.returncode == 0, run.stderr
    assert "maxmemory-policy" not in told.read_text() + run.stderr
