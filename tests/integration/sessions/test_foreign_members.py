"""What other programs write into the lists of sessions, or in their place: passed over, taken out, and nobody fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from greenroom.rate_limit import Bound, RateLimit
from greenroom.sessions import Presence
from tests.support.real_servers import Raw, Server
from tests.support.session_stores import MINIMAL, Store, close_sessions, key, open_sessions

FOREIGN = [b"\xff\xfe", b"", b"a:b", b"{x}", b"a b", b"a" * 200, "ü".encode()]
USER, ACTIVE, PODCASTS = "greenroom:sessions:{user:u}", "greenroom:active:{sessions}", "greenroom:active:{podcasts}"
OTHERS: list[Callable[[Raw, str], Any]] = [
    lambda raw, name: raw("SET", name, b"\xff\xfe"),
    lambda raw, name: raw("RPUSH", name, b"\xff\xfe"),
    lambda raw, name: raw("SADD", name, b"\xff\xfe"),
    lambda raw, name: raw("HSET", name, b"\xff\xfe", b"\xff"),
]
"""What may stand in a list's place."""


@pytest.fixture
async def sessions(server: Server) -> AsyncIterator[Store]:
    opened = await open_sessions(server)
    yield opened
    await close_sessions(opened)


def enter(raw: Raw, name: str) -> None:
    for member in FOREIGN:
        for score in ("+inf", "99999999999999"):
            raw("ZADD", name, score, member)


async def test_foreign_members_of_a_users_list_are_passed_over_and_taken_out(server: Server, sessions: Store) -> None:
    raw = server.raw()
    live, token = await sessions.start(MINIMAL, user_id="u")
    enter(raw, USER)
    assert [one.session_id for one in await sessions.of_user("u")] == [live.session_id]
    assert raw("ZRANGE", USER, 0, -1) == [live.session_id.encode()]
    enter(raw, USER)
    assert await sessions.end_all("u") == 1
    assert await sessions.read(token) is None


@pytest.mark.parametrize("put", OTHERS)
async def test_what_stands_in_a_lists_place_keeps_nobody_from_signing_in(
    server: Server, sessions: Store, put: Callable[[Raw, str], Any]
) -> None:
    raw = server.raw()
    for name in (USER, ACTIVE):
        put(raw, name)
    assert await sessions.of_user("u") == []
    assert await sessions.active() == 0
    assert await sessions.end_all("u") == 0
    _, token = await sessions.start(MINIMAL, user_id="u")
    assert await sessions.active() == 1
    assert len(await sessions.of_user("u")) == 1
    assert await sessions.end_all("u") == 1
    assert await sessions.read(token) is None


async def test_foreign_podcasts_and_streams_are_passed_over_and_taken_out(server: Server, sessions: Store) -> None:
    raw, presence = server.raw(), Presence(sessions)
    live, token = await sessions.start(MINIMAL)
    stream = await presence.open("p", live.session_id)
    streams = f"greenroom:streams:{{{key(live)}}}"
    for name in (PODCASTS, streams, "greenroom:listeners:{podcast:p}"):
        enter(raw, name)
    assert (await presence.listeners()).keys() == {"p"}
    assert raw("ZRANGE", PODCASTS, 0, -1) == [b"p"]
    assert await presence.renew(stream)
    await sessions.settle(live.session_id)
    found = await sessions.read(token)
    assert found is not None
    assert found.value.active_podcast_stream_id == "p"
    assert raw("ZRANGE", streams, 0, -1) == [stream.member.encode()]
    await presence.close(stream)


@pytest.mark.parametrize("put", OTHERS)
async def test_what_stands_in_the_place_of_a_roll_keeps_nobody_from_listening(
    server: Server, sessions: Store, put: Callable[[Raw, str], Any]
) -> None:
    raw, presence = server.raw(), Presence(sessions)
    live, _ = await sessions.start(MINIMAL)
    for name in (PODCASTS, f"greenroom:streams:{{{key(live)}}}", "greenroom:listeners:{podcast:p}"):
        put(raw, name)
    assert await presence.listeners() == {}
    stream = await presence.open("p", live.session_id)
    assert await presence.listeners() == {"p": 1}
    await presence.close(stream)


