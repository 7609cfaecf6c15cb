"""Sessions on a real cluster while primaries die and slots move: none is lost, and none that has ended is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from time import monotonic

import pytest

from greenroom.caching.backing import Backing
from greenroom.clock import SYSTEM
from greenroom.engine import Address, Clustered, Lane, Limits, engine_at
from greenroom.engine.pushes import Pushes
from greenroom.engine.uses import callbacks
from greenroom.errors import EngineError, EngineUnavailable, OutcomeUnknown
from greenroom.keyspace.companions import owner
from greenroom.observe import Counters
from greenroom.podcast.definitions import SESSIONS
from greenroom.podcast.models import Session
from greenroom.sessions import Ends, Presence, SessionGone, Sessions, session_use
from greenroom.sessions.live import Live
from tests.cluster import Cluster, Member, slot_of
from tests.races import ClusterProxy, Proxy, until
from tests.sessions import MINIMAL, MINUTE, Store, add_one, age, companion, decoded, key, used
from tests.test_cluster_caches import Move, atomic, classic, failover
from tests.test_cluster_engine import keys_of, off_loop, port_of
from tests.web import sessions_on

SIGNED_IN = {**MINIMAL, "user_id": "u1"}
SOON = Limits(survey=0.2)
"""For an engine that finds changes out by itself while a test waits."""
BLIND = Limits(survey=60)
"""For one that finds them out by what its calls are answered."""
BACK = 60.0
"""Seconds in which a shard is served again, on a busy machine."""

Process = Callable[..., Awaitable[Store]]


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    """Opens sessions as a process of the platform has them, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def opened(cluster: Cluster | Proxy, limits: Limits = SOON) -> Sessions[Session]:
            return await stack.enter_async_context(sessions_on(cluster.address, engine_limits=limits))

        yield opened


def engine_of(sessions: Store) -> Clustered:
    assert isinstance(sessions.engine, Clustered)
    return sessions.engine


async def some_on(sessions: Store, cluster: Cluster, member: Member, number: int) -> list[tuple[Live[Session], str]]:
    """So many sessions of u1 that a node has."""
    found: list[tuple[Live[Session], str]] = []
    while len(found) < number:
        live, token = await sessions.start(SIGNED_IN)
        if cluster.owner(key(live)) is member:
            found.append((live, token))
        else:
            await sessions.end(live.session_id)
    return found


def replicated(cluster: Cluster, *primaries: Member) -> None:
    """Return when a replica of each of these has all that was acknowledged until now."""
    for primary in primaries:
        (own,) = keys_of(cluster, primary, 1)
        raw = primary.raw()
        assert raw("SET", own, "", "PX", 1) == b"OK"  # WAIT is for what the same connection has written before
        assert raw("WAIT", 1, 10_000) == 1
        raw.close()


async def asked(call: Callable[[], Awaitable[object]]) -> object:
    """What a call gives once the shard can be asked."""
    end = monotonic() + BACK
    while True:
        try:
            return await call()
        except (EngineUnavailable, OutcomeUnknown):
            assert monotonic() < end
            await asyncio.sleep(0.01)


# Failovers -------------------------------------------------------------------------------------------


async def test_a_killed_primary_s_sessions_are_all_there_on_its_replica(cluster: Cluster, process: Process) -> None:
    here, there = await process(cluster), await process(cluster)
    begun = [await here.start(SIGNED_IN) for _ in range(60)]
    for live, _ in begun:
        await here.change(live.session_id, add_one)
    victim = cluster.owner(key(begun[0][0]))
    kept = [token for live, token in begun if cluster.owner(key(live)) is not victim]
    assert 0 < len(kept) < 60
    replicated(cluster, *cluster.primaries)
    victim.kill()

    async def found(token: str) -> object:
        live = await there.read(token)
        assert live is not None, "not signed in"
        return decoded(live.body)["count"]

    looking = [asyncio.create_task(asked(lambda token=token: found(token))) for _, token in begun]  # type: ignore[misc]
    while not all(one.done() for one in looking):
        for token in kept:
            assert await found(token) == 1  # the other shards serve all the time
    assert [await one for one in looking] == [1] * 60
    assert await asked(here.active) == 60
    assert await asked(lambda: here.end_all("u1")) == 60
    assert [await asked(lambda token=token: there.read(token)) for _, token in begun] == [None] * 60  # type: ignore[misc]


