"""Django's sessions: no update is lost, and no session that is over comes back."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.utils import timezone

from greenroom.errors import InvalidInput
from greenroom.integrations.django import aend_all, end_all
from greenroom.integrations.django.sessions import SessionStore, stored_sessions
from greenroom.integrations.django.stored_sessions import StoredSessions, digest
from greenroom.sync import Greenroom
from tests.support.real_servers import Raw
from tests.support.sync_rooms import together

pytestmark = pytest.mark.usefixtures("room")


class Way:
    """The operations of sessions that reach the server, called as they are or by their `a` twins."""

    def __init__(self, awaited: bool) -> None:
        self.awaited = awaited

    def __call__(self, session: SessionStore, name: str, *args: Any, **options: Any) -> Any:
        if not self.awaited:
            return getattr(session, name)(*args, **options)
        return asyncio.run(getattr(session, f"a{name}")(*args, **options))


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def do(request: pytest.FixtureRequest) -> Way:
    return Way(bool(request.param))


def read(key: str | None) -> dict[str, Any]:
    """What a new request finds under a key."""
    return dict(SessionStore(key).items())


def started(**members: Any) -> SessionStore:
    """A saved session."""
    session = SessionStore()
    session.update(members)
    session.save()
    return session


def test_every_session_operation_that_asks_the_server_has_an_async_twin() -> None:
    for name in ("load", "exists", "create", "save", "delete", "cycle_key", "flush", "clear_expired"):
        assert getattr(SessionStore, f"a{name}") is not getattr(SessionBase, f"a{name}")
        assert inspect.iscoroutinefunction(getattr(SessionStore, f"a{name}"))


def test_a_saved_session_is_read_again(do: Way) -> None:
    session = SessionStore()
    session["cart"] = [1, {"a": "é"}]
    assert session.session_key is None
    do(session, "save")
    assert do(session, "exists", session.session_key)
    assert read(session.session_key) == {"cart": [1, {"a": "é"}]}
    again = SessionStore(session.session_key)
    assert do(again, "load") == {"cart": [1, {"a": "é"}]}


def test_a_key_that_nobody_was_given_names_nothing(do: Way) -> None:
    session = SessionStore("someunknownkey")
    assert do(session, "load") == {}
    assert session.session_key is None
    assert not do(session, "exists", "someunknownkey")
    assert not do(session, "exists", None)


def test_a_session_that_never_was_cannot_be_saved(do: Way) -> None:
    session = SessionStore("someunknownkey")
    session._session_cache = {"a": 1}
    with pytest.raises(UpdateError):
        do(session, "save")
    assert not session.exists("someunknownkey")


def test_the_key_of_a_cookie_does_not_stand_on_the_server(ask: Raw) -> None:
    session = started(a=1)
    (name,) = ask("KEYS", "*")
    assert name.decode() == f"site:django:session:{digest(session.session_key)}"
    assert session.session_key not in name.decode()


def test_two_requests_that_change_different_keys_lose_nothing(do: Way) -> None:
    key = started(a=0, b=0, gone=1, listed=[1]).session_key
    first, second = SessionStore(key), SessionStore(key)
    do(first, "load"), do(second, "load")
    first.get("a"), second.get("a")  # both have read it by now
    first["a"] = 1
    first["listed"].append(2)
    second["b"] = 2
    del second["gone"]
    do(first, "save")
    do(second, "save")
    assert read(key) == {"a": 1, "b": 2, "listed": [1, 2]}


def test_a_second_save_keeps_what_others_have_set_meanwhile(do: Way) -> None:
    key = started(a=0).session_key
    first, second = SessionStore(key), SessionStore(key)
    first.get("a"), second.get("a")
    second["b"] = 2
    do(second, "save")
    for value in (1, 2):
        first["a"] = value
        do(first, "save")
    assert read(key) == {"a": 2, "b": 2}


def test_what_is_set_and_taken_back_in_two_saves_is_as_it_was(do: Way) -> None:
    key = started(a=0).session_key
    session = SessionStore(key)
    for value in (1, 0):
        session["a"], session["b"] = value, 1
        do(session, "save")
        assert read(key) == {"a": value, "b": 1}
        del session["b"]
        do(session, "save")
        assert read(key) == {"a": value}


def test_a_thousand_pairs_of_requests_lose_nothing() -> None:
    key = started().session_key

    def change(name: str, number: int) -> None:
        session = SessionStore(key)
        session[name] = number
        session.save()

    # Whichever comes first; test_django_served.py has pairs of which both have read before one writes.
    for number in range(1000):
        together([lambda n=number: change("a", n), lambda n=number: change("b", n)])  # type: ignore[misc]
        assert read(key) == {"a": number, "b": number}


def test_a_session_that_has_ended_is_not_saved_again(do: Way) -> None:
    for end in ("flush", "delete"):
        key = started(a=1).session_key
        late = SessionStore(key)
        late["b"] = 2
        do(SessionStore(key), "delete", key) if end == "delete" else do(SessionStore(key), "flush")
        with pytest.raises(UpdateError):
            do(late, "save")
        assert read(key) == {}


def test_an_end_between_the_read_and_the_write_of_a_save_wins(monkeypatch: pytest.MonkeyPatch, do: Way) -> None:
    key = started(a=1).session_key
    late = SessionStore(key)
    late["b"] = 2
    monkeypatch.setattr(StoredSessions, "_replaced", _meanwhile(lambda all_: all_.end(key)))
    with pytest.raises(UpdateError):
        do(late, "save")
    assert read(key) == {}


def _meanwhile(what: Callable[[StoredSessions], Any]) -> Any:
    """`_replaced`, before whose first call something else happens."""
    real, done = StoredSessions._replaced, list[int]()

    async def replaced(self: StoredSessions, *args: Any) -> bool:
        if not done:
            done.append(1)
            await what(self)
        return await real(self, *args)

    return replaced


def test_flush_ends_the_session_and_begins_an_empty_one(do: Way) -> None:
    session = started(a=1)
    key = session.session_key
    do(session, "flush")
    assert session.session_key is None
    assert not session.exists(key)
    session["b"] = 2
    do(session, "save")
    assert session.session_key != key
    assert read(session.session_key) == {"b": 2}


def test_cycle_key_goes_on_under_a_new_key(do: Way) -> None:
    key = started(a=1).session_key
    session = SessionStore(key)
    session["b"] = 2
    do(session, "cycle_key")
    assert session.session_key != key
    assert read(session.session_key) == {"a": 1, "b": 2}
    assert read(key) == {}
    session["c"] = 3
    do(session, "save")
    assert read(session.session_key) == {"a": 1, "b": 2, "c": 3}


def test_cycle_key_of_a_new_session_begins_one(do: Way) -> None:
    session = SessionStore()
    session["a"] = 1
    do(session, "cycle_key")
    assert read(session.session_key) == {"a": 1}


def test_cycle_key_takes_along_what_others_save_meanwhile(monkeypatch: pytest.MonkeyPatch, do: Way) -> None:
    key = started(a=1).session_key
    session, other = SessionStore(key), SessionStore(key)
    session.get("a"), other.get("a")
    from greenroom.integrations.django.stored_sessions import MemberChanges

    def lifetime(data: object) -> timedelta:
        return timedelta(hours=1)

    monkeypatch.setattr(
        StoredSessions, "_replaced", _meanwhile(lambda all_: all_.change(key, MemberChanges({"b": 2}), lifetime))
    )
    do(session, "cycle_key")
    assert read(session.session_key) == {"a": 1, "b": 2}
    assert read(key) == {}


def test_cycle_key_of_a_session_that_has_ended_takes_nothing_along(do: Way, ask: Raw) -> None:
    key = started(_auth_user_id="7", a=1).session_key
    session = SessionStore(key)
    session.get("a")
    SessionStore(key).delete(key)
    do(session, "cycle_key")
    assert dict(session.items()) == {}
    assert read(session.session_key) == {}
    assert len(ask("KEYS", "*session*")) == 1


def test_an_end_while_the_key_is_cycled_leaves_no_copy(monkeypatch: pytest.MonkeyPatch, do: Way, ask: Raw) -> None:
    key = started(_auth_user_id="7", a=1).session_key
    session = SessionStore(key)
    session.get("a")
    monkeypatch.setattr(StoredSessions, "_replaced", _meanwhile(lambda all_: all_.end(key)))  # it is copied by then
    do(session, "cycle_key")
    assert read(session.session_key) == {}
    assert len(ask("KEYS", "*session*")) == 1


def test_create_stores_what_the_session_holds(do: Way) -> None:
    session = SessionStore()
    do(session, "create")
    assert session.exists(session.session_key)
    assert session.modified


def test_a_clear_removes_what_the_request_has_seen(do: Way) -> None:
    key = started(a=1, b=2).session_key
    session = SessionStore(key)
    session.get("a")
    session.clear()
    do(session, "save")
    assert read(key) == {}


@pytest.mark.parametrize(
    ("expiry", "seconds"),
    [
        (None, 3600),
        (0, 3600),
        (60, 60),
        (timedelta(seconds=90), 90),
        (lambda: timezone.now() + timedelta(days=800), 400 * 86400),
    ],
)
def test_a_session_lives_as_long_as_set_expiry_says(expiry: Any, seconds: float, do: Way, ask: Raw) -> None:
    session = SessionStore()
    session.set_expiry(expiry() if callable(expiry) else expiry)
    do(session, "save")
    (name,) = ask("KEYS", "*session*")
    assert seconds - 30 <= ask("PTTL", name) / 1000 <= seconds
    assert session.get_expire_at_browser_close() == (expiry == 0)
    do(session, "save")  # and each save begins it anew
    assert seconds - 30 <= ask("PTTL", name) / 1000 <= seconds


def test_a_lifetime_that_another_request_has_set_is_kept(do: Way, ask: Raw) -> None:
    key = started(a=1).session_key
    first, second = SessionStore(key), SessionStore(key)
    first.get("a"), second.get("a")
    second.set_expiry(60)
    second.save()
    first["a"] = 2
    do(first, "save")
    (name,) = ask("KEYS", "*session*")
    assert ask("PTTL", name) <= 60_000


@pytest.mark.parametrize("over", [-1, lambda: timezone.now() - timedelta(days=1)])
def test_an_expiry_in_the_past_ends_the_session(over: Any, do: Way) -> None:
    session = started(a=1)
    session.set_expiry(over() if callable(over) else over)
    do(session, "save")
    assert read(session.session_key) == {}
    new = SessionStore()
    new.set_expiry(-1)
    do(new, "save")
    assert read(new.session_key) == {}


def test_values_go_through_json_as_with_djangos_serializer(do: Way) -> None:
    session = SessionStore()
    session.update({"t": (1, 2), "d": {1: 2}})
    do(session, "save")
    assert read(session.session_key) == {"t": [1, 2], "d": {"1": 2}}
    for value in (datetime.now(), {1}, float("nan"), object()):
        session["bad"] = value
        with pytest.raises(InvalidInput, match=r"session\['bad'\]: cannot be JSON"):
            do(session, "save")


def test_a_session_that_is_not_changed_is_saved_all_the_same(do: Way, ask: Raw) -> None:
    key = started(a=1).session_key
    (name,) = ask("KEYS", "*session*")
    ask("PEXPIRE", name, 10_000)
    session = SessionStore(key)
    session.get("a")
    do(session, "save")
    assert ask("PTTL", name) > 3_500_000


def test_end_all_ends_every_session_of_a_user_but_the_spared_one() -> None:
    mine, phone, other = started(_auth_user_id="7"), started(_auth_user_id="7"), started(_auth_user_id="8")
    anonymous = started(a=1)
    for _ in range(2):
        end_all(7, but=mine)
        assert read(mine.session_key)
        assert not read(phone.session_key)
    assert read(other.session_key)
    assert read(anonymous.session_key)
    mine["a"] = 1
    mine.save()  # now it belongs to the era
    later = started(_auth_user_id="7")
    assert read(later.session_key) == {"_auth_user_id": "7"}
    asyncio.run(aend_all("7"))
    assert not read(mine.session_key)
    assert not read(later.session_key)
    assert read(started(_auth_user_id="7").session_key)


def test_a_request_of_an_ended_session_of_a_user_saves_nothing(monkeypatch: pytest.MonkeyPatch, do: Way) -> None:
    for meanwhile in (False, True):
        session = started(_auth_user_id="7")
        key = session.session_key
        session["a"] = 1
        if meanwhile:
            monkeypatch.setattr(StoredSessions, "_replaced", _meanwhile(lambda all_: all_.end_all("7", None)))
            do(session, "save")  # written before its end is known, into an era that is over
        else:
            end_all(7)
            with pytest.raises(UpdateError):
                do(session, "save")
        assert read(key) == {}


def test_a_save_takes_no_session_into_the_next_era(monkeypatch: pytest.MonkeyPatch, do: Way) -> None:
    session = started(_auth_user_id="7")
    key = session.session_key
    session["a"] = 1
    real, done = StoredSessions._living, list[int]()

    async def living(self: StoredSessions, name: str) -> Any:
        found = await real(self, name)
        if not done:
            done.append(1)
            await self.end_all("7", None)  # it was read, and is not written yet
        return found

    monkeypatch.setattr(StoredSessions, "_living", living)
    do(session, "save")
    assert read(key) == {}


def test_a_spared_session_goes_on_under_a_new_key(do: Way) -> None:
    session = started(_auth_user_id="7")
    end_all(7, but=session)
    do(session, "cycle_key")
    assert read(session.session_key) == {"_auth_user_id": "7"}


def test_end_all_refuses_what_is_no_user_and_no_session() -> None:
    for user in (None, ""):
        with pytest.raises(InvalidInput, match="user: has no primary key"):
            end_all(user)
    with pytest.raises(InvalidInput, match="but: is str, not a session"):
        end_all(7, but="key")


def test_lapsed_sessions_need_no_clearing(do: Way) -> None:
    key = started(a=1).session_key
    do(SessionStore(), "clear_expired")
    assert read(key)


def test_the_sessions_of_a_process_are_one_object(room: Greenroom) -> None:
    assert stored_sessions() is stored_sessions()
    assert stored_sessions().room is room
    assert SessionStore.__module__ == settings.SESSION_ENGINE
