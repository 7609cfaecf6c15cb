"""A cold key that 1,000 callers in four real processes want at once: what it costs the record, and who gets what."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from greenroom.caching import Outcome
from greenroom.counters import Counters
from tests.support.crowd import CALLERS, MEMBERS, SECRET, Crowd
from tests.support.episode_caches import KEY, LEASE, Back, Episode, Loads, cache_of, settled
from tests.support.patience import wait_for
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

VALUE = repr(Episode("e1"))


@contextmanager
def prolonged(server: Server) -> Iterator[None]:
    """Have the back-off of a failed load begin anew, again and again: it lasts as long as the test likes."""
    raw, over = server.raw(), threading.Event()

    def prolong() -> None:
        while not over.is_set():
            raw("SET", LEASE, "failed:ValueError", "PX", 1000)
            over.wait(0.1)

    raw("SET", LEASE, "failed:ValueError", "PX", 1000)
    thread = threading.Thread(target=prolong)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        raw.close()


def test_a_cold_key_is_loaded_once(server: Server, valkey: Server) -> None:
    with Crowd(server, valkey, "value", 30) as crowd:
        crowd.all_ask()
        crowd.say("open")
        assert [crowd.answers(member) for member in crowd.members] == [{VALUE: CALLERS}] * MEMBERS
        assert crowd.loads == 1


@pytest.mark.one_kind
@pytest.mark.one_server
def test_a_waiter_asks_once_for_each_renewal_and_does_not_poll(server: Server, valkey: Server) -> None:
    with Crowd(server, valkey, "value", 30) as crowd:
        crowd.all_ask()
        wait_for(lambda: crowd.calls("pexpire") >= 3)  # renewals
        crowd.say("open")
        for member in crowd.members:
            crowd.answers(member)
        # The lease and the fill of one, and its renewals; of each other one wait, one look, at most one look in vain,
        # and one question for each renewal, which each of them is pushed.
        renewals = crowd.calls("pexpire")
        least, most = 2 + 2 * (MEMBERS - 1) + renewals, 2 + 3 * (MEMBERS - 1) + renewals * MEMBERS
        assert least <= crowd.calls("evalsha") <= most


@pytest.mark.one_kind
@pytest.mark.one_server
def test_a_killed_winner_costs_a_second_load_and_a_second_s_wait(server: Server, valkey: Server) -> None:
    raw = server.raw()
    with Crowd(server, valkey, "value", 30) as crowd:
        crowd.all_ask()
        losers = crowd.losers
        crowd.winner.kill()
        crowd.say("open", losers)
        assert raw("PTTL", LEASE) <= 1000  # whatever the loader's deadline
        assert [crowd.answers(member) for member in losers] == [{VALUE: CALLERS}] * (MEMBERS - 1)
        assert crowd.loads == 2
    raw.close()


@pytest.mark.one_kind
@pytest.mark.one_server
def test_a_winner_that_stands_still_costs_a_second_load_and_stores_nothing(server: Server, valkey: Server) -> None:
    raw = server.raw()
    with Crowd(server, valkey, "value", 30) as crowd:
        crowd.all_ask()
        losers, winner = crowd.losers, crowd.winner
        winner.send_signal(signal.SIGSTOP)
        try:
            crowd.say("open", losers)
            assert [crowd.answers(member) for member in losers] == [{VALUE: CALLERS}] * (MEMBERS - 1)
            raw("SET", KEY, "theirs", "EX", 60)
        finally:
            winner.send_signal(signal.SIGCONT)
        crowd.say("open", [winner])
        assert crowd.answers(winner) == {VALUE: CALLERS}
        assert raw("GET", KEY) == b"theirs"
        assert crowd.loads == 2
    raw.close()


@pytest.mark.one_kind
@pytest.mark.one_server
def test_a_failing_load_is_tried_once_in_each_back_off(server: Server, valkey: Server) -> None:
    failed = f"LoadFailed: loading {KEY} failed: ValueError"
    raw = server.raw()
    with Crowd(server, valkey, "fail", 30) as crowd:
        crowd.all_ask()
        crowd.say("open")
        assert crowd.answers(crowd.winner) == {repr(ValueError(SECRET)): CALLERS}
        assert [crowd.answers(member) for member in crowd.losers] == [{failed: CALLERS}] * (MEMBERS - 1)
        assert raw("PTTL", LEASE) <= 1000
        with prolonged(server):
            crowd.say("go")
            assert [crowd.answers(member) for member in crowd.members] == [{failed: CALLERS}] * MEMBERS
        assert crowd.loads == 1
        raw("DEL", LEASE)  # it is over
        crowd.all_ask()
        crowd.say("open")
        for member in crowd.members:
            crowd.answers(member)
        assert crowd.loads == 2
    raw.close()


@pytest.mark.one_kind
@pytest.mark.one_server
def test_a_hung_load_is_cancelled_at_its_deadline_and_everyone_is_told(server: Server, valkey: Server) -> None:
    reason = f"loading {KEY} failed: TimeoutError"
    with Crowd(server, valkey, "hang", 0.5) as crowd:
        crowd.all_ask()
        assert crowd.answers(crowd.winner) == {f"LoadTimeout: {reason}": CALLERS}
        assert [crowd.answers(member) for member in crowd.losers] == [{f"LoadFailed: {reason}": CALLERS}] * 3
        assert (crowd.loads, crowd.cancelled) == (1, 1)


@pytest.mark.one_kind
@pytest.mark.one_server
@pytest.mark.parametrize("number", [1, CALLERS])
def test_callers_of_the_winner_that_go_away_take_the_load_from_nobody(
    server: Server, valkey: Server, number: int
) -> None:
    with Crowd(server, valkey, "value", 30) as crowd:
        crowd.all_ask()
        crowd.say(f"cancel {number}", [crowd.winner])
        crowd.say("open")
        left = {VALUE: CALLERS - number} if number < CALLERS else {}
        assert crowd.answers(crowd.winner) == {"cancelled": number} | left
        assert [crowd.answers(member) for member in crowd.losers] == [{VALUE: CALLERS}] * (MEMBERS - 1)
        assert (crowd.loads, crowd.cancelled) == (1, 0)


async def test_a_caller_that_comes_during_the_load_joins_it_without_asking(server: Server, back: Back) -> None:
    counters, load = Counters(), Loads()
    load.go.clear()
    cache = cache_of(await back(server, counters=counters), load)
    first = asyncio.create_task(cache.get_result("e1"))
    await load.started.wait()
    await settled(cache)  # had the taking of the lease been pushed to its taker, that would have closed its flight
    later = asyncio.create_task(cache.get_result("e1"))
    await settled(cache)
    load.go.set()
    assert [(await first).outcome, (await later).outcome] == [Outcome.LOADED, Outcome.SHARED]
    assert counters.cache_events["cache_episode", "lease_wait"] == 0
