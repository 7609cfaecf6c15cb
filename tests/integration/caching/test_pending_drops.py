"""Keys that count as dropped here before any server has dropped them: what readers get meanwhile, and what is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from greenroom.caching import Outcome
from greenroom.caching.invalidation import Backing
from greenroom.engine.listener import all_keys
from greenroom.errors import EngineError, InvalidInput
from greenroom.keyspace import Number, Pattern
from greenroom.testing.clock import ManualClock
from tests.support.episode_caches import KEY, Episode, Loads, cache_of, open_backing
from tests.support.patience import until
from tests.support.real_servers import Server


class NewConnection:
    """As much of a handover as is looked at: all keys are this server's."""

    owns = staticmethod(all_keys)


OLD = b'{"episode_id":"e1","version":0}'


@pytest.fixture
async def backing(valkey: Server) -> AsyncIterator[Backing]:
    backing = await open_backing(valkey.address)
    yield backing
    await backing.close()


def stored(valkey: Server, number: int) -> list[str]:
    """So many keys with an old value each."""
    keys = [f"cache:episode:p{one}" for one in range(number)]
    valkey.raw()("MSET", *(text for key in keys for text in (key, "old")))
    return keys


def deletions(valkey: Server) -> int:
    """Scripts that were run: one drops a batch."""
    stats = valkey.raw()("INFO", "commandstats").decode()
    return int(stats.partition("cmdstat_evalsha:calls=")[2].partition(",")[0] or 0)


async def test_who_reads_a_pending_key_drops_it_first_and_stores_the_new(valkey: Server, backing: Backing) -> None:
    raw, load = valkey.raw(), Loads()
    cache = cache_of(backing, load, near_for=30)
    raw("SET", KEY, OLD, "EX", 1800)
    await backing.outbox_drops.add([KEY])
    reads = await asyncio.gather(*(cache.get_result("e1") for _ in range(20)), cache.get("e1"))
    assert {getattr(read, "value", read).version for read in reads} == {1}  # type: ignore[union-attr]
    assert load.calls == ["e1"]
    assert raw("GET", KEY) == b'{"episode_id":"e1","version":1}'
    await backing.outbox_drops.send()
    assert raw("EXISTS", KEY) == 1, "what a reader has dropped is not dropped again"
    assert not backing.outbox_drops.any


async def test_a_batch_of_reads_drops_its_pending_keys_first(valkey: Server, backing: Backing) -> None:
    raw, load = valkey.raw(), Loads()
    cache = cache_of(backing, load)
    raw("SET", KEY, OLD, "EX", 1800)
    raw("SET", "cache:episode:e2", OLD, "EX", 1800)
    await backing.outbox_drops.add([KEY])
    found = await cache.get_many([{"episode_id": "e1"}, {"episode_id": "e2"}])
    assert [one and one.version for one in found] == [1, 0]
    assert load.calls == ["e1"]


async def test_a_added_key_is_near_no_more(valkey: Server, backing: Backing) -> None:
    load = Loads()
    cache = cache_of(backing, load, near_for=30)
    await cache.get("e1")
    assert (await cache.get_result("e1")).outcome is Outcome.NEAR
    load.version = 2
    await backing.outbox_drops.add([KEY])
    assert await cache.get("e1") == Episode("e1", 2)


async def test_while_its_server_cannot_be_asked_a_added_key_is_loaded(valkey: Server, backing: Backing) -> None:
    load = Loads()
    cache = cache_of(backing, load)
    valkey.raw()("SET", KEY, OLD, "EX", 1800)
    await backing.outbox_drops.add([KEY])
    valkey.raw()("CLIENT", "KILL", "TYPE", "normal")
    valkey.kill()
    await until(lambda: backing.engine.unavailable is not None)
    assert (await cache.get_result("e1")).outcome is Outcome.BYPASSED
    with pytest.raises(EngineError):
        await backing.outbox_drops.send()
    assert len(backing.outbox_drops) == 1


async def test_what_was_loaded_without_the_server_before_the_mark_is_not_served(valkey: Server) -> None:
    backing, load = await open_backing(valkey.address, clock=ManualClock()), Loads()
    try:
        cache = cache_of(backing, load)
        valkey.kill()
        await until(lambda: backing.engine.unavailable is not None)
        assert await cache.get("e1") == await cache.get("e1") == Episode("e1", 1)
        assert load.calls == ["e1"], "it is kept for a second"
        load.version = 2
        await backing.outbox_drops.add([KEY])
        assert await cache.get("e1") == Episode("e1", 2)
    finally:
        await backing.close()


