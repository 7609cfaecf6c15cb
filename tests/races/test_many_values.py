"""The values of several keys at once: what each is answered by, how it is counted, and forced orders meanwhile."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from greenroom.caching import Cache, Outcome
from greenroom.caching.keyspace_drops import GENERATION
from greenroom.errors import Overloaded
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import ABSENT, EPISODE, KEY, Back, Episode, Loads, cache_of, settled
from tests.support.patience import PATIENT, SteadyClock, until
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

OTHERS = [f"f{number}" for number in range(9)]
"""On each node of a cluster there are some."""
MANY = ["f0", "e1", *OTHERS[1:]]
BRIEF: Keyspace[Episode] = Keyspace("cache:episode:{episode_id}", Episode, ttl=timedelta(minutes=30))
"""Without a soft lifetime: where nothing is kept near, the values alone are asked for."""
both = pytest.mark.parametrize("keyspace", [EPISODE, BRIEF], ids=["with its lifetime", "alone"])
WORDS: Keyspace[list[str]] = Keyspace("cache:words:{one}", list[str], ttl=timedelta(minutes=30))


def write(server: Server, ids: Sequence[str], version: int = 1, *, seconds: int = 1800) -> None:
    """What a foreign service does."""
    raw = server.raw()
    for one in ids:
        raw("SET", f"cache:episode:{one}", b'{"episode_id":"%b","version":%d}' % (one.encode(), version), "EX", seconds)


async def process(
    back: Back, through: Server | Proxy, load: Any = None, keyspace: Keyspace[Any] = EPISODE, **options: Any
) -> Cache[Any]:
    return cache_of(await back(through, limits=PATIENT), load or Loads(), keyspace, **options)


def reads(cache: Cache[Any]) -> dict[str, int]:
    """How many were answered how."""
    return {outcome: number for (_, outcome), number in cache._counts.items() if number}


def versions(values: Sequence[Any]) -> list[int | None]:
    return [value and value.version for value in values]


# What a key is answered by ---------------------------------------------------------------------------


@pytest.mark.parametrize("near_for", [0, 30])
async def test_fresh_values_of_the_server_are_counted_as_hits(server: Server, back: Back, near_for: float) -> None:
    write(server, MANY)
    load = Loads()
    cache = await process(back, server, load, near_for=near_for)
    assert await cache.get_many(MANY) == [Episode(one) for one in MANY]
    assert reads(cache) == {"hit": 10}
    assert await cache.get_many(MANY) == [Episode(one) for one in MANY]
    assert reads(cache) == ({"hit": 10, "near": 10} if near_for else {"hit": 20})
    assert load.calls == []


async def test_near_values_and_those_of_the_server_keep_their_places(server: Server, back: Back) -> None:
    write(server, MANY)
    cache = await process(back, server, near_for=30)
    await cache.get_many(MANY[::2])
    assert await cache.get_many(MANY) == [Episode(one) for one in MANY]
    assert reads(cache) == {"hit": 10, "near": 5}


@both
async def test_of_many_keys_only_those_without_a_value_are_loaded(
    server: Server, back: Back, keyspace: Keyspace[Any]
) -> None:
    write(server, OTHERS)
    server.raw()("SET", "cache:episode:f3", "no JSON", "EX", 1800)
    server.raw()("DEL", "cache:episode:f4")
    load = Loads()
    load.version = 2
    cache = await process(back, server, load, keyspace)
    assert versions(await cache.get_many(MANY)) == [1, 2, 1, 1, 2, 2, 1, 1, 1, 1]
    assert sorted(load.calls) == ["e1", "f3", "f4"]
    assert reads(cache) == {"hit": 7, "loaded": 3}
    assert cache._backing.counters.errors[EPISODE.name, "broken"] == 1


@pytest.mark.parametrize("near_for", [0, 30])
async def test_stale_values_among_many_are_served_and_refreshed(server: Server, back: Back, near_for: float) -> None:
    write(server, OTHERS)
    write(server, ["e1"], seconds=600)  # of 1800; fresh for 900
    load = Loads()
    load.version = 2
    load.go.clear()
    cache = await process(back, server, load, near_for=near_for)
    for _ in range(2):
        assert versions(await cache.get_many(MANY)) == [1] * 10
    assert reads(cache) == ({"stale": 2, "hit": 9, "near": 9} if near_for else {"stale": 2, "hit": 18})
    await load.started.wait()
    load.go.set()
    await until(lambda: b'"version":2' in server.raw()("GET", KEY))
    assert load.calls == ["e1"]


async def test_an_absence_near_is_answered_among_many(server: Server, back: Back) -> None:
    write(server, OTHERS)
    server.raw()("SET", ABSENT, "1", "EX", 30)
    load = Loads()
    cache = await process(back, server, load, near_for=30)
    assert versions(await cache.get_many(MANY)) == [1, None, *[1] * 8]
    await settled(cache)
    before = reads(cache).get("near", 0)
    assert versions(await cache.get_many(MANY)) == [1, None, *[1] * 8]
    assert reads(cache)["near"] - before == 10
    assert load.calls == []


@pytest.mark.parametrize("near_for", [0, 30])
async def test_a_key_asked_for_twice_gives_two_values_that_can_change(
    server: Server, back: Back, near_for: float
) -> None:
    async def load(_: str) -> list[str]:
        return ["a"]

    cache = cache_of(await back(server, limits=PATIENT), load, WORDS, near_for=near_for)
    for _ in range(3):
        values: list[Any] = await cache.get_many(["x", "y", "x"])
        first, other, again = values
        assert first == other == again == ["a"]
        assert len({id(first), id(other), id(again)}) == 3
        first.append("spoilt")
        await settled(cache)
    assert sum(reads(cache).values()) == 6, "of each call two keys"
    for _ in range(2):
        values = await cache.get_many(["x"])
        assert values == [["a"]]
        values[0].append("spoilt")


@both
async def test_a_key_asked_for_twice_is_read_and_counted_once(
    server: Server, back: Back, keyspace: Keyspace[Any]
) -> None:
    write(server, MANY)
    cache = await process(back, server, None, keyspace)
    assert versions(await cache.get_many([*MANY, "e1"])) == [1] * 11
    assert reads(cache) == {"hit": 10}


# What happens meanwhile ------------------------------------------------------------------------------


async def test_a_value_of_many_pushed_away_in_the_same_read_is_not_near(
    server: Server, proxy: Proxy, back: Back
) -> None:
    write(server, MANY)
    cache = await process(back, proxy, near_for=30)
    replies = proxy.hold_replies()
    early = asyncio.create_task(cache.get_many(MANY))
    await replies.have('"e1","version":1')
    write(server, ["e1"], 2)
    await replies.have("invalidate")
    replies.release()
    assert versions(await early) == [1] * 10
    assert KEY not in set(cache._near)
    assert versions(await cache.get_many(MANY)) == [1, 2, *[1] * 8]


async def test_a_drop_called_while_many_are_read_leaves_nothing_old(server: Server, proxy: Proxy, back: Back) -> None:
    write(server, MANY)
    load = Loads()
    load.version = 2
    cache = await process(back, proxy, load, near_for=30)
    question = proxy.hold("GET", KEY)
    early = asyncio.create_task(cache.get_many(MANY))
    await question.reached.wait()
    drop = asyncio.create_task(cache.invalidate("e1"))
    await asyncio.sleep(0)  # it counts from its call on
    question.release()
    assert versions(await early) == [1] * 10, "it was asked for before"
    assert KEY not in set(cache._near)
    await drop
    assert versions(await cache.get_many(MANY)) == [1, 2, *[1] * 8]


@both
async def test_a_load_begun_by_another_while_many_are_read_is_shared(
    server: Server, proxy: Proxy, back: Back, keyspace: Keyspace[Any]
) -> None:
    write(server, OTHERS)
    load = Loads()
    load.go.clear()
    cache = await process(back, proxy, load, keyspace)
    single = asyncio.create_task(cache.get("e1"))
    many = asyncio.create_task(cache.get_many(MANY))  # both questions leave in one write, and no load is under way
    await until(lambda: [one.waiting for one in cache.loads()] == [2])
    load.go.set()
    assert (await single, await many) == (Episode("e1"), [Episode(one) for one in MANY])
    assert load.calls == ["e1"]
    assert reads(cache) == {"hit": 9, "loaded": 1, "shared": 1}


async def test_many_join_a_load_that_is_under_way(server: Server, proxy: Proxy, back: Back) -> None:
    write(server, OTHERS)
    load = Loads()
    load.go.clear()
    cache = await process(back, proxy, load)
    single = asyncio.create_task(cache.get("e1"))
    await load.started.wait()
    asked: list[bytes] = []

    async def spy(command: list[bytes]) -> None:
        asked.extend(command)

    proxy.gate = spy
    many = asyncio.create_task(cache.get_many(MANY))
    await until(lambda: asked.count(b"GET") >= 9)
    load.go.set()
    assert (await single, await many) == (Episode("e1"), [Episode(one) for one in MANY])
    assert (load.calls, asked.count(b"GET")) == (["e1"], 9), "its key is not asked for"
    assert reads(cache) == {"hit": 9, "loaded": 1, "shared": 1}


@both
async def test_what_a_lost_connection_did_not_answer_is_asked_once_more(
    server: Server, proxy: Proxy, back: Back, keyspace: Keyspace[Any]
) -> None:
    write(server, MANY)
    load = Loads()
    cache = await process(back, proxy, load, keyspace)
    replies = proxy.hold_replies()
    many = asyncio.create_task(cache.get_many(MANY))
    await replies.have('"e1","version":1')
    replies.released = True
    await proxy.cut()
    assert versions(await many) == [1] * 10
    assert load.calls == []
    assert reads(cache) == {"hit": 10}


@pytest.mark.one_server
async def test_what_was_answered_before_a_connection_was_lost_is_not_asked_again(
    server: Server, proxy: Proxy, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [*(f"f{number}" for number in range(35)), "e1", *(f"g{number}" for number in range(4))]
    write(server, many)
    load = Loads()
    cache = await process(back, proxy, load, BRIEF)
    taken: list[str] = []
    entered = cache._remote.admission.entered

    def noted(key: str, *rest: Any) -> Any:
        taken.append(key)
        return entered(key, *rest)

    def asked() -> int:
        _, _, told = server.raw()("INFO", "commandstats").partition(b"cmdstat_get:calls=")
        return int(told.partition(b",")[0] or 0)

    monkeypatch.setattr(cache._remote.admission, "entered", noted)
    question = proxy.hold("GET", KEY)
    before = asked()
    reading = asyncio.create_task(cache.get_many(many))
    await question.reached.wait()
    await until(lambda: len(taken) == 32)
    await proxy.cut()
    question.release()
    assert versions(await reading) == [1] * 40
    assert load.calls == []
    assert asked() - before <= 50, "of the last eight some were asked twice"


async def test_a_second_question_of_one_does_not_wait_for_the_others(
    server: Server, proxy: Proxy, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.raw()("SET", "cache:episode:f1", b'{"episode_id":"f1","version":1}')  # its lifetime is to be given
    write(server, ["e1"])
    cache = await process(back, proxy)
    begun: list[str] = []
    finish = cache._remote.finish

    def finishing(asked: Any) -> Any:
        begun.append(asked.key)
        return finish(asked)

    monkeypatch.setattr(cache._remote, "finish", finishing)
    question = proxy.hold("GET", KEY)
    many = asyncio.create_task(cache.get_many(["f1", "e1"]))
    await question.reached.wait()
    await until(lambda: begun == ["cache:episode:f1"])
    question.release()
    assert versions(await many) == [1, 1]


async def test_who_leaves_a_read_of_many_leaves_nothing_under_way(server: Server, proxy: Proxy, back: Back) -> None:
    write(server, MANY)
    cache = await process(back, proxy, near_for=30)
    question = proxy.hold("GET", KEY)
    early = asyncio.create_task(cache.get_many(MANY))
    await question.reached.wait()
    tasks = asyncio.all_tasks()
    early.cancel()
    with pytest.raises(asyncio.CancelledError):
        await early
    assert asyncio.all_tasks() == tasks - {early}
    assert reads(cache) == {}
    question.release()
    assert versions(await cache.get_many(MANY)) == [1] * 10, "the order of the replies holds"


@both
async def test_who_leaves_before_the_connection_is_lost_is_told_of_nothing(
    server: Server, proxy: Proxy, back: Back, keyspace: Keyspace[Any]
) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    cache = await process(back, proxy, None, keyspace)
    question = proxy.hold("GET", KEY)
    early = asyncio.create_task(cache.get_many(MANY))
    await question.reached.wait()
    early.cancel()
    with pytest.raises(asyncio.CancelledError):
        await early
    await proxy.all_cut()
    write(server, MANY)
    assert versions(await cache.get_many(MANY)) == [1] * 10
    gc.collect()
    assert told == []


async def test_who_leaves_while_a_lifetime_is_given_leaves_no_task(server: Server, proxy: Proxy, back: Back) -> None:
    raw = server.raw()
    for one in MANY:
        raw("SET", f"cache:episode:{one}", b'{"episode_id":"%b","version":1}' % one.encode())
    cache = await process(back, proxy)
    bound = proxy.hold("PEXPIRE", KEY)
    tasks = asyncio.all_tasks()
    early = asyncio.create_task(cache.get_many(MANY))
    await bound.reached.wait()
    early.cancel()
    with pytest.raises(asyncio.CancelledError):
        await early
    await until(lambda: asyncio.all_tasks() == tasks)
    bound.release()
    assert versions(await cache.get_many(MANY)) == [1] * 10


@both
async def test_many_are_not_read_before_a_drop_of_the_keyspace_is_told(
    server: Server, proxy: Proxy, back: Back, keyspace: Keyspace[Any]
) -> None:
    write(server, MANY)
    load = Loads()
    load.version = 2
    cache = await process(back, proxy, load, keyspace)
    begin = proxy.hold("EVALSHA", GENERATION.sha)
    drop = asyncio.create_task(cache.drop_keyspace())
    await begin.reached.wait()
    asked: list[bytes] = []

    async def spy(command: list[bytes]) -> None:
        asked.extend(command)

    proxy.gate = spy
    many = asyncio.create_task(cache.get_many(MANY))
    single = asyncio.create_task(cache.get("e1"))
    # Those to other nodes would have passed by the time that two more questions to each have been answered.
    for _ in range(2):
        await cache._backing.engine.broadcast("PING")
    assert b"GET" not in asked
    begin.release()
    await drop
    assert versions(await many) == [2] * 10
    assert await single == Episode("e1", 2)


@both
async def test_too_many_at_once_are_refused_as_a_whole(
    server: Server, proxy: Proxy, back: Back, keyspace: Keyspace[Any]
) -> None:
    write(server, MANY)
    limits = replace(PATIENT, outstanding=20)
    cache = cache_of(await back(proxy, limits=limits), Loads(), keyspace)
    question = proxy.hold("GET", KEY)
    early = [asyncio.create_task(cache.get_many(["e1"])) for _ in range(20)]
    await question.reached.wait()
    with pytest.raises(Overloaded):
        await cache.get_many(["f0", "e1"])
    assert cache._backing.counters.errors[EPISODE.name, "overloaded"] > 0
    question.release()
    for one in await asyncio.gather(*early, return_exceptions=True):
        assert isinstance(one, Overloaded) or one == [Episode("e1")]
    assert versions(await cache.get_many(MANY)) == [1] * 10


@both
async def test_a_drop_of_the_keyspace_while_many_are_read_shows_nothing_old(
    server: Server, proxy: Proxy, back: Back, keyspace: Keyspace[Any]
) -> None:
    write(server, MANY)
    load = Loads()
    load.version = 2
    cache = await process(back, proxy, load, keyspace)
    replies = proxy.hold_replies()
    many = asyncio.create_task(cache.get_many(MANY))
    await replies.have('"e1","version":1')
    cache._remote.generation.adopt("8000000000000000-0f")  # as another node's push tells
    replies.release()
    assert (await many)[1] == Episode("e1", 2), "its reply came after the news"
    assert "e1" in load.calls


async def test_many_share_what_was_loaded_without_the_server(server: Server, back: Back) -> None:
    load = Loads()
    cache = await process(back, server, load, near_for=30)
    cache._fallback.keep(KEY, await cache.get_result("e1"))
    write(server, MANY, 2)
    await settled(cache)
    assert versions(await cache.get_many(MANY)) == [2, 1, *[2] * 8]
    assert load.calls == ["e1"]


async def test_many_are_read_by_one_clock_when_they_have_come(server: Server, proxy: Proxy, back: Back) -> None:
    write(server, OTHERS)
    write(server, ["e1"], seconds=910)  # fresh for ten seconds more
    clock = SteadyClock()
    load = Loads()
    load.version = 2
    cache = cache_of(await back(proxy, limits=PATIENT, clock=clock), load)
    question = proxy.hold("GET", KEY)
    many = asyncio.create_task(cache.get_many(MANY))
    await question.reached.wait()
    clock.advance(11)
    question.release()
    assert versions(await many) == [1] * 10
    assert reads(cache) == {"hit": 9, "stale": 1}
    await until(lambda: load.calls == ["e1"])
    assert (await cache.get_result("e1")).outcome in (Outcome.HIT, Outcome.STALE)
