"""One's session and one's sessions: read, changed, listed and ended over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.people import COOKIE, People, Person, people_of
from tests.support.problem_checks import blamed, problem
from tests.support.running_service import API, Service

TOPICS = ["tech_ai_ethics", "space_exploration"]


@pytest.fixture
def people(service: Service) -> Iterator[People]:
    with people_of(service) as made:
        yield made


def names(service: Service) -> set[bytes]:
    """Every key of the service's server but those of caches."""
    raw = service.raw()
    found = {key for key in raw("KEYS", "*") if not key.startswith((b"cache:", b"absent:", b"lease:"))}
    raw.close()
    return found


# Reading -------------------------------------------------------------------------------------------


def test_the_session_is_answered_as_the_specification_writes_it(people: People) -> None:
    ana = people()
    ana.prefer()
    found = ana.get("/session").json()
    assert found.keys() == {"preferences", "last_activity_timestamp"}
    assert found["preferences"] == {"preferred_topics": [], "playback_speed_default": 1.0}
    assert found["last_activity_timestamp"].endswith("Z")


def test_neither_token_nor_id_is_in_any_answer_but_where_it_was_asked_for(service: Service, people: People) -> None:
    ana = people().sign_up()
    answers = [ana.log_in(), ana.get("/session"), ana.get("/sessions"), ana.patch("/session/preferences", json={})]
    raw = service.raw()
    ids = [key.partition(b":")[2].decode() for key in raw("KEYS", "session:*")]
    for answer in answers:
        assert ana.token not in answer.text
        assert not [one for one in ids if one in answer.text]
    with_token = ana.log_in(token=True)
    assert with_token.json()["token"] == ana.token
    assert "token" not in ana.get("/session").json()


def test_head_answers_as_get_does(people: People) -> None:
    ana = people()
    problem_of_none = ana.client.head(f"{API}/session")
    assert (problem_of_none.status_code, problem_of_none.content) == (401, b"")
    ana.prefer()
    for path in ("/session", "/sessions"):
        head, get = ana.client.head(API + path), ana.get(path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-type", "cache-control", "vary", "content-length"):
            assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/session"),
        ("DELETE", "/session"),
        ("POST", "/session/logout-everywhere"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions/nobody"),
    ],
)
def test_without_a_session_it_is_401_with_a_challenge(people: People, method: str, path: str) -> None:
    answer = people().client.request(method, API + path)
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer realm="greenroom"'
    forged = people(Cookie=f"{COOKIE}={'A' * 43}").client.request(method, API + path)
    problem(forged, 401, "unauthorized")
    assert 'error="invalid_token"' in forged.headers["www-authenticate"]


def test_an_anonymous_visit_makes_no_key(service: Service, people: People) -> None:
    nobody, before = people(), names(service)
    for path in ("/topics", "/snippets", "/session", "/sessions", "/topics/tech_ai_ethics"):
        assert "set-cookie" not in nobody.get(path).headers
    for token in ("A" * 43, "short", "x" * 5000, "-"):
        for path in ("/topics", "/session"):
            nobody.get(path, headers={"Cookie": f"{COOKIE}={token}"})
            nobody.get(path, headers={"Authorization": f"Bearer {token}"})
    assert not names(service) - before, "what others have left may go meanwhile"


# Preferences ---------------------------------------------------------------------------------------


def test_without_a_token_a_change_begins_an_anonymous_session(service: Service, people: People) -> None:
    nobody = people()
    assert nobody.prefer(playback_speed_default=2) == {"preferred_topics": [], "playback_speed_default": 2}
    assert nobody.get("/session").json()["preferences"]["playback_speed_default"] == 2
    assert "user_id" not in nobody.get("/session").json()


def test_with_a_dead_token_a_change_is_401_and_begins_nothing(service: Service, people: People) -> None:
    ana = people()
    ana.prefer()
    token = ana.token
    ana.delete("/session")
    before = names(service)
    for dead in (token, "A" * 43, "malformed"):
        headers = {"Cookie": f"{COOKIE}={dead}"}
        answer = ana.patch("/session/preferences", json={"playback_speed_default": 2}, headers=headers)
        problem(answer, 401, "unauthorized")
    assert not names(service) - before, "what others have left may go meanwhile"


