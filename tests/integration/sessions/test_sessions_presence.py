"""Who listens now: streams opened, renewed and closed, and what a session says of them. The clock is the tests' own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom.errors import BrokenValue, GreenroomError, InvalidInput
from greenroom.sessions import Presence, SessionGone
from tests.support.patience import PATIENT
from tests.support.proxy import proxy_of
from tests.support.real_servers import Server
from tests.support.session_stores import (
    MINIMAL,
    MINUTE,
    SECOND,
    Open,
    Passing,
    Store,
    add_one,
    age,
    companion,
    decoded,
    everything,
    key,
    names,
    used,
)

pytestmark = pytest.mark.on_cluster


@pytest.fixture
def passes(server: Server, monkeypatch: pytest.MonkeyPatch) -> Passing:
    return Passing(server, monkeypatch)


async def names_stream(sessions: Store, session: str) -> Any:
    """What the session says that it listens to."""
    live = await sessions.read_id(session)
    assert live is not None
    return decoded(live.body).get("active_podcast_stream_id")


async def test_opening_names_the_stream_and_closing_clears_it(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    presence = Presence(sessions)
    live, _ = await sessions.start(MINIMAL)
    before = names(raw)
    stream = await presence.open("p1", live.session_id)
    assert await names_stream(sessions, live.session_id) == "p1"
    assert await presence.listeners() == {"p1": 1}
    await presence.close(stream)
    assert await names_stream(sessions, live.session_id) is None
    assert await presence.listeners() == {}
    age(raw, 2 * MINUTE)
    assert names(raw) == before - {companion("touched", live)}


async def test_two_tabs_on_one_podcast_are_two_listeners_and_one_stream(server: Server, store: Open) -> None:
    here, there = await store(server), await store(server)
    live, _ = await here.start(MINIMAL)
    one = await Presence(here).open("p1", live.session_id)
    two = await Presence(there).open("p1", live.session_id)
    assert await Presence(here).listeners() == {"p1": 2}
    await Presence(here).close(one)
    assert await names_stream(there, live.session_id) == "p1"
    assert await Presence(here).listeners() == {"p1": 1}
    await Presence(there).close(two)
    assert await names_stream(here, live.session_id) is None


@pytest.mark.parametrize("first", ["older", "newer"])
async def test_of_two_tabs_on_two_podcasts_the_newest_still_open_is_named(
    server: Server, store: Open, first: str
) -> None:
    sessions = await store(server)
    presence = Presence(sessions)
    live, _ = await sessions.start(MINIMAL)
    older, newer = await presence.open("z-older", live.session_id), await presence.open("a-newer", live.session_id)
    assert await names_stream(sessions, live.session_id) == "a-newer"
    await presence.renew(older)
    assert await names_stream(sessions, live.session_id) == "a-newer", "renewed last, but opened first"
    await presence.close(older if first == "older" else newer)
    assert await names_stream(sessions, live.session_id) == ("a-newer" if first == "older" else "z-older")
    await presence.close(newer if first == "older" else older)
    assert await names_stream(sessions, live.session_id) is None


async def test_three_tabs_opened_and_closed_in_every_order(server: Server, store: Open) -> None:
    from itertools import permutations

    sessions = await store(server)
    presence = Presence(sessions)
    for order in permutations(range(3)):
        live, _ = await sessions.start(MINIMAL)
        open_ = {number: await presence.open(f"p{number}", live.session_id) for number in range(3)}
        for number in order:
            assert await names_stream(sessions, live.session_id) == f"p{max(open_)}"
            await presence.close(open_.pop(number))
        assert await names_stream(sessions, live.session_id) is None
        assert await presence.listeners() == {}


async def test_listening_keeps_the_session_alive_beyond_its_idle_limit(
    server: Server, store: Open, passes: Passing
) -> None:
    sessions = await store(server)
    presence = Presence(sessions)
    live, _ = await sessions.start(MINIMAL)
    stream = await presence.open("p1", live.session_id)
    for _ in range(3 * 60):
        passes(presence.interval * SECOND)
        assert await presence.renew(stream)
        await sessions.close()
    assert await names_stream(sessions, live.session_id) == "p1"
    assert await presence.listeners() == {"p1": 1}


async def test_a_stream_that_nobody_renews_lapses_and_the_next_request_clears_it(
    server: Server, store: Open, passes: Passing
) -> None:
    sessions, raw = await store(server), server.raw()
    presence = Presence(sessions)
    live, token = await sessions.start(MINIMAL)
    await presence.open("p1", live.session_id)  # and its server is killed
    passes(89 * SECOND)
    assert await presence.listeners() == {"p1": 1}
    await used(sessions, token)
    assert await names_stream(sessions, live.session_id) == "p1"
    passes(61 * SECOND)
    assert await presence.listeners() == {}
    await used(sessions, token)
    assert await names_stream(sessions, live.session_id) is None
    passes(5 * SECOND)
    assert not [name for name in names(raw) if "stream" in name or "listeners" in name or "podcasts" in name]


async def test_of_a_killed_servers_stream_and_another_the_other_is_named(
    server: Server, store: Open, passes: Passing
) -> None:
    sessions = await store(server)
    presence = Presence(sessions)
    live, token = await sessions.start(MINIMAL)
    mine = await presence.open("mine", live.session_id)
    await presence.open("killed", live.session_id)
    for _ in range(4):
        passes(presence.interval * SECOND)
        assert await presence.renew(mine)
        await sessions.close()
    await used(sessions, token)
    assert await names_stream(sessions, live.session_id) == "mine"
    assert await presence.listeners() == {"mine": 1}


async def test_a_stream_that_was_late_is_named_again(server: Server, store: Open, passes: Passing) -> None:
    """Its server was paused for longer than a stream stays, and another tab's request has cleared it meanwhile."""
    sessions = await store(server)
    presence = Presence(sessions)
    live, token = await sessions.start(MINIMAL)
    stream = await presence.open("p1", live.session_id)
    passes(2 * MINUTE)
    await used(sessions, token)
    assert await names_stream(sessions, live.session_id) is None
    assert await presence.renew(stream)
    assert await presence.listeners() == {"p1": 1}
    assert await names_stream(sessions, live.session_id) == "p1"


