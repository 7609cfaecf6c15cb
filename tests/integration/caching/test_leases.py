"""Leases live for a second: renewed while their holder loads, given back on every way out, waited for no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest

from greenroom.caching import Cache, Outcome, lease, releases
from greenroom.caching.invalidation import Backing
from greenroom.caching.lease import GET_OR_LEASE, RENEW
from greenroom.caching.load_steps import LoadSteps
from greenroom.caching.releases import RELEASE
from greenroom.caching.single_flight import Flights
from greenroom.clock import SYSTEM
from greenroom.counters import Counters
from greenroom.engine import Address, all_keys, engine_at
from greenroom.errors import EngineUnavailable, InvalidInput
from greenroom.keyspace import Keyspace, Number
from tests.support.episode_caches import KEY, LEASE, Back, Episode, Loads, cache_of, settled
from tests.support.held import held_by
from tests.support.patience import PATIENT, SteadyClock, until
from tests.support.proxy import Proxy, proxy_of
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

FOR_EVER = 600.0


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with proxy_of(server) as proxy:
        yield proxy


async def held(back: Back, through: Server | Proxy, **options: Any) -> tuple[Cache[Any], Loads]:
    """A process whose loader begins and does not end."""
    load = Loads()
    load.go.clear()
    backing = await back(through, limits=PATIENT, counters=Counters())
    return cache_of(backing, load, loader_deadline=FOR_EVER, **options), load


def waits(cache: Cache[Any]) -> int:
    """How often it was told to wait for another's lease."""
    return cache._backing.counters.cache_events["cache_episode", "lease_wait"]


def renewals(server: Server) -> int:
    """How often a lease was renewed since `CONFIG RESETSTAT`."""
    raw = server.raw()
    try:
        lines = raw("INFO", "commandstats").decode().splitlines()
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in lines if line.startswith("cmdstat_pexpire:"))
    finally:
        raw.close()


async def renewed(server: Server, times: int) -> None:
    """Return when a lease was renewed so often again."""
    async with asyncio.timeout(60):
        before = renewals(server)
        while renewals(server) < before + times:
            await asyncio.sleep(0.02)


# Renewed -------------------------------------------------------------------------------------------


async def test_a_load_longer_than_a_lease_s_life_runs_once_over_all_processes(server: Server, back: Back) -> None:
    leader, load = await held(back, server)
    leading = asyncio.create_task(leader.get_result("e1"))
    await load.started.wait()
    others = [cache_of(await back(server, limits=PATIENT), load) for _ in range(3)]
    waiting = [asyncio.create_task(other.get_result("e1")) for other in others]
    await renewed(server, 4)  # more than its life
    load.go.set()
    assert (await leading).stored
    assert [(await one).outcome for one in waiting] == [Outcome.SHARED] * 3
    assert load.calls == ["e1"]


async def test_a_leader_s_own_renewals_do_not_close_its_load_to_newcomers(server: Server, back: Back) -> None:
    leader, load = await held(back, server)
    leading = asyncio.create_task(leader.get_result("e1"))
    await load.started.wait()
    await renewed(server, 2)
    await settled(leader)
    late = asyncio.create_task(leader.get_result("e1"))
    await settled(leader)
    load.go.set()
    assert [(await leading).outcome, (await late).outcome] == [Outcome.LOADED, Outcome.SHARED]
    assert waits(leader) == 0


async def test_nobody_joins_a_renewed_load_after_an_invalidation_elsewhere(server: Server, back: Back) -> None:
    leader, load = await held(back, server)
    leading = asyncio.create_task(leader.get_result("e1"))
    await load.started.wait()
    await renewed(server, 2)
    load.version = 2
    await cache_of(await back(server), Loads()).invalidate("e1")
    await settled(leader)
    late = asyncio.create_task(leader.get_result("e1"))
    await until(lambda: len(load.calls) == 2)
    load.go.set()
    assert ((await late).value, (await late).stored) == (Episode("e1", 2), True)
    assert ((await leading).value, (await leading).stored) == (Episode("e1", 1), False)


async def test_an_invalidation_pushed_beside_a_renewal_closes_the_load(
    server: Server, proxy: Proxy, back: Back
) -> None:
    leader, load = await held(back, proxy)
    leading = asyncio.create_task(leader.get_result("e1"))
    await load.started.wait()
    renew = proxy.hold("EVALSHA", RENEW.sha)
    await renew.reached.wait()
    replies = proxy.hold_replies()
    renew.release()
    await replies.have("invalidate")
    load.version = 2
    await cache_of(await back(server), Loads()).invalidate("e1")
    await until(lambda: sum(b"invalidate" in frame for frame in replies.frames) == 2)
    replies.release()
    await settled(leader)
    late = asyncio.create_task(leader.get_result("e1"))
    await until(lambda: len(load.calls) == 2)
    load.go.set()
    assert (await late).value == Episode("e1", 2)
    assert not (await leading).stored


