"""Flask over a room: sessions that lose nothing and stay ended, problem documents, answers with validators."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from flask import Flask, Response, flash, get_flashed_messages, session
from flask.testing import FlaskClient
from werkzeug.middleware.proxy_fix import ProxyFix

from greenroom import Keyspace, SessionSettings
from greenroom.errors import InvalidInput
from greenroom.integrations.flask import FlaskSession, FlaskSessions, Greenroom, answer
from greenroom.sync import Greenroom as Room
from tests.support.real_servers import Server
from tests.support.sync_rooms import together

NAME = Keyspace("flask:name:{sku}", str, parts={"sku": int}, ttl=timedelta(minutes=5))


class Site:
    """An application with its room, and what its views wait for."""

    def __init__(self, room: Room, **options: Any) -> None:
        self.room = room
        self.app = Flask(__name__)
        self.held = threading.Barrier(2, timeout=20)
        Greenroom(self.app, room=room, **options)
        self.app.add_url_rule("/set/<name>/<value>", view_func=self.set, methods=["POST"])
        self.app.add_url_rule("/held/<name>", view_func=self.held_set, methods=["POST"])
        self.app.add_url_rule("/all", view_func=self.all)
        self.app.add_url_rule("/clear", view_func=self.clear, methods=["POST"])

    @staticmethod
    def current() -> FlaskSession:
        """The session of this request itself."""
        found: Any = session
        one: FlaskSession = found._get_current_object()
        return one

    def set(self, name: str, value: str) -> str:
        """Set a member."""
        session[name] = value
        return "set"

    def held_set(self, name: str) -> str:
        """Read the session, let the test do something, and set a member."""
        assert "user_id" in session
        self.held.wait()
        self.held.wait()
        session[name] = "held"
        return "set"

    def all(self) -> dict[str, Any]:
        """All members."""
        return dict(session)

    def clear(self) -> str:
        """End the session."""
        session.clear()
        return ""

    def client(self, token: str | None = None) -> FlaskClient:
        """A browser, which may have a session already."""
        client = self.app.test_client()
        if token is not None:
            client.set_cookie("greenroom", token)
        return client

    def signed_in(self) -> tuple[FlaskClient, str]:
        """A browser that has signed in, and its token."""
        client = self.client()
        client.post("/set/user_id/u1")
        return client, token_of(client)


def token_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("greenroom")
    assert cookie is not None
    return cookie.value


@contextmanager
def opened(valkey: Server, **sessions: Any) -> Iterator[Room]:
    with Room(valkey.address, sessions=SessionSettings(**sessions)) as room:
        yield room


@pytest.fixture
def site(valkey: Server) -> Iterator[Site]:
    with opened(valkey) as room:
        yield Site(room)


def test_a_session_begins_is_read_changed_and_cleared(site: Site) -> None:
    client = site.client()
    assert client.get("/all").json == {}
    assert client.get_cookie("greenroom") is None
    first = client.post("/set/cart/tea")
    assert first.headers["Cache-Control"] == "private, no-store"
    assert {"Cookie", "Authorization"} <= set(first.vary)
    assert "HttpOnly; SameSite=Lax" in first.headers["Set-Cookie"]
    token = token_of(client)
    assert client.post("/set/note/x").headers.get("Set-Cookie") is None
    assert client.get("/all").json == {"cart": "tea", "note": "x"}
    assert client.post("/clear").status_code == 200
    assert client.get_cookie("greenroom") is None
    assert site.client(token).get("/all").json == {}
    assert site.room.sessions.read(token) is None


def test_a_session_transaction_of_the_test_client_is_kept(site: Site) -> None:
    client = site.client()
    with client.session_transaction() as members:
        members["cart"] = ["tea"]
    assert client.get("/all").json == {"cart": ["tea"]}
    with client.session_transaction() as members:
        members["cart"].append("pot")
    with client.session_transaction() as members:
        assert dict(members) == {"cart": ["tea", "pot"]}


def test_two_requests_at_once_lose_no_change_of_each_other(site: Site) -> None:
    _, token = site.signed_in()
    site.held = threading.Barrier(2, timeout=20)
    answers = together([lambda name=name: site.client(token).post(f"/held/{name}").status_code for name in "ab"])  # type: ignore[misc]
    assert answers == [200, 200]
    assert site.client(token).get("/all").json == {"user_id": "u1", "a": "held", "b": "held"}


def test_a_session_that_ends_meanwhile_stays_ended(site: Site) -> None:
    _, token = site.signed_in()

    def end() -> int:
        site.held.wait()
        ended = site.room.sessions.end_all("u1")
        site.held.wait()
        return ended

    refused, ended = together([lambda: site.client(token).post("/held/a"), end])
    assert ended == 1
    assert (refused.status_code, refused.mimetype) == (401, "application/problem+json")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert site.room.sessions.read(token) is None
    assert site.client(token).get("/all").json == {}
    late = site.client(token)
    late.post("/set/a/b")
    assert token_of(late) != token  # another session: a dead token never becomes one
    assert site.room.sessions.read(token) is None


def test_a_log_in_has_another_token_and_keeps_what_was_there(site: Site) -> None:
    client = site.client()
    client.post("/set/cart/tea")
    before = token_of(client)
    client.post("/set/user_id/u1")
    assert token_of(client) != before
    assert client.get("/all").json == {"cart": "tea", "user_id": "u1"}
    assert site.room.sessions.read(before) is None or not site.room.sessions.read(before).writable  # type: ignore[union-attr]
    assert site.client(before).post("/set/a/b").status_code == 401


def test_the_member_of_another_package_is_a_log_in_too(valkey: Server) -> None:
    class Visitor(msgspec.Struct, kw_only=True, rename={"user_id": "_user_id"}):
        user_id: str | msgspec.UnsetType = msgspec.UNSET

    with opened(valkey, kind=Visitor) as room:
        client = Site(room).client()
        client.post("/set/cart/tea")
        before = token_of(client)
        client.post("/set/_user_id/u1")
        assert token_of(client) != before
        assert room.sessions.end_all("u1") == 1


def test_what_changes_inside_of_a_list_is_written(site: Site) -> None:
    @site.app.post("/push")
    def push() -> str:
        session.setdefault("cart", []).append("tea")
        return ""

    client = site.client()
    client.post("/push")
    client.post("/push")
    assert client.get("/all").json == {"cart": ["tea", "tea"]}


def test_nothing_is_written_where_a_view_fails(site: Site) -> None:
    @site.app.post("/fail")
    def fail() -> str:
        session["cart"] = "tea"
        raise ZeroDivisionError

    @site.app.post("/rotate")
    def rotate() -> str:
        site.current().rotate()
        raise ZeroDivisionError

    client, token = site.signed_in()
    assert client.post("/fail").status_code == 500
    assert client.get("/all").json == {"user_id": "u1"}
    # But its client gets the token that was made: the old one is over.
    assert client.post("/rotate").status_code == 500
    assert token_of(client) != token
    assert client.get("/all").json == {"user_id": "u1"}


def test_what_json_changes_is_refused_at_the_assignment(site: Site) -> None:
    @site.app.post("/bad")
    def bad() -> str:
        with pytest.raises(InvalidInput, match="when: holds a value of type datetime"):
            session["when"] = __import__("datetime").datetime.now()
        return "refused"

    assert site.client().post("/bad").text == "refused"


def test_a_flashed_message_is_shown_once(site: Site) -> None:
    @site.app.post("/flash")
    def flashed() -> str:
        flash("one")
        flash("two", "error")
        return ""

    @site.app.get("/messages")
    def messages() -> list[Any]:
        return list(get_flashed_messages(with_categories=True))

    client = site.client()
    client.post("/flash")
    assert client.get("/messages").json == [["message", "one"], ["error", "two"]]
    assert client.get("/messages").json == []


def test_a_permanent_session_outlives_the_browser(site: Site) -> None:
    site.app.permanent_session_lifetime = timedelta(days=7)

    @site.app.post("/remember")
    def remember() -> str:
        session.permanent = True
        session["user_id"] = "u1"
        return ""

    given = site.client().post("/remember").headers["Set-Cookie"]
    assert "Max-Age=604800" in given
    assert "Max-Age" not in site.client().post("/set/user_id/u2").headers["Set-Cookie"]


def test_a_request_that_does_not_ask_costs_no_look_up(valkey: Server) -> None:
    room = Room(valkey.address)
    app = Flask(__name__)
    Greenroom(room=room).init_app(app)
    app.add_url_rule("/", view_func=lambda: "page")
    with app.test_client() as client:
        client.set_cookie("greenroom", "A" * 43)
        assert "Cache-Control" not in client.get("/").headers
        assert room._portal is None  # it was not even opened
    assert app.extensions["greenroom"].room is room


def test_a_view_that_runs_in_a_loop_reads_the_session_too(site: Site) -> None:
    @site.app.get("/async")
    def view() -> str:
        async def inner() -> str:
            return str(session["user_id"])

        return asyncio.run(inner())

    assert site.signed_in()[0].get("/async").text == "u1"


def test_a_page_of_a_foreign_origin_may_not_act(site: Site) -> None:
    refused = site.client().post("/set/user_id/u1", headers={"Origin": "https://evil.example"})
    assert (refused.status_code, refused.mimetype) == (403, "application/problem+json")
    allowing = Site(site.room, allowed_origins=["https://shop.example"])
    given = {"base_url": "https://api.example", "headers": {"Origin": "https://shop.example"}}
    assert site.client().post("/set/user_id/u1", **given).status_code == 403
    assert allowing.client().post("/set/user_id/u1", **given).status_code == 200


def test_a_foreign_page_is_refused_before_a_view_is_asked(site: Site) -> None:
    asked: list[str] = []

    @site.app.post("/act")
    def act() -> str:
        asked.append("asked")
        return ""

    assert site.client().post("/act", headers={"Origin": "https://evil.example"}).status_code == 403
    assert asked == []
    assert site.client().post("/act").status_code == 200
    assert asked == ["asked"]


def test_plain_http_from_elsewhere_has_no_session(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert site.client().post("/set/a/b", environ_base=elsewhere).status_code == 403
    assert caplog.text.count("sessions need HTTPS") == 1
    assert site.client().get("/all", environ_base=elsewhere).json == {}


def test_behind_a_proxy_that_is_believed_the_cookie_is_secure(site: Site) -> None:
    site.app.wsgi_app = ProxyFix(site.app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    given = site.client().post("/set/a/b", headers=headers)
    assert given.headers["Set-Cookie"].startswith("__Host-greenroom=")
    assert "Secure" in given.headers["Set-Cookie"]
    # What such a proxy has added is no sign of another one, that nobody was told of.
    local = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"}
    assert site.client().post("/set/a/b", headers=local).status_code == 200


def test_headers_of_a_proxy_that_nobody_believes_are_refused(site: Site) -> None:
    assert site.client().post("/set/a/b", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403


def test_a_session_that_cannot_be_asked_for_is_a_503(valkey: Server) -> None:
    def ask_once_more(answer: Response) -> Response:
        session.get("user_id")  # as Flask-Login does
        return answer

    with opened(valkey) as room:
        site = Site(room)
        site.app.after_request(ask_once_more)
        client, _ = site.signed_in()
        valkey.kill()
        answers = [client.get("/all"), client.post("/set/a/b")]
        assert [one.status_code for one in answers] == [503, 503]
        assert answers[0].headers["Retry-After"] == "1"
        assert client.get_cookie("greenroom") is not None  # it says nothing of who is signed in


def test_a_cached_read_is_answered_with_validators(site: Site) -> None:
    @site.room.cached(NAME)
    def name_of(sku: int) -> str | None:
        return f"Chair {sku}" if sku < 9 else None

    @site.app.get("/names/<sku>")
    def name(sku: str) -> Response:
        return answer(name_of.get_result(int(sku) if sku.isdigit() else sku), max_age=timedelta(minutes=1))  # type: ignore[arg-type]

    client = site.client()
    first = client.get("/names/1")
    assert (first.status_code, first.json) == (200, "Chair 1")
    again = client.get("/names/1", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Cache-Status"].startswith("greenroom; hit")
    assert client.head("/names/1").content_length == first.content_length
    assert client.get("/names/9").mimetype == "application/problem+json"
    bad = client.get("/names/x%20y")
    assert bad.status_code == 422
    assert bad.json is not None
    assert (bad.json["instance"], bad.json["errors"][0]["field"]) == ("/names/x%20y", "sku")


@pytest.mark.parametrize("argument", ["room", "cookie", "allow_http", "allowed_origins"])
def test_an_argument_of_another_type_is_named(argument: str) -> None:
    with pytest.raises(InvalidInput) as error:
        FlaskSessions(**{"room": Room("valkey://127.0.0.1:1"), argument: 7})  # type: ignore[arg-type]
    assert error.value.field == argument


def test_a_room_without_sessions_is_refused_where_it_shall_give_them() -> None:
    room = Room("valkey://127.0.0.1:1", sessions=False)
    with pytest.raises(InvalidInput, match=r"room: keeps no sessions; make it with sessions=.*sessions=False"):
        Greenroom(Flask("shop"), room=room)
    Greenroom(Flask("shop"), room=room, sessions=False)
