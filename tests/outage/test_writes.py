"""Writes while the server is down, frozen or overrun: what is sent all the same, what is kept, what nobody can know."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from greenroom.caching import Outcome
from greenroom.caching.invalidation import Backing
from greenroom.caching.ladder import Asked
from greenroom.caching.questions import Miss
from greenroom.counters import Counters
from greenroom.engine import Channel, Limits
from greenroom.engine.deadline import TimeBudget
from greenroom.engine.transport.connection import Connection
from greenroom.errors import EngineError, EngineUnavailable, OutcomeUnknown, Overloaded
from tests.support.episode_caches import EPISODE, KEY, Back, Episode, Loads, cache_of, settled
from tests.support.outage_helpers import broken, connected
from tests.support.patience import PATIENT
from tests.support.proxy import Proxy
from tests.support.real_servers import Server

TEN = [f"e{n}" for n in range(10)]
FEW = replace(PATIENT, outstanding=8)


# Overload --------------------------------------------------------------------------------------------


@asynccontextmanager
async def overrun(server: Server, backing: Backing) -> AsyncIterator[None]:
    """Let as many commands be outstanding as may be, until the block is left."""
    await backing.engine.execute(Channel.TRACKED, "k", "PING")  # what was asked before is answered
    with server.frozen():
        calls = [asyncio.create_task(backing.engine.execute(Channel.TRACKED, "k", "GET", "k")) for _ in range(8)]
        await asyncio.sleep(0)
        yield
    await asyncio.gather(*calls)


async def test_past_the_bound_of_commands_reads_fail_and_the_record_is_spared(server: Server, back: Back) -> None:
    counters, load = Counters(), Loads()
    backing = await back(server, limits=FEW, counters=counters)
    cache = cache_of(backing, load)
    async with overrun(server, backing):
        for read in (cache.get("e1"), cache.get_result("e1"), cache.get_many([{"episode_id": "e1"}])):
            with pytest.raises(Overloaded):
                await read
    assert load.calls == []
    assert +Counter(counters.errors) == {("cache_episode", "overloaded"): 3}
    assert await cache.get("e1") == Episode("e1")


async def test_past_the_bound_each_key_of_a_batch_is_refused_and_counted(server: Server, back: Back) -> None:
    async def load_many(ids: Sequence[str]) -> list[Episode]:
        raise AssertionError(ids)

    counters = Counters()
    backing = await back(server, limits=FEW, counters=counters)
    cache = cache_of(backing, Loads(), load_many=load_many)
    asked: dict[str, Asked] = {EPISODE.key(one): ((one,), {}) for one in TEN[:3]}
    async with overrun(server, backing):
        # As where the read was answered in time, and more came before the question for the leases.
        missed = dict.fromkeys(asked, Miss(TimeBudget(backing.engine.call_budget)))
        with pytest.raises(Overloaded):
            await cache._ladder.load(asked, missed, together=True)
    assert +Counter(counters.errors) == {("cache_episode", "overloaded"): 3}


async def test_past_the_bound_invalidations_are_sent_all_the_same(server: Server, back: Back) -> None:
    load = Loads()
    backing = await back(server, limits=FEW)
    cache = cache_of(backing, load, groups=["every:{episode_id}"])
    for one in TEN[:2]:
        await cache.get(one)
    load.version = 2
    async with overrun(server, backing):
        drops = asyncio.gather(cache.invalidate(TEN[0]), cache.invalidate_group(episode_id=TEN[1]))
        await asyncio.sleep(0)
    await drops
    assert [await cache.get(one) for one in TEN[:2]] == [Episode(one, 2) for one in TEN[:2]]


# Writes that must not be repeated --------------------------------------------------------------------


@pytest.mark.parametrize("until", [None, 0.2])
async def test_a_write_sent_and_not_answered_has_an_unknown_outcome(
    server: Server, back: Back, until: float | None
) -> None:
    engine = (await back(server, limits=Limits(command_deadline=0.2))).engine
    loop = asyncio.get_running_loop()
    with server.frozen():
        with pytest.raises(OutcomeUnknown):
            await engine.execute(Channel.PLAIN, "n", "INCR", "n", retry=False, deadline=until and loop.time() + until)
        with pytest.raises(EngineUnavailable):
            await engine.execute(Channel.PLAIN, "k", "SET", "k", "v")
    assert server.raw()("GET", "n") == b"1"  # it has been carried out


async def test_a_write_under_way_at_a_server_s_kill_has_an_unknown_outcome(server: Server, back: Back) -> None:
    engine = (await back(server)).engine
    server.signal(signal.SIGSTOP)
    call = asyncio.create_task(engine.execute(Channel.PLAIN, "n", "INCR", "n", retry=False))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # written
    server.kill()
    with pytest.raises(OutcomeUnknown):
        await call
    with pytest.raises(EngineUnavailable):
        await engine.execute(Channel.PLAIN, "n", "INCR", "n", retry=False)  # never sent, and so known


# Invalidations that are kept -------------------------------------------------------------------------


async def test_ten_changes_made_in_an_outage_leave_no_old_value(lasting: Server, back: Back) -> None:
    load = Loads()
    backing = await back(lasting)
    cache = cache_of(backing, load, near_for=30)
    for one in (*TEN, "unchanged"):
        await cache.get(one)
    await asyncio.to_thread(lasting.kill)
    load.version = 2
    for one in TEN:
        with pytest.raises(EngineError):
            await cache.invalidate(one)
    seen: dict[str, set[int]] = {one: set() for one in TEN}
    ended = asyncio.Event()

    async def read_on(episode_id: str) -> None:
        while not ended.is_set():
            episode = await cache.get(episode_id)
            assert episode is not None
            seen[episode_id].add(episode.version)
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read_on(one)) for one in TEN]
    await asyncio.to_thread(lasting.start)
    assert lasting.raw()("EXISTS", "cache:episode:unchanged") == 1, "it has its old data again"
    await connected(backing)
    assert backing.unsent == 0
    assert [(await cache.get_result(one)).outcome is Outcome.BYPASSED for one in TEN] == [False] * 10
    ended.set()
    await asyncio.gather(*readers)
    assert seen == {one: {2} for one in TEN}
    assert (await cache.get_result("unchanged")).value == Episode("unchanged")


async def test_no_process_reads_old_values_once_the_changing_one_is_back(lasting: Server, back: Back) -> None:
    load = Loads()
    writing, reading = await back(lasting), await back(lasting)
    writer, reader = cache_of(writing, load), cache_of(reading, load, near_for=30)
    for one in TEN:
        await writer.get(one)
    await asyncio.to_thread(lasting.kill)
    load.version = 2
    for one in TEN:
        with pytest.raises(EngineError):
            await writer.invalidate(one)
    await asyncio.to_thread(lasting.start)
    await connected(reading)
    await reader.get_many([{"episode_id": one} for one in TEN])  # old or new: it has no means to know
    await connected(writing)
    await settled(reader)
    assert [await reader.get(one) for one in TEN] == [Episode(one, 2) for one in TEN]


async def test_an_acknowledged_drop_is_resent_to_a_server_that_forgot_it(valkey: Server, back: Back) -> None:
    load = Loads()
    async with Proxy(valkey) as proxy:
        backing = await back(proxy)
        cache = cache_of(backing, load)
        await cache.get("e1")
        load.version = 2
        await cache.invalidate("e1")
        await proxy.down()
        await broken(backing)
        # A successor that was promoted before the DEL reached it has the old value.
        valkey.raw()("SET", KEY, b'{"episode_id":"e1","version":1}', "EX", 1700)
        await proxy.up()
        await connected(backing)
        assert await cache.get("e1") == Episode("e1", 2)


async def test_a_group_dropped_while_it_is_read_for_a_drop_is_read_again(
    valkey: Server, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, group = Loads(), "every:{episode_id}"
    issue = Connection.issue
    late = [True]
    async with Proxy(valkey) as proxy:
        backing, elsewhere = await back(proxy), cache_of(await back(valkey), load, groups=[group])
        cache = cache_of(backing, load, groups=[group])
        await proxy.down()
        await broken(backing)
        with pytest.raises(EngineError):
            await cache.invalidate_group(episode_id="e1")

        async def fills_meanwhile(replies: asyncio.Future[list[Any]]) -> list[Any]:
            empty = await replies
            await elsewhere.get("e1")
            load.version = 2
            with pytest.raises(EngineError):
                await cache.invalidate_group(episode_id="e1")
            return empty

        def issued(connection: Connection, commands: Any, *args: Any, **options: Any) -> Awaitable[list[Any]]:
            replies = issue(connection, commands, *args, **options)
            return fills_meanwhile(replies) if commands[0][0] == "ZRANGE" and late.pop(0) else replies

        monkeypatch.setattr(Connection, "issue", issued)
        late.append(False)
        await proxy.up()
        await connected(backing)
        assert await cache.get("e1") == Episode("e1", 2)