@pytest.mark.parametrize("begun", [b"\xff\xfe", b"", b"yesterday"])
async def test_a_beginning_that_is_no_time_is_not_known(server: Server, sessions: Store, begun: bytes) -> None:
    live, token = await sessions.start(MINIMAL, user_id="u")
    server.raw()("SET", f"greenroom:life:{{{key(live)}}}", begun, "KEEPTTL")
    found = await sessions.read(token)
    assert found is not None
    assert found.started_at is None
    assert [one.started_at for one in await sessions.of_user("u")] == [None]


async def test_a_user_who_can_have_no_list_is_rotated_all_the_same(server: Server, sessions: Store) -> None:
    live, _ = await sessions.start(MINIMAL)
    body = live.body.replace(b'"preferences":{}', b'"preferences":{},"user_id":"a:b"')
    server.raw()("SET", key(live), body, "XX", "KEEPTTL")
    new, _ = await sessions.rotate(live.session_id, {})
    assert new.value.user_id == "a:b"
    await sessions.end(new.session_id)


COUNT: list[Callable[[Raw, str], Any]] = [*OTHERS, lambda raw, name: raw("RPUSH", name, *[b"x"] * 20)]


@pytest.mark.parametrize("put", COUNT)
async def test_what_stands_in_the_place_of_attempts_keeps_nobody_from_trying(
    server: Server, sessions: Store, put: Callable[[Raw, str], Any]
) -> None:
    rate = RateLimit(lambda: sessions.engine, "", "kind", Bound(2, timedelta(minutes=1)))
    put(server.raw(), rate._key("name"))
    assert await rate.count("name") == 0
    assert any([await rate.count("name") for _ in range(3)]), "and the bound counts again"


@pytest.mark.parametrize("put", OTHERS)
async def test_who_leaves_what_stands_in_a_lists_place_is_gone(
    server: Server, sessions: Store, put: Callable[[Raw, str], Any]
) -> None:
    raw, presence = server.raw(), Presence(sessions)
    live, _ = await sessions.start(MINIMAL, user_id="u")
    stream = await presence.open("p", live.session_id)
    for name in (f"greenroom:streams:{{{key(live)}}}", "greenroom:listeners:{podcast:p}", USER, ACTIVE):
        raw("DEL", name)
        put(raw, name)
    await presence.close(stream)
    assert await presence.listeners() == {}
    assert await sessions.end(live.session_id)
    assert len(sessions.leftovers) == 0


@pytest.mark.parametrize("put", [OTHERS[0], OTHERS[2], OTHERS[3]])
async def test_an_attempt_is_taken_back_whatever_stands_there(
    server: Server, sessions: Store, put: Callable[[Raw, str], Any]
) -> None:
    rate = RateLimit(lambda: sessions.engine, "", "sign-in", Bound(1, timedelta(hours=1)))
    put(server.raw(), rate._key("ana"))
    await rate.take_back("ana")
    assert await rate.count("ana") == 0


@pytest.mark.parametrize("put", OTHERS[1:])
@pytest.mark.parametrize("use", ["touched", "ended", "grace", "streams"])
async def test_a_session_goes_on_and_ends_whatever_stands_in_a_companion(
    server: Server, sessions: Store, use: str, put: Callable[[Raw, str], Any]
) -> None:
    raw = server.raw()
    live, _ = await sessions.start(MINIMAL)

    def spoil(session: str) -> None:
        name = f"greenroom:{use}:{{{key(session)}}}"
        raw("DEL", name)
        put(raw, name)

    spoil(live.session_id)
    assert await sessions.change(live.session_id, lambda body: body)
    spoil(live.session_id)
    after, _ = await sessions.rotate(live.session_id, {})
    spoil(after.session_id)
    assert await sessions.end(after.session_id)
    assert await sessions.read_id(after.session_id) is None or use == "grace"