async def test_a_late_renewal_that_finds_a_touch_due_keeps_its_stream(
    server: Server, store: Open, passes: Passing
) -> None:
    sessions = await store(server)
    presence = Presence(sessions)
    live, _ = await sessions.start(MINIMAL)
    stream = await presence.open("p1", live.session_id)
    passes(2 * MINUTE)
    assert await presence.renew(stream)
    await sessions.close()
    assert await names_stream(sessions, live.session_id) == "p1"


@pytest.mark.parametrize("how", ["ended", "ended all", "rotated", "lapsed"])
async def test_renewing_an_ended_session_says_so_and_removes_the_stream(
    server: Server, store: Open, passes: Passing, how: str
) -> None:
    sessions, raw = await store(server), server.raw()
    presence = Presence(sessions)
    live, _ = await sessions.start({**MINIMAL, "user_id": "u1"})
    stream = await presence.open("p1", live.session_id)
    match how:
        case "ended":
            await sessions.end(live.session_id)
        case "ended all":
            await sessions.end_all("u1")
        case "rotated":
            new, _ = await sessions.rotate(live.session_id, {})
            assert await names_stream(sessions, new.session_id) is None, "its socket is closed"
        case _:
            raw("DEL", key(live))
    assert not await presence.renew(stream)
    assert await presence.listeners() == {}
    assert not raw("EXISTS", companion("streams", live))
    await presence.close(stream)
    assert not raw("EXISTS", key(live))


