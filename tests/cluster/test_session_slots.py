"""Sessions in slots that go from one node to another: none is lost, and none that has ended is back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack

import pytest

from greenroom.caching.invalidation import Backing
from greenroom.clock import SYSTEM
from greenroom.counters import Counters
from greenroom.engine import Address, Channel, Limits, engine_at
from greenroom.engine.scripts import Script
from greenroom.engine.transport.connection import Connection
from greenroom.errors import EngineError, EngineUnavailable, OutcomeUnknown, Overloaded
from greenroom.sessions import Sessions
from greenroom.sessions.snapshot import SessionSnapshot
from greenroom_platform.definitions import SESSIONS
from greenroom_platform.domain.sessions import STREAMS
from greenroom_platform.models import Session
from tests.support.cluster_slots import BLIND, Move, atomic, classic, off_loop
from tests.support.patience import eventually, until
from tests.support.proxy import ClusterProxy
from tests.support.real_cluster import Cluster, Member, slot_of
from tests.support.session_stores import Store, add_one, companion, decoded, key
from tests.support.sessions_on_cluster import SIGNED_IN, Process, engine_of, some_on

PUSH = Script("redis.call('LPUSH', KEYS[1], 'ended') return 1")
"""Stands for an end whose script its data can refuse; ours none can."""


def connections(sessions: Store, name: str) -> list[Connection | None]:
    """Those to the node that has a key, by the engine's own view."""
    node = engine_of(sessions)._owners.of_slot[slot_of(name)]
    assert node is not None
    return [node.connection(channel) for channel in Channel]


def keys_in(member: Member, live: SessionSnapshot[Session]) -> list[bytes]:
    found: Iterable[bytes] = member("CLUSTER", "GETKEYSINSLOT", slot_of(key(live)), 100)
    return sorted(one for one in found if live.session_id.encode() in one)


async def test_a_migrating_session_is_read_at_once_and_changed_on_arrival(cluster: Cluster, process: Process) -> None:
    here = await process(cluster)
    source, target = cluster.primaries[:2]
    ((live, token),) = await some_on(here, cluster, source, 1)
    slot, moving = slot_of(key(live)), keys_in(source, live)
    assert len(moving) == 3
    cluster.begin_migration(slot, target)
    for number in range(4):
        # With none of its keys there, with one, two and all of them: never "not signed in".
        for channel in Channel:
            found = await here.read(token, channel=channel)
            assert found is not None
            assert decoded(found.body).get("count", 0) == (number > 0)
        looked, stays = await here.store.stay(live.session_id)
        assert looked.body is not None
        assert stays > 0
        if number in (0, 3):  # they are together
            assert decoded((await here.change(live.session_id, add_one)).body)["count"] == 1 + (number > 0)
        else:
            with pytest.raises(EngineError):
                await here.change(live.session_id, add_one)
        if number < 3:
            cluster.move_key(source, target, moving[number])
    cluster.end_migration(slot, source, target)
    found = await here.read(token)
    assert found is not None
    assert decoded(found.body)["count"] == 2
    assert (await here.end(live.session_id), await here.read(token)) == (True, None)


async def test_a_migrating_session_is_read_whatever_stands_in_touched(cluster: Cluster, process: Process) -> None:
    here = await process(cluster)
    source, target = cluster.primaries[:2]
    ((live, token),) = await some_on(here, cluster, source, 1)
    source("DEL", companion("touched", live))
    source("HSET", companion("touched", live), "a", "b")
    cluster.begin_migration(slot_of(key(live)), target)
    cluster.move_key(source, target, key(live))  # apart: each key is read by itself
    for channel in Channel:
        assert await here.read(token, channel=channel) is not None


async def test_an_end_that_a_slot_on_its_way_refuses_is_made_when_it_has_arrived(
    cluster: Cluster, process: Process
) -> None:
    here, there = await process(cluster), await process(cluster)
    source, target = cluster.primaries[:2]
    ((live, token),) = await some_on(here, cluster, source, 1)
    slot = slot_of(key(live))
    cluster.begin_migration(slot, target)
    cluster.move_key(source, target, key(live))
    with pytest.raises(EngineError):
        await here.store.end(live.session_id, "by", tombstone=False)
    for name in keys_in(source, live):
        cluster.move_key(source, target, name)
    cluster.end_migration(slot, source, target)
    # By who takes the slot over, without a call of its process.
    await eventually(lambda: target("EXISTS", key(live), companion("life", live)) == 0)
    assert await there.read(token) is None


