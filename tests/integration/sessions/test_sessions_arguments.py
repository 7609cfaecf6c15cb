"""What calls of sessions are given: of another type it is refused by its name, and the server is asked nothing."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import fields
from datetime import timedelta
from typing import Any

import msgspec
import pydantic
import pytest

from greenroom.engine import Address, Channel, engine_at
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.sessions import Presence, SessionLimits, SessionMiddleware, Sessions, handle, merged, session_of
from greenroom.sessions.policy import Carrier, Kind, Origin, Signals, Token, Transport
from greenroom.sessions.request import RequestSession
from greenroom_platform.definitions import SESSIONS
from tests.support.real_servers import Server
from tests.support.session_stores import MINIMAL, Open, Store, calls, everything, names

ANY: Any = None
NO_TEXTS: list[Any] = [None, 5, b"x", ["x"], {}, True]
NO_IDS: list[Any] = [*NO_TEXTS, "", "a b", "x" * 129]
NO_MEMBERS: list[Any] = [5, "x", b"{}", ["a"], [("a", 1)], {1}, True]


def request(sessions: Store, token: str = "") -> RequestSession[Any]:
    """The session of a request over HTTPS."""
    state = Token.PRESENT if token else Token.ABSENT
    signals = Signals(
        kind=Kind.HTTP,
        unsafe=True,
        origin=Origin.NONE,
        token=state,
        carrier=Carrier.BEARER,
        transport=Transport.SECURE,
        text=token,
        plain="",
    )
    return RequestSession(sessions, signals)


async def called(call: Callable[..., Any], *args: Any) -> None:
    answer = call(*args)
    if isinstance(answer, Awaitable):
        await answer


async def refused(call: Callable[..., Any], field: str, *args: Any) -> str:
    """The refusal of a call, which names this argument."""
    with pytest.raises(InvalidInput) as caught:
        await called(call, *args)
    assert caught.value.field == field, caught.value
    assert caught.value.remedy
    return str(caught.value)


# Members that do not fit --------------------------------------------------------------------------------

UNFIT = {
    "preferences": {"preferences": 1},
    "preferences.preferred_topics": {"preferences": {"preferred_topics": "all"}},
    "preferences.preferred_topics[1]": {"preferences": {"preferred_topics": ["a", 1]}},
    "preferences.playback_speed_default": {"preferences": {"playback_speed_default": "fast"}},
    "active_podcast_stream_id": {"preferences": {}, "active_podcast_stream_id": 7},
}


@pytest.mark.parametrize(("field", "members"), UNFIT.items(), ids=UNFIT)
async def test_a_member_that_does_not_fit_is_refused_by_its_name(
    server: Server, store: Open, field: str, members: dict[str, Any]
) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    before = everything(server.raw())
    await refused(lambda: sessions.start(members), field)
    await refused(lambda: sessions.start(**members), field)
    await refused(lambda: sessions.rotate(live.session_id, members), field)
    await refused(lambda: sessions.rotate(live.session_id, lambda body: members), field)
    await refused(lambda: sessions.change(live.session_id, lambda body: merged(body, members)), field)
    await refused(lambda: request(sessions).start(members), field)
    await refused(lambda: request(sessions).sign_in({"user_id": "u1"} | members), field)
    await refused(lambda: request(sessions, token).update(members), field)
    await refused(lambda: request(sessions, token).rotate(members), field)
    await refused(lambda: request(sessions, token).sign_in(lambda body: {"user_id": "u1"} | members), field)
    assert everything(server.raw()) == before


async def test_a_member_that_is_missing_is_named(server: Server, store: Open) -> None:
    sessions = await store(server)
    assert "is missing" in await refused(sessions.start, "preferences")
    live, _ = await sessions.start(MINIMAL)
    removed = {"preferences": msgspec.UNSET}
    await refused(lambda: sessions.rotate(live.session_id, removed), "preferences")


class Cart(pydantic.BaseModel):
    items: list[str] = []


class Visit(pydantic.BaseModel):
    cart: Cart = Cart()
    last_activity_timestamp: str


async def test_a_member_of_a_pydantic_session_is_named_too(server: Server) -> None:
    engine = engine_at(Address.parse(server.address))
    sessions = Sessions(engine, Keyspace("session:{session_id}", Visit, ttl=timedelta(hours=1)))
    await engine.start()
    live, _ = await sessions.start({"cart": {"items": ["a"]}})
    await refused(lambda: sessions.start(cart=5), "cart")
    await refused(lambda: sessions.start(cart={"items": [5]}), "cart.items.0")
    await refused(lambda: sessions.rotate(live.session_id, {"cart": {"items": "a"}}), "cart.items")
    await sessions.close()
    await engine.close()


@pytest.mark.parametrize("members", NO_MEMBERS)
async def test_members_that_are_no_mapping_are_refused(server: Server, store: Open, members: Any) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    before = everything(server.raw())
    for call in (
        lambda: sessions.start(members),
        lambda: sessions.rotate(live.session_id, members),
        lambda: sessions.rotate(live.session_id, lambda body: members),
        lambda: request(sessions).start(members),
        lambda: request(sessions).sign_in(members),
        lambda: request(sessions).sign_in(lambda body: members),
        lambda: request(sessions, token).update(members),
        lambda: request(sessions, token).rotate(members),
    ):
        await refused(call, "members")
    assert everything(server.raw()) == before


async def test_no_members_rotate_nothing(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, _ = await sessions.start(MINIMAL)
    for members in (None, lambda body: None):
        await refused(sessions.rotate, "members", live.session_id, members)


# Functions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [None, 5, "x", {"a": 1}])
async def test_a_change_that_cannot_be_called_is_refused(server: Server, store: Open, change: Any) -> None:
    sessions = await store(server)
    live, token = await sessions.start(MINIMAL)
    await refused(lambda: sessions.change(live.session_id, change), "change")
    await refused(lambda: request(sessions, token).change(change), "change")


@pytest.mark.parametrize("result", [None, "{}", {"preferences": {}}, 5, bytearray(b"{}")])
async def test_a_change_that_returns_no_bytes_changes_nothing(server: Server, store: Open, result: Any) -> None:
    sessions = await store(server)
    live, _ = await sessions.start(MINIMAL)
    before = everything(server.raw())
    assert "returned" in await refused(lambda: sessions.change(live.session_id, lambda body: result), "change")
    assert everything(server.raw()) == before


async def test_a_function_that_is_async_is_refused_and_not_left_waiting(server: Server, store: Open) -> None:
    sessions = await store(server)
    live, _ = await sessions.start(MINIMAL)

    async def slow(body: bytes) -> Any:
        return body

    changing: Any = slow
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert "async" in await refused(lambda: sessions.change(live.session_id, changing), "change")
        await refused(lambda: sessions.rotate(live.session_id, changing), "members")
        gc.collect()
    # What other tests have left to the collector is theirs.
    assert not [one for one in told if "never awaited" in str(one.message)]


# Names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", NO_IDS)
async def test_what_is_no_session_id_is_refused_by_every_call(server: Server, store: Open, session: Any) -> None:
    sessions, raw = await store(server), server.raw()
    presence = Presence(sessions)
    raw("CONFIG", "RESETSTAT")
    for call in (
        lambda: sessions.read_id(session),
        lambda: sessions.watched(session).__aenter__(),
        lambda: sessions.change(session, lambda body: body),
        lambda: sessions.settle(session),
        lambda: sessions.rotate(session, {}),
        lambda: sessions.end(session),
        lambda: handle(session),
    ):
        await refused(call, "session")
    if session is not None:
        await refused(lambda: sessions.end_all("u1", but=session), "but")
        await refused(lambda: sessions.end_all_behind("u1", but=session), "but")
        await refused(lambda: presence.open("p1", session), "session")
    assert calls(raw).keys() <= {"config|resetstat", "info"}
    assert names(raw) == set()


@pytest.mark.parametrize("token", NO_TEXTS)
async def test_what_is_no_text_is_no_token_to_read(server: Server, store: Open, token: Any) -> None:
    sessions = await store(server)
    await refused(lambda: sessions.read(token), "token")


@pytest.mark.parametrize("user", [*NO_TEXTS, "", "x" * 257])
async def test_what_is_no_user_id_is_refused_before_it_is_put_off(server: Server, store: Open, user: Any) -> None:
    sessions = await store(server)
    for call in (
        lambda: sessions.end_all(user),
        lambda: sessions.end_all_behind(user),
        lambda: sessions.of_user(user),
    ):
        await refused(call, "user_id")
    assert not sessions.leftovers


@pytest.mark.parametrize("other", [None, 5, "x"])
async def test_what_a_call_has_not_returned_is_refused_by_the_next(server: Server, store: Open, other: Any) -> None:
    sessions = await store(server)
    presence = Presence(sessions)
    _, token = await sessions.start(MINIMAL)
    await refused(lambda: sessions.touch(other), "live")
    await refused(lambda: presence.renew(other), "stream")
    await refused(lambda: presence.close(other), "stream")
    await refused(lambda: sessions.read(token, channel=other), "channel")
    await refused(lambda: sessions.read_id("x", channel=other), "channel")
    assert await sessions.read(token, channel=Channel.TRACKED) is not None


# What sessions are made of ---------------------------------------------------------------------------------


async def test_what_sessions_are_made_of_is_refused_by_its_name(server: Server) -> None:
    engine = engine_at(Address.parse(server.address))
    made: Any = Sessions
    await refused(lambda: made(engine, "session:{session_id}"), "keyspace")
    await refused(lambda: made(engine, SESSIONS, timedelta(1)), "limits")
    await refused(lambda: made(engine, SESSIONS, new=[1]), "members")
    await refused(lambda: made(engine, SESSIONS, new={"day": timedelta(1)}), "day")


@pytest.mark.parametrize("name", [one.name for one in fields(SessionLimits)])
@pytest.mark.parametrize("span", [30, None, "1h", timedelta(0), -timedelta(1)])
async def test_a_limit_that_is_no_time_is_refused_by_its_name(name: str, span: Any) -> None:
    assert "timedelta" in await refused(lambda: SessionLimits(**{name: span}), name)


async def app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("it was asked")


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("app", {"app": None}),
        ("sessions", {"sessions": None}),
        ("sessions", {"sessions": "room.sessions"}),
        ("answer", {"answer": b""}),
        ("allowed_origins", {"allowed_origins": "https://www.example.org"}),
        ("allowed_origins", {"allowed_origins": 5}),
        ("allowed_origins", {"allowed_origins": [b"https://www.example.org"]}),
    ],
)
async def test_what_a_middleware_is_made_of_is_refused_by_its_name(field: str, options: dict[str, Any]) -> None:
    made: Any = SessionMiddleware
    await refused(lambda: made(**{"app": app, "sessions": lambda: None} | options), field)


async def test_a_middleware_that_is_given_something_else_than_sessions_says_so() -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "headers": [], "scheme": "https", "client": None}
    wrong: Any = SessionMiddleware(app, lambda: ANY)
    await refused(lambda: wrong(scope, None, None), "sessions")


@pytest.mark.parametrize("scope", [None, 5, object()])
async def test_what_is_no_scope_has_no_session(scope: Any) -> None:
    await refused(lambda: session_of(scope), "scope")


async def test_a_patch_that_is_no_mapping_is_refused() -> None:
    for patch in NO_MEMBERS:
        await refused(merged, "patch", b"{}", patch)
    for body in NO_TEXTS:
        if not isinstance(body, bytes):
            await refused(merged, "body", body, {})
