"""Caches on a real cluster while slots and nodes come and go: nothing old is served, nothing dropped comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from time import monotonic

import pytest

from greenroom.caching import Cache, Outcome
from greenroom.engine import Channel, Limits
from greenroom.engine.transport.connection import Connection
from greenroom.errors import EngineError
from greenroom.keyspace import Keyspace
from tests.support.cluster_slots import (
    BLIND,
    SOON,
    Move,
    atomic,
    classic,
    engine_of,
    failover,
    ids_of,
    key_of,
    off_loop,
    old,
    port_of,
)
from tests.support.episode_caches import Back, Episode, Loads, cache_of
from tests.support.patience import PATIENT, eventually, until
from tests.support.proxy import ClusterProxy
from tests.support.real_cluster import Cluster, Member, slot_of

# Near ------------------------------------------------------------------------------------------------


async def test_a_replaced_node_s_near_entries_go_and_the_rest_stays(cluster: Cluster, back: Back) -> None:
    load = Loads()
    backing = await back(cluster, limits=SOON)
    cache = cache_of(backing, load, near_for=30)
    primary, other = cluster.primaries[:2]
    (theirs,), (mine,) = ids_of(cluster, primary, 1), ids_of(cluster, other, 1)
    for one in (theirs, mine):
        await cache.get(one)
        assert (await cache.get_result(one)).outcome is Outcome.NEAR
    successor = await off_loop(cluster.fail_over, primary)
    await until(lambda: port_of(engine_of(backing), key_of(theirs)) == successor.port)  # without a call
    assert set(backing.near) == {key_of(mine)}
    assert (await cache.get_result(mine)).outcome is Outcome.NEAR
    assert (await cache.get_result(theirs)).outcome is Outcome.HIT
    assert load.calls == [theirs, mine]


async def test_a_lost_connection_to_one_node_costs_its_part_of_near_only(steady: Cluster, back: Back) -> None:
    steady.fresh()
    backing = await back(steady)
    cache = cache_of(backing, Loads(), near_for=30)
    one, two = (ids_of(steady, member, 1)[0] for member in steady.primaries[:2])
    for episode in (one, two):
        await cache.get(episode)
        await cache.get(episode)
    assert set(backing.near) == {key_of(one), key_of(two)}
    steady.primaries[0]("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await until(lambda: set(backing.near) == {key_of(two)})
    assert (await cache.get_result(two)).outcome is Outcome.NEAR


@pytest.mark.parametrize("move", [classic, atomic])
async def test_a_slot_that_moves_leaves_nothing_near(cluster: Cluster, back: Back, move: Move) -> None:
    backing = await back(cluster, limits=SOON)
    cache = cache_of(backing, Loads(), near_for=30)
    source, target = cluster.primaries[:2]
    moving, staying = ids_of(cluster, source, 2)
    for one in (moving, staying):
        await cache.get(one)
        await cache.get(one)
    await off_loop(move, cluster, slot_of(key_of(moving)), target)
    await until(lambda: port_of(engine_of(backing), key_of(moving)) == target.port)
    assert set(backing.near) == {key_of(staying)}
    assert (await cache.get_result(moving)).outcome is Outcome.HIT
    assert (await cache.get_result(moving)).outcome is Outcome.NEAR
    # And it is tracked where it is now.
    cluster.raw()("SET", key_of(moving), b'{"episode_id":"x","version":9}')
    await until(lambda: key_of(moving) not in set(backing.near))


async def test_what_a_slot_s_last_owner_says_late_is_not_kept_near(cluster: Cluster, back: Back) -> None:
    source, target = cluster.primaries[:2]
    (one,) = ids_of(cluster, source, 1)
    async with ClusterProxy(cluster, key_of(one)) as proxy:
        backing = await back(proxy, limits=PATIENT)
        cache = cache_of(backing, Loads(), near_for=30)
        await cache.get(one)
        backing.near.clear()
        replies = proxy.hold_replies()
        reading = asyncio.create_task(cache.get_result(one))
        await replies.have('"version":1')
        await off_loop(cluster.move, [slot_of(key_of(one))], target)
        engine_of(backing)._owners.move(slot_of(key_of(one)), ("127.0.0.1", target.port))
        await replies.have("invalidate")
        replies.release_to_push()
        assert (await reading).value == Episode(one)
        assert set(backing.near) == set()
        replies.release()


@pytest.mark.parametrize(("near_for", "fresh"), [(0, None), (0, 900), (30, 900)])
async def test_many_values_are_found_where_their_slots_have_gone(
    cluster: Cluster, back: Back, near_for: float, fresh: float | None
) -> None:
    load = Loads()
    backing = await back(cluster, limits=BLIND)
    fresh_for = None if fresh is None else timedelta(seconds=fresh)
    keyspace = Keyspace("cache:episode:{episode_id}", Episode, ttl=timedelta(minutes=30), fresh=fresh_for)
    cache = cache_of(backing, load, keyspace, near_for=near_for)
    source, target = cluster.primaries[:2]
    ids = [*ids_of(cluster, source, 3), *ids_of(cluster, target, 3)]
    for one in ids:
        cluster.raw()("SET", key_of(one), b'{"episode_id":"%b","version":1}' % one.encode(), "EX", 1200)
    await off_loop(cluster.move, [slot_of(key_of(one)) for one in ids[:2]], target)
    assert await cache.get_many(ids) == [Episode(one) for one in ids]
    assert [result.outcome for result in await cache.get_results(ids)] == [
        Outcome.NEAR if near_for else Outcome.HIT
    ] * 6
    assert load.calls == []


# Kept invalidations ----------------------------------------------------------------------------------


async def test_a_new_primary_is_sent_lost_invalidations_before_it_is_read(cluster: Cluster, back: Back) -> None:
    load = Loads()
    backing, other = await back(cluster), await back(cluster)
    cache, elsewhere = cache_of(backing, load), cache_of(other, load)
    primary = cluster.primaries[0]
    replica = cluster.replica_of(primary)
    (one,) = ids_of(cluster, primary, 1)
    await cache.get(one)
    await eventually(lambda: replica("DBSIZE") == 1)
    with replica.frozen():
        primary("CLIENT", "KILL", "TYPE", "replica")  # it will not hear of what comes now
        load.version = 2
        await cache.invalidate(one)
        primary.kill()
    await eventually(lambda: replica.role == "master", 60)
    # Whatever is asked first: the invalidation goes before.
    while (read := await cache.get_result(one)).outcome is Outcome.BYPASSED:
        assert read.value == Episode(one, 2)
        await asyncio.sleep(0.001)  # a load that nothing waits for gives the loop no turn
    assert read.value == Episode(one, 2)
    await eventually(lambda: replica("GET", key_of(one)) != old(one))
    assert await elsewhere.get(one) == Episode(one, 2)


async def test_a_successor_is_told_by_who_asks_for_nothing(cluster: Cluster, back: Back) -> None:
    load = Loads()
    backing = await back(cluster, limits=Limits(topology_interval=600))
    cache = cache_of(backing, load)
    primary = cluster.primaries[0]
    replica = cluster.replica_of(primary)
    (one,) = ids_of(cluster, primary, 1)
    await cache.get(one)
    await eventually(lambda: replica("DBSIZE") == 1)
    with replica.frozen():
        primary("CLIENT", "KILL", "TYPE", "replica")
        await cache.invalidate(one)
        primary.kill()
    await eventually(lambda: replica.role == "master", 60)
    await eventually(lambda: replica("EXISTS", key_of(one)) == 0, 30)


@pytest.mark.parametrize("move", [classic, atomic])
async def test_a_node_that_takes_a_slot_over_is_told_what_was_dropped_of_it(
    cluster: Cluster, back: Back, move: Move
) -> None:
    load = Loads()
    backing = await back(cluster, limits=BLIND)
    cache = cache_of(backing, load)
    source, target = cluster.primaries[:2]
    (one,) = ids_of(cluster, source, 1)
    await cache.get(one)
    await cache.invalidate(one)
    source("SET", key_of(one), old(one), "EX", 600)  # as if the node had never heard of it
    load.version = 2
    await off_loop(move, cluster, slot_of(key_of(one)), target)
    assert target("GET", key_of(one)) == old(one)
    reads = await asyncio.gather(*(cache.get(one) for _ in range(20)))
    assert reads == [Episode(one, 2)] * 20


async def test_a_node_that_takes_a_slot_while_connecting_is_told_too(cluster: Cluster, back: Back) -> None:
    load = Loads()
    source, target = cluster.primaries[:2]
    first, second = ids_of(cluster, target, 1)[0], ids_of(cluster, source, 1)[0]
    async with ClusterProxy(cluster, key_of(first)) as proxy:
        backing = await back(proxy, limits=Limits(topology_interval=60, command_deadline=20))
        cache = cache_of(backing, load)
        await cache.get(first)
        await cache.get(second)
        await cache.invalidate(first)
        await cache.invalidate(second)
        load.version = 2
        held = proxy.hold("DEL", key_of(first))
        engine_of(backing).reset(Channel.TRACKED, key_of(first), "by the test")
        await held.reached.wait()  # the new connection carries what is kept of its keys
        source("SET", key_of(second), old(second), "EX", 600)
        await off_loop(cluster.migrate, slot_of(key_of(second)), target)
        reading = asyncio.ensure_future(cache.get(second))
        await until(lambda: port_of(engine_of(backing), key_of(second)) == proxy.port)
        held.release()
        assert await reading == Episode(second, 2)


async def test_what_was_kept_of_a_slot_on_its_way_is_dropped_wherever_it_is(cluster: Cluster, back: Back) -> None:
    load = Loads()
    backing = await back(cluster, limits=BLIND)
    cache = cache_of(backing, load)
    source, target = cluster.primaries[:2]
    moving, staying = ids_of(cluster, source, 2)
    for one in (moving, staying):
        await cache.get(one)
        await cache.invalidate(one)
        source("SET", key_of(one), old(one), "EX", 600)
    load.version = 2
    slot = slot_of(key_of(moving))
    cluster.begin_migration(slot, target)
    cluster.move_key(source, target, key_of(moving))
    engine = engine_of(backing)
    engine.reset(Channel.TRACKED, key_of(moving), "by the test")
    # A slot on its way does not keep the node from serving the others.
    assert await cache.get(staying) == Episode(staying, 2)
    await until(lambda: engine.unavailable is None)
    assert target("DBSIZE") == 0
    assert await cache.get(moving) == Episode(moving, 2)
    cluster.end_migration(slot, source, target)
    assert await cache.get(moving) == Episode(moving, 2)


# Slots on their way ----------------------------------------------------------------------------------


async def test_in_a_migrating_slot_hits_go_on_and_misses_are_loaded(cluster: Cluster, back: Back) -> None:
    load = Loads()
    backing = await back(cluster)
    cache = cache_of(backing, load)
    source, target = cluster.primaries[:2]
    (one,) = ids_of(cluster, source, 1)
    await cache.get(one)
    slot = slot_of(key_of(one))
    cluster.begin_migration(slot, target)
    cluster.move_key(source, target, key_of(one))
    assert (await cache.get_result(one)).outcome is Outcome.HIT
    load.version = 2
    await cache.invalidate(one)
    assert target("DBSIZE") == 0
    read = await cache.get_result(one)
    assert (read.value, read.outcome) == (Episode(one, 2), Outcome.BYPASSED)
    cluster.end_migration(slot, source, target)
    await cache.invalidate(one)
    assert (await cache.get_result(one)).stored
    assert (await cache.get_result(one)).outcome is Outcome.HIT


@pytest.mark.parametrize("move", [classic, atomic, failover])
async def test_who_waits_for_another_s_load_is_told_although_the_slot_has_moved(
    cluster: Cluster, back: Back, move: Move
) -> None:
    theirs, mine = Loads(), Loads()
    theirs.go.clear()
    leader = cache_of(await back(cluster), theirs, loader_deadline=50)
    waiting_in = await back(cluster, limits=SOON)
    waiter = cache_of(waiting_in, mine, loader_deadline=50)
    source, target = cluster.primaries[:2]
    (one,) = ids_of(cluster, source, 1)
    leading = asyncio.create_task(leader.get_result(one))
    await theirs.started.wait()
    waiting = asyncio.create_task(waiter.get_result(one))
    await until(lambda: waiting_in.counters.cache_events["cache_episode", "lease_wait"] == 1)
    await off_loop(move, cluster, slot_of(key_of(one)), target)
    await until(lambda: port_of(engine_of(waiting_in), key_of(one)) != source.port)
    await until(lambda: waiting_in.counters.cache_events["cache_episode", "lease_wait"] >= 2)  # it has asked again
    theirs.go.set()
    assert (await leading).stored
    async with asyncio.timeout(10):  # the lease lives for 51 s
        assert (await waiting).outcome is Outcome.SHARED
    assert mine.calls == []


async def test_nothing_old_is_read_while_slots_move_and_primaries_change(cluster: Cluster, back: Back) -> None:
    """Two processes read and change; each sees at once what itself has changed, and all is new in the end."""
    record = dict.fromkeys((f"e{n}" for n in range(12)), 1)

    async def load(episode_id: str) -> Episode:
        version = record[episode_id]
        await asyncio.sleep(0)
        return Episode(episode_id, version)

    backings = [await back(cluster, limits=SOON) for _ in range(2)]
    caches = [cache_of(backing, load, near_for=30) for backing in backings]
    stop, old_ones, rounds = asyncio.Event(), list[object](), 0

    async def client(cache: Cache[Episode], mine: list[str]) -> None:
        nonlocal rounds
        while not stop.is_set():
            for one in record:
                await cache.get(one)
            for one in mine:
                record[one] += 1
                version = record[one]
                await _insisting(partial(cache.invalidate, one))
                read = await cache.get_result(one)
                if read.value is None or read.value.version < version:
                    old_ones.append((one, version, read))
            rounds += 1

    names = list(record)
    clients = [asyncio.create_task(client(caches[n], names[n::2])) for n in range(2)]
    await until(lambda: rounds > 4)
    for name in names[:4]:
        source = cluster.owner(key_of(name))
        await off_loop(cluster.migrate, slot_of(key_of(name)), cluster.another(source))
    for primary in cluster.primaries[:2]:
        await off_loop(cluster.fail_over, primary)
        enough = rounds + 2
        await until(lambda: rounds > enough, 60)  # noqa: B023
    stop.set()
    await asyncio.gather(*clients)
    assert old_ones == []
    for backing in backings:
        await until(lambda: backing.engine.unavailable is None, 30)  # noqa: B023
        for name in names:
            await backing.engine.execute(Channel.TRACKED, key_of(name), "PING")  # every push before has been read
    for cache in caches:
        assert [(await cache.get_result(name)).value for name in names] == [Episode(n, record[n]) for n in names]


async def _insisting(call: Callable[[], Awaitable[None]]) -> None:
    """A change whose server is being replaced is dropped again until that is acknowledged."""
    end = monotonic() + 30
    while True:
        try:
            return await call()
        except EngineError:
            assert monotonic() < end
            await asyncio.sleep(0.01)


# One node away ---------------------------------------------------------------------------------------


async def test_what_a_frozen_node_has_is_loaded_and_the_rest_is_hit(steady: Cluster, back: Back) -> None:
    steady.fresh()
    load = Loads()
    backing = await back(steady)
    cache = cache_of(backing, load)
    victim, other = steady.primaries[:2]
    (theirs,), mine = ids_of(steady, victim, 1), ids_of(steady, other, 5)
    for one in (theirs, *mine):
        await cache.get(one)
    with victim.frozen():
        reading = asyncio.create_task(cache.get_result(theirs))
        while not reading.done():
            assert {(await cache.get_result(one)).outcome for one in mine} == {Outcome.HIT}
        assert (await reading).outcome is Outcome.BYPASSED
        with pytest.raises(EngineError):
            await cache.invalidate(theirs)
        await cache.invalidate(mine[0])
    assert backing.unsent == 1
    load.version = 2
    await until(lambda: backing.engine.unavailable is None)
    assert await cache.get(theirs) == Episode(theirs, 2)


PAGE = Keyspace("cache:page:{show}:{number}", Episode, ttl=timedelta(minutes=30))


async def test_a_group_is_dropped_on_every_node_once_its_node_is_back(steady: Cluster, back: Back) -> None:
    steady.fresh()
    version = 1

    async def load(show: str, number: str) -> Episode:
        return Episode(number, version)

    def owner(show: str, number: str) -> Member:
        return steady.owner(PAGE.key(show=show, number=number))

    # The first page is on the group's node, the others are not.
    numbers = ["1", "two", "three", "four", "five"]
    show = next(
        show
        for show in (f"s{n}" for n in range(1000))
        if (group := steady.owner(f"greenroom:group:{{pages:{show}}}")) is owner(show, "1")
        and group not in {owner(show, number) for number in ("two", "three", "four", "five")}
    )
    async with ClusterProxy(steady, PAGE.key(show=show, number="1")) as proxy:
        backing = await back(proxy, limits=Limits(topology_interval=60))
        pages = Cache(PAGE, load, backing=backing, groups=["pages:{show}"])
        for number in numbers * 2:
            await pages.get(show=show, number=number)  # the second time it comes near
        await proxy.down()
        version = 2
        with pytest.raises(EngineError):
            await pages.invalidate_group(show=show)
        # The nodes of the others serve, and have old values: they are not read from there meanwhile, nor from near.
        assert await pages.get(show=show, number="two") == Episode("two", 2)
        assert (await pages.get_result(show=show, number="three")).value == Episode("three", 2)
        assert await pages.get_many([{"show": show, "number": number} for number in ("four", "five")]) == [
            Episode("four", 2),
            Episode("five", 2),
        ]
        engine, second = engine_of(backing), PAGE.key(show=show, number="two")
        engine.reset(Channel.TRACKED, second, "by the test")  # nor does their node wait for the group's
        assert await engine.execute(Channel.TRACKED, second, "EXISTS", second) == 1
        assert backing.groups.pending_reads == backing.groups.pending_drops == {f"pages:{show}"}
        await proxy.up()
        await until(lambda: backing.engine.unavailable is None)
        for number in numbers:
            read = await pages.get_result(show=show, number=number)
            assert (read.value, read.outcome) == (Episode(number, 2), Outcome.LOADED)
        assert not backing.groups.pending_drops


async def test_a_group_left_unread_while_its_node_connects_is_read_first(
    steady: Cluster, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady.fresh()
    version = 1

    async def load(show: str, number: str) -> Episode:
        return Episode(f"{show}{number}", version)

    backing = await back(steady, limits=BLIND)
    pages = Cache(PAGE, load, backing=backing, groups=["pages:{show}"], near_for=0)
    await pages.get(show="s", number="1")
    asked, answered = asyncio.Event(), asyncio.Event()

    async def missing(connection: Connection) -> list[str]:
        asked.set()
        await answered.wait()
        return []

    # The last thing that a new connection is asked before it serves.
    monkeypatch.setattr(backing.groups.registered, "missing", missing)
    backing.engine.reset(Channel.TRACKED, backing.groups.name("pages:s"), "by the test")
    await asked.wait()
    version = 2
    with pytest.raises(EngineError):
        await pages.invalidate_group(show="s")
    answered.set()
    await until(lambda: backing.engine.unavailable is None)
    read = await pages.get_result(show="s", number="1")
    assert (read.value, read.outcome) == (Episode("s1", 2), Outcome.LOADED)
    assert not backing.groups.pending_drops


async def test_a_group_that_could_not_be_read_is_read_where_it_is_now(cluster: Cluster, back: Back) -> None:
    version = 1

    async def load(show: str, number: str) -> Episode:
        return Episode(f"{show}{number}", version)

    backing = await back(cluster, limits=SOON)
    pages = Cache(PAGE, load, backing=backing, groups=["pages:{show}"], near_for=0)
    await pages.get(show="s", number="1")
    group = backing.groups.name("pages:s")
    backing.groups.pending_reads.add("pages:s")
    version = 2
    target = cluster.another(cluster.owner(group))
    await off_loop(cluster.migrate, slot_of(group), target)
    await until(lambda: not backing.groups.pending_reads)  # without a call
    await until(lambda: backing.engine.unavailable is None)
    assert await pages.get(show="s", number="1") == Episode("s1", 2)


async def test_a_migrating_group_is_read_where_it_is_and_blocks_no_node(cluster: Cluster, back: Back) -> None:
    version = 1

    async def load(show: str, number: str) -> Episode:
        return Episode(f"{show}{number}", version)

    backing = await back(cluster, limits=BLIND)
    pages = Cache(PAGE, load, backing=backing, groups=["pages:{show}"], near_for=0)
    group = backing.groups.name("pages:s")
    source = cluster.owner(group)
    number = next(n for n in map(str, range(1000)) if cluster.owner(PAGE.key(show="s", number=n)) is not source)
    await pages.get(show="s", number=number)
    target = cluster.another(source)
    cluster.begin_migration(slot_of(group), target)
    cluster.move_key(source, target, group)
    backing.groups.pending_reads.add("pages:s")
    version = 2
    engine = engine_of(backing)
    engine.reset(Channel.TRACKED, group, "by the test")
    await until(lambda: not backing.groups.pending_reads)
    await until(lambda: engine.unavailable is None)
    assert await pages.get(show="s", number=number) == Episode(f"s{number}", 2)


async def test_a_page_that_a_failover_has_lost_from_its_group_is_dropped(cluster: Cluster, back: Back) -> None:
    version = 1

    async def load(show: str, number: str) -> Episode:
        return Episode(f"{show}{number}", version)

    here, there = await back(cluster, limits=SOON), await back(cluster, limits=SOON)
    pages, elsewhere = (Cache(PAGE, load, backing=one, groups=["pages:{show}"], near_for=0) for one in (here, there))
    group = here.groups.name("pages:s")
    primary = cluster.owner(group)
    replica = cluster.replica_of(primary)
    named = [n for n in map(str, range(100)) if cluster.owner(PAGE.key(show="s", number=n)) is not primary]
    known, lost = PAGE.key(show="s", number=named[0]), PAGE.key(show="s", number=named[1])
    await pages.get(show="s", number=named[0])
    await eventually(lambda: replica("DBSIZE") == 1)  # the group
    with replica.frozen():
        primary("CLIENT", "KILL", "TYPE", "replica")  # it will not hear of what comes now
        await pages.get(show="s", number=named[1])
        primary.kill()
    raw = cluster.raw()
    assert raw("EXISTS", lost) == 1
    await eventually(lambda: replica.role == "master", 60)
    await eventually(lambda: raw("EXISTS", lost) == 0, 30)  # without a call
    assert raw("EXISTS", known) == 1, "the successor knows it"
    version = 2
    await until(lambda: there.engine.unavailable is None, 30)
    await _insisting(partial(elsewhere.invalidate_group, show="s"))
    for number in named[:2]:
        assert await elsewhere.get(show="s", number=number) == Episode(f"s{number}", 2)
