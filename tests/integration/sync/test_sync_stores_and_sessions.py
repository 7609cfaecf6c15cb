"""Stores, sessions and rate limits from threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import msgspec
import pytest

from greenroom import Keyspace, Outcome
from greenroom.errors import BrokenValue, RoomElsewhere
from greenroom.sessions import SessionGone
from greenroom.sync import Greenroom
from greenroom.sync.called_drops import CalledDrop
from tests.support.sync_rooms import COUNT, MINUTES, together

BASKET = Keyspace("basket:{name}", list[str], ttl=MINUTES)


def test_a_store_does_all_that_the_asynchronous_one_does(room: Greenroom) -> None:
    count = room.store(COUNT)
    assert count.get("a") is None
    assert count.add(1, name="a")
    assert not count.add(2, name="a")
    assert count.increment(4, name="a") == 5
    assert count.get(name="a") == 5
    assert count.get_result("a").outcome is Outcome.NEAR
    assert count.compare_and_set(count.get_result("a"), 6, name="a")
    assert count.change(lambda number: (number or 0) + 1, name="a") == 7
    assert count.touch("a", ttl=timedelta(hours=1))
    count.set_many({"b": 1, "c": 2})
    assert count.get_many(["a", "b", "c", "d"]) == [7, 1, 2, None]
    assert count.delete("a")
    assert count.delete_many(["a", "b"]) == 1
    assert count.get_many(["a", "b", "c"]) == [None, None, 2]
    with pytest.raises(BrokenValue):
        count.set("seven", name="a")  # type: ignore[arg-type]


def test_of_many_those_that_are_near_are_read_in_the_callers_thread(room: Greenroom) -> None:
    baskets = room.store(BASKET)
    baskets.set_many({name: [name] for name in "abc"})
    assert baskets.get_many(["a", "b"]) == [["a"], ["b"]]
    near = room.counters.reads["basket", "near"]

    async def in_a_loop() -> list[list[str] | None]:
        with pytest.raises(RoomElsewhere):
            baskets.get_many(["a", "c"])
        for drop in (CalledDrop([BASKET.key("b")]), CalledDrop(wide=True)):  # as a thread has called it
            room._called.begin(drop)
            with pytest.raises(RoomElsewhere):
                baskets.get_many(["a", "b"])
            room._called.end(drop)
        return baskets.get_many(["b", "a", "b"])

    mine = asyncio.run(in_a_loop())
    assert mine == [["b"], ["a"], ["b"]]
    assert room.counters.reads["basket", "near"] >= near + 3
    mine[0].append("changed by who has read it")  # type: ignore[union-attr]
    assert baskets.get_many(["b", "none", "c", "a"]) == [["b"], None, ["c"], ["a"]]


def test_many_of_a_thread_are_read_as_it_has_written_them(make_room: Callable[..., Greenroom]) -> None:
    count = make_room().store(COUNT)

    def writes(number: int) -> None:
        names = [f"{number}-{one}" for one in range(300)]
        for turn in range(5):
            count.set_many(dict.fromkeys(names, turn))
            assert count.get_many(names) == [turn] * 300 == count.get_many(names)
            count.delete_many(names[:100])
            assert count.get_many(names) == [None] * 100 + [turn] * 200

    together([partial(writes, number) for number in range(4)])


def test_an_own_write_is_read_by_its_thread_at_once(make_room: Callable[..., Greenroom]) -> None:
    room = make_room()
    count = room.store(COUNT)

    def writes(name: str) -> None:
        for number in range(50):
            count.set(number, name=name)
            assert count.get(name) == number

    together([partial(writes, name) for name in "abcd"])


def test_increments_of_many_threads_are_each_counted_once(room: Greenroom) -> None:
    count = room.store(COUNT)
    together([lambda: [count.increment(name="a") for _ in range(20)]] * 8)
    assert count.get("a") == 160


def test_a_session_is_loaded_saved_rotated_and_ended(room: Greenroom) -> None:
    live, token = room.sessions.start({"basket": 1}, user_id="u1")
    assert room.sessions.load(token).members["basket"] == 1  # type: ignore[union-attr]
    together([partial(room.sessions.save, live.session_id, {f"m{n}": n}) for n in range(8)])
    saved = room.sessions.save(live.session_id, basket=msgspec.UNSET)
    assert {f"m{n}": n for n in range(8)}.items() <= saved.members.items()
    assert "basket" not in saved.members
    rotated, new = room.sessions.rotate(live.session_id, {"user_id": "u2"})
    assert new != token
    assert room.sessions.read_id(rotated.session_id).value.user_id == "u2"  # type: ignore[union-attr]
    assert [one.session_id for one in room.sessions.of_user("u2")] == [rotated.session_id]
    assert room.sessions.end(rotated.session_id)
    assert room.sessions.load(new) is None
    with pytest.raises(SessionGone):
        room.sessions.save(rotated.session_id, basket=1)


def test_all_sessions_of_a_user_are_ended_but_one(room: Greenroom) -> None:
    sessions = [room.sessions.start(user_id="u1")[0] for _ in range(3)]
    assert room.sessions.end_all("u1", but=sessions[0].session_id) == 2
    assert [one.session_id for one in room.sessions.of_user("u1")] == [sessions[0].session_id]
    assert room.sessions.active() == 1


def test_a_rate_limit_counts_for_all_threads(room: Greenroom) -> None:
    exports = room.rate_limit("exports", 5, per=timedelta(minutes=1))
    waits = together([lambda: exports.count("u1")] * 8)
    assert sorted(wait == 0 for wait in waits) == [False] * 3 + [True] * 5
    exports.forget("u1")
    assert exports.count("u1") == 0


def test_presence_counts_listeners(room: Greenroom) -> None:
    stream = room.presence.open("pod1", None)
    assert room.presence.listeners() == {"pod1": 1}
    assert room.presence.renew(stream)
    room.presence.close(stream)
    assert room.presence.listeners() == {}


def test_counts_of_all_threads_are_summed_when_read(room: Greenroom) -> None:
    count = room.store(COUNT)
    count.set(1, name="a")
    count.get("a")
    together([lambda: [count.get("a") for _ in range(100)]] * 8)
    assert room.counters.reads["count", "near"] == 800
    count.get("a")
    assert room.counters.reads["count", "near"] == 801
