"""The cache backend keeps what Django expects of one, synchronously and not."""

from __future__ import annotations

import asyncio
import enum
import inspect
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from greenroom.errors import InvalidInput
from greenroom.integrations.django.cache import GreenroomCache
from greenroom.sync import Greenroom
from tests.support.real_servers import Raw

YEAR = 365 * 86400


class Rank(enum.IntEnum):
    FIRST = 1


class Colour(enum.StrEnum):
    RED = "red"


class Both:
    """The operations of a cache, called as they are or by their `a` twins."""

    def __init__(self, alias: str, awaited: bool) -> None:
        self.cache = caches[alias]
        self.awaited = awaited

    def __getattr__(self, name: str) -> Any:
        if not self.awaited:
            return getattr(self.cache, name)

        def call(*args: Any, **options: Any) -> Any:
            return asyncio.run(getattr(self.cache, f"a{name}")(*args, **options))

        return call


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def way(request: pytest.FixtureRequest, room: Greenroom) -> bool:
    return bool(request.param)


@pytest.fixture
def cache(way: bool) -> Iterator[Both]:
    return Both("default", way)


@pytest.fixture
def other(way: bool) -> Both:
    return Both("other", way)


def test_every_operation_of_base_cache_has_an_async_twin_of_its_own() -> None:
    operations = {name for name, _ in inspect.getmembers(BaseCache, inspect.iscoroutinefunction)}
    inherited = {"aget_or_set", "aincr_version", "adecr_version", "aclose"}  # made of the others
    assert {name for name in operations if getattr(GreenroomCache, name) is getattr(BaseCache, name)} == inherited


@pytest.mark.parametrize("value", [0, 1, -7, "", "é", True, 1.5, [1, {"a": None}], {}, {"a": [1]}, None, 2**70])
def test_a_value_is_got_as_it_was_set(cache: Both, value: object) -> None:
    cache.set("key", value)
    for _ in range(2):  # from the server, then from near
        got = cache.get("key", "default")
        assert (got, type(got)) == (value, type(value))
    assert cache.has_key("key")
    assert cache.get_many(["key"]) == {"key": value}


def test_what_is_not_there_is_the_default(cache: Both) -> None:
    assert cache.get("key") is None
    assert cache.get("key", "default") == "default"
    assert not cache.has_key("key")
    assert cache.get_many(["a", "b"]) == {}
    assert cache.delete("key") is False
    assert cache.touch("key") is False


def test_add_stores_only_where_there_is_none(cache: Both) -> None:
    assert cache.add("key", None) is True
    assert cache.add("key", 2) is False
    assert cache.get("key", "default") is None


def test_a_deleted_value_is_gone(cache: Both) -> None:
    cache.set("key", 1)
    assert cache.delete("key") is True
    assert cache.get("key") is None


def test_many_are_set_got_and_deleted_together(cache: Both) -> None:
    assert cache.set_many({"a": 1, "b": None, "c": [3]}) == []
    assert cache.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": None, "c": [3]}
    assert cache.get_many(name for name in "ab") == {"a": 1, "b": None}
    cache.delete_many(["a", "b"])
    assert cache.get_many(["a", "b", "c"]) == {"c": [3]}
    assert cache.set_many({}) == []
    cache.delete_many([])


@pytest.mark.parametrize("timeout", [0, -1, 0.0001])
def test_a_lifetime_that_is_over_stores_nothing(cache: Both, timeout: float) -> None:
    cache.set("key", 1)
    cache.set("key", 2, timeout)
    assert cache.get("key") is None
    assert cache.add("key", 3, timeout) is True
    assert cache.get("key") is None
    cache.set_many({"key": 4, "b": 5}, timeout)
    assert cache.get_many(["key", "b"]) == {}
    cache.set("key", 6)
    assert cache.add("key", 7, timeout) is False
    assert cache.touch("key", timeout) is True
    assert cache.get("key") is None


def test_lifetimes_are_the_ones_that_were_given(cache: Both, ask: Raw) -> None:
    def seconds() -> float:
        (key,) = list(ask("KEYS", "site:django:cache:*"))
        return float(ask("PTTL", key)) / 1000

    for timeout, expected in (("default", 300), (10, 10), (2.5, 2.5), (None, YEAR), (1e15, YEAR), (inf, YEAR)):
        cache.set("key", 1) if timeout == "default" else cache.set("key", 1, timeout)
        assert expected - 60 < seconds() <= expected
    for wrong in ("5", nan, timedelta(5)):
        with pytest.raises(InvalidInput, match="no number of seconds; give seconds"):
            cache.set("key", 1, wrong)
    assert cache.touch("key", 20) is True
    assert seconds() <= 20
    cache.incr("key")
    assert 0 < seconds() <= 20


