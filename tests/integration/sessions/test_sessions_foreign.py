"""What another service has put into a session by hand survives every kind of change as the bytes that it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from greenroom.errors import BrokenValue
from greenroom.sessions import Presence
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, MINUTE, Open, Passing, Store, age, decoded, key, patch, used

pytestmark = pytest.mark.on_cluster

VALUES = {
    "float": b"1.0",
    "exponent": b"1e2",
    "negative": b"-0.0",
    "big": b"123456789012345678901234567890",
    "precise": b"0.1000000000000000055511151231257827",
    "escaped": rb'"caf\u00e9 \ud83d\ude00 \/ \u0000"',
    "plain": '"café 😀"'.encode(),
    "spaced": b'{ "b" : 1 ,\r\n\t"a" : [ 1 , 2.50 , { } ] }',
    "null": b"null",
    "nested": b'[[[{"z":{"y":[true,false,null]},"a":""}]]]',
}


def by_hand(order: int) -> bytes:
    """A session as another language would write it; the order of its members is one of two."""
    members = [
        b'"active" : true',
        b'"last_activity_timestamp" : "2026-03-01T12:00:00.5+02:00"',
        *(b'"%s" :  %s' % (name.encode(), value) for name, value in VALUES.items()),
        b'"preferences" : { "unknown" : 1.50 , "playback_speed_default" : 1e0, "preferred_topics":[ "a" ] }',
    ]
    return b"{\n  " + b",\n  ".join(members[::order]) + b"\n}"


async def touched(sessions: Store, session: str, server: Server) -> str:
    live = await sessions.read_id(session)
    assert live is not None
    age(server.raw(), MINUTE)
    live = await sessions.read_id(session)
    assert live is not None
    assert live.touch_due
    sessions.touch(live)
    await sessions.close()
    return session


async def changed(sessions: Store, session: str, _: Server) -> str:
    await sessions.change(session, patch(own=1))
    await sessions.change(session, patch(own=None))
    return session


async def preferred(sessions: Store, session: str, _: Server) -> str:
    await sessions.change(session, patch(preferences={"playback_speed_default": 2}))
    return session


async def rotated(sessions: Store, session: str, _: Server) -> str:
    return (await sessions.rotate(session, {"user_id": "u1"}))[0].session_id


async def listened(sessions: Store, session: str, _: Server) -> str:
    presence = Presence(sessions)
    stream = await presence.open("p1", session)
    assert decoded((await sessions.change(session, patch())).body)["active_podcast_stream_id"] == "p1"
    await presence.close(stream)
    return session


KINDS = [touched, changed, preferred, rotated, listened]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", KINDS)
async def test_members_put_in_by_hand_survive_byte_for_byte(
    server: Server, store: Open, kind: Callable[[Store, str, Server], Awaitable[str]], order: int
) -> None:
    sessions, raw = await store(server), server.raw()
    live, _ = await sessions.start(MINIMAL)
    raw("SET", key(live), by_hand(order), "XX", "KEEPTTL")
    session = await kind(sessions, live.session_id, server)
    stored = raw("GET", key(session))
    members = msgspec.json.decode(stored, type=dict[str, msgspec.Raw])
    assert {name: bytes(members[name]) for name in VALUES} == VALUES
    assert bytes(members["active"]) == b"true"
    assert b'"unknown":1.50' in bytes(members["preferences"]).replace(b" ", b"")
    if kind is not preferred:
        assert b'{ "unknown" : 1.50 , "playback_speed_default" : 1e0, "preferred_topics":[ "a" ] }' in stored
    before = list(msgspec.json.decode(by_hand(order), type=dict[str, msgspec.Raw]))
    assert [name for name in members if name != "user_id"] == before, "their order too"
    assert decoded(stored)["last_activity_timestamp"] > "2026-03-02"


async def test_a_member_put_in_between_our_read_and_our_write_is_kept(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)

    def while_another_writes(body: bytes) -> bytes:
        if b"another" not in body:
            raw("SET", key(live), body[:-1] + b',"another": 1.0}', "XX", "KEEPTTL")
        return patch(own=1)(body)

    await sessions.change(live.session_id, while_another_writes)
    found = await sessions.read(token)
    assert found is not None
    assert b'"another":1.0' in found.body
    assert decoded(found.body)["own"] == 1


async def test_a_session_stored_with_spaces_is_touched_as_itself(
    server: Server, store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, raw, passes = await store(server), server.raw(), Passing(server, monkeypatch)
    live, token = await sessions.start(MINIMAL)
    for _ in range(3):
        raw("SET", key(live), by_hand(1), "XX", "KEEPTTL")
        passes(MINUTE)
        assert await used(sessions, token) is not None
        assert raw("PTTL", key(live)) > 30 * 60_000
        assert decoded(raw("GET", key(live)))["last_activity_timestamp"] > "2026-03-02"


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("junk", [b'"\xff":1', b'"a":"\xff"', rb'"a":"\x"', b'"a":[1}'])
async def test_what_is_no_json_is_an_error_on_every_way_and_stays(server: Server, store: Open, junk: bytes) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)
    stored = live.body[:-1] + b"," + junk + b"}"
    raw("SET", key(live), stored, "XX", "KEEPTTL")
    for call in (
        lambda: sessions.read(token),
        lambda: sessions.change(live.session_id, patch(a=1)),
        lambda: sessions.settle(live.session_id),
        lambda: sessions.rotate(live.session_id, {}),
    ):
        with pytest.raises(BrokenValue):
            await call()
    assert raw("GET", key(live)) == stored


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("twice", [b'"a":1,"a":2.0', b'"":1.0', rb'"a\"b\\c\n":1.0', rb'"caf\u00e9":1.0'])
async def test_strange_names_keep_their_meaning(server: Server, store: Open, twice: bytes) -> None:
    sessions, raw = await store(server), server.raw()
    live, _ = await sessions.start(MINIMAL)
    stored = live.body[:-1] + b"," + twice + b"}"
    raw("SET", key(live), stored, "XX", "KEEPTTL")
    changed = await sessions.change(live.session_id, patch(own=1))
    expected = decoded(stored) | {"own": 1, "last_activity_timestamp": decoded(changed.body)["last_activity_timestamp"]}
    assert decoded(changed.body) == expected


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("number", [b"1e999", b"9" * 5000])
async def test_a_foreign_number_out_of_range_keeps_a_session_working(
    server: Server, store: Open, number: bytes
) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start({**MINIMAL, "user_id": "u1"})
    raw("SET", key(live), live.body[:-1] + b',"score":' + number + b"}", "XX", "KEEPTTL")
    found = await sessions.read(token)
    assert found is not None
    assert (found.members["user_id"], bytes(found.members["score"])) == ("u1", number)
    await sessions.change(live.session_id, patch(own=1))
    _, token = await sessions.rotate(live.session_id, {})
    (mine,) = await sessions.of_user("u1")
    assert bytes(mine.members["score"]) == number
    assert await sessions.end_all("u1") == 1


# More than msgspec takes: 1,000 on Python 3.11, and 10,000 from 3.12 on.
DEEP = b"[" * 10_500 + b"]" * 10_500
UNREADABLE = {"half": rb'"\ud83d"', "other half": rb'[ "a\uDE00" ]', "name": rb'{"\ud83d":1}', "deep": DEEP}


@pytest.mark.once_on_cluster
@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_no_decoder_takes_keeps_a_session_working_and_its_bytes(
    server: Server, store: Open, value: bytes
) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL, user_id="u1")
    inner = live.body.replace(b'"preferences":{', b'"preferences":{"theirs":' + value, 1)
    raw("SET", key(live), inner[:-1] + b',"theirs":' + value + b"}", "XX", "KEEPTTL")
    found = await sessions.read(token)
    assert found is not None
    assert found.value.user_id == "u1"
    assert bytes(found.members["theirs"]) == value
    live = await sessions.change(live.session_id, patch(own=1, preferences={"playback_speed_default": 2}))
    assert live.value.preferences.playback_speed_default == 2
    live, token = await sessions.rotate(live.session_id, {})
    assert live.body.count(b'"theirs":' + value) == 2
    (mine,) = await sessions.of_user("u1")
    assert mine.value.preferences.playback_speed_default == 2
    presence = Presence(sessions)
    await presence.close(await presence.open("p1", live.session_id))
    assert await sessions.end_all("u1") == 1


async def test_a_member_of_ours_that_is_no_text_is_broken(server: Server, store: Open) -> None:
    sessions, raw = await store(server), server.raw()
    live, token = await sessions.start(MINIMAL)
    raw("SET", key(live), live.body[:-1] + rb',"user_id":"\ud83d"}', "XX", "KEEPTTL")
    with pytest.raises(BrokenValue):
        await sessions.read(token)
