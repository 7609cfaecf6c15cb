"""Rotation: the old token sees nothing of what comes after, and of two rotations one takes the session."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest

from greenroom.errors import BrokenValue, InvalidInput
from greenroom.sessions import SessionGone, SessionLimits
from tests.support.patience import PATIENT
from tests.support.proxy import Proxy, proxy_of
from tests.support.real_servers import Server
from tests.support.session_stores import (
    MINIMAL,
    MINUTE,
    SECOND,
    Open,
    Store,
    add_one,
    age,
    at_once,
    companion,
    decoded,
    everything,
    key,
    names,
    patch,
)

pytestmark = pytest.mark.on_cluster


async def test_a_planted_token_and_its_copy_never_see_the_signed_in_session(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    planted, token = await sessions.start({**MINIMAL, "basket": 1})
    live, new = await sessions.rotate(planted.session_id, {"user_id": "u1", "secret": "s3cret"})
    assert new != token
    assert live.session_id != planted.session_id
    copy = await sessions.read(token)
    assert copy is not None
    assert not copy.writable
    assert copy.body == planted.body
    assert b"u1" not in raw("GET", companion("grace", planted))
    for call in (
        sessions.change(planted.session_id, patch(a=1)),
        sessions.settle(planted.session_id),
        sessions.rotate(planted.session_id, {"user_id": "u2"}),
    ):
        with pytest.raises(SessionGone):
            await call
    assert not raw("EXISTS", key(planted))
    age(raw, 5 * SECOND)
    assert await sessions.read(token) is None
    signed_in = await sessions.read(new)
    assert signed_in is not None
    assert decoded(signed_in.body) | {"user_id": "u1", "secret": "s3cret", "basket": 1} == decoded(signed_in.body)


async def test_what_one_user_s_session_holds_does_not_go_along_to_another_s(server: Server, store: Open) -> None:
    sessions = await store(server)
    hers, _ = await sessions.start({**MINIMAL, "user_id": "u1", "cart": ["hers"]})
    again, _ = await sessions.rotate(hers.session_id, {"user_id": "u1"})
    assert decoded(again.body)["cart"] == ["hers"]
    stepped_up, _ = await sessions.rotate(again.session_id, {"checked": True})
    assert decoded(stepped_up.body)["cart"] == ["hers"]
    his, _ = await sessions.rotate(stepped_up.session_id, {**MINIMAL, "user_id": "u2", "own": 1})
    assert decoded(his.body) == {
        **MINIMAL,
        "user_id": "u2",
        "own": 1,
        "last_activity_timestamp": decoded(his.body)["last_activity_timestamp"],
    }
    assert await sessions.of_user("u1") == []
    assert [one.session_id for one in await sessions.of_user("u2")] == [his.session_id]


async def test_the_old_id_leads_nowhere(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    old, token = await sessions.start(MINIMAL)
    live, new = await sessions.rotate(old.session_id, {"user_id": "u1"})
    held = {name: repr(raw("GET", name)) for name in names(raw) if old.session_id in name}
    assert set(held) == {companion("grace", old), companion("ended", old)}
    assert not any(secret in text for text in held.values() for secret in (live.session_id, new, "u1"))
    assert token.encode() not in everything(raw)


async def test_a_touch_of_the_copy_is_none(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    old, token = await sessions.start(MINIMAL)
    await sessions.rotate(old.session_id, {"user_id": "u1"})
    copy = await sessions.read(token)
    assert copy is not None
    sessions.touch(copy)
    await sessions.close()
    assert not raw("EXISTS", key(old))
    assert await sessions.active() == 1


async def test_an_ended_session_has_no_copy(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    await sessions.rotate(live.session_id, {"user_id": "u1"})
    assert await sessions.read(token) is not None
    assert not await sessions.end(live.session_id)
    assert await sessions.read(token) is None


async def test_of_two_rotations_at_once_one_takes_the_session(server: Server, store: Open) -> None:
    processes = [await store(server, engine_limits=PATIENT) for _ in range(4)]
    for _ in range(10):
        old, _ = await processes[0].start({**MINIMAL, "user_id": "u1"})
        results = await at_once(*(sessions.rotate(old.session_id, {}) for sessions in processes for _ in range(3)))
        (won,) = (result for result in results if not isinstance(result, Exception))
        assert all(isinstance(result, SessionGone) for result in results if result is not won)
        assert [live.session_id for live in await processes[0].of_user("u1")] == [won[0].session_id]
        assert await processes[0].active() == 1
        await processes[0].end_all("u1")


async def test_a_rotation_whose_replies_are_lost_is_made_once(server: Server, store: Open) -> None:
    async with proxy_of(server) as proxy:
        sessions = await store(proxy)
        for word in ("greenroom:grace:{%s}", "greenroom:life:{%s}"):
            old, _ = await sessions.start({**MINIMAL, "user_id": "u1"})
            await asyncio.sleep(0)
            # The take names the old session's copy. The new id is not known yet: its start is the only other script
            # with a mark of what was ended and no copy.
            if "grace" in word:
                proxy.cut_reply_to("EVALSHA", word % key(old))
            else:
                proxy.gate = _cut_start(proxy, old.session_id)
            live, token = await sessions.rotate(old.session_id, {"user_id": "u1"})
            proxy.gate = None
            assert (await sessions.read(token)) is not None
            assert [one.session_id for one in await sessions.of_user("u1")] == [live.session_id]
            assert live.started_text == old.started_text or word.startswith("greenroom")
            assert await sessions.end_all("u1") == 1


def _cut_start(proxy: Proxy, old: str) -> Callable[[list[bytes]], Awaitable[None]]:
    async def gate(command: list[bytes]) -> None:
        text = b" ".join(command)
        if command[0] == b"EVALSHA" and b"greenroom:ended" in text and old.encode() not in text:
            proxy.gate = None
            proxy.cut_reply_to("EVALSHA", command[1].decode(), command[3].decode())

    return gate


async def test_a_change_under_way_goes_along(server: Server, store: Open) -> None:
    quick = await store(server)
    old, _ = await quick.start(MINIMAL)
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        take = proxy.hold("EVALSHA", companion("grace", old))
        rotating = asyncio.ensure_future(slow.rotate(old.session_id, {"user_id": "u1"}))
        await take.reached.wait()
        await quick.change(old.session_id, add_one)
        take.release()
        live, token = await rotating
    found = await quick.read(token)
    assert found is not None
    assert decoded(found.body)["count"] == 1
    assert decoded(live.body)["user_id"] == "u1"


async def test_a_change_too_late_to_go_along_fails(server: Server, store: Open) -> None:
    one, other = await store(server), await store(server)
    for _ in range(20):
        old, _ = await one.start(MINIMAL)
        rotated, changed = await at_once(one.rotate(old.session_id, {}), other.change(old.session_id, add_one))
        there = decoded(rotated[0].body).get("count", 0)
        assert there == (0 if isinstance(changed, SessionGone) else 1)


async def test_a_rotation_takes_no_stream_along(server: Server, store: Open) -> None:
    sessions = await store(server)
    old, _ = await sessions.start({**MINIMAL, "active_podcast_stream_id": "p1"})
    live, _ = await sessions.rotate(old.session_id, {})
    assert "active_podcast_stream_id" not in decoded(live.body)


@pytest.mark.parametrize(
    "members",
    [
        {"preferences": 1},
        {"user_id": 7},
        {"user_id": ""},
        {"user_id": "x" * 257},
        {"note": "\ud800"},
        {"score": math.nan},
        {"notes": "x" * 10**6},
    ],
)
async def test_a_rotation_to_what_does_not_fit_leaves_all_as_it_was(
    server: Server, store: Open, members: dict[str, object]
) -> None:
    sessions, raw = await store(server), server.raw()
    old, token = await sessions.start(MINIMAL)
    before = everything(raw)
    with pytest.raises(InvalidInput):
        await sessions.rotate(old.session_id, members)
    assert everything(raw) == before
    assert await sessions.read(token) is not None


async def test_a_rotation_that_cannot_go_on_leaves_no_new_id_listed(server: Server, store: Open) -> None:
    raw = server.raw()
    quick = await store(server)
    old, _ = await quick.start({**MINIMAL, "user_id": "u1"})
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        take = proxy.hold("EVALSHA", companion("grace", old))
        rotating = asyncio.ensure_future(slow.rotate(old.session_id, {}))
        await take.reached.wait()
        raw("SET", key(old), b"broken", "XX", "KEEPTTL")
        take.release()
        with pytest.raises(BrokenValue):
            await rotating
    assert raw("GET", key(old)) == b"broken"
    assert await quick.active() == 1
    assert raw("ZRANGE", "greenroom:sessions:{user:u1}", 0, -1) == [old.session_id.encode()]


async def test_the_copy_ends_with_the_life_of_the_session(server: Server, store: Open) -> None:
    sessions, raw = await store(server, SessionLimits(absolute=3 * SECOND)), server.raw()
    old, _ = await sessions.start(MINIMAL)
    await sessions.rotate(old.session_id, {})
    assert 0 < raw("PTTL", companion("grace", old)) <= 3000


async def test_a_log_in_leaves_what_was_the_anonymous_session_off_the_count(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    old, _ = await sessions.start(MINIMAL)
    live, _ = await sessions.rotate(old.session_id, {"user_id": "u1"})
    assert await sessions.active() == 1
    assert raw("ZRANGE", "greenroom:active:{sessions}", 0, -1) == [live.session_id.encode()]
    assert await _left_after(sessions, server) == set()


async def _left_after(sessions: Store, server: Server) -> set[str]:
    await sessions.end_all("u1")
    age(server.raw(), MINUTE)
    return names(server.raw())