def test_a_change_is_a_merge_patch(people: People) -> None:
    ana = people()
    ana.prefer(preferred_topics=TOPICS, playback_speed_default=1.5)
    assert ana.prefer() == {"preferred_topics": TOPICS, "playback_speed_default": 1.5}
    assert ana.prefer(playback_speed_default=None) == {"preferred_topics": TOPICS, "playback_speed_default": 1.0}
    assert ana.prefer(preferred_topics=None) == {"preferred_topics": [], "playback_speed_default": 1.0}
    assert ana.prefer(preferred_topics=TOPICS[:1])["preferred_topics"] == TOPICS[:1]
    assert ana.prefer(preferred_topics=TOPICS[1:])["preferred_topics"] == TOPICS[1:], "an array is replaced"


def test_its_media_type_may_be_that_of_a_merge_patch(people: People) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = people().patch("/session/preferences", content=b'{"playback_speed_default": 3}', headers=headers)
    assert answer.json()["preferences"]["playback_speed_default"] == 3


@pytest.mark.parametrize("speed", [0.5, 3.0, 1, 3, 2.75, 0.5000001])
def test_a_speed_that_can_be_played_is_kept_as_it_is(people: People, speed: float) -> None:
    assert people().prefer(playback_speed_default=speed)["playback_speed_default"] == speed


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        (b'{"playback_speed_default": 0.49}', "playback_speed_default"),
        (b'{"playback_speed_default": 3.0000001}', "playback_speed_default"),
        (b'{"playback_speed_default": 0}', "playback_speed_default"),
        (b'{"playback_speed_default": -1}', "playback_speed_default"),
        (b'{"playback_speed_default": 123456789012345678901234567890}', "playback_speed_default"),
        (b'{"playback_speed_default": "fast"}', "playback_speed_default"),
        (b'{"playback_speed_default": true}', "playback_speed_default"),
        (b'{"playback_speed_default": {}}', "playback_speed_default"),
        (b'{"preferred_topics": "tech_ai_ethics"}', "preferred_topics"),
        (b'{"preferred_topics": {"0": "tech_ai_ethics"}}', "preferred_topics"),
        (b'{"preferred_topics": [7]}', "preferred_topics[0]"),
        (b'{"preferred_topics": [null]}', "preferred_topics[0]"),
        (b'{"preferred_topics": ["tech_ai_ethics", "nobody"]}', "preferred_topics[1]"),
        (b'{"preferred_topics": ["tech_ai_ethics", "a:b"]}', "preferred_topics[1]"),
        (b'{"preferred_topics": [""]}', "preferred_topics[0]"),
        (b'{"volume": 11}', "volume"),
        (b'{"volume": null}', "volume"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"text"', "body"),
    ],
)
def test_what_cannot_be_preferred_is_422_and_named_and_nothing_is_changed(
    people: People, patch: bytes, field: str
) -> None:
    ana = people()
    ana.prefer(playback_speed_default=2, preferred_topics=TOPICS)
    before = ana.get("/session").json()["preferences"]
    headers = {"Content-Type": "application/json"}
    for one in (ana, people()):
        answer = one.patch("/session/preferences", content=patch, headers=headers)
        assert blamed(answer)[0] == field
        assert "set-cookie" not in answer.headers
    assert ana.get("/session").json()["preferences"] == before


@pytest.mark.parametrize("patch", [b'{"playback_speed_default": NaN}', b"[1e400]", b"{", b"", b"\xff"])
def test_what_is_no_json_or_has_a_number_that_no_double_holds_is_400(people: People, patch: bytes) -> None:
    problem(people().patch("/session/preferences", content=patch), 400, "malformed-json")


