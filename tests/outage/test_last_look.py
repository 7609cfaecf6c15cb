"""What fails while another listener still holds a new connection back is on that connection before it serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from greenroom.caching import Outcome
from greenroom.caching.invalidation import Backing
from greenroom.clock import SYSTEM
from greenroom.counters import Counters
from greenroom.engine import Address, Channel, Engine, Handover, engine_at
from greenroom.errors import EngineError
from greenroom.sessions import Revocations, Sessions
from greenroom_platform.definitions import SESSIONS
from greenroom_platform.models import Session
from tests.support.episode_caches import Episode, Loads, cache_of
from tests.support.listeners import listening
from tests.support.outage_helpers import Shows, pages_of
from tests.support.patience import until
from tests.support.proxy import Proxy
from tests.support.real_servers import Server


class Gate:
    """A listener's part, at which new connections wait once it is shut."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._waiting = 0

    async def __call__(self, handover: Handover) -> None:
        if not self._open.is_set():
            self._waiting += 1
            await self._open.wait()

    async def reached(self, connections: int) -> None:
        await until(lambda: self._waiting >= connections)

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def backing(proxy: Proxy, gate: Gate) -> AsyncIterator[Backing]:
    """What caches stand on, with a listener behind it that takes its time."""
    engine = engine_at(Address.parse(proxy.address))
    backing = Backing(engine, "", SYSTEM, Counters())
    listening(engine, before_serving=gate)
    await engine.start()
    yield backing
    await backing.close()


async def held_back(proxy: Proxy, engine: Engine, gate: Gate, connections: int = 1) -> None:
    """Return when calls fail at once, and new connections wait at the gate behind the part of the first listener."""
    await proxy.down()
    links = engine._node._links.values()  # type: ignore[attr-defined]
    await until(lambda: all(link.circuit_open for link in links))
    gate.shut()
    await proxy.up()
    await gate.reached(connections)


async def back_again(engine: Engine, gate: Gate) -> None:
    gate.open()
    await until(lambda: engine.unavailable is None)


@pytest.mark.parametrize("near_for", [0, 30])
async def test_a_drop_that_fails_meanwhile_precedes_what_is_read(
    proxy: Proxy, backing: Backing, gate: Gate, near_for: float
) -> None:
    load = Loads()
    cache = cache_of(backing, load, near_for=near_for)
    await cache.get("e1")
    await held_back(proxy, backing.engine, gate)
    load.version = 2
    with pytest.raises(EngineError):
        await cache.invalidate("e1")
    await back_again(backing.engine, gate)
    assert await cache.get("e1") == Episode("e1", 2)
    assert backing.unsent == 0


async def test_a_group_s_drop_that_fails_meanwhile_precedes_what_is_read(
    proxy: Proxy, backing: Backing, gate: Gate
) -> None:
    load = Shows()
    pages = pages_of(backing, load)
    await pages.get(show="s", number="1")
    await held_back(proxy, backing.engine, gate)
    load.version = 2
    with pytest.raises(EngineError):
        await pages.invalidate_group(show="s")
    await back_again(backing.engine, gate)
    assert await pages.get(show="s", number="1") == Episode("s1", 2)
    await until(lambda: not backing.groups.pending_drops)


async def test_a_keyspace_s_drop_that_fails_meanwhile_precedes_what_is_read(
    proxy: Proxy, backing: Backing, gate: Gate
) -> None:
    load = Loads()
    cache = cache_of(backing, load)
    await cache.get("e1")
    await held_back(proxy, backing.engine, gate)
    load.version = 2
    with pytest.raises(EngineError):
        await cache.drop_keyspace()
    await back_again(backing.engine, gate)
    assert await cache.get("e1") == Episode("e1", 2)


async def test_what_is_loaded_meanwhile_without_the_server_is_not_kept(
    valkey: Server, proxy: Proxy, backing: Backing, gate: Gate
) -> None:
    load = Loads()
    cache = cache_of(backing, load)
    await cache.get("e1")
    await held_back(proxy, backing.engine, gate)
    assert (await cache.get_result("e1")).outcome is Outcome.BYPASSED
    await back_again(backing.engine, gate)
    valkey.raw()("SET", "cache:episode:e1", b'{"episode_id":"e1","version":2}', "EX", 1200)
    assert await cache.get("e1") == Episode("e1", 2), "another process has written since the server is back"


async def test_a_load_under_way_meanwhile_without_the_server_is_not_joined(
    valkey: Server, proxy: Proxy, backing: Backing, gate: Gate
) -> None:
    load = Loads()
    load.go.clear()
    cache = cache_of(backing, load)
    await held_back(proxy, backing.engine, gate)
    first = asyncio.ensure_future(cache.get("e1"))
    await load.started.wait()
    await back_again(backing.engine, gate)
    valkey.raw()("SET", "cache:episode:e1", b'{"episode_id":"e1","version":2}', "EX", 1200)
    assert await cache.get("e1") == Episode("e1", 2)
    load.go.set()
    assert await first == Episode("e1", 1)


@pytest.mark.parametrize("channel", list(Channel))
async def test_an_end_that_fails_meanwhile_precedes_what_is_read(proxy: Proxy, gate: Gate, channel: Channel) -> None:
    engine = engine_at(Address.parse(proxy.address))
    sessions: Sessions[Session] = Sessions(engine, SESSIONS, ends=Revocations(), new={"preferences": {}})
    listening(engine, before_use=gate)
    await engine.start()
    live, token = await sessions.start({"user_id": "u1", "preferences": {}})
    await held_back(proxy, engine, gate, connections=2)
    with pytest.raises(EngineError):
        await sessions.store.end(live.session_id, "by", tombstone=False)
    await back_again(engine, gate)
    assert await sessions.read(token, channel=channel) is None
    await sessions.close()
    await engine.close()
