"""Sessions whose type is the program's own: what they hold, whose they are, and how long each of them lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pydantic
import pytest

from greenroom import Greenroom, Keyspace, SessionLifetime, SessionSettings
from greenroom.errors import InvalidInput
from greenroom.sessions import SessionLimits
from tests.support.real_servers import Server
from tests.support.session_stores import HOUR, MINUTE, Passing, companion, key, names

DAY = timedelta(days=1)


class Visitor(msgspec.Struct, frozen=True):
    user_id: int | msgspec.UnsetType = msgspec.UNSET
    basket: list[str] = []


class Renamed(msgspec.Struct, rename="camel"):
    user_id: str | None = None
    last_page: str = "/"


@dataclass
class Shopper:
    user_id: str = ""
    basket: list[str] = field(default_factory=list)


class Guest(pydantic.BaseModel):
    user_id: str | None = None
    seen: int = 0


@asynccontextmanager
async def room_of(server: Server, *args: Any, **options: Any) -> AsyncIterator[Greenroom]:
    async with Greenroom(server.address, sessions=SessionSettings(*args, **options)) as room:
        yield room


@pytest.fixture
def passes(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Passing:
    return Passing(valkey, monkeypatch)


# What they hold, and whose they are ----------------------------------------------------------------


async def test_a_session_is_of_ones_own_type_with_a_number_as_user(valkey: Server) -> None:
    async with room_of(valkey, Visitor) as room:
        live, token = await room.sessions.start({"basket": ["a"]}, user_id=7)
        assert live.value == Visitor(7, ["a"])
        found = await room.sessions.read(token)
        assert found is not None
        assert found.value == Visitor(7, ["a"])
        assert isinstance(found.members["last_activity_timestamp"], str)
        assert [one.session_id for one in await room.sessions.of_user(7)] == [live.session_id]
        assert "greenroom:sessions:{user:7}" in names(valkey.raw())
        assert await room.sessions.end_all(7) == 1
        assert await room.sessions.read(token) is None


async def test_another_s_number_takes_nothing_of_a_session_along(valkey: Server) -> None:
    async with room_of(valkey, Visitor) as room:
        first, _ = await room.sessions.start(user_id=7, basket=["a"])
        same, _ = await room.sessions.rotate(first.session_id, {"user_id": 7})
        assert same.value == Visitor(7, ["a"])
        other, _ = await room.sessions.rotate(same.session_id, {"user_id": 8})
        assert other.value == Visitor(8)
        with pytest.raises(InvalidInput, match="a session cannot change its user"):
            await room.sessions.change(other.session_id, lambda body: body.replace(b"8", b"9"))


async def test_a_renamed_user_id_is_found_and_listed(valkey: Server) -> None:
    async with room_of(valkey, Renamed) as room:
        live, _ = await room.sessions.start(user_id="ana", lastPage="/a")
        assert (live.value.user_id, live.value.last_page) == ("ana", "/a")
        assert "user_id" not in live.members
        assert len(await room.sessions.of_user("ana")) == 1
        assert await room.sessions.end_all("ana") == 1


@pytest.mark.parametrize(
    ("kind", "members", "expected"),
    [
        (Shopper, {"basket": ["a"]}, Shopper("ana", ["a"])),
        (Guest, {"seen": 3}, Guest(user_id="ana", seen=3)),
    ],
)
async def test_a_session_is_a_dataclass_or_a_model(
    valkey: Server, kind: type, members: dict[str, object], expected: object
) -> None:
    async with room_of(valkey, kind) as room:
        _, token = await room.sessions.start(members, user_id="ana")
        found = await room.sessions.read(token)
        assert found is not None
        assert found.value == expected


async def test_a_session_is_a_mapping_of_whatever_it_is_given(valkey: Server) -> None:
    async with room_of(valkey, dict[str, Any]) as room:
        _, token = await room.sessions.start({"theme": "dark"}, user_id=5)
        found = await room.sessions.read(token)
        assert found is not None
        assert {name: found.value[name] for name in ("theme", "user_id")} == {"theme": "dark", "user_id": 5}
        datetime.fromisoformat(found.value["last_activity_timestamp"])
        assert len(await room.sessions.of_user(5)) == 1


class Needy(msgspec.Struct):
    basket: list[str]


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    basket: list[str] = []


def test_a_version_of_sessions_is_refused_since_nobody_loads_them_anew() -> None:
    with pytest.raises(InvalidInput, match=r"version: .*would sign all users out; leave it out"):
        SessionSettings(Keyspace("session:{id}", Visitor, ttl=timedelta(hours=1), version=2))


@pytest.mark.parametrize(("kind", "named"), [(Needy, "basket"), (Closed, "last_activity_timestamp")])
def test_a_type_that_cannot_begin_empty_is_refused_by_member(kind: type, named: str) -> None:
    with pytest.raises(InvalidInput, match=f"{kind.__name__} .*{named}.*give every member a default"):
        SessionSettings(kind)


def test_a_needed_member_that_each_session_begins_with_is_no_fault() -> None:
    assert SessionSettings(Needy, new={"basket": []}).keyspace.type is Needy


@pytest.mark.parametrize(
    ("kind", "user", "remedy"),
    [
        (Visitor, "7", "use a whole number"),
        (Visitor, True, "use a whole number"),
        (Visitor, 1 << 70, "use a whole number"),
        (Shopper, 7, "use a string"),
        (dict[str, Any], 1.5, "use a string of 1 to 256 characters or a whole number"),
    ],
)
async def test_a_user_of_another_kind_is_refused_with_the_remedy(
    valkey: Server, kind: Any, user: Any, remedy: str
) -> None:
    async with room_of(valkey, kind) as room:
        with pytest.raises(InvalidInput, match=f"user_id: .*{remedy}"):
            await room.sessions.start({"user_id": user})
        with pytest.raises(InvalidInput, match=f"user_id: .*{remedy}"):
            await room.sessions.end_all(user)


# How long each lives -------------------------------------------------------------------------------


async def test_the_room_s_own_limits_hold(valkey: Server, passes: Passing) -> None:
    async with room_of(valkey, Visitor, idle=HOUR, absolute=3 * HOUR) as room:
        _, token = await room.sessions.start(user_id=1)
        passes(59 * MINUTE)
        live = await room.sessions.read(token)
        assert live is not None
        room.sessions.touch(live)
        await room.sessions.close()
        passes(62 * MINUTE)
        assert await room.sessions.read(token) is None


async def test_a_remembered_session_outlives_both_limits_unused(valkey: Server, passes: Passing) -> None:
    async with room_of(valkey, Visitor, remember=30 * DAY) as room:
        live, token = await room.sessions.start(user_id=1, remember=True)
        usual, other = await room.sessions.start(user_id=1)
        passes(29 * DAY)
        found = await room.sessions.read(token)
        assert found is not None
        assert found.started_at is not None
        assert await room.sessions.read(other) is None
        assert await room.sessions.active() == 1
        passes(DAY)
        assert await room.sessions.read(token) is None
        assert {live.max_age, usual.max_age} == {30 * 86400, None}


async def test_a_remembered_session_never_falls_out_of_end_all(valkey: Server, passes: Passing) -> None:
    async with room_of(valkey, Visitor, remember=30 * DAY) as room:
        live, token = await room.sessions.start(user_id=1, remember=True)
        passes(29 * DAY)
        await room.sessions.start(user_id=1)  # takes those out that have left the list
        assert next(one.session_id for one in await room.sessions.of_user(1)) == live.session_id
        assert await room.sessions.end_all(1) == 2
        assert await room.sessions.read(token) is None


async def test_a_change_and_a_touch_keep_a_session_s_own_limits(valkey: Server, passes: Passing) -> None:
    async with room_of(valkey, Visitor) as room:
        live, token = await room.sessions.start(user_id=1, lifetime=SessionLifetime(2 * DAY, 9 * DAY))
        for _ in range(3):
            await room.sessions.change(live.session_id, lambda body: body)
            passes(2 * DAY)
            found = await room.sessions.read(token)
            assert found is not None
            room.sessions.touch(found)
            await room.sessions.close()
            assert valkey.raw()("PTTL", key(live)) > (2 * DAY) // timedelta(milliseconds=1)
            assert await room.sessions.active() == 1
        passes(2 * DAY)
        assert await room.sessions.read(token) is not None
        passes(DAY)
        assert await room.sessions.read(token) is None, "nine days are over"


async def test_a_rotation_carries_a_session_s_own_limits(valkey: Server, passes: Passing) -> None:
    async with room_of(valkey, Visitor, remember=30 * DAY) as room:
        first, _ = await room.sessions.start(user_id=1, remember=True)
        passes(10 * DAY)
        second, token = await room.sessions.rotate(first.session_id, {"basket": ["a"]})
        assert second.max_age is not None
        assert 20 * 86400 - 60 < second.max_age <= 20 * 86400
        assert second.started_at == first.started_at
        passes(19 * DAY)
        assert await room.sessions.read(token) is not None
        assert [one.session_id for one in await room.sessions.of_user(1)] == [second.session_id]
        passes(DAY)
        assert await room.sessions.read(token) is None


async def test_a_log_in_begins_the_life_that_it_asks_for(valkey: Server, passes: Passing) -> None:
    async with room_of(valkey, Visitor, remember=30 * DAY) as room:
        anonymous, _ = await room.sessions.start()
        kept, token = await room.sessions.rotate(anonymous.session_id, {"user_id": 1}, remember=True)
        passes(2 * DAY)
        assert await room.sessions.read(token) is not None
        usual, token = await room.sessions.rotate(kept.session_id, {"user_id": 1})
        assert usual.max_age is None
        passes(SessionLimits().lifetime)
        assert await room.sessions.read(token) is None
        assert companion("touched", usual) not in names(valkey.raw())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"remember": True}, "remember: the room has no time .*SessionSettings"),
        ({"remember": "yes"}, "remember: is str"),
        ({"lifetime": 5}, "lifetime: is int, not a timedelta"),
        ({"lifetime": timedelta(days=401)}, "idle: .* at most 400 days"),
    ],
)
async def test_a_lifetime_that_cannot_be_is_refused_by_name(
    valkey: Server, options: dict[str, Any], named: str
) -> None:
    async with room_of(valkey, Visitor) as room:
        live, _ = await room.sessions.start()
        with pytest.raises(InvalidInput, match=named):
            await room.sessions.start(**options)
        with pytest.raises(InvalidInput, match=named):
            await room.sessions.rotate(live.session_id, {"user_id": 1}, **options)
        with pytest.raises(InvalidInput, match="lifetime: is given without a user_id"):
            await room.sessions.rotate(live.session_id, {}, lifetime=DAY)


def test_settings_that_cannot_be_are_refused_by_name() -> None:
    for options, named in (
        ({"remember": 30}, "remember"),
        ({"idle": 5}, "idle"),
        ({"remember": 401 * DAY}, "400 days"),
    ):
        with pytest.raises(InvalidInput, match=named):
            SessionSettings(Visitor, **options)
