"""A closed room says so, whichever of its parts is asked: not that a server or the database is away."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom import Keyspace
from greenroom.errors import RoomClosed
from greenroom.rate_limit import Bound
from greenroom_platform.domain.records import SnippetDraft, TopicDraft
from greenroom_platform.models import HeardPodcast
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.testing.records_changes import NOON
from tests.support.cheap_accounts import PASSWORD
from tests.support.real_servers import Server

TOPIC = TopicDraft(display_name="Closed", description="", keywords=())
SNIPPET = SnippetDraft(topic_id="closed", title="Closed", text_content="Closed.")
HEARD = [HeardPodcast(podcast_id="closed", listened_at=NOON)]
CLAIMED: Any = None
"""A claim: nothing is asked of it once the room is closed."""

PROPERTIES = (
    *("accounts", "changes", "generation", "presence", "recordings", "records", "sessions", "snippets", "statuses"),
    *("outbox", "tasks", "topics", "search", "listings", "histories", "feeds"),
    *("actions", "heartbeats", "outbox", "queue_control", "tasks", "topics"),
)
NOT_OF_THE_SERVER = {
    "rate": {"bound"},
    # What closes, what only looks at its arguments, what threads ask by themselves, and the value of another part.
    "sessions": {
        "close",
        "directly",
        "snapshot",
        "touch",
        "engine",
        "store",
        "streams",
        "leftovers",
        "limits",
        "own_lifetime",
        "user",
        "prefix",
        "counters",
    },
    "presence": {"interval"},
    "topics": {"check", "every", "one"},
    "snippets": {"check", "one", "pages"},
    "statuses": {"cache", "check_same", "close", "followed"},
    "generation": {"asked"},
    "accounts": {"close", "check"},
    "listings": {"close"},
    "histories": {"now"},
    "worker": {"work"},
    "cache": {
        *("close", "context", "group", "group_parts", "get_bytes", "invalidate_numbered", "keyspace", "load", "of"),
        *("attached", "cancel_load", "detach", "find", "group_patterns", "is_near", "loads", "open", "peek", "watch"),
        # Steps of a thread's `get`, which says that the room is closed.
        *("keeps_nothing_near", "directly", "begin", "resumed"),
    },
}
"""Public members that are no operations on the server or the record."""


class House:
    """The parts of a room that somebody has kept."""

    def __init__(self, platform: Platform, live: Any, token: str, stream: Any) -> None:
        async def load(x: str) -> int:
            return len(x)

        self.platform, self.live, self.token, self.stream = platform, live, token, stream
        keyspace = Keyspace("closed:{x}", int, ttl=timedelta(minutes=1))
        self.cache = platform.room.cache(keyspace, load=load, groups=["closed:of:{x}"])
        self.sessions, self.presence, self.topics, self.snippets = (
            *(platform.sessions, platform.presence, platform.topics, platform.snippets),
        )
        self.statuses, self.generation, self.tasks, self.accounts = (
            *(platform.statuses, platform.generation, platform.tasks, platform.accounts),
        )
        self.search, self.listings = platform.search, platform.listings
        self.histories, self.feeds = platform.histories, platform.feeds
        self.rate = platform.rate("closed", Bound(9, timedelta(minutes=1)))
        self.worker = platform.worker()

    async def watched(self) -> None:
        async with self.sessions.watched(self.live.session_id):
            pass

    async def follow(self) -> None:
        async for _ in self.statuses.follow("closed"):
            pass


Operation = Callable[[House], Awaitable[object]]
OPERATIONS: dict[str, dict[str, Operation]] = {
    "sessions": {
        "start": lambda house: house.sessions.start(),
        "read": lambda house: house.sessions.read(house.token),
        "read_id": lambda house: house.sessions.read_id(house.live.session_id),
        "watched": House.watched,
        "change": lambda house: house.sessions.change(house.live.session_id, bytes),
        "settle": lambda house: house.sessions.settle(house.live.session_id),
        "rotate": lambda house: house.sessions.rotate(house.live.session_id, {}),
        "end": lambda house: house.sessions.end(house.live.session_id),
        "end_all": lambda house: house.sessions.end_all("ana"),
        "end_all_behind": lambda house: asyncio.to_thread(house.sessions.end_all_behind, "ana"),
        "of_user": lambda house: house.sessions.of_user("ana"),
        "active": lambda house: house.sessions.active(),
    },
    "presence": {
        "open": lambda house: house.presence.open("closed", None),
        "renew": lambda house: house.presence.renew(house.stream),
        "close": lambda house: house.presence.close(house.stream),
        "listeners": lambda house: house.presence.listeners(),
        "active": lambda house: house.presence.active(),
    },
    "topics": {
        "get": lambda house: house.topics.get("closed"),
        "all": lambda house: house.topics.all(),
        "read": lambda house: house.topics.read("closed"),
        "read_all": lambda house: house.topics.read_all(),
        "edit": lambda house: house.topics.edit("closed", lambda _: TOPIC),
        "put": lambda house: house.topics.put("closed", TOPIC),
        "delete": lambda house: house.topics.delete("closed"),
    },
    "snippets": {
        "get": lambda house: house.snippets.get("closed"),
        "page": lambda house: house.snippets.page("closed"),
        "read": lambda house: house.snippets.read("closed"),
        "read_page": lambda house: house.snippets.read_page("closed"),
        "read_newest": lambda house: house.snippets.read_newest(),
        "add": lambda house: house.snippets.add(SNIPPET),
        "edit": lambda house: house.snippets.edit("closed", lambda _: SNIPPET),
        "put": lambda house: house.snippets.put("closed", SNIPPET),
        "delete": lambda house: house.snippets.delete("closed"),
    },
    "statuses": {
        "get": lambda house: house.statuses.get("closed"),
        "read": lambda house: house.statuses.read("closed"),
        "follow": House.follow,
        "sse": lambda house: house.statuses.sse("closed"),
    },
    "generation": {
        "request": lambda house: house.generation.request("closed"),
        "queue": lambda house: house.generation.queue(),
    },
    "tasks": {
        "claim": lambda house: house.tasks.claim("worker"),
        "renew": lambda house: house.tasks.renew(CLAIMED),
        "advance": lambda house: house.tasks.advance(CLAIMED, "audio_rendering"),
        "fail": lambda house: house.tasks.fail(CLAIMED, "closed"),
        "give_back": lambda house: house.tasks.give_back(CLAIMED, counted=True),
    },
    "accounts": {
        "create": lambda house: house.accounts.create("closed", PASSWORD),
        "sign_in": lambda house: house.accounts.sign_in("closed", PASSWORD, address="127.0.0.1"),
        "change_password": lambda house: house.accounts.change_password("u", PASSWORD, PASSWORD, address="127.0.0.1"),
        "delete": lambda house: house.accounts.delete("u", PASSWORD, address="127.0.0.1", once_right=house.watched),
        "still_right": lambda house: house.accounts.still_right(CLAIMED, PASSWORD),
        "keep_preferences": lambda house: house.accounts.keep_preferences("closed", {}, house.live.started_text),
    },
    "search": {
        "find": lambda house: house.search.find("closed"),
        "read": lambda house: house.search.read("closed"),
    },
    "listings": {
        "podcasts": lambda house: house.listings.podcasts(["closed"]),
        "of_topic": lambda house: house.listings.of_topic("closed", 1),
        "place": lambda house: house.listings.place("closed"),
        "history": lambda house: house.listings.history(HEARD),
        "known": lambda house: house.listings.known(["closed"]),
        "listed": lambda house: house.listings.listed(["closed"]),
        "topic_names": lambda house: house.listings.topic_names([]),
    },
    "histories": {
        "entries": lambda house: house.histories.entries("closed"),
        "note": lambda house: house.histories.note("closed", HEARD),
        "forget": lambda house: house.histories.forget("closed", "closed"),
    },
    "feeds": {
        "make": lambda house: house.feeds.make("closed"),
        "end": lambda house: house.feeds.end("closed"),
        "read": lambda house: house.feeds.read("closed"),
    },
    "rate": {
        "count": lambda house: house.rate.count("closed"),
        "take_back": lambda house: house.rate.take_back("closed"),
        "forget": lambda house: house.rate.forget("closed"),
    },
    "worker": {"run": lambda house: house.worker.run()},
    "cache": {
        "get": lambda house: house.cache.get("x"),
        "get_many": lambda house: house.cache.get_many([{"x": "x"}]),
        "get_result": lambda house: house.cache.get_result("x"),
        "get_results": lambda house: house.cache.get_results([{"x": "x"}]),
        "invalidate": lambda house: house.cache.invalidate("x"),
        "invalidate_many": lambda house: house.cache.invalidate_many(["x"]),
        "invalidate_group": lambda house: house.cache.invalidate_group("x"),
        "drop_keyspace": lambda house: house.cache.drop_keyspace(),
        "begin_drop": lambda house: house.cache.begin_drop().send(),
    },
}


@asynccontextmanager
async def closed(server: Server, directory: Path) -> AsyncIterator[House]:
    async with open_platform(server.address, data_dir=directory) as platform:
        live, token = await platform.sessions.start()
        house = House(platform, live, token, await platform.presence.open("closed", live.session_id))
    yield house


async def test_every_part_of_a_closed_room_says_that_it_is_closed(valkey: Server, tmp_path: Path) -> None:
    answered = []
    async with closed(valkey, tmp_path) as house, asyncio.timeout(30):
        for part, operations in OPERATIONS.items():
            for name, operation in operations.items():
                try:
                    answered.append((part, name, await operation(house)))
                except RoomClosed:
                    continue
                except Exception as error:
                    answered.append((part, name, error))
    assert answered == []


async def test_a_closed_room_gives_nothing_out(valkey: Server, tmp_path: Path) -> None:
    async with closed(valkey, tmp_path) as house:
        for name in PROPERTIES:
            with pytest.raises(RoomClosed):
                getattr(house.platform, name)
        with pytest.raises(RoomClosed):
            _ = house.platform.room.unavailable
        for call in (house.platform.worker, house.platform.room.forget_near):
            with pytest.raises(RoomClosed):
                call()
        with pytest.raises(RoomClosed):
            house.platform.rate("closed", Bound(1, timedelta(minutes=1)))


async def test_no_operation_of_a_room_is_forgotten_here(valkey: Server, tmp_path: Path) -> None:
    async with closed(valkey, tmp_path) as house:
        for part, operations in OPERATIONS.items():
            public = {name for name in dir(getattr(house, part)) if not name.startswith("_")}
            public -= NOT_OF_THE_SERVER.get(part, set()) | {"opened"}
            assert public == operations.keys(), part
        members = inspect.getmembers(Platform)
        properties = {name for name, one in members if isinstance(one, property) and not name.startswith("_")}
        assert properties == set(PROPERTIES)
