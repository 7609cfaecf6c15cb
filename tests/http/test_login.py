"""Signing up and in: what a log-in keeps, what it replaces, and how often it may be tried."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from greenroom.engine import Address, engine_at
from greenroom.sessions.token import session_id
from greenroom_platform.accounts.attempts import SCRIPTS, Attempts
from tests.support.listeners import listening
from tests.support.people import COOKIE, PASSWORD, People, people_of
from tests.support.problem_checks import blamed, problem
from tests.support.real_servers import Server
from tests.support.running_service import API, KEPT, NO_TLS, Serve, Service

DEFAULTS = {"preferred_topics": [], "playback_speed_default": 1.0}


@pytest.fixture
def people(service: Service) -> Iterator[People]:
    with people_of(service) as made:
        yield made


def as_client_of(service: Service, token: str, path: str = "/session", **headers: str) -> httpx.Response:
    """What a token alone is good for."""
    return httpx.get(f"{service.url}{API}{path}", headers={"Cookie": f"{COOKIE}={token}"} | headers, verify=NO_TLS)


# Users ---------------------------------------------------------------------------------------------


def test_signing_up_makes_a_user_and_no_session(people: People) -> None:
    ana = people()
    answer = ana.post("/users", json={"username": ana.username.upper(), "password": PASSWORD})
    assert answer.status_code == 201
    assert answer.json().keys() == {"user_id", "username"}
    assert answer.json()["username"] == ana.username
    assert len(answer.json()["user_id"]) == 32
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    problem(ana.get("/session"), 401, "unauthorized")


def test_a_name_that_is_taken_is_409_whatever_its_case(people: People) -> None:
    ana = people().sign_up()
    answer = ana.post("/users", json={"username": ana.username.upper(), "password": "another password"})
    problem(answer, 409, "conflict")
    ana.log_in()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("username", "ab"),
        ("username", "a" * 65),
        ("username", "a b"),
        ("username", "añb"),
        ("username", 7),
        ("username", None),
        ("password", "1234567"),
        ("password", "p" * 257),
        ("password", ["password"]),
        ("admin", True),
    ],
)
def test_what_cannot_be_a_user_is_422_and_named(people: People, member: str, value: object) -> None:
    nobody = people()
    body = {"username": nobody.username, "password": PASSWORD, member: value}
    assert blamed(nobody.post("/users", json=body))[0] == member


def test_a_body_that_is_not_json_is_400_and_one_that_is_no_object_422(people: People) -> None:
    nobody = people()
    for path in ("/users", "/session/login"):
        problem(nobody.post(path, content=b"{"), 400, "malformed-json")
        assert blamed(nobody.post(path, json=[]))[0] == "body"
        assert blamed(nobody.post(path, json={"username": "somebody"}))[0] == "password"


# Signing in ----------------------------------------------------------------------------------------


def test_a_log_in_answers_as_the_session_does(people: People) -> None:
    ana = people()
    user = ana.post("/users", json={"username": ana.username, "password": PASSWORD}).json()
    answer = ana.log_in()
    found = answer.json()
    assert found.keys() == {"user_id", "preferences", "last_activity_timestamp"}
    assert (found["user_id"], found["preferences"]) == (user["user_id"], DEFAULTS)
    assert ana.get("/session").json() == found


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(people: People) -> None:
    ana, nobody = people().sign_up(), people()
    answers = [
        one.post("/session/login", json={"username": one.username, "password": "wrong password"})
        for one in (ana, nobody)
    ]
    found = [problem(answer, 401, "unauthorized") for answer in answers]
    for one in found:
        one.pop("request_id")
    assert found[0] == found[1]
    assert found[0]["detail"] == "wrong name or password"
    mine, other = ({k: v for k, v in a.headers.items() if k not in ("x-request-id", "date")} for a in answers)
    assert mine == other
    assert "Bearer" in mine["www-authenticate"]
    assert "set-cookie" not in mine


def test_a_log_in_rotates_and_the_old_token_is_dead(service: Service, people: People) -> None:
    ana = people().sign_up()
    ana.log_in()
    before = ana.token
    ana.log_in()
    assert ana.token != before
    assert ana.get("/session").status_code == 200
    # The copy for requests under way is read; nothing is written, ended or listed with it.
    old = {"Cookie": f"{COOKIE}={before}"}
    with httpx.Client(base_url=service.url + API, headers=old, verify=NO_TLS, limits=KEPT) as planted:
        assert planted.patch("/session/preferences", json={}).status_code == 401
        assert planted.delete("/session").status_code == 401
        assert planted.get("/sessions").status_code == 401
        assert planted.post("/session/logout-everywhere").status_code == 401
        (mine,) = ana.get("/sessions").json()
        assert planted.delete(f"/sessions/{mine['handle']}").status_code == 401
    assert ana.get("/session").status_code == 200


def test_a_planted_token_never_sees_the_session_that_is_signed_in(service: Service, people: People) -> None:
    attacker, victim = people(), people().sign_up()
    attacker.prefer(playback_speed_default=2.0)
    victim.client.cookies.set(COOKIE, attacker.token, domain="127.0.0.1")
    victim.log_in()
    # Within the seconds of the copy: what it shows is what the attacker had.
    answer = as_client_of(service, attacker.token)
    assert "user_id" not in answer.text
    assert answer.status_code in (200, 401)
    raw = service.raw()
    for key in raw("KEYS", "greenroom:grace:*"):
        raw("DEL", key)
    problem(as_client_of(service, attacker.token), 401, "unauthorized")
    assert "user_id" in victim.get("/session").json()


@pytest.mark.parametrize("token", ["x", "A" * 43, "a" * 44, "%20"])
def test_a_chosen_token_is_never_adopted(service: Service, people: People, token: str) -> None:
    ana = people().sign_up()
    ana.client.cookies.set(COOKIE, token, domain="127.0.0.1")
    ana.log_in()
    assert ana.token != token
    problem(as_client_of(service, token), 401, "unauthorized")


def test_a_log_in_keeps_what_an_anonymous_visitor_has_chosen(people: People) -> None:
    ana = people().sign_up()
    chosen = ana.prefer(playback_speed_default=1.5, preferred_topics=["tech_ai_ethics"])
    assert ana.log_in().json()["preferences"] == chosen


def test_a_user_s_preferences_are_there_at_a_log_in_on_another_device(people: People) -> None:
    ana = people().sign_up()
    ana.log_in()
    ana.prefer(playback_speed_default=1.5, preferred_topics=["tech_ai_ethics"])
    ana.delete("/session")
    found = people(ana.username).log_in().json()["preferences"]
    assert found == {"preferred_topics": ["tech_ai_ethics"], "playback_speed_default": 1.5}


def test_preferences_chosen_before_a_log_in_become_the_user_s(people: People) -> None:
    ana = people().sign_up()
    ana.log_in()
    ana.prefer(playback_speed_default=1.5, preferred_topics=["tech_ai_ethics"])
    phone = people(ana.username)
    phone.prefer(playback_speed_default=2.0)
    expected = {"preferred_topics": ["tech_ai_ethics"], "playback_speed_default": 2.0}
    assert phone.log_in().json()["preferences"] == expected
    assert people(ana.username).log_in().json()["preferences"] == expected


def test_preferences_chosen_on_two_devices_are_merged(people: People) -> None:
    ana = people().sign_up()
    ana.log_in()
    phone = people(ana.username)
    phone.log_in()
    ana.prefer(preferred_topics=["tech_ai_ethics"])
    phone.prefer(playback_speed_default=2.0)
    people(ana.username).log_in()
    expected = {"preferred_topics": ["tech_ai_ethics"], "playback_speed_default": 2.0}
    assert people(ana.username).log_in().json()["preferences"] == expected


def test_another_user_s_preferences_stay_theirs(people: People) -> None:
    ana, bob = people().sign_up(), people().sign_up()
    ana.log_in()
    ana.prefer(playback_speed_default=2.5)
    bob.client.cookies.update(ana.client.cookies)
    assert bob.log_in().json()["preferences"] == DEFAULTS
    assert people(bob.username).log_in().json()["preferences"] == DEFAULTS


def test_foreign_members_of_one_user_never_reach_another_user(service: Service, people: People) -> None:
    ana, bob = people().sign_up(), people().sign_up()
    ana.log_in()
    raw = service.raw()
    key = f"session:{session_id(ana.token)}"
    raw("SET", key, b'{"basket":["hers"],' + raw("GET", key)[1:], "XX", "KEEPTTL")
    assert ana.log_in().json()["basket"] == ["hers"]
    bob.client.cookies.update(ana.client.cookies)
    assert "basket" not in bob.log_in().json()
    assert "basket" not in bob.get("/session").json()


def test_foreign_session_members_survive_a_log_in_and_a_change(service: Service, people: People) -> None:
    ana = people().sign_up()
    ana.prefer(playback_speed_default=2)
    raw = service.raw()
    key = f"session:{session_id(ana.token)}"
    theirs = b'"cart" : [1.0,   {"b":1, "a":2}]'
    raw("SET", key, b"{" + theirs + b"," + raw("GET", key)[1:], "XX", "KEEPTTL")
    ana.log_in()
    ana.prefer(playback_speed_default=0.5)
    answer = ana.get("/session")
    assert answer.json()["cart"] == [1.0, {"b": 1, "a": 2}]
    assert b'[1.0,   {"b":1, "a":2}]' in answer.content, "byte for byte"


def test_two_log_ins_of_one_session_at_once_leave_one_session(service: Service, people: People) -> None:
    ana = people().sign_up()
    for _ in range(3):
        ana.log_in()
        begun, answers = threading.Barrier(4), list[httpx.Response]()

        def log_in(begun: threading.Barrier = begun, answers: list[httpx.Response] = answers) -> None:
            with httpx.Client(
                base_url=service.url, cookies={COOKIE: ana.token}, timeout=15, verify=NO_TLS, limits=KEPT
            ) as client:
                begun.wait()
                body = {"username": ana.username, "password": PASSWORD}
                answers.append(client.post(f"{API}/session/login", json=body))

        threads = [threading.Thread(target=log_in) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
        (won,) = (answer for answer in answers if answer.status_code == 200)
        ana.client.cookies.update(won.cookies)
        assert len(ana.get("/sessions").json()) == 1
        ana.post("/session/logout-everywhere")
        ana.client.cookies.clear()


# How often -----------------------------------------------------------------------------------------


def attempt(service: Service, username: str, password: str = "wrong password") -> httpx.Response:
    body = {"username": username, "password": password}
    return service.client.post(f"{API}/session/login", json=body)


async def attempted(address: str, *, username: str = "", source: str = "", times: int) -> None:
    """Attempts as the service counts them, without the hashing that each costs."""
    engine = listening(engine_at(Address.parse(address)), scripts=SCRIPTS)
    await engine.start()
    attempts = Attempts(engine)
    for number in range(times):
        await attempts.count(username or f"user{number}", source or f"198.51.100.{number}")
    await engine.close()


async def test_two_services_together_allow_ten_attempts_at_an_account(
    valkey: Server, serve: Serve, tmp_path: Path
) -> None:
    flags = "--valkey-url", valkey.address, "--database-url", f"sqlite:{tmp_path / 'record.sqlite3'}"
    services = [serve(*flags, home=home) for home in ("one", "other")]
    services[0].client.post(f"{API}/users", json={"username": "ana", "password": PASSWORD}).raise_for_status()
    await attempted(valkey.address, username="ana", times=6)
    tries = [attempt(services[number % 2], "ana").status_code for number in range(4)]
    assert tries == [401] * 4
    for service in services:
        refused = attempt(service, "ANA", PASSWORD)
        problem(refused, 429, "too-many-requests")
        assert 0 < int(refused.headers["retry-after"]) <= 15 * 60
        assert attempt(service, "bob").status_code == 401, "another account may still be tried"


async def test_an_address_may_try_fifty_times_and_another_still_may(serve: Serve) -> None:
    service = serve("--trusted-proxies", "127.0.0.1")

    def from_(address: str, username: str) -> httpx.Response:
        headers = {"X-Forwarded-For": address, "X-Forwarded-Proto": "https"}
        body = {"username": username, "password": "wrong password"}
        return service.client.post(f"{API}/session/login", json=body, headers=headers)

    await attempted(f"unix://{service.data_dir / 'valkey.sock'}", source="198.51.100.1", times=47)
    found = [from_("198.51.100.1", f"other{number}").status_code for number in range(3)]
    assert set(found) == {401}
    refused = from_("198.51.100.1", "one-more")
    problem(refused, 429, "too-many-requests")
    assert int(refused.headers["retry-after"]) > 0
    assert from_("198.51.100.2", "one-more").status_code == 401


async def test_who_signs_in_is_forgiven_the_attempts_before(service: Service, people: People) -> None:
    ana = people().sign_up()
    for _ in range(2):
        await attempted(f"unix://{service.data_dir / 'valkey.sock'}", username=ana.username, times=8)
        assert attempt(service, ana.username).status_code == 401
        ana.log_in()


def test_unknown_members_of_the_log_in_are_422(people: People) -> None:
    ana = people().sign_up()
    body: dict[str, Any] = {"username": ana.username, "password": PASSWORD, "remember": True}
    assert blamed(ana.post("/session/login", json=body))[0] == "remember"
    body = {"username": ana.username, "password": PASSWORD, "token": "yes"}
    assert blamed(ana.post("/session/login", json=body)) == ("token", "send true or false, or leave it out")
