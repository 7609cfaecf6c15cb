"""`get_many`: how its keys are given, and a call of any size, which alone never exceeds the bound of commands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from greenroom.caching import Outcome
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import Back, Episode, Loads, cache_of
from tests.support.real_servers import Server

WORD: Keyspace[str] = Keyspace("word:{shelf}:{n}", str, ttl=timedelta(minutes=5), fresh=timedelta(minutes=1))
MANY = 5_101
"""Two commands for each: more than may be outstanding."""


async def load(shelf: str, n: str) -> str | None:
    return None if n == "7" else f"v{n}"


async def load_many(parts: Sequence[Any]) -> list[str | None]:
    return [await load(**one) for one in parts]


@pytest.mark.one_kind
@pytest.mark.parametrize("batch", [None, load_many], ids=["one by one", "together"])
@pytest.mark.parametrize("groups", [[], ["shelf:{shelf}"]])
async def test_many_keys_are_loaded_and_then_found_in_the_order_asked(
    server: Server, back: Back, batch: Any, groups: list[str]
) -> None:
    number = MANY if batch is not None and not groups else 2_500
    parts = [{"shelf": "s", "n": str(n)} for n in range(number)]
    parts.append(parts[3])
    expected = [None if one["n"] == "7" else f"v{one['n']}" for one in parts]
    cache = cache_of(await back(server), load, WORD, load_many=batch, groups=groups, max_concurrent=10_000)
    assert await cache.get_many(parts) == expected
    assert await cache.get_many(parts) == expected
    if groups:
        await cache.invalidate_group(shelf="s")
        assert server.raw()("DBSIZE") <= 1  # an absence is in no group's power to last


async def test_a_part_that_no_key_can_hold_is_refused_before_anything_is_read(server: Server, back: Back) -> None:
    calls: list[Any] = []

    async def told(parts: Sequence[Any]) -> list[str | None]:
        calls.append(parts)
        return await load_many(parts)

    cache = cache_of(await back(server), load, WORD, load_many=told)
    parts: list[dict[str, object]] = [{"shelf": "s", "n": str(n)} for n in range(2000)]
    with pytest.raises(InvalidInput):
        await cache.get_many([*parts, {"shelf": "s", "n": "a:b"}])
    assert calls == []


# How the keys are given ----------------------------------------------------------------------------


async def test_keys_of_one_part_are_given_bare_as_tuples_or_as_mappings(server: Server, back: Back) -> None:
    loads = Loads()
    cache = cache_of(await back(server), loads)
    keys: list[Any] = ["a", ("b",), {"episode_id": "c"}, "a"]
    expected = [Episode("a"), Episode("b"), Episode("c"), Episode("a")]
    assert await cache.get_many(keys) == expected
    assert await cache.get_many(iter(keys)) == expected
    assert [one.outcome for one in await cache.get_results(keys)] == [Outcome.HIT] * 4
    assert sorted(loads.calls) == ["a", "b", "c"]


async def test_keys_of_several_parts_are_given_as_tuples_or_as_mappings(server: Server, back: Back) -> None:
    calls: list[Any] = []

    async def told(parts: Sequence[Any]) -> list[str | None]:
        calls.extend(parts)
        return await load_many(parts)

    cache = cache_of(await back(server), load, WORD, load_many=told)
    assert await cache.get_many([("s", "1"), {"n": "2", "shelf": "s"}]) == ["v1", "v2"]
    assert calls == [{"shelf": "s", "n": "1"}, {"n": "2", "shelf": "s"}]
    assert await cache.get(shelf="s", n="1") == "v1"
    assert len(calls) == 2, "it is the same key"


@pytest.mark.parametrize("given", ["e1", b"e1", {"episode_id": "e1"}, 7, None, [("e1", "e2")], [("e1",), ()]])
async def test_what_is_no_list_of_keys_is_refused_with_the_remedy(server: Server, back: Back, given: Any) -> None:
    cache = cache_of(await back(server), Loads())
    calls: list[Any] = [cache.get_many, cache.get_results, cache.invalidate_many]
    for call in calls:
        with pytest.raises(InvalidInput, match="give a list of values of episode_id") as caught:
            await call(given)
        assert caught.value.field == "parts"


@pytest.mark.parametrize("given", ["s", ["s"], [("s",)], [("s", "1", "2")], [7], [["s", "1"]]])
async def test_of_several_parts_what_is_no_tuple_is_refused(server: Server, back: Back, given: Any) -> None:
    cache = cache_of(await back(server), load, WORD)
    with pytest.raises(InvalidInput, match=r"give a list of tuples \(shelf, n\), or of dicts"):
        await cache.get_many(given)


async def test_many_are_dropped_by_one_call(server: Server, back: Back) -> None:
    cache = cache_of(await back(server), Loads())
    ids = [f"e{number}" for number in range(300)]
    await cache.get_many(ids)
    await cache.invalidate_many(ids[:200])
    outcomes = [result.outcome for result in await cache.get_results(ids)]
    assert outcomes[:200] == [Outcome.LOADED] * 200
    assert Outcome.LOADED not in outcomes[200:]
    with pytest.raises(InvalidInput):
        await cache.invalidate_many(["e1", "not a part"])
    assert (await cache.get_result("e1")).outcome is not Outcome.LOADED, "nothing is dropped where one cannot be"
