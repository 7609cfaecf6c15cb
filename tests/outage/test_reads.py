"""Reads while the server is frozen, gone, comes and goes, or is none: every one is answered, and in bounded time."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from greenroom.caching import Outcome
from greenroom.engine import Channel, Limits
from greenroom.errors import EngineUnavailable
from tests.support.episode_caches import KEY, Back, Episode, Loads, cache_of
from tests.support.impostors import Impostor
from tests.support.outage_helpers import BOUND, Nowhere, answered, broken, outcomes, until_hit
from tests.support.real_servers import Server

ON_CLUSTER = pytest.mark.on_cluster
"""Not the whole file: most of it is about something that is no server at all, or about one that is started again."""
NONSENSE = {
    "noise": b"220 mail.example ESMTP\r\n",
    "a number": b":1\r\n",
    "a word": b"+OK\r\n",
    "nothing": b"_\r\n",
    "true": b"#t\r\n",
    "false": b"#f\r\n",
    "an empty list": b"*0\r\n",
    "a list": b"*2\r\n$6\r\nabsent\r\n$4\r\nsoon\r\n",
    "a map": b"%1\r\n+a\r\n:1\r\n",
    "an error": b"-ERR no\r\n",
    "too many answers": b":1\r\n:2\r\n",
    "pushes": b">2\r\n$10\r\ninvalidate\r\n:1\r\n:1\r\n",
    "silence": b"",
}


@ON_CLUSTER
async def test_a_frozen_server_is_read_past_and_found_again(server: Server, back: Back) -> None:
    load = Loads()
    cache = cache_of(await back(server), load)
    await answered(cache, "e1")
    with server.frozen():
        assert outcomes(await answered(cache, *[f"e{n}" for n in range(8)] * 4)) == {Outcome.BYPASSED}
        assert sorted(load.calls) == sorted(["e1", *(f"e{n}" for n in range(8))])  # once per key
        await answered(cache, *[f"new{n}" for n in range(8)])
    await until_hit(cache)


async def test_a_waiter_loads_by_itself_when_the_server_freezes(server: Server, back: Back) -> None:
    mine, theirs = Loads(), Loads()
    theirs.go.clear()
    leader, waiter = cache_of(await back(server), theirs), cache_of(await back(server), mine)
    leading = asyncio.create_task(leader.get_result("e1"))
    await theirs.started.wait()
    waiting = asyncio.create_task(answered(waiter, "e1"))
    raw = server.raw()
    # Each has asked for the generation of its keyspace, and for the lease.
    while b"cmdstat_evalsha:calls=4" not in raw("INFO", "commandstats"):
        await asyncio.sleep(0)
    with server.frozen():
        assert outcomes(await waiting) == {Outcome.BYPASSED}
        began = monotonic()
        theirs.go.set()
        read = await leading
        assert monotonic() - began < BOUND
        assert (read.value, read.stored) == (Episode("e1"), False)


async def test_where_nobody_listens_reads_go_to_the_record(back: Back, valkey: Server) -> None:
    valkey.kill()
    cache = cache_of(await back(valkey), Loads())
    assert outcomes(await answered(cache, "e1", "e2")) == {Outcome.BYPASSED}
    valkey.start()
    async with asyncio.timeout(20):
        while outcomes(await answered(cache, "e3")) == {Outcome.BYPASSED}:
            await asyncio.sleep(0.01)
    assert outcomes(await answered(cache, "e3")) == {Outcome.HIT}


async def test_a_server_that_comes_and_goes_fails_no_read(valkey: Server, back: Back) -> None:
    cache = cache_of(await back(valkey), Loads())
    ended = asyncio.Event()

    async def read_on() -> set[Outcome]:
        seen = set[Outcome]()
        while not ended.is_set():
            seen |= outcomes(await answered(cache, "e1", "e2"))
            await asyncio.sleep(0.001)  # a load that nothing waits for gives the loop no turn
        return seen

    readers = [asyncio.create_task(read_on()) for _ in range(4)]
    for _ in range(3):
        await until_hit(cache)
        await asyncio.to_thread(valkey.kill)
        async with asyncio.timeout(20):
            while outcomes(await answered(cache, "e1")) != {Outcome.BYPASSED}:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(valkey.start)
    await until_hit(cache)
    ended.set()
    for seen in await asyncio.gather(*readers):
        assert {Outcome.HIT, Outcome.BYPASSED} <= seen


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
async def test_a_server_that_answers_nonsense_is_read_past(back: Back, nonsense: bytes) -> None:
    async with Impostor(nonsense).listening() as impostor:
        cache = cache_of(await back(impostor), Loads(), near_for=30)
        for _ in range(2):
            reads = await answered(cache, *[f"e{n}" for n in range(8)] * 4)
            assert outcomes(reads) == {Outcome.BYPASSED}


async def test_what_accepts_and_never_answers_is_read_past(back: Back) -> None:
    async with Impostor(handshake=False).listening() as impostor:
        cache = cache_of(await back(impostor), Loads())
        assert outcomes(await answered(cache, "e1", "e2")) == {Outcome.BYPASSED}


async def test_nonsense_grants_no_lease_and_so_no_load_past_the_places(back: Back) -> None:
    load = Loads()
    load.go.clear()
    async with Impostor(b"_\r\n").listening() as impostor:
        cache = cache_of(await back(impostor), load, max_concurrent=1)
        first = asyncio.create_task(cache.get_result("e1"))
        await load.started.wait()
        results = await asyncio.gather(*(cache.get_result(f"x{n}") for n in range(8)), return_exceptions=True)
        assert load.calls == ["e1"]
        assert {type(result).__name__ for result in results} == {"Overloaded"}
        load.go.set()
        assert (await first).outcome is Outcome.BYPASSED


async def test_after_three_failures_calls_fail_at_once_and_before_they_wait(back: Back) -> None:
    async with Impostor(handshake=False).listening() as impostor:
        limits = Limits(handshake_deadline=0.05, backoff_first=0.001, backoff_max=0.001, command_deadline=60)
        backing = await back(impostor, limits=limits)
        early = asyncio.create_task(backing.engine.execute(Channel.TRACKED, KEY, "GET", KEY))
        await asyncio.sleep(0)
        assert not early.done(), "one failure is not a reason to give up"
        await broken(backing)
        with pytest.raises(EngineUnavailable):
            await early  # long before its deadline
        late = asyncio.create_task(backing.engine.execute(Channel.TRACKED, KEY, "GET", KEY))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert late.done()
        assert isinstance(late.exception(), EngineUnavailable)


async def test_a_server_that_hangs_up_after_each_handshake_opens_the_circuit(back: Back) -> None:
    async with Impostor(b"220 mail.example ESMTP\r\n").listening() as impostor:
        backing = await back(impostor, limits=Limits(ping_after=0.001, tick=0.001))
        await broken(backing)
        # Either channel says something, if only a ping; the plain one may be an attempt behind.
        assert impostor.connections <= 2 * (Limits().breaker_failures + 1)


async def test_a_broken_link_lets_reads_go_to_the_record_without_a_wait(back: Back) -> None:
    cache = cache_of(await broken(await back(Nowhere())), Loads())
    read = asyncio.create_task(cache.get_result("e1"))
    for _ in range(20):
        await asyncio.sleep(0)  # no timer and no socket in it: a few turns of the loop
    assert read.done()
    assert read.result().outcome is Outcome.BYPASSED