async def test_a_stream_of_a_session_that_is_over_is_not_opened(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    presence = Presence(sessions)
    live, _ = await sessions.start(MINIMAL)
    await sessions.end(live.session_id)
    with pytest.raises(SessionGone):
        await presence.open("p1", live.session_id)
    assert await presence.listeners() == {}
    assert names(raw) == {companion("ended", live), "greenroom:active:{podcasts}"}


@pytest.mark.parametrize("broken", [b"broken", b"{}"])
async def test_a_stream_that_could_not_be_named_is_not_counted(server: Server, store: Open, broken: bytes) -> None:
    sessions, raw = await store(server), server.raw()
    presence = Presence(sessions)
    live, _ = await sessions.start(MINIMAL)
    raw("SET", key(live), broken, "XX", "KEEPTTL")
    with pytest.raises(BrokenValue):
        await presence.open("p1", live.session_id)
    assert await presence.listeners() == {}
    assert raw("GET", key(live)) == broken


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("podcast", ["", "a:b", "x" * 129, "{p}", "*"])
async def test_a_podcast_that_cannot_be_in_a_key_is_refused(server: Server, store: Open, podcast: str) -> None:
    sessions, raw = await store(server), server.raw()
    with pytest.raises(InvalidInput, match="podcast_id"):
        await Presence(sessions).open(podcast, None)
    assert names(raw) == set()


async def test_anonymous_listeners_are_counted_and_make_no_session(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    presence = Presence(sessions)
    streams = [await presence.open("p1", None) for _ in range(3)]
    assert await presence.listeners() == {"p1": 3}
    assert await presence.active() == 0
    assert await presence.renew(streams[0])
    for stream in streams:
        await presence.close(stream)
    assert await presence.listeners() == {}
    assert not [name for name in names(raw) if "session" in name]


async def test_what_else_is_written_while_streams_come_and_go_is_kept(server: Server, store: Open) -> None:
    here, there = [await store(server, engine_limits=PATIENT) for _ in range(2)]
    live, _ = await here.start(MINIMAL)

    async def listen(sessions: Store, podcast: str) -> None:
        for _ in range(10):
            stream = await Presence(sessions).open(podcast, live.session_id)
            assert await Presence(sessions).renew(stream)
            await Presence(sessions).close(stream)

    async def write(sessions: Store) -> None:
        for _ in range(20):
            await sessions.change(live.session_id, add_one)

    await asyncio.gather(
        *(work for one in (here, there) for work in (listen(one, "p1"), listen(one, "p2"), write(one)))
    )
    found = await here.read_id(live.session_id)
    assert found is not None
    assert decoded(found.body)["count"] == 40
    assert "active_podcast_stream_id" not in decoded(found.body)
    assert await Presence(here).listeners() == {}


async def test_a_close_that_read_the_streams_early_does_not_clear_a_new_one(server: Server, store: Open) -> None:
    quick = await store(server)
    live, _ = await quick.start(MINIMAL)
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        closing_stream = await Presence(slow).open("closed", live.session_id)
        before = await quick.read_id(live.session_id)
        assert before is not None
        writing = proxy.hold("EVALSHA", before.body.decode())
        closing = asyncio.ensure_future(Presence(slow).close(closing_stream))
        await writing.reached.wait()
        await Presence(quick).open("opened", live.session_id)
        writing.release()
        await closing
    assert await names_stream(quick, live.session_id) == "opened"


async def test_neither_streams_nor_their_failures_show_a_session(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)
    stream = await Presence(sessions).open("p1", live.session_id)
    assert live.session_id not in repr(stream)
    assert stream.member not in repr(stream)
    listeners = raw("ZRANGE", "greenroom:listeners:{podcast:p1}", 0, -1)
    assert live.session_id.encode() not in b"".join(listeners)
    assert token.encode() not in everything(raw)
    await sessions.end(live.session_id)
    with pytest.raises(GreenroomError) as raised:
        await Presence(sessions).open("p1", live.session_id)
    assert live.session_id not in str(raised.value)
