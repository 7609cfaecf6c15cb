"""Threads that meet: one load, no old value after a drop that was called, no call that is made twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from greenroom.sync import Greenroom, process
from greenroom.sync.called_drops import CalledDrop, CalledDrops
from greenroom.sync.portal import Portal
from greenroom.sync.portal_call import PortalCall
from tests.support.real_servers import Server
from tests.support.sync_rooms import COUNT, EPISODE, Episode, Record, together


@pytest.fixture
def room(valkey: Server) -> Iterator[Greenroom]:
    with Greenroom(valkey.address, sessions=False) as room:
        yield room


def test_a_cold_key_is_loaded_once_for_all_threads(room: Greenroom) -> None:
    record = Record()
    episode, arrived = room.cached(EPISODE)(record.load), threading.Barrier(32)

    def reads() -> list[Episode | None]:
        arrived.wait()
        return [episode("s1", 1) for _ in range(256)]

    for read in together([reads] * 32):
        assert read == [Episode("s1", 1)] * 256
    assert len(record.loads) == 1


def test_callers_of_two_rooms_share_one_load(valkey: Server, room: Greenroom) -> None:
    record = Record()
    with Greenroom(valkey.address, sessions=False) as other:
        both = [one.cached(EPISODE)(record.load) for one in (room, other)]
        arrived = threading.Barrier(32)

        def read(number: int) -> Episode | None:
            arrived.wait()
            return both[number % 2]("s1", 1)

        assert together([partial(read, number) for number in range(32)]) == [Episode("s1", 1)] * 32
    assert len(record.loads) == 1


class HeldLoop:
    """Keeps a portal's loop from beginning calls, so that what is queued stays queued."""

    def __init__(self, room: Greenroom) -> None:
        self._go, held = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            self._go.wait(60)

        process.portal().post(hold)
        assert held.wait(60)

    def __enter__(self) -> HeldLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()


@pytest.mark.parametrize("what", ["key", "many", "group", "keyspace", "changing"])
def test_nothing_is_given_from_near_once_a_drop_is_called(room: Greenroom, what: str) -> None:
    record = Record()
    episode = room.cached(EPISODE, groups=["episodes:{show_id}"])(record.load)
    assert episode("s1", 1) == episode.peek("s1", 1) == Episode("s1", 1, 1)
    record.version = 2

    def change() -> None:
        with room.changing(episode.of("s1", 1)):
            pass

    drops = {
        "key": lambda: episode.invalidate("s1", 1),
        "many": lambda: episode.invalidate_many([("s1", number) for number in range(1000)]),
        "group": lambda: episode.invalidate_group("s1"),
        "keyspace": lambda: room.drop_keyspace(EPISODE),
        "changing": change,
    }
    called = threading.Event()
    begin = room._called.begin

    def marked(drop: CalledDrop) -> None:
        begin(drop)
        called.set()

    room._called.begin = marked  # type: ignore[method-assign]
    with HeldLoop(room):
        dropping = threading.Thread(target=drops[what])
        dropping.start()
        assert called.wait(60)
        # The loop has heard of nothing yet.
        assert episode.peek("s1", 1) is None
        assert room.room.backing.near.peek("cache:episode:s1:1", 0.0) is not None
    dropping.join(60)
    assert episode("s1", 1) == Episode("s1", 1, 2)
    assert (room._called.keys, room._called.wide) == ({}, set())


class LateKeys(dict[str, Any]):
    """The marks of drops; before each look at them something else happens."""

    def __init__(self, before: Any) -> None:
        super().__init__()
        self.before = before

    def __contains__(self, key: object) -> bool:
        self.before()
        return super().__contains__(key)


def test_the_marks_are_looked_at_after_the_entry_was_had(room: Greenroom) -> None:
    record = Record()
    episode = room.cached(EPISODE)(record.load)
    episode("s1", 1)
    record.version, other = 2, list[threading.Thread]()

    def before() -> None:
        # The entry was had: now another thread calls a drop, whose mark alone can tell.
        if not other:
            other.append(threading.Thread(target=episode.invalidate, args=("s1", 1)))
            with HeldLoop(room):
                other[0].start()
                while not dict.__contains__(keys, "cache:episode:s1:1"):
                    pass

    keys = LateKeys(before)
    room._called.keys = keys
    episode.cache._called_keys = keys
    assert episode("s1", 1) == Episode("s1", 1, 2)
    other[0].join(60)


def test_a_call_that_is_queued_twice_is_made_once(room: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    count = room.store(COUNT)
    put = Portal._put

    def twice(portal: Portal, one: Any) -> None:
        put(portal, one)
        if isinstance(one, PortalCall):
            put(portal, one)

    monkeypatch.setattr(Portal, "_put", twice)
    together([partial(count.increment, name="a")] * 10)
    assert count.get("a") == 10


def test_marks_of_many_threads_on_one_key_all_count() -> None:
    drops = CalledDrops()

    def mark() -> None:
        for _ in range(2000):
            drop = CalledDrop(("a", "b"))
            drops.begin(drop)
            assert "a" in drops.keys
            drops.end(drop)

    together([mark] * 8)
    assert drops.keys == {}
