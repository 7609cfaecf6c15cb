"""`get_many` of any size: a legal call never exceeds the bound of outstanding commands by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from tests.support.episode_caches import Back, cache_of
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
    cache = cache_of(await back(server), load, WORD, load_many=batch, groups=groups, places=10_000)
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
