"""What is refused when a cache is declared, and what a second declaration gives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from greenroom import Greenroom, Keyspace
from greenroom.errors import InvalidInput
from greenroom.keyspace import Number
from greenroom.podcast.definitions import DEFINITIONS
from tests.support.real_servers import Server

MINUTES = timedelta(minutes=5)


class User(msgspec.Struct, frozen=True):
    id: str
    email: str = ""


class PublicUser(msgspec.Struct, frozen=True):
    id: str


class Database:
    async def user(self, id: str) -> User:
        return User(id)


async def load(id: str) -> User:
    return User(id)


async def another(id: str) -> User:
    return User(id)


@pytest.fixture
async def room(valkey: Server) -> AsyncIterator[Greenroom]:
    async with Greenroom.open(valkey.address) as opened:
        yield opened


def users(text: str = "user:{id}", type_: Any = User, **options: Any) -> Keyspace[Any]:
    return Keyspace(text, type_, **{"ttl": MINUTES, **options})


async def test_the_same_declaration_gives_the_cache_that_there_is(room: Greenroom) -> None:
    cache = room.cache(users(), load=load, group="users:{id}")
    assert room.cache(users(), load=load, group="users:{id}") is cache
    database = Database()
    methods = room.cache(users("member:{id}"), load=database.user)
    assert room.cache(users("member:{id}"), load=database.user) is methods
    assert len(list(room._caches)) == 2


@pytest.mark.parametrize(
    ("keyspace", "options", "words"),
    [
        (users(type_=PublicUser), {}, "differs in type"),
        (users(type_=dict[str, str]), {}, "differs in type"),
        (users(), {"load": another}, "differs in load"),
        (users(), {"near_for": 0}, "differs in near_for"),
        (users(), {"group": "users:{id}"}, "differs in group"),
        (users(), {"load_many": another}, "differs in load_many"),
        (users(ttl=timedelta(minutes=6)), {}, "differs in ttl"),
        (users(fresh=timedelta(minutes=1)), {}, "differs in fresh"),
        (users(numbers={"id": Number(1, 9)}), {}, "differs in numbers"),
        (users("user:{name}"), {}, "'user:{name}' can make the same key as 'user:{id}'"),
        (users("user:me"), {}, "'user:me' can make the same key"),
    ],
    ids=[
        "subtype",
        "dict",
        "load",
        "near_for",
        "group",
        "load_many",
        "ttl",
        "fresh",
        "numbers",
        "other part",
        "literal",
    ],
)
async def test_a_second_declaration_that_would_share_keys_is_refused(
    room: Greenroom, keyspace: Keyspace[Any], options: dict[str, Any], words: str
) -> None:
    cache = room.cache(users(), load=load)
    with pytest.raises(InvalidInput, match=words) as caught:
        room.cache(keyspace, **{"load": load, **options})
    assert caught.value.field == "keyspace"
    assert "format of its own" in caught.value.remedy
    assert list(room._caches) == [cache]


@pytest.mark.parametrize("own", DEFINITIONS, ids=lambda own: own.name)
async def test_the_platform_s_own_formats_are_refused(room: Greenroom, own: Keyspace[Any]) -> None:
    with pytest.raises(InvalidInput, match="of the platform"):
        room.cache(own, load=load)
    renamed = own.pattern.text.replace("{", "{my_")
    with pytest.raises(InvalidInput, match="of the platform"):
        room.cache(users(renamed), load=load)


async def test_two_rooms_may_declare_the_same(valkey: Server, room: Greenroom) -> None:
    room.cache(users(), load=load)
    async with Greenroom.open(valkey.address) as other:
        assert await other.cache(users(), load=another).get("a") == User("a")
