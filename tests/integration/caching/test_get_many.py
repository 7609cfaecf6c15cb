"""`get_many`: how its keys are given, and a call of any size, which alone never exceeds the bound of commands."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom.caching import Outcome
from greenroom.caching.lease import GET_OR_LEASE
from greenroom.engine import Limits
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import Back, Episode, Loads, cache_of
from tests.support.proxy import Proxy
from tests.support.real_servers import Server, valkey_binary

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


@pytest.mark.one_kind
async def test_fifty_thousand_keys_are_found_by_one_call(server: Server, back: Back) -> None:
    fill = "for n = 1, 50000 do redis.call('SET', 'word:s:'..n, '\"v'..n..'\"', 'EX', 300) end"
    server.raw()("EVAL", fill, 0)
    cache = cache_of(await back(server), load, WORD, load_many=load_many)
    wanted = [("s", str(n)) for n in range(1, 50_001)]
    assert await cache.get_many(wanted) == [f"v{n}" for _, n in wanted]


@pytest.mark.one_kind
@pytest.mark.parametrize("batch", [None, load_many], ids=["one by one", "together"])
@pytest.mark.parametrize("outstanding", [7, 300])
async def test_a_call_s_commands_stay_below_the_bound_however_low(
    server: Server, back: Back, batch: Any, outstanding: int
) -> None:
    backing = await back(server, limits=Limits(outstanding=outstanding))
    cache = cache_of(backing, load, WORD, load_many=batch, groups=["shelf:{shelf}"], near_for=30)
    wanted = [("s", str(n)) for n in range(10, 400)]
    expected = [f"v{n}" for _, n in wanted]
    assert await cache.get_many(wanted) == expected
    await cache.invalidate_group(shelf="s")
    assert await cache.get_many(wanted) == expected
    backing.near.clear()
    assert await cache.get_many(wanted) == expected


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """What the caches warn of."""
    lines = Lines()
    monkeypatch.setattr(logging.getLogger("greenroom.caching"), "handlers", [lines])
    return lines


@pytest.mark.one_kind
async def test_many_broken_values_of_one_call_are_one_log_line(server: Server, back: Back, lines: Lines) -> None:
    raw = server.raw()
    for number in range(10, 60):
        raw("SET", f"word:s:{number}", "no JSON", "EX", 60)
    cache = cache_of(await back(server), load, WORD, load_many=load_many)
    wanted = [("s", str(n)) for n in range(10, 60)]
    assert await cache.get_many(wanted) == [f"v{n}" for _, n in wanted]
    (line,) = lines.texts
    assert "word:s:10" in line
    assert line.endswith("and 49 more")
    assert cache._backing.counters.errors[WORD.name, "broken"] == 50


@pytest.mark.one_kind
async def test_many_values_that_cannot_be_stored_are_one_log_line(
    valkey: Server, proxy: Proxy, back: Back, lines: Lines
) -> None:
    async def cut_off(parts: Sequence[Any]) -> list[str | None]:
        await proxy.down()
        return await load_many(parts)

    cache = cache_of(await back(proxy), load, WORD, load_many=cut_off)
    wanted = [("s", str(n)) for n in range(10, 60)]
    assert await cache.get_many(wanted) == [f"v{n}" for _, n in wanted]
    assert [line for line in lines.texts if "storing" in line] == [line for line in lines.texts if "49 more" in line]
    assert len(lines.texts) == 1


async def test_many_keys_that_the_server_does_not_lease_are_one_log_line(
    tmp_path: Path, back: Back, lines: Lines
) -> None:
    server = Server(valkey_binary(), tmp_path, "--rename-command", "SETRANGE", "")
    server.start()
    try:
        cache = cache_of(await back(server), load, WORD, load_many=load_many)
        wanted = [("s", str(n)) for n in range(10, 60)]
        assert await cache.get_many(wanted) == [f"v{n}" for _, n in wanted]
    finally:
        server.kill()
    (line,) = [one for one in lines.texts if "asking for" in one]
    assert line.startswith("asking for word:s:10, and 49 more: ERR")
    assert +Counter(cache._backing.counters.errors) == {(WORD.name, "engine"): 50}


@pytest.mark.one_kind
async def test_many_keys_that_no_group_takes_are_counted_and_not_stored(server: Server, back: Back) -> None:
    cache = cache_of(await back(server), load, WORD, load_many=load_many, groups=["shelf:{shelf}"])
    wanted, raw = [("s", str(n)) for n in range(10, 60)], server.raw()
    raw("ACL", "SETUSER", "default", "-zadd")
    try:
        assert await cache.get_many(wanted) == [f"v{n}" for _, n in wanted]
    finally:
        raw("ACL", "SETUSER", "default", "+zadd")
    assert +Counter(cache._backing.counters.errors) == {(WORD.name, "engine"): 50}
    assert raw("EXISTS", "word:s:10") == 0


@pytest.mark.one_kind
async def test_many_keys_whose_questions_get_lost_are_counted_each(valkey: Server, proxy: Proxy, back: Back) -> None:
    cache = cache_of(await back(proxy), load, WORD, load_many=load_many)
    wanted, held = [("s", str(n)) for n in range(10, 60)], proxy.hold(GET_OR_LEASE.sha)
    reading = asyncio.create_task(cache.get_many(wanted))
    await held.reached.wait()
    await proxy.down()
    assert await reading == [f"v{n}" for _, n in wanted]
    assert +Counter(cache._backing.counters.errors) == {(WORD.name, "engine"): 50}


@pytest.mark.one_kind
async def test_values_without_a_lifetime_get_one_from_a_call_for_many(server: Server, back: Back) -> None:
    raw = server.raw()
    for number in range(10, 60):
        raw("SET", f"word:s:{number}", f'"v{number}"')
    cache = cache_of(await back(server), load, WORD)
    wanted = [("s", str(n)) for n in range(10, 60)]
    assert await cache.get_many(wanted) == [f"v{n}" for _, n in wanted]
    assert all(0 < raw("PTTL", f"word:s:{number}") <= 300_000 for number in range(10, 60))


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
