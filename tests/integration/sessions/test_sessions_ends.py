"""Ending sessions: one, all of a user, and what a log-in at that moment may come to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom.errors import EngineUnavailable
from greenroom.sessions import Presence, SessionGone
from tests.support.patience import PATIENT
from tests.support.proxy import proxy_of
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, MINUTE, SECOND, Open, age, companion, key, names

pytestmark = pytest.mark.on_cluster

SIGNED_IN = {**MINIMAL, "user_id": "u1"}
LIST = "greenroom:sessions:{user:u1}"


async def test_all_of_a_user_are_ended_and_nobody_elses(server: Server, store: Open) -> None:
    sessions = await store(server)
    mine = [await sessions.start(SIGNED_IN) for _ in range(250)]
    others, anonymous = await sessions.start({**MINIMAL, "user_id": "u2"}), await sessions.start(MINIMAL)
    assert await sessions.end_all("u1") == 250
    assert [await sessions.read(token) for _, token in mine] == [None] * 250
    assert await sessions.read(others[1]) is not None
    assert await sessions.read(anonymous[1]) is not None
    assert await sessions.active() == 2
    assert await sessions.of_user("u1") == []
    assert await sessions.end_all("u1") == 0
    age(server.raw(), MINUTE)
    assert LIST not in names(server.raw())


async def test_an_end_leaves_a_mark_for_a_minute_and_nothing_else(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    live, _ = await sessions.start(SIGNED_IN)
    assert await sessions.end(live.session_id)
    assert names(raw) == {companion("ended", live)}
    assert raw("PTTL", companion("ended", live)) <= 60_000
    age(raw, MINUTE)
    assert names(raw) == set()


async def test_an_end_takes_the_streams_and_the_copy_along(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    old, _ = await sessions.start(SIGNED_IN)
    await Presence(sessions).open("p0", old.session_id)
    live, _ = await sessions.rotate(old.session_id, {})
    assert names(raw) & {companion("streams", old), companion("grace", old)} == {companion("grace", old)}
    await Presence(sessions).open("p1", live.session_id)
    assert await sessions.end_all("u1") == 1
    left = {name for name in names(raw) if "podcast" not in name}
    assert left == {companion("ended", old), companion("ended", live)}


async def test_an_end_whose_reply_is_lost_has_ended_it(server: Server, store: Open) -> None:
    async with proxy_of(server) as proxy:
        sessions = await store(proxy)
        live, token = await sessions.start(SIGNED_IN)
        proxy.cut_reply_to("EVALSHA", companion("grace", live))
        assert await sessions.end(live.session_id)
        assert await sessions.read(token) is None
        live, token = await sessions.start(SIGNED_IN)
        proxy.cut_reply_to("EVALSHA", companion("grace", live))
        assert await sessions.end_all("u1") == 1
        assert await sessions.read(token) is None


async def test_a_start_whose_reply_is_lost_has_begun_one(server: Server, store: Open) -> None:
    async with proxy_of(server) as proxy:
        sessions = await store(proxy)

        async def gate(command: list[bytes]) -> None:
            if command[0] == b"EVALSHA" and any(b"greenroom:ended" in word for word in command):
                proxy.gate = None
                proxy.cut_reply_to("EVALSHA", command[1].decode(), command[3].decode())

        proxy.gate = gate
        live, token = await sessions.start(SIGNED_IN)
        assert proxy.gate is None
        found = await sessions.read(token)
        assert found is not None
        assert (found.body, found.started_text) == (live.body, live.started_text)
        assert await sessions.active() == 1
        assert len(await sessions.of_user("u1")) == 1


async def test_a_start_that_arrives_a_second_time_late_changes_nothing(server: Server, store: Open) -> None:
    """It was written, its connection lost, it was repeated, its session changed · then the server reads the first."""
    raw = server.raw()
    async with proxy_of(server) as proxy:
        sessions = await store(proxy)
        starts: list[list[bytes]] = []

        async def gate(command: list[bytes]) -> None:
            if command[0] == b"EVALSHA" and any(b"greenroom:ended" in word for word in command):
                starts.append(command)

        proxy.gate = gate
        live, _ = await sessions.start(SIGNED_IN)
        (again,) = starts
        changed = await sessions.change(live.session_id, lambda body: body[:-1] + b',"own":1}')
        assert raw(*again) == [changed.body, live.started_text]
        assert raw("GET", key(live)) == changed.body
        assert await sessions.end(live.session_id)
        assert raw(*again) is None
        assert not raw("EXISTS", key(live))


async def test_a_log_in_listed_when_all_are_ended_goes_whole(server: Server, store: Open) -> None:
    quick, raw = await store(server), server.raw()
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)

        async def gate(command: list[bytes]) -> None:
            if command[0] == b"EVALSHA" and any(b"greenroom:ended" in word for word in command):
                assert await quick.end_all("u1") == 0, "it is not there yet"
                assert raw("EXISTS", LIST) == 0

        proxy.gate = gate
        with pytest.raises(SessionGone):
            await slow.start(SIGNED_IN)
    age(raw, MINUTE)
    assert names(raw) == set()


async def test_a_log_in_listed_after_the_list_was_read_stays_whole(server: Server, store: Open) -> None:
    quick, raw = await store(server), server.raw()
    old, _ = await quick.start(SIGNED_IN)
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        removing = proxy.hold("ZREM", LIST)
        ending = asyncio.ensure_future(slow.end_all("u1"))
        await removing.reached.wait()
        reading = proxy.hold("EVALSHA", LIST)
        removing.release()
        await reading.reached.wait()
        assert raw("ZRANGE", LIST, 0, -1) == []
        # The list is read once more after that: a log-in now is ended too, one after that look stays.
        first, token = await quick.start(SIGNED_IN)
        last_look = proxy.hold("EVALSHA", LIST)
        reading.release()
        await last_look.reached.wait()
        assert await quick.read(token) is None
        last_look.release()
        assert await ending == 2
    assert not raw("EXISTS", key(old))
    live, token = await quick.start(SIGNED_IN)
    assert await quick.read(token) is not None
    assert [one.session_id for one in await quick.of_user("u1")] == [live.session_id]
    assert first.session_id != live.session_id


async def test_a_start_that_comes_late_is_refused_even_when_the_mark_has_lapsed(server: Server, store: Open) -> None:
    """A server that stood still reads a command that nobody waits for any more."""
    quick, raw = await store(server), server.raw()
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        late: list[bytes] = []

        async def gate(command: list[bytes]) -> None:
            if command[0] == b"EVALSHA" and any(b"greenroom:ended" in word for word in command):
                await quick.end_all("u1")
                age(raw, 2 * MINUTE)
                late[:] = command
                # The last but three is when it was listed: two minutes ago now.
                command[-4] = b"%d" % (int(command[-4]) - 120_000)

        proxy.gate = gate
        with pytest.raises(SessionGone):
            await slow.start(SIGNED_IN)
        assert late
    assert names(raw) == set()


async def test_a_rotation_while_all_are_ended_signs_nobody_in(server: Server, store: Open) -> None:
    quick, raw = await store(server), server.raw()
    old, token = await quick.start(SIGNED_IN)
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        starting = False

        async def gate(command: list[bytes]) -> None:
            nonlocal starting
            text = b" ".join(command)
            if text.startswith(b"EVALSHA") and b"greenroom:ended" in text and old.session_id.encode() not in text:
                starting = True
                assert raw("EXISTS", companion("grace", old))
                await quick.end_all("u1")

        proxy.gate = gate
        with pytest.raises(SessionGone):
            await slow.rotate(old.session_id, {})
        assert starting
    assert await quick.read(token) is None, "the copy is ended too"
    assert await quick.of_user("u1") == []
    age(raw, MINUTE)
    assert names(raw) == set()


async def test_what_was_not_ended_stays_on_the_list(server: Server, store: Open) -> None:
    """One DEL of the list would leave a log-in alive that no later end of all finds."""
    quick, raw = await store(server), server.raw()
    await quick.start(SIGNED_IN)
    async with proxy_of(server) as proxy:
        slow = await store(proxy, engine_limits=PATIENT)
        commands: list[list[bytes]] = []

        async def gate(command: list[bytes]) -> None:
            commands.append(command)

        proxy.gate = gate
        await slow.end_all("u1")
    assert not [command for command in commands if command[0] in (b"DEL", b"UNLINK", b"ZREMRANGEBYSCORE")]
    live, _ = await quick.start(SIGNED_IN)
    assert raw("ZRANGE", LIST, 0, -1) == [live.session_id.encode()]


async def test_the_list_of_a_user_outlives_every_session_on_it(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    first, _ = await sessions.start(SIGNED_IN)
    age(raw, 30 * MINUTE)
    await sessions.change(first.session_id, lambda body: body)
    for _ in range(22):
        age(raw, 30 * MINUTE)
        await sessions.change(first.session_id, lambda body: body)
    age(raw, 30 * MINUTE - 10 * SECOND)
    assert [live.session_id for live in await sessions.of_user("u1")] == [first.session_id]
    assert await sessions.end_all("u1") == 1


async def test_a_failed_end_of_all_leaves_nothing_under_way(
    server: Server, store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who repeats the call must not run beside what is left of the first."""
    sessions = await store(server)
    (broken, _), _ = await sessions.start(SIGNED_IN), await sessions.start(SIGNED_IN)
    end, failed, go_on = sessions.store.end, asyncio.Event(), asyncio.Event()

    async def end_one(session: str, *args: Any, **options: Any) -> bool:
        if session == broken.session_id:
            failed.set()
            raise EngineUnavailable("its shard is down")
        await failed.wait()
        await go_on.wait()
        return await end(session, *args, **options)

    monkeypatch.setattr(sessions.store, "end", end_one)
    ending = asyncio.ensure_future(sessions.end_all("u1"))
    await failed.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not ending.done()
    go_on.set()
    with pytest.raises(EngineUnavailable):
        await ending
    monkeypatch.undo()
    assert [one.session_id for one in await sessions.of_user("u1")] == [broken.session_id]
    assert await sessions.end_all("u1") == 1