async def test_a_renewal_s_push_lost_with_its_connection_hides_no_later_push() -> None:
    engine = engine_at(Address.parse("valkey://127.0.0.1:1"))
    backing, flights = Backing(engine, "", SYSTEM, Counters()), Flights[Any]()
    backing.local.register(flights)
    backing.renewed(LEASE)
    backing.keys_lost(all_keys)
    flight = flights.begin(KEY)
    backing.keys_invalidated(LEASE.encode())
    assert not flight.open


async def test_a_renewal_that_finds_another_holder_closes_the_load(
    server: Server, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, load = await held(back, server)
    leading = asyncio.create_task(leader.get_result("e1"))
    await load.started.wait()
    load.version = 2
    await settled(leader)
    flight = leader._flights.find(KEY)
    assert flight is not None
    # As if the push had been lost with the tracking table's entry: nobody tells of it.
    monkeypatch.setattr(Flights, "wake", lambda *_: None)
    server.raw()("SET", LEASE, "b" * 32 + ":", "PX", 60_000)
    await until(lambda: not flight.open)
    server.raw()("DEL", LEASE)
    load.go.set()
    assert not (await leading).stored


async def test_newcomers_in_a_waiting_process_share_one_question_per_renewal(server: Server, back: Back) -> None:
    leader, load = await held(back, server)
    leading = asyncio.create_task(leader.get_result("e1"))
    await load.started.wait()
    waiter = cache_of(await back(server, limits=PATIENT, counters=Counters()), load)
    reads = [asyncio.create_task(waiter.get_result("e1"))]
    for _ in range(3):
        await renewed(server, 1)
        await settled(waiter)
        reads.append(asyncio.create_task(waiter.get_result("e1")))
        await settled(waiter)
    assert len(waiter._flights._in_flight[KEY]) == 1
    load.go.set()
    await leading
    assert {(await read).outcome for read in reads} == {Outcome.SHARED}
    assert load.calls == ["e1"]


async def test_an_invalidation_made_here_closes_a_flight_that_only_waits(server: Server, back: Back) -> None:
    leader, load = await held(back, server)
    leading = asyncio.create_task(leader.get_result("e1"))
    await load.started.wait()
    waiter = cache_of(await back(server, limits=PATIENT, counters=Counters()), load)
    early = asyncio.create_task(waiter.get_result("e1"))
    await until(lambda: waits(waiter))
    flight = waiter._flights.find(KEY)
    await waiter.invalidate("e1")
    assert flight is not None
    assert not flight.open
    load.go.set()
    await asyncio.gather(leading, early)


# Given back ----------------------------------------------------------------------------------------


async def nothing_left(server: Server, cache: Cache[Any]) -> None:
    """Fail where a lease, or anything in the process, is still held."""
    await settled(cache)
    assert server.raw()("EXISTS", LEASE) == 0
    await until(lambda: held_by(cache._backing, cache) == {})


async def test_a_page_that_cannot_be_registered_holds_no_lease_as_it_loads(
    server: Server, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, load = await held(back, server, groups=["episodes:{episode_id}"])

    async def refused(*_: object, **__: object) -> None:
        raise EngineUnavailable("for the test: the group's node has died")

    monkeypatch.setattr(cache._backing.groups, "register", refused)
    reading = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    await settled(cache)
    assert server.raw()("EXISTS", LEASE) == 0
    load.go.set()
    assert not (await reading).stored


async def test_a_group_with_a_number_in_it_works(server: Server, back: Back) -> None:
    numbers = {"n": Number(1, 99)}
    pages: Keyspace[tuple[int, ...]] = Keyspace(
        "cache:page:{show}:{n}", tuple[int, ...], ttl=timedelta(minutes=5), parts=numbers
    )
    value = [1]

    async def load(show: str, n: int) -> tuple[int, ...]:
        return (n, *value)

    cache = Cache(pages, load, backing=await back(server), groups=["pages:{show}:{n}"])
    assert await cache.get(show="s", n=1) == (1, 1)
    value[0] = 2
    await cache.invalidate_group(show="s", n=1)
    read = await cache.get_result(show="s", n=1)
    assert (read.value, read.stored) == ((1, 2), True)


async def test_a_group_with_a_part_that_no_key_has_is_refused_at_its_declaration(server: Server, back: Back) -> None:
    with pytest.raises(InvalidInput, match=r"group.*topic.*episode_id"):
        cache_of(await back(server), Loads(), groups=["episodes:{topic}"])


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question uses the whole time of its read up, as on a slow network."""
    ask = LoadSteps.ask

    async def asked(self: Any, holder: Any, flight: Any, miss: Any) -> Any:
        try:
            return await ask(self, holder, flight, miss)
        finally:
            miss.budget.left = 0.0

    monkeypatch.setattr(LoadSteps, "ask", asked)


@pytest.mark.usefixtures("spent")
async def test_a_page_of_a_group_is_stored_however_long_the_question_took(server: Server, back: Back) -> None:
    cache = cache_of(await back(server), Loads(), groups=["episodes:{episode_id}"])
    assert (await cache.get_result("e1")).stored


@pytest.mark.usefixtures("spent")
async def test_who_has_waited_has_time_to_ask_again_and_stores_what_he_loads(server: Server, back: Back) -> None:
    raw = server.raw()
    raw("SET", LEASE, "b" * 32 + ":", "PX", 30_000)
    cache = cache_of(await back(server, counters=Counters()), Loads())
    reading = asyncio.create_task(cache.get_result("e1"))
    await until(lambda: waits(cache))
    raw("DEL", LEASE)
    assert (await reading).stored


async def test_a_lease_granted_to_somebody_who_gave_up_is_given_back(
    server: Server, proxy: Proxy, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_for = LoadSteps.ask

    async def hurried(self: Any, holder: Any, flight: Any, miss: Any) -> Any:
        miss.budget.left = 0.01
        return await ask_for(self, holder, flight, miss)

    monkeypatch.setattr(LoadSteps, "ask", hurried)
    cache = cache_of(await back(proxy, limits=PATIENT), Loads())
    ask = proxy.hold("EVALSHA", GET_OR_LEASE.sha)
    reading = asyncio.create_task(cache.get_result("e1"))
    await ask.reached.wait()
    await until(reading.done)  # without the server's answer
    ask.release()
    await nothing_left(server, cache)


async def test_a_lease_is_given_back_that_was_asked_for_when_the_process_closed(
    server: Server, proxy: Proxy, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenroom.caching.invalidation.CLOSING", 60.0)
    cache = cache_of(await back(proxy, limits=PATIENT), Loads())
    ask = proxy.hold("EVALSHA", GET_OR_LEASE.sha)
    reading = asyncio.create_task(cache.get_result("e1"))
    await ask.reached.wait()
    closing = asyncio.create_task(cache._backing.close())
    await until(reading.done)
    passed: list[bytes] = []

    async def note(command: list[bytes]) -> None:
        passed.extend(command[1:2])

    proxy.gate = note
    await asyncio.wait([closing], timeout=0.1)
    ask.release()
    await closing
    assert RELEASE.sha.encode() in passed
    assert server.raw()("EXISTS", LEASE) == 0


async def test_a_release_that_finds_no_connection_is_carried_by_the_next(
    server: Server, proxy: Proxy, back: Back
) -> None:
    load = Loads()
    load.go.clear()
    cache = cache_of(await back(proxy, clock=SteadyClock()), load, loader_deadline=FOR_EVER)
    reading = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    await proxy.all_down()
    server.raw()("PEXPIRE", LEASE, 600_000)  # nothing but its release ends it
    load.go.set()
    assert not (await reading).stored
    await until(lambda: not len(cache._backing.releases._sending))
    assert len(cache._backing.releases) == 1
    for way in proxy.ways:
        await way.up()
    await until(lambda: not server.raw()("EXISTS", LEASE), 30)
    await until(lambda: not cache._backing.releases)


async def test_a_release_after_scripts_were_flushed_is_carried_out(server: Server, back: Back) -> None:
    cache, load = await held(back, server)
    load.error = ValueError()
    reading = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    server.raw()("SCRIPT", "FLUSH")
    load.go.set()
    with pytest.raises(ValueError):  # the loader's own, without a text
        await reading
    await until(lambda: not cache._backing.releases)
    assert server.raw()("GET", LEASE) == b"failed:ValueError"


async def test_a_fill_after_scripts_were_flushed_is_stored_and_kept_near(server: Server, back: Back) -> None:
    cache, load = await held(back, server, near_for=30)
    reading = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    server.raw()("SCRIPT", "FLUSH")
    load.go.set()
    assert (await reading).stored
    assert (await cache.get_result("e1")).outcome is Outcome.NEAR


# The life of a lease --------------------------------------------------------------------------------


@pytest.mark.own_limits
async def test_a_lease_lives_a_second_whatever_its_loader_s_deadline(server: Server, back: Back) -> None:
    cache, load = await held(back, server)
    reading = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    assert 0 < server.raw()("PTTL", LEASE) <= 1000
    load.go.set()
    await reading
    assert releases.BACKOFF <= releases.LIFE  # a failure that lived longer would count as lapsed


@pytest.mark.own_limits
async def test_no_lease_is_renewed_past_the_time_that_its_load_has(server: Server, back: Back) -> None:
    cache = cache_of(await back(server), Loads())
    leases = cache._ladder.loads.steps.leases
    holder = leases.holder(KEY)
    await leases.ask(holder, "", deadline=monotonic() + 60)
    holder.renew(0.5, lambda: None)
    before = renewals(server)
    await until(lambda: not server.raw()("EXISTS", LEASE), 60)
    assert renewals(server) - before <= 2
    holder.release()


@pytest.mark.own_limits
async def test_a_lease_is_renewed_while_its_load_waits_for_a_thread(
    server: Server, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWAL", 0.01)
    leases = cache_of(await back(server), Loads())._ladder.loads.steps.leases
    holder, waits = leases.holder(KEY), True
    await leases.ask(holder, "", deadline=monotonic() + 60)
    before = renewals(server)
    holder.renew(0.0, lambda: None, lambda: waits)
    await until(lambda: renewals(server) - before > 3)
    waits = False
    await until(lambda: not server.raw()("EXISTS", LEASE), 60)
    holder.release()
