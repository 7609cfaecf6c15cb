"""Many keys dropped together: from the call on nothing old is near or joined; what a batch cannot do goes singly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from greenroom.caching import Cache, Outcome, drops
from greenroom.caching.drops import DROP
from greenroom.caching.invalidation import Backing
from greenroom.engine.server.standalone import Standalone
from greenroom.errors import EngineError
from tests.support.episode_caches import Back, Episode, Loads, cache_of
from tests.support.patience import PATIENT, until
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

NAMES = [f"e{number}" for number in range(600)]
KEYS = [f"cache:episode:{name}" for name in NAMES]
THREE = 3
"""Batches of `KEYS`."""


@pytest.fixture
async def cache(proxy: Proxy, back: Back) -> Cache[Episode]:
    return cache_of(await back(proxy, limits=PATIENT), Loads(), near_for=30)


def calls(valkey: Server, command: str) -> int:
    """How often a command was sent, or called by a script."""
    stats = valkey.raw()("INFO", "commandstats").decode()
    return int(stats.partition(f"cmdstat_{command}:calls=")[2].partition(",")[0] or 0)


async def test_from_the_call_on_none_of_them_is_near(proxy: Proxy, cache: Cache[Episode]) -> None:
    for name in NAMES[::100]:
        await cache.get(name)
        assert (await cache.get_result(name)).outcome is Outcome.NEAR
    held = proxy.hold(DROP.sha)
    dropping = asyncio.ensure_future(cache._backing.drops.drop_many(KEYS))
    await asyncio.sleep(0)  # its first step, before which it has not been called
    assert len(cache._near) == 0
    await held.reached.wait()
    held.release()
    await dropping


async def test_until_the_reply_nothing_read_before_the_call_becomes_near(proxy: Proxy, cache: Cache[Episode]) -> None:
    await cache.get("e1")
    cache._near.pop("cache:episode:e1")
    get = proxy.hold("GET", "cache:episode:e1")
    early = asyncio.ensure_future(cache.get("e1"))
    await get.reached.wait()
    dropping = asyncio.ensure_future(cache._backing.drops.drop_many(KEYS))
    await asyncio.sleep(0)
    held = proxy.hold(DROP.sha)
    get.release()
    await early
    await held.reached.wait()
    assert len(cache._near) == 0
    held.release()
    await dropping
    assert not cache._backing.drops.pending


async def test_from_the_call_on_no_load_begun_before_is_joined(proxy: Proxy, cache: Cache[Episode]) -> None:
    load = Loads()
    cache = cache_of(cache._backing, load, near_for=30)
    load.go.clear()
    early = asyncio.ensure_future(cache.get("e1"))
    await load.started.wait()
    load.version = 2
    held = proxy.hold(DROP.sha)
    dropping = asyncio.ensure_future(cache._backing.drops.drop_many(KEYS))
    await asyncio.sleep(0)
    late = asyncio.ensure_future(cache.get("e1"))
    await held.reached.wait()
    held.release()
    await dropping
    load.go.set()
    assert await early == Episode("e1", 1)
    assert await late == Episode("e1", 2)
    assert await cache.get("e1") == Episode("e1", 2), "the early load has stored nothing"


async def test_a_key_is_pending_until_the_last_of_two_crossing_drops_ends(proxy: Proxy, cache: Cache[Episode]) -> None:
    backing = cache._backing
    first = proxy.hold(DROP.sha)
    one = asyncio.ensure_future(backing.drops.drop_many(KEYS[:20]))
    await first.reached.wait()
    two = asyncio.ensure_future(backing.drops.drop_many(KEYS[10:30]))
    await asyncio.sleep(0)
    second = proxy.hold(DROP.sha)
    first.release()
    await one
    await second.reached.wait()
    assert backing.drops.pending == dict.fromkeys(KEYS[10:30], 1)
    second.release()
    await two
    assert not backing.drops.pending


async def test_each_batch_is_one_command(valkey: Server, back: Back) -> None:
    backing = await back(valkey)
    before = calls(valkey, "evalsha")
    await backing.drops.drop_many(KEYS)
    assert calls(valkey, "evalsha") - before == THREE


async def test_a_server_that_has_lost_its_scripts_drops_all_and_learns_them_anew(valkey: Server, back: Back) -> None:
    raw, backing = valkey.raw(), await back(valkey)
    raw("MSET", *(text for key in KEYS for text in (key, "old")))
    raw("SCRIPT", "FLUSH")
    await backing.drops.drop_many(KEYS)
    assert raw("EXISTS", *KEYS) == 0
    assert raw("SCRIPT", "EXISTS", DROP.sha) == [1]
    assert backing.unsent == 0
    before = calls(valkey, "del")
    await backing.drops.drop_many(KEYS)
    assert calls(valkey, "del") - before == 3 * THREE, "three for each batch, by its script"


async def test_past_the_deadline_the_loop_is_given_back_after_each_batch(
    valkey: Server, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_turn, most, drop = 0, 0, Standalone.drop

    def counted(engine: Standalone, keys: Sequence[str], *args: Any) -> Any:
        nonlocal in_this_turn, most
        in_this_turn += len(keys)
        most = max(most, in_this_turn)
        return drop(engine, keys, *args)

    async def turning() -> None:
        nonlocal in_this_turn
        while True:
            in_this_turn = 0
            await asyncio.sleep(0)

    backing = await back(valkey)
    valkey.kill()
    await until(lambda: backing.engine.unavailable is not None)
    monkeypatch.setattr(drops, "DEADLINE", 0.0)
    monkeypatch.setattr(Standalone, "drop", counted)
    turner = asyncio.create_task(turning())
    with pytest.raises(EngineError):
        await backing.drops.drop_many(KEYS)
    turner.cancel()
    assert most == drops.BATCH, "nobody has answered, so that nothing else gives it back"
    assert backing.unsent == len(KEYS)


async def test_what_a_batch_is_refused_is_kept_and_not_read_meanwhile(valkey: Server, back: Back) -> None:
    raw, load = valkey.raw(), Loads()
    backing: Backing = await back(valkey)
    cache = cache_of(backing, load)
    await cache.get("e1")
    load.version = 2
    raw("CONFIG", "SET", "min-replicas-to-write", 1)
    with pytest.raises(EngineError):
        await backing.drops.drop_many(KEYS[:20])
    assert backing.unsent == 20
    assert await cache.get("e1") == Episode("e1", 2)
    raw("CONFIG", "SET", "min-replicas-to-write", 0)
    await until(lambda: backing.unsent == 0)
    assert not backing.drops.refused
    assert not backing.drops.pending
    assert raw("EXISTS", *KEYS[:20]) <= 1


async def test_ten_thousand_of_a_group_are_dropped_in_slices_and_timed(
    valkey: Server, back: Back, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backing = await back(valkey)
    keys = [f"cache:episode:m{number}" for number in range(10_000)]
    name = backing.groups.name("members")
    for start in range(0, len(keys), 1000):
        valkey.raw()("ZADD", name, *(word for key in keys[start : start + 1000] for word in (1, key)))
    turn, done = 0, dict[tuple[str, int], int]()

    def spied(kind: str, owner: Any, method: str, at: int) -> None:
        original = getattr(owner, method)

        def count(*args: Any) -> Any:
            done[kind, turn] = done.get((kind, turn), 0) + len(args[at])
            return original(*args)

        monkeypatch.setattr(owner, method, count)

    spied("forgotten here", backing.local, "forget", 0)
    spied("sent", backing.engine, "drop", 0)
    dropping = asyncio.ensure_future(backing.drop_group("members", 1.0))
    with caplog.at_level("INFO", "greenroom.caching"):
        while not dropping.done():
            turn += 1
            await asyncio.sleep(0)
    await dropping
    assert valkey.raw()("EXISTS", name) == 0
    for kind, most in (("forgotten here", drops.MARKED), ("sent", drops.BATCH)):
        slices = [number for (counted, _), number in done.items() if counted == kind]
        assert sum(slices) == len(keys)
        assert max(slices) <= most, kind
    assert "dropped the 10000 keys of the group members in " in caplog.text
