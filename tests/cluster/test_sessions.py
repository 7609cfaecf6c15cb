"""Sessions on a real cluster whose primaries die or hand over: none is lost, and none that has ended is back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from greenroom import Greenroom, SessionData, SessionSettings
from greenroom.errors import EngineUnavailable, OutcomeUnknown
from greenroom.sessions import Presence, SessionGone
from greenroom.sessions.snapshot import SessionSnapshot
from tests.support.cluster_slots import Move, atomic, classic, failover, off_loop, port_of
from tests.support.patience import eventually, until
from tests.support.real_cluster import Cluster, slot_of
from tests.support.session_stores import HOUR, MINIMAL, MINUTE, Store, add_one, age, companion, decoded, key, used
from tests.support.sessions_on_cluster import BACK, SIGNED_IN, Process, asked, engine_of, some_on

DAY = timedelta(days=1)

# Failovers -------------------------------------------------------------------------------------------


async def test_a_killed_primary_s_sessions_are_all_there_on_its_replica(cluster: Cluster, process: Process) -> None:
    here, there = await process(cluster), await process(cluster)
    begun = [await here.start(SIGNED_IN) for _ in range(60)]
    for live, _ in begun:
        await here.change(live.session_id, add_one)
    victim = cluster.owner(key(begun[0][0]))
    kept = [token for live, token in begun if cluster.owner(key(live)) is not victim]
    assert 0 < len(kept) < 60
    assert all(one.replicated() for one in cluster.primaries)
    victim.kill()

    async def found(token: str) -> object:
        live = await there.read(token)
        assert live is not None, "not signed in"
        return decoded(live.body)["count"]

    looking = [asyncio.create_task(asked(lambda token=token: found(token))) for _, token in begun]  # type: ignore[misc]
    while not all(one.done() for one in looking):
        for token in kept:
            assert await found(token) == 1  # the other shards serve all the time
        await asyncio.sleep(0.01)  # it takes seconds, and more reads would prove no more
    assert [await one for one in looking] == [1] * 60
    assert await asked(here.active) == 60
    await asked(lambda: here.end_all("u1"))  # how many is not known of a call that had to be repeated
    assert await asked(lambda: here.of_user("u1")) == []
    assert await asked(here.active) == 0
    assert [await asked(lambda token=token: there.read(token)) for _, token in begun] == [None] * 60  # type: ignore[misc]


async def test_a_session_s_own_lifetime_holds_through_a_failover(cluster: Cluster) -> None:
    settings = SessionSettings(SessionData, remember=30 * DAY)
    raw, kept = cluster.raw(), list[str]()
    async with Greenroom(cluster.address, sessions=settings) as room:
        # Its list, its companions and it stand in slots of several nodes.
        begun = [await room.sessions.start(user_id="u1", remember=True) for _ in range(20)]
        _, usual = await room.sessions.start(user_id="u1")
        assert len({cluster.owner(key(live)) for live, _ in begun}) == 3
        age(raw, 29 * DAY)
        await asyncio.gather(*(used(room.sessions, token) for _, token in begun))
        assert await room.sessions.read(usual) is None
        first, _ = begun[0]
        primary = cluster.owner(key(first))
        await off_loop(cluster.fail_over, primary)
        for live, token in begun:
            assert await asked(lambda token=token: room.sessions.read(token)) is not None, "not signed in"  # type: ignore[misc]
            kept.append(live.session_id)
        rotated, successor = cast("tuple[Any, str]", await asked(lambda: room.sessions.rotate(first.session_id, {})))
        assert rotated.started_at == first.started_at
        age(cluster.raw(), 23 * HOUR)
        tokens = [successor, *(token for _, token in begun[1:])]
        assert None not in [await used(room.sessions, token) for token in tokens], (
            "each has an hour left of its 30 days"
        )
        listed = {one.session_id for one in await room.sessions.of_user("u1")}
        assert listed == {rotated.session_id, *kept[1:]}, "none falls out of its user's list before its own end"
        age(cluster.raw(), HOUR)
        assert [await room.sessions.read(token) for token in tokens] == [None] * 20


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
    assert primary.replicated()
    with replica.frozen():
        primary("CLIENT", "KILL", "TYPE", "replica")  # it will not hear of what comes now
        assert await here.end(one.session_id)
        rotated, _ = await here.rotate(two.session_id, {})
        ended = here.counters.sessions["ended",]
        await here.end_all("u2")
        assert here.counters.sessions["ended",] > ended
        assert await there.end(three.session_id)
        primary.kill()
    await eventually(lambda: replica.role == "master", BACK)
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


async def test_a_touch_lists_a_session_again_that_its_user_s_index_has_lost(steady: Cluster, process: Process) -> None:
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
async def test_a_socket_survives_its_session_s_move_and_closes_at_its_end(
    cluster: Cluster, process: Process, move: Move
) -> None:
    here, there = await process(cluster), await process(cluster)
    source, target = cluster.primaries[:2]
    ((live, _),) = await some_on(here, cluster, source, 1)
    async with here.watched(live.session_id) as watch:
        await off_loop(move, cluster, slot_of(key(live)), target)
        await until(lambda: port_of(engine_of(here), key(live)) != source.port)
        changed = await asked(lambda: there.change(live.session_id, add_one))
        assert isinstance(changed, SessionSnapshot)
        await until(lambda: watch.live is not None and watch.live.body == changed.body)  # it follows it there
        assert not watch.over.is_set()
        assert await there.end(live.session_id)
        async with asyncio.timeout(20):  # it would lapse in half an hour
            await watch.over.wait()


async def test_a_socket_closes_if_its_session_ended_while_its_shard_was_away(
    cluster: Cluster, process: Process
) -> None:
    here, there = await process(cluster), await process(cluster)
    primary = cluster.primaries[0]
    ((live, _), (stays, _)) = await some_on(here, cluster, primary, 2)
    assert primary.replicated()
    async with here.watched(live.session_id) as watch, here.watched(stays.session_id) as other:
        primary.kill()
        await until(lambda: engine_of(here).unavailable is not None)
        assert await asked(lambda: there.end(live.session_id)) is True
        async with asyncio.timeout(BACK):
            await watch.over.wait()
        assert await asked(lambda: here.read_id(stays.session_id)) is not None
        assert not other.over.is_set()


@pytest.mark.parametrize("roll", ["greenroom:active:{sessions}", "greenroom:active:{podcasts}"])
async def test_an_active_index_whose_node_is_away_blocks_no_other_session(
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
            await until(lambda: sessions.engine.unavailable is not None)
        begun = None
        while begun is None:  # of a session whose own node is away there is nothing to begin
            try:
                begun, _ = await sessions.start({**MINIMAL, "user_id": user})
            except EngineUnavailable:
                pass
        assert await sessions.end(live.session_id)
    await until(lambda: sessions.engine.unavailable is None)
    stream = await Presence(sessions).open(podcast, begun.session_id)
    assert await sessions.active() >= 1
    assert await Presence(sessions).listeners() == {podcast: 1}
    await Presence(sessions).close(stream)
