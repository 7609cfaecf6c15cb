"""What other programs write into a group, or in its place: passed over, taken out, and no change fails for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from greenroom.caching import Cache
from greenroom.caching.invalidation import Backing
from greenroom.engine import Channel
from greenroom.keyspace import Keyspace, Number
from tests.support.episode_caches import Back, cache_of
from tests.support.gateways import eventually
from tests.support.real_servers import Raw, Server

PAGE: Keyspace[str] = Keyspace("page:{show}:{n}", str, ttl=timedelta(minutes=5), parts={"n": Number(1, 99)})
GROUP = "greenroom:group:{pages:x}"
FOREIGN = [b"\xff\xfe", b"", b"a{b", b"lease:{page:x:1}", b"greenroom:group:{pages:y}", b"page:x:\n", b"\x00"]
SCORES = ["1", "1.5", "+inf", "-inf", "-5", "1e300"]


class Pages:
    """A loader that counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, show: str, n: int) -> str:
        self.calls += 1
        return f"{show} {n} as of {self.calls}"


def cache(backing: Backing, load: Pages) -> Cache[Any]:
    return cache_of(backing, load, PAGE, groups=["pages:{show}"])


def put(raw: Raw, kind: str) -> None:
    """Put something else in the group's place."""
    raw("DEL", GROUP)
    match kind:
        case "string":
            raw("SET", GROUP, b"\xff\xfe")
        case "list":
            raw("RPUSH", GROUP, b"\xff")
        case "set":
            raw("SADD", GROUP, b"\xff")
        case "hash":
            raw("HSET", GROUP, b"\xff", b"\xff")


@pytest.mark.parametrize("score", SCORES)
async def test_foreign_members_are_passed_over_and_taken_out(server: Server, back: Back, score: str) -> None:
    load, raw = Pages(), server.raw()
    pages = cache(await back(server), load)
    await pages.get(show="x", n=1)
    for member in FOREIGN:
        raw("ZADD", GROUP, score, member)
    raw("SET", "greenroom:group:{pages:y}", "left alone")
    await pages.invalidate_group(show="x")
    assert raw("ZRANGE", GROUP, 0, -1) == []
    assert raw("GET", "greenroom:group:{pages:y}") == b"left alone"
    assert await pages.get(show="x", n=1) == "x 1 as of 2"


@pytest.mark.parametrize("score", SCORES)
async def test_a_member_of_ours_with_any_score_is_dropped(server: Server, back: Back, score: str) -> None:
    load, raw = Pages(), server.raw()
    pages = cache(await back(server), load)
    await pages.get(show="x", n=1)
    raw("ZADD", GROUP, score, "page:x:1")
    await pages.invalidate_group(show="x")
    assert raw("EXISTS", "page:x:1") == 0
    assert raw("ZRANGE", GROUP, 0, -1) == []


@pytest.mark.parametrize("kind", ["string", "list", "set", "hash"])
async def test_what_stands_in_a_groups_place_keeps_no_page_from_being_stored(
    server: Server, back: Back, kind: str
) -> None:
    load, raw = Pages(), server.raw()
    pages = cache(await back(server), load)
    put(raw, kind)
    await pages.invalidate_group(show="x")
    await pages.get(show="x", n=1)
    await pages.get(show="x", n=1)
    assert load.calls == 1
    assert raw("ZRANGE", GROUP, 0, -1) == [b"page:x:1"]


async def _unread(backing: Backing, raw: Raw, change: Callable[[], Any]) -> None:
    """Let a group be unread, then be changed by another program, while the connection is lost."""
    backing.groups.pending_reads.add("pages:x")
    backing.groups.pending_drops.add("pages:x")
    change()
    raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await eventually(lambda: not backing.groups.pending_reads and backing.engine.unavailable is None)
    await backing.engine.execute(Channel.TRACKED, "k", "PING")


async def test_a_connection_that_owes_a_group_serves_whatever_stands_there(server: Server, back: Back) -> None:
    load, raw = Pages(), server.raw()
    backing = await back(server)
    pages = cache(backing, load)
    await pages.get(show="x", n=1)
    await _unread(backing, raw, lambda: [raw("ZADD", GROUP, "+inf", one) for one in FOREIGN])
    assert raw("EXISTS", "page:x:1") == 0
    for kind in ("string", "list", "set", "hash"):
        await _unread(backing, raw, lambda kind=kind: put(raw, kind))  # type: ignore[misc]
