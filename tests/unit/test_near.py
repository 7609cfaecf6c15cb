"""The near cache by itself: what it serves, and that its queues and sums are right after anything."""

from __future__ import annotations

from math import inf
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.caching.near import Entry, Near
from greenroom.engine import Limits

COST = 600
"""Bytes that an entry without a body counts."""


class Line:
    """A connection that is always heard, unless the test says otherwise."""

    def __init__(self) -> None:
        self.as_of = inf


LINE = Line()


def entry(key: str, *, body: bytes | None = None, until: float = 100.0, line: Line = LINE) -> Entry:
    return Entry(key, None, body, fresh_until=until, expires_at=until, near_until=until, source=line)


def check(near: Near) -> None:
    """Everything that must hold between any two calls."""
    queued = [*near._small, *near._main]
    alive = [one for one in queued if one.alive]
    assert len(alive) == len(near._entries) == len(near), "a live entry stands in one queue, once"
    assert all(near._entries[one.key] is one for one in alive)
    assert all(one.main is False for one in near._small if one.alive)
    assert all(one.main is True for one in near._main)
    assert near.size == sum(one.size for one in alive)
    assert near._small_size == sum(one.size for one in near._small if one.alive)
    assert near._dead == len(queued) - len(alive)
    assert near._dead <= len(near) + 17, "the dead are cleared away"
    assert len(near) <= near._bound
    assert near.size <= near._sizes
    assert len(near._ghosts) <= near._bound
    assert len(near._order) <= near._bound
    assert set(near._ghosts.items()) <= set(near._order), "no ghost is kept for ever"
    assert not near._ghosts.keys() & near._entries.keys()


# What is served ------------------------------------------------------------------------------------


def test_what_was_put_is_served_until_its_moment() -> None:
    near, one = Near(), entry("a", until=10.0)
    near.put(one)
    assert near.get("a", 9.999) is one
    assert near.get("a", 10.0) is None
    assert len(near) == 0
    assert near.get("b", 0.0) is None


def test_a_later_put_replaces_an_earlier_one() -> None:
    near, old, new = Near(), entry("a", body=b"old"), entry("a", body=b"newer")
    near.put(old)
    near.put(new)
    assert near.get("a", 0.0) is new
    assert (len(near), near.size) == (1, COST + 3 * len(b"newer"))
    check(near)


def test_what_was_popped_or_cleared_is_gone() -> None:
    near = Near()
    for key in "abc":
        near.put(entry(key))
    near.pop("a")
    near.pop("a")
    assert sorted(near) == ["b", "c"]
    assert near.get("a", 0.0) is None
    near.clear()
    assert list(near) == []
    assert near.size == 0
    check(near)


def test_nothing_is_served_that_was_read_on_a_connection_now_silent() -> None:
    near, line = Near(), Line()
    near.put(entry("a", line=line))
    near.put(entry("b"))
    line.as_of = monotonic() - Limits().max_staleness
    assert near.get("a", 0.0) is None
    assert near.get("b", 0.0) is not None, "another connection's"
    line.as_of = monotonic() + 100  # it spoke, and no push came: what was read on it still holds
    assert near.get("a", 0.0) is not None


def test_what_was_read_on_a_connection_that_ended_is_forgotten() -> None:
    near, line = Near(), Line()
    near.put(entry("a", line=line))
    line.as_of = -inf
    assert near.get("a", 0.0) is None
    assert len(near) == 0
    check(near)


def test_the_same_without_its_value_keeps_everything_else() -> None:
    whole = Entry("a", ["v"], b'["v"]', fresh_until=1.0, expires_at=2.0, near_until=3.0, source=LINE)
    bare = whole.without_value()
    assert bare.value is None
    assert (bare.key, bare.body, bare.fresh_until, bare.expires_at, bare.near_until, bare.source) == (
        "a",
        b'["v"]',
        1.0,
        2.0,
        3.0,
        LINE,
    )


# Bounds --------------------------------------------------------------------------------------------


def test_no_more_entries_than_the_bound() -> None:
    near = Near(entries=100)
    for number in range(1000):
        near.put(entry(f"k{number}"))
        assert len(near) <= 100
    assert len(near) == 100
    check(near)


def test_no_more_bytes_than_the_bound() -> None:
    near = Near(size=100 * (COST + 300))
    for number in range(1000):
        near.put(entry(f"k{number}", body=b"x" * 100))
        assert near.size <= 100 * (COST + 300)
    assert len(near) == 100
    check(near)


def test_a_value_takes_at_most_a_tenth_and_replaces_the_key_s_old_one() -> None:
    near = Near(size=100_000)
    near.put(entry("a", body=b"old"))
    near.put(entry("a", body=b"x" * 3200))
    assert near.get("a", 0.0) is None, "the old value is not the key's any more"
    near.put(entry("b", body=b"x" * 3100))
    assert near.get("b", 0.0) is not None
    check(near)