@pytest.mark.parametrize("arrives", [True, False])
async def test_an_end_owed_in_a_slot_on_its_way_keeps_no_node_from_serving(
    cluster: Cluster, process: Process, arrives: bool
) -> None:
    here = await process(cluster, BLIND)
    source, target = cluster.primaries[:2]
    (live, token), (stays, others) = await some_on(here, cluster, source, 2)
    assert await here.end(live.session_id)
    slot, lost = slot_of(key(live)), (key(live), companion("life", live), companion("touched", live))
    for name in lost:
        source("SET", name, live.body, "EX", 600)  # as if the node had never heard of it
    cluster.begin_migration(slot, target)
    cluster.move_key(source, target, lost[0])
    for channel in Channel:
        here.engine.reset(channel, key(live), "by the test")
    assert await here.read(others) is not None
    assert await here.read(others, channel=Channel.TRACKED) is not None
    with pytest.raises(EngineError):
        await here.change(live.session_id, add_one)
    if arrives:
        cluster.move_key(source, target, *keys_in(source, live))
        cluster.end_migration(slot, source, target)
    else:
        cluster.abandon_migration(source, target, lost[0])
    has_it = target if arrives else source
    await eventually(lambda: has_it("EXISTS", *lost) == 0)  # without a call
    assert await here.read(token) is None
    assert stays.session_id != live.session_id


