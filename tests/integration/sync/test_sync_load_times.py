"""The deadline of a load bounds that load alone: what waits for its thread has not begun."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import pytest

from greenroom import Keyspace
from greenroom.caching import loader
from greenroom.caching.lease import Holder
from greenroom.caching.loader import LoadTime
from greenroom.errors import LoadTimeout
from greenroom.sync import Greenroom, process
from tests.support.patience import wait_for
from tests.support.sync_rooms import EPISODE, MINUTES, Episode, Record, together

SHORT, LONG = 0.03, 60.0
OTHER = Keyspace("other:{name}", int, ttl=MINUTES)


class Times:
    """The times of loads, in the order in which their loader was called; the first has more than was declared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[LoadTime] = []
        monkeypatch.setattr(loader, "LoadTime", self)

    def __call__(self, keys: Sequence[str], seconds: float, stopped: dict[str, LoadTime]) -> LoadTime:
        self.made.append(LoadTime(keys, seconds if self.made else LONG, stopped))
        return self.made[-1]


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    return Times(monkeypatch)


ASKED = [("s1", number) for number in range(1, 6)]


def test_a_deadline_counts_from_when_a_thread_takes_the_load(
    room: Greenroom, make_room: Callable[..., Greenroom], times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, waits, renew = Record(), list[Callable[[], bool]](), Holder.renew

    def renewed(holder: Holder, seconds: float, lost: Callable[[], None], waiting: Callable[[], bool]) -> None:
        waits.append(waiting)
        renew(holder, seconds, lost, waiting)

    monkeypatch.setattr(Holder, "renew", renewed)
    episode = room.cached(EPISODE, loader_deadline=timedelta(seconds=SHORT))(record.load)

    @room.cached(OTHER, loader_deadline=timedelta(seconds=SHORT))
    async def late(name: str) -> int:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    def hold() -> None:
        record.before = lambda: None
        wait_for(lambda: len(times.made) == len(ASKED))
        # This one begins after the others of this thread, and its time passes.
        with pytest.raises(LoadTimeout):
            late("a")
        assert len(record.loads) == 1
        assert sum(one() for one in waits) == len(ASKED) - 1  # whose leases are renewed without an end
        for time in times.made:
            time._seconds = LONG  # the machine may be busy

    record.before = hold
    assert episode.get_many(ASKED) == [Episode(*one) for one in ASKED]
    assert sorted(record.loads) == ASKED
    assert not room.counters.errors[EPISODE.name, "load_timeout"]
    assert not any(one() for one in waits)
    assert make_room().cached(EPISODE)(record.load).get_many(ASKED) == [Episode(*one) for one in ASKED]
    assert len(record.loads) == len(ASKED)  # all of them were stored, each under its lease


def test_loads_behind_one_that_hangs_are_done_once_by_other_threads(room: Greenroom, times: Times) -> None:
    record, go, others_go = Record(), threading.Event(), threading.Event()
    episode = room.cached(EPISODE, loader_deadline=timedelta(seconds=LONG))(record.load)

    def hang() -> None:
        record.before = lambda: others_go.wait(60)
        wait_for(lambda: len(times.made) == len(ASKED))
        process.portal().post(lambda: times.made[0].timeout.reschedule(0.0))
        assert go.wait(60)

    record.before = hang

    def read_many() -> None:
        with pytest.raises(LoadTimeout):
            episode.get_many(ASKED)

    reading = threading.Thread(target=read_many, daemon=True)
    reading.start()
    wait_for(lambda: len(record.loads) == len(ASKED))
    # It comes back to what it was given too, which others are at.
    go.set()
    reading.join(60)
    assert not reading.is_alive()
    others_go.set()
    others = [one for one in ASKED if one != record.loads[0]]
    assert together([partial(episode, *one) for one in others]) == [Episode(*one) for one in others]
    assert sorted(record.loads) == ASKED
    assert reading not in record.threads[1:]


def test_a_load_that_waited_for_its_thread_has_a_deadline_too(room: Greenroom, times: Times) -> None:
    record, go = Record(), threading.Event()
    episode = room.cached(EPISODE, loader_deadline=timedelta(seconds=SHORT))(record.load)

    def wait_for_both() -> None:
        record.before = lambda: go.wait(60)
        wait_for(lambda: len(times.made) == 2)

    record.before = wait_for_both
    reading = threading.Thread(target=partial(pytest.raises, LoadTimeout, episode.get_many, ASKED[:2]), daemon=True)
    reading.start()
    wait_for(lambda: room.counters.errors[EPISODE.name, "load_timeout"])
    assert len(record.loads) == 2
    go.set()
    reading.join(60)
    assert not reading.is_alive()


def test_a_call_that_has_failed_keeps_its_thread_for_no_further_load(room: Greenroom) -> None:
    record = Record()
    episode = room.cached(EPISODE)(record.load)

    def fail() -> None:
        record.before = until_the_call_has_ended
        raise ValueError("away")

    def until_the_call_has_ended() -> None:
        if threading.current_thread() is threading.main_thread():
            wait_for(lambda: not process.portal().running)

    record.before = fail
    with pytest.raises(ValueError, match="away"):
        episode.get_many(ASKED)
    # It may have taken one more before the loop had heard of the failure.
    assert record.threads.count(threading.current_thread()) <= 2
    wait_for(lambda: len(record.loads) == len(ASKED))


def test_a_loader_that_calls_another_has_no_more_time_for_it(room: Greenroom, times: Times) -> None:
    record = Record()
    episode = room.cached(EPISODE)(record.load)
    due: list[float | None] = []

    @room.cached(OTHER)
    async def outer(name: str) -> int:
        due.append(times.made[0].timeout.when())
        await asyncio.sleep(0.01)  # or uvloop's clock, which counts milliseconds, may say the same
        await episode.cache.asynchronous.load(name, 1)
        due.append(times.made[0].timeout.when())
        return 1

    assert outer("s1") == 1
    assert record.loads == [("s1", 1)]
    assert due[0] == due[1]