async def test_a_planned_failover_loses_no_change(cluster: Cluster, process: Process) -> None:
    here, there = await process(cluster), await process(cluster)
    primary = cluster.primaries[0]
    begun = await some_on(here, cluster, primary, 4)
    done, unknown, stop = dict.fromkeys((live.session_id for live, _ in begun), 0), set[str](), asyncio.Event()

    async def changing(sessions: Store, session: str) -> None:
        while not stop.is_set():
            try:
                await sessions.change(session, add_one)
                done[session] += 1
            except OutcomeUnknown:
                unknown.add(session)
            except EngineUnavailable:
                pass  # nothing was done, in its half a second

    clients = [asyncio.create_task(changing(one, live.session_id)) for live, _ in begun for one in (here, there)]
    await until(lambda: min(done.values()) > 5)
    successor = await off_loop(cluster.fail_over, primary)
    await until(lambda: port_of(engine_of(here), key(begun[0][0])) == successor.port)
    before = dict(done)
    await until(lambda: all(done[one] > before[one] + 5 for one in done))
    stop.set()
    await asyncio.gather(*clients)
    for session in done:
        live = await here.read_id(session)
        assert live is not None
        count = decoded(live.body)["count"]
        assert count >= done[session] if session in unknown else count == done[session]


async def test_an_end_that_a_failover_has_lost_is_made_again_before_anyone_reads(
    cluster: Cluster, process: Process
) -> None:
    here, there = await process(cluster), await process(cluster)
    primary = cluster.primaries[0]
    replica = cluster.replica_of(primary)
    (one, one_s), (two, two_s), (three, three_s), (stays, stays_s) = await some_on(here, cluster, primary, 4)
    other, other_s = await here.start({**MINIMAL, "user_id": "u2"})
    while cluster.owner(key(other)) is not primary:
        other, other_s = await here.start({**MINIMAL, "user_id": "u2"})
    replicated(cluster, primary)
    with replica.frozen():
        primary("CLIENT", "KILL", "TYPE", "replica")  # it will not hear of what comes now
        assert await here.end(one.session_id)
        rotated, _ = await here.rotate(two.session_id, {})
        ended = here.counters.sessions["ended",]
        await here.end_all("u2")
        assert here.counters.sessions["ended",] > ended
        assert await there.end(three.session_id)
        primary.kill()
    await until(lambda: replica.role == "master", BACK)
    # Whatever its process asks first: the end goes before.
    for sessions, session in ((here, one), (here, two), (here, other), (there, three)):
        assert await asked(lambda: sessions.read_id(session.session_id)) is None  # noqa: B023
        with pytest.raises(SessionGone):
            await asked(lambda: sessions.change(session.session_id, add_one))  # noqa: B023
    assert await asked(lambda: here.read(stays_s)) is not None
    assert [await there.read(token) for token in (one_s, two_s, three_s, other_s)] == [None] * 4
    for gone in (one, two, three, other):
        assert replica("EXISTS", key(gone), companion("life", gone), companion("grace", gone)) == 0
    assert stays.session_id != rotated.session_id


async def test_a_session_that_its_user_s_list_has_lost_is_listed_again_by_its_touch(
    steady: Cluster, process: Process
) -> None:
    steady.fresh()
    sessions, raw = await process(steady), steady.raw()
    live, token = await sessions.start(SIGNED_IN)
    busy, busy_s = await sessions.start(SIGNED_IN)
    await Presence(sessions).open("p1", busy.session_id)
    raw("DEL", "greenroom:sessions:{user:u1}")  # its node was replaced by one that had not heard of them
    age(raw, MINUTE)
    assert await used(sessions, token) is not None
    assert await used(sessions, busy_s) is not None
    assert {one.session_id for one in await sessions.of_user("u1")} == {live.session_id, busy.session_id}
    assert await sessions.end_all("u1") == 2
    assert await sessions.read(token) is None


async def test_a_touch_that_comes_too_late_lists_nothing(steady: Cluster, process: Process) -> None:
    steady.fresh()
    sessions, raw = await process(steady), steady.raw()
    (live, token), (busy, busy_s) = [await sessions.start(SIGNED_IN) for _ in range(2)]
    await Presence(sessions).open("p1", busy.session_id)
    age(raw, MINUTE)
    due = [await sessions.read(token), await sessions.read(busy_s)]
    await sessions.end_all("u1")
    for one in due:
        assert one is not None
        sessions.touch(one)
    await sessions.close()
    assert raw("ZRANGE", "greenroom:sessions:{user:u1}", 0, -1) == []
    assert await sessions.active() == 0
    assert live.session_id != busy.session_id


