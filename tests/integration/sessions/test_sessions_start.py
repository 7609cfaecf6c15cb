"""Beginning a session and reading it: what stands on the server, and for how long."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from greenroom.errors import InvalidInput
from greenroom.sessions import handle
from greenroom.sessions.raw_json import changed, merged
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, Open, companion, decoded, key, names

pytestmark = pytest.mark.on_cluster


def lifetime(server: Server, name: str) -> float:
    return int(server.raw()("PTTL", name)) / 1000


async def test_a_session_is_begun_read_and_ended(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    found = await sessions.read(token)
    assert found is not None
    assert found.value == live.value
    assert found.value.user_id == "u1"
    assert (found.writable, found.touch_due) == (True, False)
    assert await sessions.end(live.session_id)
    assert await sessions.read(token) is None
    assert not await sessions.end(live.session_id)


async def test_only_the_object_of_the_specification_stands_under_its_key(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, _ = await sessions.start({"user_id": "u1", **MINIMAL})
    assert list(decoded(server.raw()("GET", key(live)))) == ["user_id", "preferences", "last_activity_timestamp"]
    assert names(server.raw()) == {
        key(live),
        companion("life", live),
        companion("touched", live),
        "greenroom:active:{sessions}",
        "greenroom:sessions:{user:u1}",
    }


async def test_lifetimes_are_idle_plus_interval_the_interval_and_absolute(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, _ = await sessions.start(MINIMAL)
    assert 31 * 60 - 20 < lifetime(server, key(live)) <= 31 * 60
    assert 60 - 20 < lifetime(server, companion("touched", live)) <= 60
    assert 12 * 3600 - 20 < lifetime(server, companion("life", live)) <= 12 * 3600


async def test_the_time_of_its_activity_and_of_its_beginning_is_the_servers(
    server: Server, store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = await store(server)
    before, _ = server.raw()("TIME")
    live, _ = await sessions.start({**MINIMAL, "last_activity_timestamp": "1999-01-01T00:00:00Z"})
    after, _ = server.raw()("TIME")
    said = live.value.last_activity_timestamp
    assert int(before) <= int(said.timestamp()) <= int(after)
    assert live.started_at == said
    assert decoded(live.body)["last_activity_timestamp"] == said.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert said.tzinfo is not None


@pytest.mark.parametrize(
    "members",
    [{}, {"preferences": 1}, {"preferences": {"playback_speed_default": "fast"}}],
)
async def test_members_that_do_not_fit_begin_nothing(server: Server, store: Open, members: dict[str, object]) -> None:
    sessions = await store(server)
    with pytest.raises(InvalidInput, match="preferences"):
        await sessions.start(members)
    assert names(server.raw()) == set()


async def test_a_session_too_large_begins_nothing(server: Server, store: Open) -> None:
    sessions = await store(server)
    with pytest.raises(InvalidInput, match="too many"):
        await sessions.start({**MINIMAL, "notes": "x" * 1_000_001})
    assert names(server.raw()) == set()


@pytest.mark.parametrize("user", ["", "x" * 257, None, 5, True, b"x", ["u"], msgspec.Raw(b"5")])
async def test_what_is_no_user_id_begins_nothing(server: Server, store: Open, user: Any) -> None:
    sessions = await store(server)
    with pytest.raises(InvalidInput, match=r"user_id.*1 to 256"):
        await sessions.start({**MINIMAL, "user_id": user})
    assert names(server.raw()) == set()


@pytest.mark.parametrize("user", [None, 5, b"x"])
async def test_what_is_no_user_id_rotates_nothing(server: Server, store: Open, user: Any) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    with pytest.raises(InvalidInput, match=r"user_id.*1 to 256"):
        await sessions.rotate(live.session_id, {"user_id": user})
    with pytest.raises(InvalidInput, match=r"user_id.*1 to 256"):
        await sessions.rotate(live.session_id, lambda body: {"user_id": user})
    assert (await sessions.read(token)) is not None, "the session stays as it was"


async def test_members_that_would_come_back_changed_change_nothing(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    day = {"note": [datetime(2026, 1, 1, tzinfo=UTC)]}
    for call in (
        lambda: sessions.start({**MINIMAL, **day}),
        lambda: sessions.rotate(live.session_id, day),
        lambda: sessions.change(live.session_id, lambda body: changed(body, day)),
        lambda: sessions.change(live.session_id, lambda body: merged(body, day)),
    ):
        with pytest.raises(InvalidInput, match=r"note.*datetime"):
            await call()
    found = await sessions.read(token)
    assert found is not None
    assert found.body == live.body


IDS = [
    "alice@example.com",
    "a:b",
    "{a}",
    "käthe",
    "日本",
    "with space",
    "*",
    "#" + "0" * 64,
    "\n\0",
    "x" * 129,
    "x" * 256,
    "#" + hashlib.sha256(b"alice@example.com").hexdigest(),
    hashlib.sha256(b"alice@example.com").hexdigest(),
]


async def test_any_string_is_a_user_id_and_nobody_is_anybody_else(server: Server, store: Open) -> None:
    sessions = await store(server)
    for user in IDS:
        live, token = await sessions.start({**MINIMAL, "user_id": user})
        assert live.value.user_id == user
        _, token = await sessions.rotate(live.session_id, {"user_id": user})
        assert await sessions.read(token) is not None
    for user in IDS:
        assert [live.value.user_id for live in await sessions.of_user(user)] == [user]
    for left, user in zip(reversed(range(len(IDS))), IDS, strict=True):
        assert await sessions.end_all(user) == 1
        assert await sessions.active() == left


@pytest.mark.parametrize("user", ["", "x" * 257, 7])
async def test_what_is_no_user_id_names_nobody(server: Server, store: Open, user: Any) -> None:
    sessions = await store(server)
    for call in (sessions.end_all, sessions.of_user):
        with pytest.raises(InvalidInput, match="user_id"):
            await call(user)


async def test_members_may_have_the_names_of_parameters(server: Server, store: Open) -> None:
    sessions = await store(server)
    named: Any = {"self": 1, "members": 2, "more": 3, "token": 4, "": 5, "a b": 6}
    for live, _ in (await sessions.start({**MINIMAL, **named}), await sessions.start(MINIMAL, **named)):
        assert {name: live.members[name] for name in named} == named


async def test_a_users_sessions_are_listed_the_oldest_first_and_only_while_alive(server: Server, store: Open) -> None:
    sessions = await store(server)
    begun = [(await sessions.start({**MINIMAL, "user_id": "u1"}))[0] for _ in range(5)]
    await sessions.start({**MINIMAL, "user_id": "u2"})
    await sessions.start(MINIMAL)
    assert [live.session_id for live in await sessions.of_user("u1")] == [live.session_id for live in begun]
    await sessions.end(begun[2].session_id)
    server.raw()("DEL", key(begun[0]))
    rest = [begun[index].session_id for index in (1, 3, 4)]
    assert [live.session_id for live in await sessions.of_user("u1")] == rest
    assert await sessions.of_user("nobody") == []


async def test_a_user_s_sessions_are_ordered_by_their_start_not_their_use(server: Server, store: Open) -> None:
    sessions = await store(server)
    old, _ = await sessions.start({**MINIMAL, "user_id": "u1"})
    new, _ = await sessions.start({**MINIMAL, "user_id": "u1"})
    rotated, _ = await sessions.rotate(old.session_id, {})
    assert [live.session_id for live in await sessions.of_user("u1")] == [rotated.session_id, new.session_id]
    assert rotated.started_at == old.started_at


async def test_a_handle_is_neither_id_nor_token_and_the_same_everywhere(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    (listed,) = await (await store(server)).of_user("u1")
    named = handle(listed.session_id)
    assert named == handle(live.session_id)
    assert len(named) == 32
    assert set(named) <= set("0123456789abcdef")
    assert await sessions.read(named) is None
    assert await sessions.read_id(named) is None
    assert named not in live.session_id + token


async def test_one_users_session_that_cannot_be_decoded_hides_no_other(server: Server, store: Open) -> None:
    sessions = await store(server)
    broken, _ = await sessions.start({**MINIMAL, "user_id": "u1"})
    whole, _ = await sessions.start({**MINIMAL, "user_id": "u1"})
    server.raw()("SET", key(broken), b'{"user_id":"u1"', "XX", "KEEPTTL")
    assert [live.session_id for live in await sessions.of_user("u1")] == [whole.session_id]
    assert await sessions.end_all("u1") == 2, "nor does it survive"


async def test_a_session_of_another_environment_is_another(server: Server, store: Open) -> None:
    here, there = await store(server, prefix="a:"), await store(server, prefix="b:")
    live, token = await here.start({**MINIMAL, "user_id": "u1"})
    assert await there.read(token) is None
    assert await there.of_user("u1") == []
    assert await there.active() == 0
    assert not await there.end(live.session_id)
    assert await there.end_all("u1") == 0
    assert await here.read(token) is not None
    assert all(name.startswith("a:") for name in names(server.raw()))


async def test_a_session_decoded_by_another_type_keeps_its_members(server: Server, store: Open) -> None:
    live, _ = await (await store(server)).start({**MINIMAL, "theme": {"dark": True}})
    assert decoded(live.body)["theme"] == {"dark": True}
    assert isinstance(live.value.last_activity_timestamp, datetime)
    assert live.value.last_activity_timestamp.utcoffset() == timedelta(0)
    assert msgspec.UNSET is live.value.user_id