async def test_while_everything_is_added_each_key_is_dropped_once(valkey: Server, backing: Backing) -> None:
    raw, load = valkey.raw(), Loads()
    cache = cache_of(backing, load)
    raw("SET", KEY, OLD, "EX", 1800)
    backing.outbox_drops.add_everything(valkey)
    assert [(await cache.get_result("e1")).outcome for _ in range(3)] == [Outcome.LOADED, Outcome.HIT, Outcome.HIT]
    # A change that is found in the outbox later may have come after that drop.
    await backing.outbox_drops.add([KEY])
    backing.outbox_drops.end_everything(valkey)
    load.version = 2
    assert await cache.get("e1") == Episode("e1", 2)
    assert not backing.outbox_drops.any


async def test_everything_is_pending_until_each_outbox_knows_its_keys(backing: Backing) -> None:
    pending = backing.outbox_drops
    pending.add_everything("one")
    pending.add_everything("two")
    pending.end_everything("one")
    assert pending.any
    pending.end_everything("two")
    assert not pending.any


async def test_pending_keys_are_sent_in_batches_each_once(valkey: Server, backing: Backing) -> None:
    keys = stored(valkey, 1200)
    before, sizes = deletions(valkey), []
    delete = type(backing.outbox_drops)._delete

    async def counted(drops: Any, batch: Any) -> Any:
        sizes.append(len(batch))
        return await delete(drops, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(backing.outbox_drops), "_delete", counted)
        for _ in range(3):
            await backing.outbox_drops.add(keys)
        await backing.outbox_drops.send()
    assert valkey.raw()("EXISTS", *keys) == 0
    assert deletions(valkey) - before == 5, "a command for each batch"
    assert sizes == [250, 250, 250, 250, 200]


async def test_what_was_dropped_of_late_is_pending_for_a_server_that_comes_back(valkey: Server) -> None:
    """A successor may have the old value: replication is asynchronous, and files are written late."""
    clock = ManualClock()
    backing = await open_backing(valkey.address, clock=clock)
    try:
        cache = cache_of(backing, Loads())
        valkey.raw()("SET", KEY, OLD, "EX", 1800)
        await backing.outbox_drops.add([KEY])
        await backing.outbox_drops.send()
        assert not backing.outbox_drops.any
        valkey.kill()
        await until(lambda: backing.engine.unavailable is not None)
        valkey.start()
        valkey.raw()("SET", KEY, OLD, "EX", 1800)
        await until(lambda: backing.engine.unavailable is None)
        assert await cache.get("e1") == Episode("e1", 1)
        clock.advance(31)
        backing.outbox_drops.repeat_at_once(NewConnection())  # type: ignore[arg-type]
        assert not backing.outbox_drops.any
    finally:
        await backing.close()


async def test_a_new_connection_adds_each_key_again_once(
    valkey: Server, backing: Backing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It made 500,000 keys pending, and gave the loop back after each batch; then all of them again, without."""
    drops, keys, added = backing.outbox_drops, stored(valkey, 600), Counter[str]()
    await drops.add(keys)
    await drops.send()
    add_again = type(drops)._add_again

    def counted(drops: Any, again: list[str], owns: Any) -> None:
        added.update(again)
        add_again(drops, again, owns)

    monkeypatch.setattr(type(drops), "_add_again", counted)
    valkey.kill()
    await until(lambda: backing.engine.unavailable is not None)
    valkey.start()
    await until(lambda: backing.engine.unavailable is None)
    assert added == Counter(keys)
    assert len(drops) == 600


async def test_what_is_dropped_while_a_connection_is_made_is_pending_for_it(valkey: Server, backing: Backing) -> None:
    """A batch is dropped at the slot's old server · the new connection's server takes the slot over, with the value."""
    drops, handover = backing.outbox_drops, NewConnection()
    await drops.add(["cache:episode:e1"])
    await drops.send()
    await drops.repeat(handover)  # type: ignore[arg-type]
    await drops.send()
    await drops.add(["cache:episode:e2"])
    await drops.send()
    assert not drops.any
    drops.repeat_at_once(handover)  # type: ignore[arg-type]
    # e1 was dropped anew too, after it had been added for this connection.
    assert drops._keys == {"cache:episode:e1", "cache:episode:e2"}
    drops.repeat_at_once(NewConnection())  # type: ignore[arg-type]
    assert drops._keys == {"cache:episode:e1", "cache:episode:e2"}


# Keys that differ in a number -------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "p:"])
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("cache:{topic_id}:page:{page}", {"topic_id": "a1"}),
        ("cache:{page}", {}),
        ("cache:{a}:{page}:x:{b}", {"a": "1", "b": "2"}),
        ("cache:{page}:end", {}),
    ],
)
def test_numbered_keys_are_those_that_are_built_singly(text: str, parts: dict[str, str], prefix: str) -> None:
    pattern = Pattern(text, parts={"page": Number(1, 200)}, prefix=prefix)
    assert pattern.numbered("page", range(1, 121), **parts) == [pattern.key(page=n, **parts) for n in range(1, 121)]
    assert pattern.numbered("page", range(1, 1), **parts) == []
    with pytest.raises(InvalidInput, match="page: 201 is out of range"):
        pattern.numbered("page", range(1, 202), **parts)
