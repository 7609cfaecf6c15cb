"""What is refused when a cache is declared, and what a second declaration gives."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from greenroom import Greenroom, Keyspace
from greenroom.errors import InvalidInput, LoadFailed, RoomClosed, WrongParts
from greenroom.keyspace import Number
from greenroom_platform.definitions import DEFINITIONS
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import open_records
from tests.support.patience import until
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
    async with Greenroom(valkey.address) as opened:
        yield opened


def users(text: str = "user:{id}", type_: Any = User, **options: Any) -> Keyspace[Any]:
    return Keyspace(text, type_, **{"ttl": MINUTES, **options})


async def test_the_same_declaration_gives_the_cache_that_there_is(room: Greenroom) -> None:
    cache = room.cache(users(), load=load, groups=["users:{id}"])
    assert room.cache(users(), load=load, groups=["users:{id}"]) is cache
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
        (users(), {"near_for": timedelta(0)}, "differs in near_for"),
        (users(), {"groups": ["users:{id}"]}, "differs in groups"),
        (users(), {"load_many": another}, "differs in load_many"),
        (users(ttl=timedelta(minutes=6)), {}, "differs in ttl"),
        (users(fresh=timedelta(minutes=1)), {}, "differs in fresh"),
        (users(parts={"id": Number(1, 9)}), {}, "differs in parts"),
        (users("user:{name}"), {}, "'user:{name}' can make the same key as 'user:{id}'"),
        (users("user:me"), {}, "'user:me' can make the same key"),
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
async def test_the_platform_s_own_formats_are_refused(valkey: Server, tmp_path: Path, own: Keyspace[Any]) -> None:
    async def load(**parts: Any) -> Any:
        raise AssertionError

    async with open_platform(valkey.address, data_dir=tmp_path) as platform:
        whose = "the sessions" if own.name == "session" else "another cache"
        renamed = own.pattern.text.replace("{", "{my_")
        for text in {own.pattern.text, renamed}:
            with pytest.raises(InvalidInput, match=f"of {whose} of this room|has a cache that differs"):
                platform.room.cache(users(text), load=load)


@pytest.mark.parametrize("text", ["cache:{kind}:{id}", "cache:topic:{id}", "cache:topics:{id}"])
async def test_a_platform_refuses_a_room_with_a_format_of_its_own(valkey: Server, tmp_path: Path, text: str) -> None:
    async def load(id: str, kind: str = "") -> User:
        raise AssertionError

    records = await open_records(tmp_path / "record.sqlite3")
    async with Greenroom(valkey.address) as room:
        cache = room.cache(users(text), load=load)
        with pytest.raises(InvalidInput, match="can make the same key as"):
            async with Platform(room, records):
                raise AssertionError
        assert cache in list(room._caches)
    await records.close()


async def test_two_rooms_may_declare_the_same(valkey: Server, room: Greenroom) -> None:
    room.cache(users(), load=load)
    async with Greenroom(valkey.address) as other:
        assert await other.cache(users(), load=another).get("a") == User("a")


# What can never work -----------------------------------------------------------------------------


def generator(id: str) -> Any:
    yield User(id)


async def async_generator(id: str) -> Any:
    yield User(id)


async def nothing() -> None:
    pass


async def two(id: str, more: str) -> User:
    return User(id + more)


async def by_another_name(*, show: str, number: str) -> User:
    return User(show + number)


@pytest.mark.parametrize(
    ("text", "options", "field", "words"),
    [
        ("user:{id}", {"load": 3}, "load", "cannot be called"),
        ("user:{id}", {"load": generator}, "load", "do not yield"),
        ("user:{id}", {"load": async_generator}, "load", "do not yield"),
        ("user:{id}", {"load": nothing}, "load", "called with one argument"),
        ("user:{id}", {"load": two}, "load", "'more'.*called with one argument"),
        ("page:{show}:{page}", {"load": by_another_name}, "load", "'number'.*called with show=…, page=…"),
        ("users:all", {"load": load}, "load", "called with no argument"),
        ("user:{id}", {"load_many": nothing}, "load_many", "called with one argument"),
        ("user:{id}", {"load_many": [1]}, "load_many", "cannot be called"),
        ("user:{id}", {"groups": ["g:{nope}"]}, "groups", "nope.*use parts of"),
        ("user:{id}", {"groups": ["{id}"]}, "pattern", "begins with a part"),
        ("user:{id}", {"groups": "g:{id}"}, "groups", "a list of patterns"),
        ("user:{id}", {"groups": [3]}, "groups", "a list of patterns"),
        ("user:{id}", {"groups": None}, "groups", "a list of patterns"),
        ("user:{id}", {"near_for": 3}, "near_for", "use a timedelta"),
        ("user:{id}", {"near_for": timedelta(seconds=-1)}, "near_for", "zero or more"),
        ("user:{id}", {"loader_deadline": timedelta(0)}, "loader_deadline", "millisecond"),
        ("user:{id}", {"loader_deadline": None}, "loader_deadline", "use a timedelta"),
        ("user:{id}", {"max_concurrent": 0}, "max_concurrent", "1 or more"),
        ("user:{id}", {"max_concurrent": 1.5}, "max_concurrent", "1 or more"),
    ],
)
async def test_a_cache_that_can_never_work_is_refused_when_declared(
    room: Greenroom, text: str, options: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        room.cache(users(text), **{"load": load, **options})
    assert caught.value.field == field
    assert not list(room._caches)


async def test_a_declaration_for_what_is_no_keyspace_is_refused(room: Greenroom) -> None:
    declare: Any = room.cache
    with pytest.raises(InvalidInput, match="give a Keyspace"):
        declare("user:{id}", load=load)


@pytest.mark.parametrize(
    ("options", "field"),
    [({"parts": ["id"]}, "parts"), ({"limit": True}, "limit"), ({"name": 5}, "name"), ({"name": 'a"b\n'}, "name")],
)
def test_a_keyspace_says_which_argument_is_wrong(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        users(**options)
    assert caught.value.field == field


async def test_loaders_that_are_not_async_work(room: Greenroom) -> None:
    cache = room.cache(users(), load=lambda id: User(id), load_many=lambda ids: [User(id) for id in ids])
    assert await cache.get("a") == User("a")
    assert await cache.get_many([{"id": "b"}, {"id": "c"}]) == [User("b"), User("c")]

    class Loads:
        async def __call__(self, show: str, page: str = "1", more: str = "") -> User:
            return User(f"{show}-{page}{more}")

    pages = room.cache(users("page:{show}:{page}"), load=Loads())
    assert await pages.get(show="a", page="2") == User("a-2")
    partial = room.cache(users("part:{id}"), load=functools.partial(two, more="!"))
    assert await partial.get("a") == User("a!")


async def test_a_part_that_is_declared_as_a_number_takes_numbers_alone(valkey: Server, room: Greenroom) -> None:
    cache = room.cache(users(parts={"id": int}), load=lambda id: User(f"n{id}"))
    for part in (7, -7, 0, 2**40):
        assert await cache.get(part) == User(f"n{part}")
        assert valkey.raw()("GET", f"user:{part}") is not None
    for wrong in ("7", "me", 1.0, True):
        with pytest.raises(InvalidInput, match=r"id: .* is not a whole number"):
            await cache.get(wrong)
    with pytest.raises(InvalidInput, match="use str, int, Number"):
        users(parts={"id": float})


async def test_a_key_of_several_groups_goes_with_each_of_them(room: Greenroom) -> None:
    found = {"version": 1}
    cache = room.cache(
        users("member:{team}:{id}"),
        load=lambda team, id: User(str(found["version"])),
        groups=["team:{team}", "person:{id}"],
    )
    for version, group in ((1, ("team:{team}", "red")), (2, ("person:{id}", "u1"))):
        found["version"] = version
        assert await cache.get(team="red", id="u1") == User(str(version))
        found["version"] = version + 1
        await cache.invalidate_group(*group)
        assert await cache.get(team="red", id="u1") == User(str(version + 1))
    with pytest.raises(TypeError, match="name one of them first"):
        await cache.invalidate_group("red")


async def test_a_room_is_opened_again_but_not_twice_at_once(valkey: Server) -> None:
    room = Greenroom(valkey.address)
    for _ in range(2):
        async with room:
            assert await room.cache(users(), load=load).get("a") is not None
            with pytest.raises(InvalidInput, match="is open already"):
                async with room:
                    pass


async def test_a_part_may_be_a_whole_number_or_a_uuid(valkey: Server, room: Greenroom) -> None:
    cache = room.cache(users(), load=lambda id: User(str(id)))
    for part in (7, -7, 0, UUID(int=7)):
        assert await cache.get(part) == await cache.get(id=part) == await cache.get(str(part)) == User(str(part))
        assert valkey.raw()("GET", f"user:{part}") is not None
    for wrong in (True, 1.5, None, 10**200, b"a"):
        with pytest.raises(InvalidInput, match="id"):
            await cache.get(wrong)


# A room that is closed -----------------------------------------------------------------------------


async def test_a_closed_room_says_so(valkey: Server) -> None:
    async with Greenroom(valkey.address) as room:
        cache = room.cache(users(), load=load, groups=["users:{id}"])
        await cache.get("a")  # is near
        await cache.get("a")
    for call in (
        lambda: cache.get("a"),
        lambda: cache.get(id="b"),
        lambda: cache.get_result("a"),
        lambda: cache.get_bytes("a"),
        lambda: cache.get_many([{"id": "a"}]),
        lambda: cache.invalidate("a"),
        lambda: cache.invalidate_group("a"),
    ):
        with pytest.raises(RoomClosed, match="is closed"):
            await call()
    with pytest.raises(RoomClosed):
        cache.watch(lambda: None, "a")
    with pytest.raises(RoomClosed):
        cache.peek("a")


# A loader that fails ---------------------------------------------------------------------------------


class Forbidden(Exception):
    pass


async def test_where_it_was_loaded_a_failure_has_its_cause(valkey: Server, room: Greenroom) -> None:
    error = Forbidden("of ana")

    async def fail(_: str) -> User:
        raise error

    async with Greenroom(valkey.address) as other:
        cache, elsewhere = room.cache(users(), load=fail), other.cache(users(), load=fail)
        with pytest.raises(Forbidden):
            await cache.get("ana")
        for call in (lambda: cache.get("ana"), lambda: cache.get_many([{"id": "ana"}])):
            with pytest.raises(LoadFailed) as caught:
                await call()
            assert (caught.value.kind, caught.value.__cause__) == ("Forbidden", error)
        with pytest.raises(LoadFailed) as caught:
            await elsewhere.get("ana")
        assert (caught.value.kind, caught.value.__cause__) == ("Forbidden", None)
        assert "of ana" not in str(caught.value)


async def test_of_a_batch_that_failed_each_key_has_the_cause(room: Greenroom) -> None:
    error = Forbidden()

    async def fail(_: Any) -> list[User]:
        raise error

    cache = room.cache(users(), load=load, load_many=fail)
    with pytest.raises(Forbidden):
        await cache.get_many([{"id": "a"}, {"id": "b"}])
    for one in "ab":
        with pytest.raises(LoadFailed) as caught:
            await cache.get(one)
        assert caught.value.__cause__ is error


async def test_a_refresh_that_fails_logs_message_and_traceback(
    valkey: Server, room: Greenroom, caplog: pytest.LogCaptureFixture
) -> None:
    good = User("a")

    async def fail_the_second(_: str) -> User:
        if good in loaded:
            raise Forbidden("the database says no")
        loaded.append(good)
        return good

    loaded: list[User] = []
    cache = room.cache(users(fresh=timedelta(minutes=1)), load=fail_the_second, near_for=timedelta(0))
    await cache.get("a")
    valkey.raw()("PEXPIRE", "user:a", 30_000)
    assert await cache.get("a") == good
    await until(lambda: not cache._ladder.refreshes._tasks)
    (line,) = [record for record in caplog.records if "refreshing user:a failed" in record.message]
    assert "the database says no" in line.message
    assert line.exc_info is not None
    assert isinstance(line.exc_info[1], Forbidden)
    assert await cache.get("a") == good


@pytest.mark.parametrize(
    "answer",
    [
        lambda ids: None,
        lambda ids: [User("a")],
        lambda ids: {id: User(id) for id in ids},
        lambda ids: (User(id) for id in ids),
    ],
)
async def test_what_is_no_list_of_values_is_refused(valkey: Server, answer: Any) -> None:
    async with Greenroom(valkey.address, sessions=False) as room:
        cache = room.cache(users(), load=lambda id: User(id), load_many=answer)
        with pytest.raises(LoadFailed) as caught:
            await cache.get_many(["a", "b"])
        words = r"load_many: returned .* for 2 keys; return a list with one value for each"
        assert re.search(words, str(caught.value.__cause__))


async def test_keys_of_wrong_parts_are_told_with_the_parts(valkey: Server) -> None:
    async with Greenroom(valkey.address, sessions=False) as room:
        cache = room.cache(users(), load=lambda id: User(id))
        for parts in ({}, {"other": "a"}, {"id": "a", "other": "b"}):
            with pytest.raises(WrongParts, match=r"takes the parts id; given: .*; give each of them once"):
                await cache.get_many([parts])
        every = room.cache(Keyspace("users:all", User, ttl=timedelta(minutes=5)), load=lambda: User("all"))
        with pytest.raises(InvalidInput, match=r"parts: 'x' are not .*; give a list of \(\), or ask `get\(\)`"):
            await every.get_many(["x"])
