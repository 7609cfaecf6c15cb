"""The end of what is answered before the router: whatever ends a near entry ends the answer made of it, at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from greenroom.caching import Cache, near
from greenroom.caching.local import LocalCopies
from greenroom_platform.definitions import SNIPPET_PAGE
from tests.support.both_ways import BothWays, both_ways, edit
from tests.support.patience import be_patient, until
from tests.support.proxy import Proxy
from tests.support.real_servers import Server
from tests.support.running_service import API
from tests.support.stream_listeners import TOPIC

PAGE = f"{API}/snippets?topic_id={TOPIC}&page=1"
PAGE_KEY = f"cache:snippets:topic:{TOPIC}:page:1"
OLD = {"topic_id": TOPIC, "title": "Old", "text_content": "Some text."}
NEW = OLD | {"title": "New"}


@pytest.fixture
async def ways(
    valkey: Server, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BothWays]:
    """A service with one snippet, whose page is answered fast; its caches are behind the proxy."""
    be_patient(monkeypatch)
    async with both_ways(tmp_path, monkeypatch, cache_url=proxy.address) as ways:
        made = await edit(ways, "POST", "/snippets", json.dumps(OLD).encode())
        ways.snippet_id = json.loads(made.body)["snippet_id"]
        await ways.warm(PAGE)
        yield ways


def pages(ways: BothWays) -> Cache[Any]:
    return ways.platform.snippets.pages


def titles(body: bytes) -> list[str]:
    return [snippet["title"] for snippet in json.loads(body)]


async def put(ways: BothWays) -> None:
    """Change the snippet here."""
    await edit(ways, "PUT", f"/snippets/{ways.snippet_id}", json.dumps(NEW).encode())


@contextmanager
def seen_at(monkeypatch: pytest.MonkeyPatch, hook: str, ways: BothWays) -> Iterator[list[Any]]:
    """What the fast path would answer with the moment that a hook of the copies in this process returns."""
    seen: list[Any] = []
    original = getattr(LocalCopies, hook)

    def spied(self: LocalCopies, *args: Any) -> None:
        original(self, *args)
        seen.append(pages(ways).attached(PAGE_KEY))

    with monkeypatch.context() as patch:
        patch.setattr(LocalCopies, hook, spied)
        yield seen


def ends(seen: list[Any]) -> bool:
    """Whether there is no answer from one of the calls on."""
    return None in seen and not any(seen[seen.index(None) :])


async def test_a_change_made_here_is_seen_by_the_next_request(ways: BothWays, monkeypatch: pytest.MonkeyPatch) -> None:
    with seen_at(monkeypatch, "forget", ways) as seen:
        await put(ways)
    assert ends(seen)
    answer = await ways.get(PAGE)
    assert (answer.fast, titles(answer.body)) == (False, ["New"])
    await ways.warm(PAGE)
    assert titles((await ways.get(PAGE)).body) == ["New"]


async def test_a_change_whose_drop_is_under_way_is_not_answered_fast(ways: BothWays, proxy: Proxy) -> None:
    drop = proxy.hold(PAGE_KEY)
    change = asyncio.create_task(put(ways))
    await drop.reached.wait()
    asked = asyncio.create_task(ways.get(PAGE))
    await asyncio.sleep(0)
    drop.release()
    await change
    assert not (await asked).fast
    assert titles((await ways.get(PAGE)).body) == ["New"]


async def pushed(ways: BothWays, valkey: Server, _: Proxy) -> None:
    """Another program deletes the page."""
    valkey.raw()("DEL", PAGE_KEY)


async def flushed(ways: BothWays, valkey: Server, _: Proxy) -> None:
    """Another program empties the server."""
    valkey.raw()("FLUSHALL")


async def lost(ways: BothWays, _: Server, proxy: Proxy) -> None:
    """The connection ends."""
    await proxy.cut()


@pytest.mark.parametrize(("event", "hook"), [(pushed, "pushed"), (flushed, "lost"), (lost, "lost")])
async def test_what_the_connection_tells_ends_the_answer_at_once(
    ways: BothWays,
    valkey: Server,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    event: Callable[[BothWays, Server, Proxy], Awaitable[None]],
    hook: str,
) -> None:
    with seen_at(monkeypatch, hook, ways) as seen:
        await event(ways, valkey, proxy)
        await until(lambda: PAGE_KEY not in set(pages(ways)._near))
    assert ends(seen)
    assert not (await ways.get(PAGE)).fast


async def test_a_push_that_is_still_to_be_read_leaves_the_answer(ways: BothWays, valkey: Server, proxy: Proxy) -> None:
    held = proxy.hold_push()
    valkey.raw()("DEL", PAGE_KEY)
    await held.have("invalidate")
    assert (await ways.get(PAGE)).fast  # as a near hit by the whole way: nobody has heard of it
    held.release()
    await until(lambda: PAGE_KEY not in set(pages(ways)._near))
    assert not (await ways.get(PAGE)).fast


# What is pending or no longer trusted leaves the entry near, and still nothing is answered with it -------


def group_pending(ways: BothWays, _: pytest.MonkeyPatch) -> Callable[[], None]:
    groups = pages(ways)._backing.groups
    groups.pending_drops.add("another")
    return partial(groups.pending_drops.discard, "another")


def outbox_pending(ways: BothWays, _: pytest.MonkeyPatch) -> Callable[[], None]:
    drops = pages(ways)._backing.outbox_drops
    drops.any = True
    return partial(setattr, drops, "any", False)


def drop_pending(ways: BothWays, _: pytest.MonkeyPatch) -> Callable[[], None]:
    pending = pages(ways)._backing.drops.pending
    pending[PAGE_KEY] = 1
    return partial(pending.__delitem__, PAGE_KEY)


def silent(ways: BothWays, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    trusted = pages(ways)._near._max_staleness
    patch = pytest.MonkeyPatch()
    patch.setattr(near, "monotonic", lambda: monotonic() + trusted)
    return patch.undo


def stale(ways: BothWays, _: pytest.MonkeyPatch) -> Callable[[], None]:
    entry = entry_of(ways)
    until, entry.fresh_until = entry.fresh_until, 0.0
    return partial(setattr, entry, "fresh_until", until)


def over(ways: BothWays, _: pytest.MonkeyPatch) -> Callable[[], None]:
    entry = entry_of(ways)
    until, entry.near_until = entry.near_until, 0.0
    return partial(setattr, entry, "near_until", until)


def closed(ways: BothWays, _: pytest.MonkeyPatch) -> Callable[[], None]:
    opened = pages(ways)._opened
    thread, opened.thread = opened.thread, 0
    return partial(setattr, opened, "thread", thread)


def entry_of(ways: BothWays) -> near.Entry:
    entry = pages(ways)._near._entries[PAGE_KEY]
    assert entry.attached is not None
    return entry


@pytest.mark.parametrize("hinder", [group_pending, outbox_pending, drop_pending, silent, stale, over, closed])
async def test_nothing_is_answered_while_a_near_hit_would_not_be(
    ways: BothWays,
    monkeypatch: pytest.MonkeyPatch,
    hinder: Callable[[BothWays, pytest.MonkeyPatch], Callable[[], None]],
) -> None:
    await ways.warm(PAGE)
    mend = hinder(ways, monkeypatch)
    try:
        assert pages(ways).attached(PAGE_KEY) is None
    finally:
        mend()
    await ways.warm(PAGE)


async def test_a_keyspace_that_is_being_dropped_is_not_answered_fast(ways: BothWays, proxy: Proxy) -> None:
    told = proxy.hold("EVALSHA")
    dropping = asyncio.create_task(ways.platform.room.drop_keyspace(SNIPPET_PAGE))
    await told.reached.wait()
    assert pages(ways).attached(PAGE_KEY) is None
    assert len(pages(ways)._near) == 0 or PAGE_KEY not in set(pages(ways)._near)
    told.release()
    await dropping
    assert not (await ways.get(PAGE)).fast
    await ways.warm(PAGE)