def test_topics_that_there_are_not_cost_no_read_and_no_key_each(service: Service, people: People) -> None:
    unknown = [f"nowhere_{number}" for number in range(99)]
    answer = people().patch("/session/preferences", json={"preferred_topics": [TOPICS[0], *unknown]})
    assert blamed(answer)[0] == "preferred_topics[1]"
    raw = service.raw()
    assert [key for key in raw("KEYS", "*") if b"nowhere_" in key] == []
    raw.close()


def test_a_topic_can_be_preferred_once_it_is_there_and_not_when_it_is_gone(service: Service, people: People) -> None:
    ana, topic = people(), f"{API}/topics/a_new_one"
    wanted = {"preferred_topics": ["a_new_one"]}
    assert blamed(ana.patch("/session/preferences", json=wanted))[0] == "preferred_topics[0]"
    draft = {"display_name": "A", "description": "", "keywords": []}
    service.client.put(topic, json=draft, headers=service.editor).raise_for_status()
    assert ana.prefer(**wanted)["preferred_topics"] == ["a_new_one"]
    service.client.delete(topic, headers=service.editor).raise_for_status()
    assert blamed(ana.patch("/session/preferences", json=wanted))[0] == "preferred_topics[0]"


def test_a_hundred_topics_may_be_preferred_and_no_more(people: People) -> None:
    ana = people()
    hundred = [TOPICS[number % 2] for number in range(100)]
    assert ana.prefer(preferred_topics=hundred)["preferred_topics"] == hundred
    answer = ana.patch("/session/preferences", json={"preferred_topics": [*hundred, TOPICS[0]]})
    assert blamed(answer) == ("preferred_topics", "send an array of at most 100 ids of topics, or null for none")


def test_what_another_service_keeps_in_the_preferences_survives_a_change(service: Service, people: People) -> None:
    ana = people()
    ana.prefer(playback_speed_default=2.125)
    raw = service.raw()
    (key,) = (key for key in raw("KEYS", "session:*") if b"2.125" in raw("GET", key))
    stored = raw("GET", key).replace(b"2.125", b'2.125,"theirs": {"a" :1}')
    raw("SET", key, stored, "XX", "KEEPTTL")
    assert ana.prefer(playback_speed_default=3)["theirs"] == {"a": 1}
    assert b'"theirs":{"a" :1}' in raw("GET", key)
    assert ana.patch("/session/preferences", json={"theirs": None}).status_code == 422


# Sessions ------------------------------------------------------------------------------------------


def on_three_devices(people: People) -> list[Person]:
    ana = people().sign_up()
    devices = [ana, people(ana.username), people(ana.username)]
    for device in devices:
        device.log_in()
    return devices


def test_sessions_are_listed_oldest_first_with_the_current_marked(people: People) -> None:
    devices = on_three_devices(people)
    for number, device in enumerate(devices):
        found = device.get("/sessions").json()
        assert [one["current"] for one in found] == [at == number for at in range(3)]
        assert all(one.keys() == {"handle", "started_at", "last_activity_timestamp", "current"} for one in found)
        assert [one["started_at"] for one in found] == sorted(one["started_at"] for one in found)
        assert len({one["handle"] for one in found}) == 3


def test_an_anonymous_session_is_alone(people: People) -> None:
    nobody, other = people(), people()
    nobody.prefer()
    other.prefer()
    (found,) = nobody.get("/sessions").json()
    assert found["current"]
    assert nobody.delete(f"/sessions/{found['handle']}").status_code == 204
    assert nobody.get("/session").status_code == 401
    assert other.get("/session").status_code == 200


