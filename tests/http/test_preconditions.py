"""Two editors over HTTP: `If-Match` and `If-None-Match` on everything that changes something."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.people import PASSWORD, people_of
from tests.support.problem_checks import problem
from tests.support.running_service import API, Service

TOPIC = {"display_name": "Test", "description": "A topic of a test.", "keywords": ["one"]}
SNIPPET = {"topic_id": "conditions", "title": "One", "text_content": "Text."}
STALE = '"0123456789abcdef01234567"'


def made(service: Service, kind: str, name: str) -> str:
    """A new topic, or a new snippet; returns its path."""
    service.client.put(f"{API}/topics/conditions", json=TOPIC, headers=service.editor).raise_for_status()
    if kind == "snippet":
        return service.client.post(f"{API}/snippets", json=SNIPPET, headers=service.editor).headers["location"]
    path = f"{API}/topics/{name}"
    service.client.put(path, json=TOPIC, headers=service.editor).raise_for_status()
    return path


def send(
    service: Service, method: str, path: str, body: dict[str, Any] | None = None, **headers: str
) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.client.request(method, path, json=body, headers=service.editor | sent)


def changed(path: str, name: str = "Changed") -> dict[str, Any]:
    return TOPIC | {"display_name": name} if "/topics/" in path else SNIPPET | {"title": name}


def tag(service: Service, path: str) -> str:
    return service.client.get(path).headers["etag"]


@pytest.mark.parametrize("kind", ["topic", "snippet"])
def test_of_two_editors_with_one_version_the_second_gets_412(service: Service, kind: str) -> None:
    path = made(service, kind, "raced")
    both = tag(service, path)
    assert send(service, "PUT", path, changed(path, "First"), If_Match=both).status_code == 200
    stored = service.client.get(path).content
    refused = send(service, "PUT", path, changed(path, "Second"), If_Match=both)
    assert "If-Match" in problem(refused, 412, "precondition-failed")["detail"]
    assert refused.headers["cache-control"] == "no-store"
    problem(send(service, "DELETE", path, If_Match=both), 412, "precondition-failed")
    assert service.client.get(path).content == stored
    assert send(service, "PUT", path, changed(path, "Second"), If_Match=tag(service, path)).status_code == 200
    assert send(service, "DELETE", path, If_Match=tag(service, path)).status_code == 204
    assert service.client.get(path).status_code == 404


@pytest.mark.parametrize("kind", ["topic", "snippet"])
def test_get_edit_put_of_an_old_version_is_412_whatever_its_times_are(service: Service, kind: str) -> None:
    path = made(service, kind, "edited")
    read = service.client.get(path)
    send(service, "PUT", path, changed(path)).raise_for_status()
    refused = send(service, "PUT", path, read.json(), If_Match=read.headers["etag"])
    problem(refused, 412, "precondition-failed")
    problem(send(service, "PUT", path, {"unheard_of": 1}, If_Match=STALE), 412, "precondition-failed")


@pytest.mark.parametrize("kind", ["topic", "snippet"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("If-Match", STALE),
        ("If-Match", "W/{tag}"),
        ("If-Match", "unquoted"),
        ("If-None-Match", "*"),
        ("If-None-Match", "W/{tag}"),
        ("If-None-Match", f"{STALE}, {{tag}}"),
    ],
)
def test_a_condition_that_does_not_hold_is_412(
    service: Service, kind: str, method: str, header: str, value: str
) -> None:
    path = made(service, kind, "kept")
    before = service.client.get(path)
    condition = {header: value.format(tag=before.headers["etag"])}
    body = changed(path) if method == "PUT" else None
    answer = service.client.request(method, path, json=body, headers=service.editor | condition)
    problem(answer, 412, "precondition-failed")
    assert service.client.get(path).content == before.content


@pytest.mark.parametrize("kind", ["topic", "snippet"])
@pytest.mark.parametrize("condition", ["*", f"{STALE}, {{tag}}"])
def test_a_condition_that_holds_changes_nothing_of_the_answer(service: Service, kind: str, condition: str) -> None:
    path = made(service, kind, "held")
    for method, status in (("PUT", 200), ("DELETE", 204)):
        body = changed(path) if method == "PUT" else None
        sent = condition.format(tag=tag(service, path))
        assert send(service, method, path, body, If_Match=sent).status_code == status


def test_a_topic_is_made_by_if_none_match_only_once(service: Service) -> None:
    path = f"{API}/topics/only_once"
    assert send(service, "PUT", path, TOPIC, If_None_Match="*").status_code == 201
    problem(send(service, "PUT", path, TOPIC, If_None_Match="*"), 412, "precondition-failed")
    problem(send(service, "PUT", f"{API}/topics/not_there", TOPIC, If_Match="*"), 412, "precondition-failed")
    assert service.client.get(f"{API}/topics/not_there").status_code == 404


def test_what_would_be_refused_anyway_is_refused_alike(service: Service) -> None:
    full = made(service, "topic", "conditions")
    made(service, "snippet", "")
    problem(send(service, "DELETE", full, If_Match=STALE), 409, "conflict")
    problem(send(service, "DELETE", f"{API}/topics/nobody", If_Match=STALE), 404, "not-found")
    problem(send(service, "PUT", f"{API}/snippets/nobody", SNIPPET, If_Match=STALE), 404, "not-found")
    problem(service.client.delete(full, headers={"If-Match": STALE}), 401, "unauthorized")


@pytest.mark.parametrize("kind", ["topic", "snippet"])
def test_what_others_wrote_to_the_cache_leads_to_a_version_that_holds(service: Service, kind: str) -> None:
    path = made(service, kind, "foreign")
    # As a service in another language writes it: the same object, other bytes.
    body = service.client.get(path).content
    raw = service.raw()
    raw("SET", f"cache:{kind}:{path.rpartition('/')[2]}", body.replace(b'":', b'": '), "EX", 600)
    service.client.get(path)
    problem(send(service, "PUT", path, changed(path), If_Match=STALE), 412, "precondition-failed")
    assert send(service, "PUT", path, changed(path), If_Match=tag(service, path)).status_code == 200


def test_preferences_have_a_version_that_a_touch_does_not_change(service: Service) -> None:
    with people_of(service) as people:
        person = people()
        problem(person.patch("/session/preferences", json={}, headers={"If-Match": "*"}), 412, "precondition-failed")
        made = person.patch("/session/preferences", json={}, headers={"If-None-Match": "*"})
        first = made.headers["etag"]
        assert person.patch("/session/preferences", json={}).headers["etag"] == first
        faster = person.patch("/session/preferences", json={"playback_speed_default": 2}, headers={"If-Match": first})
        assert (faster.status_code, faster.headers["etag"] != first) == (200, True)
        late = person.patch("/session/preferences", json={"playback_speed_default": 1}, headers={"If-Match": first})
        problem(late, 412, "precondition-failed")
        assert person.get("/session").json()["preferences"]["playback_speed_default"] == 2


def test_a_password_has_no_version_that_a_tag_could_name(service: Service) -> None:
    with people_of(service) as people:
        person = people().sign_up()
        person.log_in()
        token = person.token
        body = {"current_password": PASSWORD, "new_password": "another horse battery staple"}

        def change(**condition: str) -> httpx.Response:
            headers = {name.replace("_", "-"): value for name, value in condition.items()}
            return person.client.put(f"{API}/session/password", json=body, headers=headers)

        problem(change(If_Match=STALE), 412, "precondition-failed")
        problem(change(If_None_Match="*"), 412, "precondition-failed")
        assert person.token == token
        assert change(If_Match="*").status_code == 200


def test_a_session_without_a_version_is_ended_by_no_tag(service: Service) -> None:
    with people_of(service) as people:
        person = people().sign_up()
        person.log_in()
        (own,) = person.get("/sessions").json()
        for path in ("/session", f"/sessions/{own['handle']}"):
            problem(person.delete(path, headers={"If-Match": STALE}), 412, "precondition-failed")
            problem(person.delete(path, headers={"If-None-Match": "*"}), 412, "precondition-failed")
        assert person.get("/session").status_code == 200
        assert person.delete("/session", headers={"If-Match": "*"}).status_code == 204