async def test_an_end_whose_data_refuse_it_is_put_off_after_a_slot_s_migration(
    cluster: Cluster, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    here = await process(cluster, BLIND)
    source, target = cluster.primaries[:2]
    (live, _), (_, others) = await some_on(here, cluster, source, 2)
    name = companion("other", live)
    source("SET", name, "of another type")
    here.store._ends.keep(PUSH, (name,), (), 60)
    cluster.begin_migration(slot_of(name), target)
    cluster.move_key(source, target, name)
    for channel in Channel:
        here.engine.reset(channel, name, "by the test")
        assert await here.read(others, channel=channel) is not None
    serving = connections(here, name)
    cluster.abandon_migration(source, target, name)
    await until(lambda: not here.store._ends._log._waiting)
    assert caplog.text.count("is postponed: WRONGTYPE") == 1
    assert connections(here, name) == serving


async def test_a_node_that_is_told_of_an_end_that_data_refuse_goes_on_serving(
    cluster: Cluster, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    here = await process(cluster, BLIND)
    source, target = cluster.primaries[:2]
    ((live, token),) = await some_on(here, cluster, source, 1)
    ((other, others),) = await some_on(here, cluster, target, 1)
    name = companion("other", live)
    source("SET", name, "of another type")
    here.store._ends.keep(PUSH, (name,), (), 60)
    await off_loop(cluster.migrate, slot_of(name), target)
    serving = connections(here, key(other))
    assert await here.read(token) is not None  # it is told by the old node, and the new one of the end
    for channel in Channel:
        assert await here.read(others, channel=channel) is not None
    assert caplog.text.count("is postponed: WRONGTYPE") == 1
    assert connections(here, key(other)) == serving


@pytest.mark.parametrize("move", [classic, atomic])
async def test_a_node_that_takes_a_slot_over_is_told_which_sessions_have_ended(
    cluster: Cluster, process: Process, move: Move
) -> None:
    here = await process(cluster, BLIND)
    source, target = cluster.primaries[:2]
    ((live, token),) = await some_on(here, cluster, source, 1)
    assert await here.end(live.session_id)
    for name in (key(live), companion("life", live)):
        source("SET", name, live.body, "EX", 600)
    await off_loop(move, cluster, slot_of(key(live)), target)
    assert target("EXISTS", key(live)) == 1
    assert (
        await asyncio.gather(*(here.read(token, channel=channel) for channel in Channel for _ in range(10)))
        == [None] * 20
    )
    assert target("EXISTS", key(live), companion("life", live)) == 0


@pytest.mark.parametrize("channel", list(Channel))
async def test_a_node_that_takes_a_slot_while_connecting_is_told_too(
    cluster: Cluster, process: Process, channel: Channel
) -> None:
    source, target = cluster.primaries[:2]
    outside = await process(cluster)
    ((first, _),) = await some_on(outside, cluster, target, 1)
    ((second, token),) = await some_on(outside, cluster, source, 1)
    async with ClusterProxy(cluster, key(first)) as proxy:
        here = await process(proxy, Limits(topology_interval=60, command_deadline=20, handshake_deadline=20))
        await here.end(first.session_id)
        await here.end(second.session_id)
        held = proxy.hold("EVALSHA", key(first))
        here.engine.reset(channel, key(first), "by the test")
        await held.reached.wait()  # the new connection carries the ends of its sessions
        for name in (key(second), companion("life", second)):
            source("SET", name, second.body, "EX", 600)
        await off_loop(cluster.migrate, slot_of(key(second)), target)
        engine_of(here)._owners.move(slot_of(key(second)), ("127.0.0.1", proxy.port))
        reading = asyncio.ensure_future(here.read(token, channel=channel))
        held.release()
        assert await reading is None


async def test_so_it_is_while_the_new_connection_carries_what_the_caches_owe(
    cluster: Cluster, process: Process
) -> None:
    source, target = cluster.primaries[:2]
    outside = await process(cluster)
    ((live, token),) = await some_on(outside, cluster, source, 1)
    (cached,) = target.keys(1)
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(ClusterProxy(cluster, cached))
        limits = Limits(topology_interval=60, command_deadline=20, handshake_deadline=20)
        engine = engine_at(Address.parse(proxy.address), limits=limits)
        stack.push_async_callback(engine.close)
        backing = Backing(engine, "", SYSTEM, Counters())
        here = Sessions(engine, SESSIONS, streams=STREAMS)
        await engine.start()
        await backing.drops.drop(cached)
        await here.end(live.session_id)
        held = proxy.hold("DEL", cached)
        here.engine.reset(Channel.TRACKED, cached, "by the test")
        await held.reached.wait()
        for name in (key(live), companion("life", live)):
            source("SET", name, live.body, "EX", 600)
        await off_loop(cluster.migrate, slot_of(key(live)), target)
        engine_of(here)._owners.move(slot_of(key(live)), ("127.0.0.1", proxy.port))
        reading = asyncio.ensure_future(here.read(token, channel=Channel.TRACKED))
        # The other connection to that node serves, and is told; so nothing but what stands here tells this one's story.
        await eventually(lambda: target("EXISTS", key(live)) == 0)
        for name in (key(live), companion("life", live)):
            target("SET", name, live.body, "EX", 600)
        held.release()
        assert await reading is None


async def test_sessions_are_begun_changed_and_ended_while_slots_go_to_and_fro(
    cluster: Cluster, process: Process
) -> None:
    here, there = await process(cluster), await process(cluster)
    source, target = cluster.primaries[:2]
    begun = await some_on(here, cluster, source, 6)
    counts, ended, unknown = dict[str, int](), dict[str, str](), set[str]()
    stop = asyncio.Event()

    async def changing(sessions: Store, session: str) -> None:
        while not stop.is_set():
            try:
                await sessions.change(session, add_one)
                counts[session] = counts.get(session, 0) + 1
            except OutcomeUnknown:
                unknown.add(session)
            except (EngineUnavailable, Overloaded):
                pass  # a dozen callers change six sessions: on a busy machine one may lose every turn of its deadline

    async def coming_and_going(sessions: Store) -> None:
        while not stop.is_set():
            try:
                live, token = await sessions.start(SIGNED_IN)
                assert await sessions.read(token) is not None
                assert await sessions.end(live.session_id)
                ended[live.session_id] = token
            except EngineUnavailable:
                pass

    work = [
        *(changing(one, live.session_id) for live, _ in begun for one in (here, there)),
        *(coming_and_going(one) for one in (here, there)),
    ]
    clients = [asyncio.create_task(one) for one in work]
    await until(lambda: len(counts) == 6 and len(ended) > 5)
    slots = [slot_of(key(live)) for live, _ in begun]
    for node in (target, source):
        for slot in slots:
            await off_loop(cluster.migrate, slot, node)
    stop.set()
    await asyncio.gather(*clients)
    for live, token in begun:
        found = await here.read(token)
        assert found is not None
        count, said = decoded(found.body)["count"], counts[live.session_id]
        assert count >= said if live.session_id in unknown else count == said
    assert [await there.read(token) for token in ended.values()] == [None] * len(ended)
    assert {one.session_id for one in await here.of_user("u1")} >= {live.session_id for live, _ in begun}