def test_a_session_of_one_s_own_is_ended_from_another_device(people: People) -> None:
    laptop, phone, tablet = on_three_devices(people)
    (_, of_phone, _) = laptop.get("/sessions").json()
    answer = laptop.delete(f"/sessions/{of_phone['handle']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "set-cookie" not in answer.headers
    assert [one.get("/session").status_code for one in (laptop, phone, tablet)] == [200, 401, 200]
    assert len(tablet.get("/sessions").json()) == 2
    problem(laptop.delete(f"/sessions/{of_phone['handle']}"), 404, "not-found")


def test_ending_the_current_session_by_its_handle_takes_the_cookie_away(people: People) -> None:
    laptop, phone, _ = on_three_devices(people)
    (mine,) = (one for one in laptop.get("/sessions").json() if one["current"])
    assert laptop.delete(f"/sessions/{mine['handle']}").status_code == 204
    assert not laptop.client.cookies
    assert phone.get("/session").status_code == 200


def test_another_s_handle_is_404_and_ends_nothing(people: People) -> None:
    ana, bob = people().sign_up(), people().sign_up()
    ana.log_in()
    bob.log_in()
    (of_bob,) = bob.get("/sessions").json()
    for handle in (of_bob["handle"], "nobody", bob.token, "0" * 32):
        problem(ana.delete(f"/sessions/{handle}"), 404, "not-found")
    assert bob.get("/session").status_code == 200


def test_signing_out_ends_the_session_and_takes_the_cookie_away(people: People) -> None:
    laptop, phone, _ = on_three_devices(people)
    token = laptop.token
    answer = laptop.delete("/session")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["set-cookie"].startswith(f"{COOKIE}=; Max-Age=0;")
    assert not laptop.client.cookies
    problem(laptop.get("/session", headers={"Cookie": f"{COOKIE}={token}"}), 401, "unauthorized")
    assert phone.get("/session").status_code == 200


def test_signing_out_everywhere_from_one_device_signs_out_the_others(people: People) -> None:
    laptop, phone, tablet = on_three_devices(people)
    other = people().sign_up()
    other.log_in()
    answer = phone.post("/session/logout-everywhere")
    assert (answer.status_code, answer.content) == (204, b"")
    assert not phone.client.cookies
    assert [one.get("/session").status_code for one in (laptop, phone, tablet, other)] == [401, 401, 401, 200]


def test_a_visitor_who_signs_out_everywhere_signs_out_here(people: People) -> None:
    nobody = people()
    nobody.prefer()
    assert nobody.post("/session/logout-everywhere").status_code == 204
    assert nobody.get("/session").status_code == 401


def test_nothing_is_left_of_a_session_that_has_ended_but_its_mark(service: Service, people: People) -> None:
    ana = people().sign_up()
    before = names(service)
    ana.log_in()
    ana.prefer(playback_speed_default=2)
    ana.delete("/session")
    left = names(service) - before
    assert not [key for key in left if not key.startswith((b"greenroom:ended:", b"greenroom:attempts:"))]


# Sessions and listeners now ---------------------------------------------------------------------------------------


def activity(service: Service) -> dict[str, Any]:
    answer = service.client.get(f"{API}/activity", headers=service.editor)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def test_editors_see_how_many_are_here_and_so_does_prometheus(service: Service, people: People) -> None:
    before = activity(service)["active_sessions"]
    laptop, _, _ = on_three_devices(people)
    people().prefer()
    assert activity(service) == {"active_sessions": before + 4, "listeners": {}}
    metrics = service.client.get("/metrics").text
    assert f"greenroom_sessions_active {float(before + 4)}" in metrics
    assert "greenroom_listeners 0.0" in metrics
    laptop.post("/session/logout-everywhere")
    assert activity(service)["active_sessions"] == before + 1


def test_who_is_no_editor_does_not_see_who_is_here(service: Service, people: People) -> None:
    ana = people().sign_up()
    token = ana.log_in(token=True).json()["token"]
    for headers in ({}, {"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer wrong-token-of-editors"}):
        answer = ana.get("/activity", headers=headers)
        problem(answer, 401, "unauthorized")
        assert "www-authenticate" in answer.headers


def test_methods_that_are_not_there_are_405(people: People) -> None:
    ana = people()
    for method, path, allowed in (
        ("PUT", "/session", "DELETE, GET, HEAD, OPTIONS"),
        ("GET", "/session/login", "OPTIONS, POST"),
        ("POST", "/session/preferences", "OPTIONS, PATCH"),
        ("GET", "/users", "OPTIONS, POST"),
    ):
        answer: httpx.Response = ana.client.request(method, API + path, content=json.dumps({}))
        problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == allowed