# Sockets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [classic, atomic, failover])
async def test_a_socket_stays_open_when_its_session_moves_and_closes_when_that_is_ended_there(
    cluster: Cluster, process: Process, move: Move
) -> None:
    here, there = await process(cluster), await process(cluster)
    source, target = cluster.primaries[:2]
    ((live, _),) = await some_on(here, cluster, source, 1)
    async with here.watched(live.session_id) as watch:
        await off_loop(move, cluster, slot_of(key(live)), target)
        await until(lambda: port_of(engine_of(here), key(live)) != source.port)
        changed = await asked(lambda: there.change(live.session_id, add_one))
        assert isinstance(changed, Live)
        await until(lambda: watch.live is not None and watch.live.body == changed.body)  # it follows it there
        assert not watch.over.is_set()
        assert await there.end(live.session_id)
        async with asyncio.timeout(20):  # it would lapse in half an hour
            await watch.over.wait()


async def test_a_socket_closes_when_its_session_was_ended_while_its_shard_was_away(
    cluster: Cluster, process: Process
) -> None:
    here, there = await process(cluster), await process(cluster)
    primary = cluster.primaries[0]
    ((live, _), (stays, _)) = await some_on(here, cluster, primary, 2)
    replicated(cluster, primary)
    async with here.watched(live.session_id) as watch, here.watched(stays.session_id) as other:
        primary.kill()
        await until(lambda: engine_of(here).trouble is not None)
        assert await asked(lambda: there.end(live.session_id)) is True
        async with asyncio.timeout(BACK):
            await watch.over.wait()
        assert await asked(lambda: here.read_id(stays.session_id)) is not None
        assert not other.over.is_set()


# Slots on their way ----------------------------------------------------------------------------------


def keys_in(member: Member, live: Live[Session]) -> list[bytes]:
    found: Iterable[bytes] = member("CLUSTER", "GETKEYSINSLOT", slot_of(key(live)), 100)
    return sorted(one for one in found if live.session_id.encode() in one)


async def test_a_session_on_its_way_is_an_error_for_that_time_and_then_there_whole(
    cluster: Cluster, process: Process
) -> None:
    here = await process(cluster)
    source, target = cluster.primaries[:2]
    ((live, token),) = await some_on(here, cluster, source, 1)
    slot, moving = slot_of(key(live)), keys_in(source, live)
    assert len(moving) == 3
    cluster.begin_migration(slot, target)
    for number in range(4):
        # With none of its keys there, with one, two and all of them: never "not signed in".
        with pytest.raises(EngineError):
            await here.read(token)
        with pytest.raises(EngineError):
            await here.change(live.session_id, add_one)
        if number < 3:
            cluster.move_key(source, target, moving[number])
    changing = asyncio.create_task(here.change(live.session_id, add_one))
    refused = target.raw()
    await until(lambda: b"errorstat_TRYAGAIN" in refused("INFO", "errorstats"))
    cluster.end_migration(slot, source, target)
    await asyncio.wait([changing])
    found = await here.read(token)
    assert found is not None
    count = decoded(found.body).get("count", 0)
    assert count == 1 if changing.exception() is None else count in (0, 1)
    assert decoded((await here.change(live.session_id, add_one)).body)["count"] == count + 1
    assert (await here.end(live.session_id), await here.read(token)) == (True, None)


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
        await here.slot.end(live.session_id, "by", mark=False)
    for name in keys_in(source, live):
        cluster.move_key(source, target, name)
    cluster.end_migration(slot, source, target)
    # By who takes the slot over, without a call of its process.
    await until(lambda: target("EXISTS", key(live), companion("life", live)) == 0)
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
    for lane in Lane:
        here.engine.renew(lane, key(live), "by the test")
    assert await here.read(others) is not None
    assert await here.read(others, lane=Lane.TRACKED) is not None
    with pytest.raises(EngineError):
        await here.read(token)
    if arrives:
        cluster.move_key(source, target, *keys_in(source, live))
        cluster.end_migration(slot, source, target)
    else:
        cluster.move_key(target, source, lost[0])
        for one in (source, target):
            one.ok("CLUSTER", "SETSLOT", slot, "STABLE")
    has_it = target if arrives else source
    await until(lambda: has_it("EXISTS", *lost) == 0)  # without a call
    assert await here.read(token) is None
    assert stays.session_id != live.session_id


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
    assert await asyncio.gather(*(here.read(token, lane=lane) for lane in Lane for _ in range(10))) == [None] * 20
    assert target("EXISTS", key(live), companion("life", live)) == 0