def test_large_newcomers_do_not_displace_what_is_asked_for() -> None:
    near = Near(size=200_000)
    for key in "abcde":
        near.put(entry(key))
    for number in range(200):
        near.put(entry(f"big{number}", body=b"x" * 5000))
        for key in "abcde":
            assert near.get(key, 0.0) is not None
    check(near)


# Who stays -----------------------------------------------------------------------------------------


def test_a_scan_of_one_off_keys_leaves_what_is_asked_for() -> None:
    near = Near(entries=100)
    for number in range(50):
        near.put(entry(f"hot{number}"))
    for number in range(50):
        near.get(f"hot{number}", 0.0)
        near.get(f"hot{number}", 0.0)
    for number in range(10_000):
        near.put(entry(f"scan{number}"))
    assert [key for key in near if key.startswith("hot")] == [f"hot{number}" for number in range(50)]
    check(near)


def test_what_is_asked_for_stays_when_its_value_is_replaced() -> None:
    near = Near(entries=100)
    near.put(entry("hot"))
    for _ in range(3):
        near.get("hot", 0.0)
    new = entry("hot", body=b"new")
    near.put(new)
    for number in range(1000):
        near.put(entry(f"scan{number}"))
    assert near.get("hot", 0.0) is new
    check(near)


def test_a_key_that_comes_back_soon_after_its_eviction_is_kept_longer() -> None:
    near = Near(entries=10)
    for number in range(11):
        near.put(entry(f"first{number}"))
    near.put(entry("a"))
    for number in range(5):
        near.put(entry(f"b{number}"))
    assert near.get("a", 0.0) is None
    near.put(entry("a"))  # its ghost is known: it enters where newcomers do not push it out
    for number in range(100):
        near.put(entry(f"c{number}"))
    assert near.get("a", 0.0) is not None
    check(near)


def test_a_ghost_is_forgotten_after_as_many_others_as_there_may_be_entries() -> None:
    near = Near(entries=10)
    near.put(entry("a"))
    for number in range(20 + 9):
        near.put(entry(f"b{number}"))
    assert "a" not in near._ghosts
    check(near)


def test_a_ghost_entry_that_returns_lives_as_long_as_the_first_time() -> None:
    near = Near(entries=100)
    near._remember("a")
    near.put(entry("a"))
    near.pop("a")
    for number in range(60):
        near._remember(f"b{number}")
    near._remember("a")
    for number in range(60):  # the first place of "a" goes with these, the second stays
        near._remember(f"c{number}")
    assert "a" in near._ghosts
    check(near)


def test_a_cold_cache_keeps_its_first_keys_before_a_scan() -> None:
    near = Near(entries=100)
    for _ in range(2):  # the second time after all was forgotten
        for number in range(100):
            near.put(entry(f"k{number}"))
            near.get(f"k{number}", 0.0)
        for number in range(100):
            near.put(entry(f"scan{number}"))
        assert sum(key.startswith("k") for key in near) >= 89, "newcomers have a tenth"
        check(near)
        near.clear()


# Anything ------------------------------------------------------------------------------------------


KEYS = st.sampled_from([f"k{number}" for number in range(40)])
CALLS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.integers(0, 400)),
    st.tuples(st.just("get"), KEYS, st.integers(0, 3)),
    st.tuples(st.just("pop"), KEYS, st.none()),
    st.tuples(st.just("lapse"), KEYS, st.none()),
    st.tuples(st.just("clear"), st.none(), st.none()),
)


@settings(max_examples=300)
@given(
    entries=st.integers(1, 30),
    size=st.sampled_from([8_000, 20_000, 1_000_000]),
    calls=st.lists(CALLS, max_size=150),
)
def test_after_any_calls_sums_and_queues_are_right_and_nothing_is_stale(
    entries: int, size: int, calls: list[tuple[str, str, int]]
) -> None:
    near, latest = Near(entries, size), dict[str, Entry]()
    for call, key, number in calls:
        if call == "put":
            latest[key] = entry(key, body=b"x" * number)
            near.put(latest[key])
        elif call == "get":
            for _ in range(number):
                found = near.get(key, 0.0)
                assert found is None or found is latest.get(key)
        elif call == "lapse":
            assert near.get(key, 100.0) is None
            latest.pop(key, None)
        elif call == "pop":
            near.pop(key)
            latest.pop(key, None)
        else:
            near.clear()
            latest.clear()
        check(near)


@pytest.mark.parametrize("asked", [0, 3])
@pytest.mark.parametrize("replaced", [True, False])
def test_under_many_invalidations_the_queues_stay_short(replaced: bool, asked: int) -> None:
    near = Near(entries=100)
    for number in range(1000):
        key = f"k{number % 7}"
        near.put(entry(key))
        for _ in range(asked):
            near.get(key, 0.0)
        if not replaced:
            near.pop(key)
        check(near)