def test_numbers_are_counted_in(cache: Both) -> None:
    cache.set("key", 41)
    assert cache.incr("key") == 42
    assert cache.incr("key", 10) == 52
    assert cache.incr("key", -10) == 42
    assert cache.decr("key") == 41
    assert cache.decr("key", -1) == 42
    assert cache.get("key") == 42


def test_what_is_no_number_is_not_counted_in(cache: Both) -> None:
    for operation in (cache.incr, cache.decr):
        with pytest.raises(ValueError, match="'key' not found"):
            operation("key")
    for value in ("text", None, [1], 1.5):
        cache.set("key", value)
        with pytest.raises(InvalidInput, match="'key': it cannot be counted in"):
            cache.incr("key")
    with pytest.raises(InvalidInput, match="delta: is float"):
        cache.decr("key", 1.5)


def test_get_or_set_calls_its_default_once(cache: Both) -> None:
    calls: list[int] = []

    def default() -> list[int]:
        calls.append(1)
        return [1]

    for _ in range(2):
        assert cache.get_or_set("key", default, 60) == [1]
    assert calls == [1]
    assert cache.get_or_set("none", None) is None
    assert cache.get_or_set("none", "other") is None


def test_versions_are_apart(cache: Both, other: Both) -> None:
    cache.set("key", 1, version=1)
    cache.set("key", 2, version=2)
    assert [cache.get("key"), cache.get("key", version=2)] == [1, 2]
    assert cache.incr_version("key", 4) == 5
    assert [cache.get("key"), cache.get("key", version=5)] == [None, 1]
    assert cache.decr_version("key", version=5) == 4
    with pytest.raises(ValueError, match="not found"):
        cache.incr_version("missing")
    other.set("key", "of 2")
    assert [other.get("key", version=2), other.get("key", version=1)] == ["of 2", None]


def test_locations_are_apart(cache: Both, other: Both) -> None:
    cache.set("key", 1, version=2)
    other.set("key", 2)
    cache.clear()
    assert [cache.get("key", version=2), other.get("key")] == [None, 2]


def test_the_projects_key_function_makes_the_keys(way: bool, ask: Raw) -> None:
    cache = Both("prefixed", way)
    cache.set("key", 1)
    cache.set_many({"b": 2})
    assert cache.get_many(["key", "b"]) == {"key": 1, "b": 2}
    keys = sorted(key.decode() for key in ask("KEYS", "site:django:cache:*"))
    assert [key.rpartition(":")[2] for key in keys] == ["SHOP%2F1%2FB", "SHOP%2F1%2FKEY"]


def test_any_text_is_a_key_and_long_ones_are_apart(cache: Both) -> None:
    names = ["a:b{c}*?", "ключ", "x" * 120 + "a", "x" * 120 + "b"]
    for number, name in enumerate(names):
        cache.set(name, number)
    assert [cache.get(name) for name in names] == [0, 1, 2, 3]


def test_cleared_values_do_not_come_back(cache: Both, ask: Raw) -> None:
    cache.set("key", 1)
    assert cache.get("key") == 1  # near by now
    for number in (2, 3):
        cache.clear()
        assert cache.get("key") is None
        assert cache.add("key", number) is True
        assert cache.get("key") == number
    # A server that has evicted the generation gives no earlier one's values.
    ask("DEL", "site:django:cache-generation:default")
    rooms_near_is_told(cache)
    cache.set("new", 3)
    assert cache.get("key") is None
    assert cache.get("new") == 3


def rooms_near_is_told(cache: Both) -> None:
    """Wait until the push of the deleted generation has come: a read then asks the server."""
    while cache.get("key") is not None:
        threading.Event().wait(0.01)


def test_a_value_that_a_caller_changes_stays_as_it_was(cache: Both) -> None:
    cache.set("key", {"a": [1]})
    for _ in range(2):
        cache.get("key")["a"].append(2)
    assert cache.get("key") == {"a": [1]}


