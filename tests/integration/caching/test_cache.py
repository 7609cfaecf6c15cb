"""Read-through on a real server."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from greenroom.caching import Outcome
from greenroom.counters import Counters
from greenroom.errors import BrokenValue, EngineError, InvalidInput, LoadFailed, LoadTimeout
from greenroom.keyspace import Keyspace, Number
from tests.support.episode_caches import ABSENT, EPISODE, KEY, LEASE, Back, Episode, Loads, cache_of, settled
from tests.support.faces import Cached
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster


async def test_a_miss_is_loaded_and_stored_and_the_next_read_is_a_hit(server: Server, cached: Cached) -> None:
    load = Loads()
    cache = cached(load)
    first = await cache.get_result("e1")
    second = await cache.get_result(episode_id="e1")
    assert (first.outcome, first.stored, first.value) == (Outcome.LOADED, True, Episode("e1"))
    assert (second.outcome, second.value, second.body) == (Outcome.HIT, Episode("e1"), first.body)
    assert load.calls == ["e1"]
    raw = server.raw()
    assert raw("GET", KEY) == b'{"episode_id":"e1","version":1}' == await cache.get_bytes("e1")
    assert 0.95 * 1_800_000 - 5000 < raw("PTTL", KEY) <= 1_800_000
    assert second.ttl is not None
    assert 0 < second.ttl <= 1800


async def test_another_process_s_value_is_a_hit(server: Server, cached: Cached) -> None:
    load = Loads()
    cache = cached(load)
    server.raw()(
        "SET", KEY, b'{"episode_id": "e1", "version": 7, "new": true}', "EX", 1700
    )  # fresh: nobody loads behind
    read = await cache.get_result("e1")
    assert (read.value, load.calls) == (Episode("e1", 7), [])
    assert read.body == b'{"episode_id": "e1", "version": 7, "new": true}'  # as it is stored, byte for byte


@pytest.mark.parametrize("expiry", [(), ("EX", 86_400)])
async def test_a_value_that_would_outlive_its_keyspace_gets_its_lifetime(
    server: Server, cached: Cached, expiry: tuple[Any, ...]
) -> None:
    cache = cached(Loads())
    server.raw()("SET", KEY, b'{"episode_id":"e1"}', *expiry)
    await cache.get("e1")
    assert 0 < server.raw()("PTTL", KEY) <= 1_800_000


async def test_concurrent_callers_share_one_load(server: Server, back: Back) -> None:
    load = Loads()
    load.go.clear()
    cache = cache_of(await back(server), load)
    tasks = [asyncio.create_task(cache.get_result("e1")) for _ in range(100)]
    await load.started.wait()
    load.go.set()
    reads = await asyncio.gather(*tasks)
    assert load.calls == ["e1"]
    assert [read.outcome for read in reads].count(Outcome.LOADED) == 1
    assert [read.outcome for read in reads].count(Outcome.SHARED) == 99


async def test_the_first_caller_s_cancellation_fails_nobody_else(server: Server, back: Back) -> None:
    load = Loads()
    load.go.clear()
    cache = cache_of(await back(server), load)
    first = asyncio.create_task(cache.get("e1"))
    await load.started.wait()
    second = asyncio.create_task(cache.get("e1"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    load.go.set()
    assert await second == Episode("e1")
    assert first.cancelled()


async def test_a_loader_s_error_reaches_every_caller_and_starts_a_back_off(server: Server, back: Back) -> None:
    load = Loads()
    load.error = KeyError("gone")
    cache, another = [cache_of(await back(server), load, failures_for=30.0) for _ in range(2)]
    results = await asyncio.gather(*(cache.get("e1") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, KeyError) for result in results)
    load.error = None
    for process in (cache, another):
        with pytest.raises(LoadFailed, match="KeyError") as caught:
            await process.get("e1")
        assert "gone" not in str(caught.value)
    assert load.calls == ["e1"]
    raw = server.raw()
    assert raw("GET", LEASE) == b"failed:KeyError"
    assert 1000 < raw("PTTL", LEASE) <= 30_000
    raw("DEL", LEASE)  # as its end does
    assert await cache.get("e1") == Episode("e1")


async def test_a_hung_loader_is_cancelled_at_its_deadline(server: Server, back: Back) -> None:
    load = Loads()
    load.go.clear()
    cache = cache_of(await back(server), load, loader_deadline=0.01)
    with pytest.raises(LoadTimeout):
        await cache.get("e1")


async def test_a_timeout_of_the_loader_s_own_is_passed_on(cached: Cached) -> None:
    load = Loads()
    load.error = TimeoutError("the database's")
    with pytest.raises(TimeoutError, match="the database's"):
        await cached(load).get("e1")


async def test_an_absence_is_remembered_under_its_companion_only(server: Server, cached: Cached) -> None:
    load = Loads()
    load.version = 0
    cache = cached(load)
    first, second = await cache.get_result("e1"), await cache.get_result("e1")
    assert (first.value, first.body, first.outcome, first.stored) == (None, None, Outcome.LOADED, True)
    assert (second.value, second.body, second.outcome) == (None, None, Outcome.HIT)
    assert load.calls == ["e1"]
    raw = server.raw()
    assert raw("KEYS", "*") == [ABSENT.encode()]
    assert 0 < raw("PTTL", ABSENT) <= 30_000


async def test_a_created_object_ends_its_remembered_absence(cached: Cached) -> None:
    load = Loads()
    load.version = 0
    cache = cached(load)
    assert await cache.get("e1") is None
    load.version = 1
    await cache.invalidate("e1")
    assert await cache.get("e1") == Episode("e1")


async def test_a_foreign_writer_s_value_comes_before_a_remembered_absence(server: Server, back: Back) -> None:
    load = Loads()
    load.version = 0
    cache = cache_of(await back(server), load, near_for=30)
    assert await cache.get("e1") is None
    assert (await cache.get_result("e1")).outcome is Outcome.HIT
    assert (await cache.get_result("e1")).outcome is Outcome.NEAR
    server.raw()("SET", KEY, b'{"episode_id":"e1","version":3}', "EX", 60)
    await settled(cache)
    assert await cache.get("e1") == Episode("e1", 3)


@pytest.mark.parametrize("name", [KEY, f"lease:{{{KEY}}}", ABSENT])
async def test_what_is_of_another_type_keeps_no_key_from_being_cached(
    server: Server, cached: Cached, name: str
) -> None:
    load = Loads()
    cache = cached(load)
    server.raw()("HSET", name, "a", "b")
    assert (await cache.get_result("e1")).stored
    assert (await cache.get_result("e1")).outcome is Outcome.HIT
    assert load.calls == ["e1"]


async def test_invalidate_drops_value_and_companions(server: Server, back: Back) -> None:
    load = Loads()
    cache = cache_of(await back(server, prefix="p:"), load, EPISODE.prefixed("p:"))
    await cache.get("e1")
    raw = server.raw()
    for companion in (f"p:lease:{{p:{KEY}}}", f"p:absent:{{p:{KEY}}}"):
        raw("SET", companion, "x")
    load.version = 2
    await cache.invalidate("e1")
    assert raw("DBSIZE") == 0
    assert await cache.get("e1") == Episode("e1", 2)


async def test_a_load_begun_before_an_invalidation_is_neither_joined_nor_stored(server: Server, back: Back) -> None:
    load = Loads()
    load.go.clear()
    cache = cache_of(await back(server), load)
    early = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    load.version = 2  # the change is committed
    await cache.invalidate("e1")
    load.started.clear()
    late = asyncio.create_task(cache.get("e1"))
    await load.started.wait()  # not joined: it loads anew
    load.go.set()
    assert (await early).value == Episode("e1", 1)
    assert not (await early).stored
    assert await late == Episode("e1", 2)
    assert await cache.get("e1") == Episode("e1", 2)


@pytest.mark.parametrize("broken", [b"null", b"{", b'{"episode_id":1}', b"", b"\xff"])
async def test_a_value_that_breaks_its_schema_is_a_miss_and_is_replaced(
    server: Server, cached: Cached, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    cache = cached(Loads())
    server.raw()("SET", KEY, broken, "EX", 60)
    with caplog.at_level(logging.WARNING, "greenroom.caching"):
        assert await cache.get("e1") == Episode("e1")
    assert cached.counters.errors["cache_episode", "broken"] == 1
    assert KEY in caplog.text
    assert server.raw()("GET", KEY) == b'{"episode_id":"e1","version":1}'


async def test_a_value_of_another_kind_is_no_hit(server: Server, cached: Cached) -> None:
    server.raw()("LPUSH", KEY, "x")
    assert await cached(Loads()).get("e1") == Episode("e1")


async def test_a_value_over_the_limit_is_answered_and_not_stored(
    server: Server, back: Back, caplog: pytest.LogCaptureFixture
) -> None:
    small: Keyspace[Episode] = Keyspace("cache:episode:{episode_id}", Episode, ttl=timedelta(minutes=1), limit=10)
    counters = Counters()
    cache = cache_of(await back(server, counters=counters), Loads(), small)
    for _ in range(2):
        read = await cache.get_result("e1")
        assert (read.value, read.stored) == (Episode("e1"), False)
    await settled(cache)
    assert server.raw()("DBSIZE") == 0
    assert counters.errors["cache_episode", "oversize"] == 2
    assert caplog.text.count("over the limit") == 1


async def test_a_loader_s_unreadable_value_is_an_error_and_not_stored(server: Server, back: Back) -> None:
    async def load(_: str) -> Any:
        return Episode("e1", "not a number")  # type: ignore[arg-type]

    cache = cache_of(await back(server), load)
    with pytest.raises(BrokenValue, match="version"):
        await cache.get("e1")
    await settled(cache)
    assert server.raw()("KEYS", "*") == [LEASE.encode()]


@pytest.mark.one_server
async def test_a_killed_server_is_bypassed_and_found_again(server: Server, back: Back) -> None:
    load = Loads()
    cache = cache_of(await back(server), load)
    await cache.get("e1")
    server.kill()
    read = await cache.get_result("e1")
    assert (read.outcome, read.value, read.stored) == (Outcome.BYPASSED, Episode("e1"), False)
    with pytest.raises(EngineError):
        await cache.invalidate("e1")
    server.start()
    async with asyncio.timeout(10):
        while (await cache.get_result("e1")).outcome is Outcome.BYPASSED:
            await asyncio.sleep(0)
    assert (await cache.get_result("e1")).outcome is Outcome.HIT


async def test_parts_that_cannot_be_are_refused_before_anything_happens(cached: Cached) -> None:
    load = Loads()
    cache = cached(load)
    for call in (
        cache.get("a:b"),
        cache.get_result("a:b"),
        cache.invalidate("a:b"),
        cache.get_many([{"episode_id": "a:b"}]),
    ):
        with pytest.raises(InvalidInput, match="episode_id"):
            await call
    assert load.calls == []


async def test_get_many_answers_in_order(cached: Cached) -> None:
    load = Loads()
    cache = cached(load)
    await cache.get("b")
    values = await cache.get_many([{"episode_id": one} for one in ("a", "b", "c")])
    assert [value.episode_id if value else None for value in values] == ["a", "b", "c"]
    assert sorted(load.calls) == ["a", "b", "c"]


async def test_several_parts_are_given_to_the_loader_by_name(cached: Cached) -> None:
    pages: Keyspace[Any] = Keyspace(
        "pages:{show}:{number}", tuple[str, ...], ttl=timedelta(minutes=1), parts={"number": Number(1, 9)}
    )

    async def load(number: int, show: str) -> tuple[str, ...]:
        return (show, str(number))

    cache = cached(load, pages)
    assert await cache.get(show="s", number=3) == ("s", "3")
    assert await cache.get(show="s", number=3) == ("s", "3")


async def test_outcomes_loads_and_errors_are_counted(cached: Cached) -> None:
    load = Loads()
    cache = cached(load)
    await cache.get("e1")
    await cache.get("e1")
    load.error = ValueError()
    with pytest.raises(ValueError):
        await cache.get("e2")
    assert +Counter(cached.counters.reads) == {("cache_episode", "loaded"): 1, ("cache_episode", "hit"): 1}
    assert +Counter(cached.counters.errors) == {("cache_episode", "load"): 1}
    assert sum(cached.counters.loads["cache_episode"].counts) == 2