@pytest.mark.parametrize("lane", list(Lane))
async def test_a_node_that_takes_a_slot_over_while_it_is_being_connected_to_is_told_too(
    cluster: Cluster, process: Process, lane: Lane
) -> None:
    source, target = cluster.primaries[:2]
    outside = await process(cluster)
    ((first, _),) = await some_on(outside, cluster, target, 1)
    ((second, token),) = await some_on(outside, cluster, source, 1)
    async with ClusterProxy(cluster, key(first)) as proxy:
        here = await process(proxy, Limits(survey=60, command_deadline=20, handshake_deadline=20))
        await here.end(first.session_id)
        await here.end(second.session_id)
        held = proxy.hold("EVALSHA", key(first))
        here.engine.renew(lane, key(first), "by the test")
        await held.reached.wait()  # the new connection carries the ends of its sessions
        for name in (key(second), companion("life", second)):
            source("SET", name, second.body, "EX", 600)
        await off_loop(cluster.migrate, slot_of(key(second)), target)
        engine_of(here)._owners.move(slot_of(key(second)), ("127.0.0.1", proxy.port))
        reading = asyncio.ensure_future(here.read(token, lane=lane))
        held.release()
        assert await reading is None


async def test_so_it_is_while_the_new_connection_carries_what_the_caches_owe(
    cluster: Cluster, process: Process
) -> None:
    source, target = cluster.primaries[:2]
    outside = await process(cluster)
    ((live, token),) = await some_on(outside, cluster, source, 1)
    (cached,) = keys_of(cluster, target, 1)
    backing, ends = Backing("", SYSTEM, Counters()), Ends()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(ClusterProxy(cluster, cached))
        uses = callbacks([backing.use, session_use(Pushes(owner), ends)])
        limits = Limits(survey=60, command_deadline=20, handshake_deadline=20)
        engine = engine_at(Address.parse(proxy.address), **uses, limits=limits)
        stack.push_async_callback(engine.close)
        backing.attach(engine)
        await engine.start()
        here = Sessions(engine, SESSIONS, ends=ends)
        await backing.drop(cached)
        await here.end(live.session_id)
        held = proxy.hold("DEL", cached)
        here.engine.renew(Lane.TRACKED, cached, "by the test")
        await held.reached.wait()
        for name in (key(live), companion("life", live)):
            source("SET", name, live.body, "EX", 600)
        await off_loop(cluster.migrate, slot_of(key(live)), target)
        engine_of(here)._owners.move(slot_of(key(live)), ("127.0.0.1", proxy.port))
        reading = asyncio.ensure_future(here.read(token, lane=Lane.TRACKED))
        # The other connection to that node serves, and is told; so nothing but what stands here tells this one's story.
        await until(lambda: target("EXISTS", key(live)) == 0)
        for name in (key(live), companion("life", live)):
            target("SET", name, live.body, "EX", 600)
        held.release()
        assert await reading is None


@pytest.mark.parametrize("roll", ["greenroom:active:{sessions}", "greenroom:active:{podcasts}"])
async def test_a_roll_of_everybody_whose_node_is_away_keeps_nobody_else_from_going_on(
    steady: Cluster, process: Process, roll: str
) -> None:
    steady.fresh()
    sessions, raw = await process(steady), steady.raw()
    away = steady.owner(roll)
    home = next(one for one in steady.primaries if one is not away)
    user = next(name for name in map(str, range(1000)) if steady.owner(f"greenroom:sessions:{{user:{name}}}") is home)
    podcast = next(
        name for name in map(str, range(1000)) if steady.owner(f"greenroom:listeners:{{podcast:{name}}}") is home
    )
    ((live, token),) = await some_on(sessions, steady, home, 1)
    age(raw, MINUTE)
    with away.frozen():
        for _ in range(2):  # its connections are there; then they are not
            found = await used(sessions, token)
            assert found is not None
            await sessions.change(live.session_id, add_one)
            stream = await Presence(sessions).open(podcast, live.session_id)
            assert await Presence(sessions).renew(stream)
            await Presence(sessions).close(stream)
            await until(lambda: sessions.engine.trouble is not None)
        begun = None
        while begun is None:  # of a session whose own node is away there is nothing to begin
            try:
                begun, _ = await sessions.start({**MINIMAL, "user_id": user})
            except EngineUnavailable:
                pass
        assert await sessions.end(live.session_id)
    await until(lambda: sessions.engine.trouble is None)
    stream = await Presence(sessions).open(podcast, begun.session_id)
    assert await sessions.active() >= 1
    assert await Presence(sessions).listeners() == {podcast: 1}
    await Presence(sessions).close(stream)


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
            except EngineUnavailable:
                pass

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