@pytest.mark.parametrize(
    "value",
    [(1, 2), {1: 2}, {"a": (1,)}, float("nan"), datetime.now(UTC), Decimal(1), b"x", {1}, object(), "\ud800"],
    ids=lambda value: type(value).__name__,
)
def test_what_json_changes_is_refused(cache: Both, value: object) -> None:
    cache.set("key", "old")
    writes: list[Callable[[], object]] = [
        lambda: cache.set("key", value),
        lambda: cache.set_many({"key": value}),
        lambda: cache.add("k", value),
    ]
    for write in writes:
        with pytest.raises(InvalidInput, match=r"cannot be stored as JSON.*OPTIONS\['pickle'\]"):
            write()
    assert cache.get("key") == "old"


def test_a_reserved_form_is_refused(cache: Both) -> None:
    with pytest.raises(InvalidInput, match="reserved name"):
        cache.set("key", {"greenroom.django": "gASVBQAAAAAAAACMAWGULg=="})


def test_pickles_are_stored_where_the_project_says_so(way: bool) -> None:
    cache = Both("pickles", way)
    for value in ((1, 2), {1: 2}, datetime(2026, 11, 29, tzinfo=UTC), {1}, 7, None, {"greenroom.django": "x"}):
        cache.set("key", value)
        assert cache.get("key", "default") == value
    cache.set("key", 7)
    assert cache.incr("key") == 8
    # Also those that are equal to their JSON, and are something else.
    others: list[Any] = [Rank.FIRST, Colour.RED, defaultdict(list, a=[1]), OrderedDict(b=1), "\ud800"]
    for other in others:
        cache.set("key", [other])
        (got,) = cache.get("key")
        assert (got, type(got)) == (other, type(other))


def test_a_json_cache_never_unpickles_and_shares_no_key_with_one_that_does(room: Greenroom) -> None:
    from greenroom.integrations.django.cached_values import CachedValues

    values = caches["default"]._place.values.keyspace
    packed = CachedValues(values, pickled=True).packed("key", (1, 2))
    assert CachedValues(values, pickled=False).unpacked(packed) is None
    caches["pickles"].set("key", (1, 2))
    plain = GreenroomCache("pickles", {})
    assert plain.get("key") is None
    plain.set("of_json", 1)
    assert caches["pickles"].get("of_json") is None


@pytest.mark.parametrize(
    ("location", "options", "error"),
    [
        ("a b", {}, "LOCATION"),
        ("a", {"pikcle": True}, r"OPTIONS\['pikcle'\]: is not an option; use limit, near_for, pickle"),
        ("a", {"pickle": 1}, r"OPTIONS\['pickle'\]: is int"),
        ("a", {"near_for": 5}, r"OPTIONS\['near_for'\]: is int, not a timedelta"),
        ("a", {"limit": -1}, r"OPTIONS\['limit'\]: is -1"),
        ("a", ["pickle"], "OPTIONS: is list, not a dict"),
    ],
)
def test_wrong_settings_of_a_cache_are_named(location: str, options: Any, error: str) -> None:
    with pytest.raises(InvalidInput, match=error):
        GreenroomCache(location, {"OPTIONS": options}).get("key")


def test_two_caches_of_one_location_and_other_options_are_refused(room: Greenroom) -> None:
    GreenroomCache("shared", {}).set("key", 1)
    with pytest.raises(InvalidInput, match=r"LOCATION: 'shared' is that of another cache .* limit; give both"):
        GreenroomCache("shared", {"OPTIONS": {"limit": 5}}).get("key")


def test_a_key_that_is_not_portable_is_warned_of_as_by_django(cache: Both) -> None:
    with pytest.warns(Warning, match="longer than"):
        cache.set("x" * 251, 1)


def test_counting_of_many_threads_loses_nothing(room: Greenroom) -> None:
    caches["default"].set("key", 0)

    def count() -> None:
        for _ in range(50):
            caches["default"].incr("key")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert caches["default"].get("key") == 400


async def test_what_is_first_used_in_a_coroutine_is_declared_without_waiting(room: Greenroom) -> None:
    await asyncio.to_thread(room.open)
    new = GreenroomCache("first", {})
    await new.aset("key", 1)
    assert await new.aget("key") == 1


async def test_a_coroutine_reads_and_counts_while_its_loop_goes_on(room: Greenroom) -> None:
    await caches["default"].aset("key", 0)
    counts = await asyncio.gather(*(caches["default"].aincr("key") for _ in range(100)))
    assert sorted(counts) == list(range(1, 101))
