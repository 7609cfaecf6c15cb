"""A keyspace is dropped while processes read, load and store: nothing from before the drop is served after it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from greenroom.caching import Cache, Outcome
from greenroom.caching.generation import SLACK
from greenroom.caching.keyspace_drops import GENERATION
from greenroom.caching.lease import FILL
from greenroom.engine import Limits
from greenroom.errors import EngineError
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import ABSENT, KEY, LEASE, Back, Episode, Loads, cache_of, settled
from tests.support.patience import PATIENT, SteadyClock, until
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

BRIEF: Keyspace[Episode] = Keyspace("cache:episode:{episode_id}", Episode, ttl=timedelta(minutes=30))
TRUTH = "greenroom:generation:{cache:episode:{episode_id}}"
MARK = "greenroom:mark:{cache:episode:e1}"
FOR_EVER = 600.0
SOON = Limits(probe_min=0.02, probe_max=0.05)


async def process(back: Back, through: Server | Proxy, load: Any = None, **options: Any) -> Cache[Any]:
    """A process with a cache of the keyspace; nothing is kept near unless the test asks for it."""
    own = {name: options.pop(name) for name in ("near_for", "loader_deadline") if name in options}
    options.setdefault("limits", PATIENT)
    return cache_of(await back(through, **options), load or Loads(), BRIEF, **own)


def known(cache: Cache[Any]) -> str:
    """The generation that a process knows."""
    return cache._remote.generation.current


async def heard(cache: Cache[Any], generation: str) -> None:
    """Return when a process has heard of a generation."""
    await until(lambda: known(cache) == generation)


def write(server: Server, version: int, *lifetime: object) -> None:
    """What a foreign service does."""
    server.raw()("SET", KEY, b'{"episode_id":"e1","version":%d}' % version, *map(str, lifetime))


# What was stored before ----------------------------------------------------------------------------


@pytest.mark.parametrize("near_for", [0, 30])
async def test_a_dropped_value_is_loaded_anew_once_by_every_process(server: Server, back: Back, near_for: int) -> None:
    load = Loads()
    ours, theirs = [await process(back, server, load, near_for=near_for) for _ in range(2)]
    for cache in (ours, theirs):
        assert await cache.get("e1") == Episode("e1", 1)
    load.version = 2
    await ours.drop_keyspace()
    assert await ours.get("e1") == Episode("e1", 2)
    await heard(theirs, known(ours))
    assert await theirs.get("e1") == Episode("e1", 2)
    assert load.calls == ["e1", "e1"]
    assert (await theirs.get_result("e1")).outcome in (Outcome.NEAR, Outcome.HIT)


async def test_an_absence_from_before_a_drop_hides_nothing(server: Server, back: Back) -> None:
    load = Loads()
    load.version = 0
    ours, theirs = [await process(back, server, load) for _ in range(2)]
    assert await theirs.get("e1") is None
    assert server.raw()("EXISTS", ABSENT) == 1
    load.version = 1
    await ours.drop_keyspace()
    await heard(theirs, known(ours))
    assert await theirs.get("e1") == await ours.get("e1") == Episode("e1", 1)


async def test_a_process_that_starts_after_a_drop_takes_no_value_from_before(server: Server, back: Back) -> None:
    load = Loads()
    ours = await process(back, server, load)
    await ours.get("e1")
    load.version = 2
    await ours.drop_keyspace()
    theirs = await process(back, server, load)
    assert await theirs.get("e1") == Episode("e1", 2)
    assert known(theirs) == known(ours)


async def test_what_is_near_goes_with_the_push_of_a_drop_made_elsewhere(server: Server, back: Back) -> None:
    load = Loads()
    ours, theirs = [await process(back, server, load, near_for=30) for _ in range(2)]
    await theirs.get("e1")
    assert (await theirs.get_result("e1")).outcome is Outcome.NEAR
    load.version = 2
    await ours.drop_keyspace()
    await until(lambda: known(theirs) == known(ours))
    assert KEY not in set(theirs._near)
    assert await theirs.get("e1") == Episode("e1", 2)


async def test_many_keys_read_together_are_all_from_after_the_drop(server: Server, back: Back) -> None:
    load = Loads()
    cache = await process(back, server, load, near_for=30)
    every = [f"e{number}" for number in range(20)]
    await cache.get_many(every)
    load.version = 2
    await cache.drop_keyspace()
    assert await cache.get_many(every) == [Episode(one, 2) for one in every]
    assert await cache.get_many(every) == [Episode(one, 2) for one in every]


# Loads under way -----------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["another process", "the loading process"])
async def test_a_load_begun_before_a_drop_is_not_current_when_it_is_stored(
    server: Server, proxy: Proxy, back: Back, who: str
) -> None:
    load = Loads()
    loading = await process(back, proxy, load, loader_deadline=FOR_EVER)
    dropping = loading if who == "the loading process" else await process(back, server, load)
    fill = proxy.hold("EVALSHA", FILL.sha)
    early = asyncio.create_task(loading.get_result("e1"))
    await fill.reached.wait()  # the old value is loaded, and on its way
    load.version = 2
    dropped = asyncio.create_task(dropping.drop_keyspace())
    if who == "another process":
        await dropped
    fill.release()
    await dropped
    assert (await early).value == Episode("e1", 1)
    assert await dropping.get("e1") == Episode("e1", 2)
    await heard(loading, known(dropping))
    assert await loading.get("e1") == Episode("e1", 2)


async def test_nobody_waits_for_a_load_that_began_before_the_drop(server: Server, back: Back) -> None:
    old, load = Loads(), Loads()
    old.go.clear()
    loading = await process(back, server, old, loader_deadline=FOR_EVER)
    early = asyncio.create_task(loading.get_result("e1"))
    await old.started.wait()
    load.version = 2
    ours = await process(back, server, load)
    await ours.drop_keyspace()
    async with asyncio.timeout(30):
        assert await ours.get("e1") == Episode("e1", 2)
    old.go.set()
    assert not (await early).stored
    assert await ours.get("e1") == Episode("e1", 2)


async def test_nobody_joins_a_load_of_before_the_drop_in_its_own_process(server: Server, back: Back) -> None:
    load = Loads()
    load.go.clear()
    loading = await process(back, server, load, loader_deadline=FOR_EVER)
    ours = await process(back, server)
    early = asyncio.create_task(loading.get_result("e1"))
    await load.started.wait()
    load.version = 2
    load.started.clear()
    await ours.drop_keyspace()
    await heard(loading, known(ours))
    late = asyncio.create_task(loading.get_result("e1"))
    async with asyncio.timeout(30):
        await load.started.wait()
    load.go.set()
    assert (await late).value == Episode("e1", 2)
    assert (await early).value == Episode("e1", 1)
    assert await loading.get("e1") == Episode("e1", 2)


async def test_who_meets_a_lease_of_a_newer_generation_hears_of_it_so(server: Server, back: Back) -> None:
    cache = await process(back, server, near_for=30)
    await cache.get("e1")
    newer = "8000000000000000-0f"
    raw = server.raw()
    raw("DEL", KEY)
    raw("SET", LEASE, f"{'b' * 32}::{newer}", "PX", 1000)
    await settled(cache)
    assert await cache.get("e1") == Episode("e1", 1)
    assert known(cache) == newer


# Reads under way -----------------------------------------------------------------------------------


async def test_a_mark_is_read_before_its_value(server: Server, proxy: Proxy, back: Back) -> None:
    """Prevents: an old value is read · it is replaced, and the new one marked · the mark is read · the old passes."""
    load = Loads()
    reading, other = await process(back, proxy, load), await process(back, server, load)
    write(server, 1, "EX", 600)
    load.version = 2
    await other.drop_keyspace()
    await heard(reading, known(other))
    seen = 0
    reached, go = asyncio.Event(), asyncio.Event()

    async def second(command: list[bytes]) -> None:
        nonlocal seen
        if command[0] in (b"GET", b"PTTL") and command[1] in (KEY.encode(), MARK.encode()):
            seen += 1
            if seen == 2:
                reached.set()
                await go.wait()

    proxy.gate = second
    read = asyncio.create_task(reading.get("e1"))
    await reached.wait()
    assert await other.get("e1") == Episode("e1", 2)
    go.set()
    assert await read == Episode("e1", 2)


async def test_from_the_call_on_nothing_old_is_read_in_the_dropping_process(
    server: Server, proxy: Proxy, back: Back
) -> None:
    load = Loads()
    cache = await process(back, proxy, load, near_for=30)
    assert [await cache.get("e1") for _ in range(2)] == [Episode("e1", 1)] * 2
    load.version = 2
    begin = proxy.hold("EVALSHA", GENERATION.sha)
    drop = asyncio.create_task(cache.drop_keyspace())
    await begin.reached.wait()  # no server knows of it yet
    late = asyncio.create_task(cache.get_result("e1"))
    many = asyncio.create_task(cache.get_many(["e1"]))
    await asyncio.sleep(0)  # both have begun
    begin.release()
    await drop
    assert (await late).value == Episode("e1", 2)
    assert (await late).outcome is not Outcome.BYPASSED, "the server is asked as soon as it knows of the drop"
    assert await many == [Episode("e1", 2)]


async def test_a_read_under_way_at_the_drop_leaves_nothing_near(server: Server, proxy: Proxy, back: Back) -> None:
    load = Loads()
    load.version = 2
    cache = await process(back, proxy, load, near_for=30)
    write(server, 1, "EX", 600)
    question = proxy.hold("GET", KEY)
    early = asyncio.create_task(cache.get("e1"))
    await question.reached.wait()
    drop = asyncio.create_task(cache.drop_keyspace())
    await asyncio.sleep(0)
    question.release()
    assert await early in (Episode("e1", 1), Episode("e1", 2))  # begun before the call
    await drop
    assert await cache.get("e1") == Episode("e1", 2)


async def test_a_value_read_before_the_news_is_not_served_once_they_are_heard(
    server: Server, proxy: Proxy, back: Back
) -> None:
    load = Loads()
    cache = await process(back, proxy, load, near_for=30)
    write(server, 1, "EX", 600)
    question = proxy.hold("GET", KEY)
    read = asyncio.create_task(cache.get("e1"))
    await question.reached.wait()
    load.version = 2
    cache._remote.generation.adopt("8000000000000000-0f")  # as another node's push tells
    question.release()
    assert await read == Episode("e1", 2)
    assert await cache.get("e1") == Episode("e1", 2)


# Servers that come and go --------------------------------------------------------------------------


async def test_a_lost_truth_is_written_back_before_a_new_process_reads(server: Server, back: Back) -> None:
    """An evicted or older counter must not make old values current."""
    load = Loads()
    ours = await process(back, server, load)
    await ours.get("e1")
    load.version = 2
    await ours.drop_keyspace()
    raw = server.raw()
    for name in ours._remote.generation.names:
        raw("DEL", name)
    await until(lambda: raw("GET", TRUTH) == known(ours).encode())
    assert await (await process(back, server, load)).get("e1") == Episode("e1", 2)


async def test_a_new_connection_carries_what_its_process_knows(server: Server, proxy: Proxy, back: Back) -> None:
    ours = await process(back, proxy, limits=SOON)
    await ours.drop_keyspace()
    await proxy.all_down()
    raw = server.raw()
    for name in ours._remote.generation.names:
        raw("DEL", name)
    for one in proxy.ways:
        await one.up()
    await until(lambda: raw("GET", TRUTH) == known(ours).encode())


async def test_a_drop_without_its_server_counts_here_and_is_carried_out_later(
    server: Server, proxy: Proxy, back: Back
) -> None:
    load = Loads()
    ours, theirs = await process(back, proxy, load, limits=SOON, near_for=30), await process(back, server, load)
    assert await ours.get("e1") == await theirs.get("e1") == Episode("e1", 1)
    await proxy.all_down()
    load.version = 2
    with pytest.raises(EngineError):
        await ours.drop_keyspace()
    assert await ours.get("e1") == Episode("e1", 2)
    for one in proxy.ways:
        await one.up()
    await until(lambda: known(ours) and not ours._remote.generation.pending)
    await heard(theirs, known(ours))
    assert await ours.get("e1") == await theirs.get("e1") == Episode("e1", 2)


async def test_a_drop_whose_answer_is_lost_leaves_nothing_pending(proxy: Proxy, back: Back) -> None:
    load = Loads()
    cache = await process(back, proxy, load, limits=SOON)
    await cache.get("e1")
    load.version = 2
    proxy.cut_reply_to("EVALSHA", GENERATION.sha)
    await cache.drop_keyspace()
    assert not cache._remote.generation.pending
    assert await cache.get("e1") == Episode("e1", 2)


async def test_a_cancelled_drop_is_carried_out_all_the_same(server: Server, proxy: Proxy, back: Back) -> None:
    load = Loads()
    ours, theirs = await process(back, proxy, load), await process(back, server, load)
    await theirs.get("e1")
    begin = proxy.hold("EVALSHA", GENERATION.sha)
    drop = asyncio.create_task(ours.drop_keyspace())
    await begin.reached.wait()
    drop.cancel()
    load.version = 2
    begin.release()
    await until(lambda: known(ours) and not ours._remote.generation.pending)
    await heard(theirs, known(ours))
    assert await theirs.get("e1") == await ours.get("e1") == Episode("e1", 2)


async def test_two_drops_at_once_leave_one_generation_that_all_know(server: Server, back: Back) -> None:
    load = Loads()
    caches = [await process(back, server, load, near_for=30) for _ in range(3)]
    for cache in caches:
        await cache.get("e1")
    load.version = 2
    await asyncio.gather(*(cache.drop_keyspace() for cache in caches for _ in range(2)))
    await until(lambda: len({known(cache) for cache in caches}) == 1)
    assert [await cache.get("e1") for cache in caches] == [Episode("e1", 2)] * 3


# Its window ----------------------------------------------------------------------------------------


async def sent_for(cache: Cache[Any], proxy: Proxy, key: str = "e1") -> list[str]:
    """The commands that one read sends."""
    commands: list[str] = []

    async def noted(command: list[bytes]) -> None:
        if command[0] not in (b"PING", b"HELLO", b"CLUSTER"):
            commands.append(" ".join(word.decode("utf-8", "replace") for word in command[:2]))

    proxy.gate = noted
    await cache.get(key)
    proxy.gate = None
    return commands


@pytest.mark.parametrize("near_for", [0, 30])
async def test_outside_its_window_a_read_costs_what_it_cost_before(
    server: Server, proxy: Proxy, back: Back, near_for: int
) -> None:
    clock = SteadyClock()
    cache = await process(back, proxy, near_for=near_for, clock=clock)

    async def costs() -> tuple[list[str], list[str], list[str]]:
        """What a miss, a hit on the server and a hit near cost."""
        server.raw()("DEL", KEY)
        await settled(cache)
        missed = await sent_for(cache, proxy)
        near = await sent_for(cache, proxy) if near_for else []
        cache._near.clear()
        return missed, await sent_for(cache, proxy), near

    missed, hit, near = await costs()
    assert (hit, near) == ([f"PTTL {KEY}", f"GET {KEY}"] if near_for else [f"GET {KEY}"], [])
    await cache.drop_keyspace()
    during = await costs()
    marked = [f"GET {MARK}", f"PTTL {KEY}", f"GET {KEY}"]
    assert during == (marked + missed[len(hit) :], marked, [])
    clock.advance(30 * 60 + SLACK)
    # Of a cache that asks for values alone the lifetime tells a value that was stored for ever.
    lifetime = [] if near_for else [f"PTTL {KEY}"]
    assert await costs() == (lifetime + missed, lifetime + hit, [])


async def test_a_value_without_lifetime_never_outlives_the_window(server: Server, back: Back) -> None:
    clock, load = SteadyClock(), Loads()
    load.version = 2
    for near_for in (0, 30):
        cache = await process(back, server, load, near_for=near_for, clock=clock)
        write(server, 1)
        await cache.drop_keyspace()
        clock.advance(30 * 60 + SLACK)
        assert not cache._remote.generation.checks()
        assert await cache.get("e1") == Episode("e1", 2)
        assert server.raw()("PTTL", KEY) > 0


async def test_marks_are_written_for_twice_as_long_as_they_are_looked_at(server: Server, back: Back) -> None:
    clock = SteadyClock()
    cache = await process(back, server, clock=clock)
    await cache.drop_keyspace()
    window, raw = 30 * 60 + SLACK, server.raw()
    for passed, marked in ((0, 1), (window, 1), (window, 0)):
        clock.advance(passed)
        raw("DEL", KEY, MARK)
        await cache.get("e1")
        assert raw("EXISTS", MARK) == marked
