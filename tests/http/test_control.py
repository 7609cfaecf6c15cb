"""`/api/v1/control`: what operators see, what they may do, and that all of it is in the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.patience import wait_for
from tests.support.people import people_of
from tests.support.problem_checks import blamed, problem
from tests.support.running_service import API, CONTROL_TOKEN, NO_TLS, TOKEN, Service

CONTROL = f"{API}/control"
SERVE_ENV = {"GREENROOM_WORK": "off", "GREENROOM_SAMPLE": "off"}
READS = ("summary", "events", "history", "keys/topic?topic_id=a", "actions", "users/ana/sessions")
ACTS = (
    *("drops", "loads/cancel", "outbox/send", "queue/pause", "queue/resume", "users/ana/sessions/end"),
    *(f"podcasts/p/{what}" for what in ("retry", "release", "stop", "delete")),
)
WHY = {"why": "a test wants it"}


@pytest.fixture(scope="module")
def act(service: Service) -> Iterator[httpx.Client]:
    """An operator's browser that may act."""
    with httpx.Client(base_url=service.url + CONTROL, verify=NO_TLS, timeout=15) as act:
        signed = service.url + f"{API}/staff/session"
        act.post(signed, json={"token": TOKEN, "who": "ana"}).raise_for_status()
        yield act


def topic(service: Service, topic_id: str, name: str = "A") -> None:
    draft = {"display_name": name, "description": "", "keywords": []}
    service.client.put(f"{API}/topics/{topic_id}", json=draft, headers=service.editor).raise_for_status()


def podcast(service: Service, topic_id: str) -> str:
    topic(service, topic_id)
    asked = service.client.post(f"{API}/podcasts/generate", json={"topic_id": topic_id})
    return str(asked.raise_for_status().json()["podcast_id"])


def summary(act: httpx.Client) -> Any:
    return act.get("/summary").raise_for_status().json()


def task(act: httpx.Client, podcast_id: str) -> Any:
    return next((one for one in summary(act)["queue"]["tasks"] if one["podcast_id"] == podcast_id), None)


def logged(act: httpx.Client) -> list[tuple[str, str, str, str, str]]:
    actions = act.get("/actions").raise_for_status().json()
    return [(one["who"], one["kind"], one["target"], one["why"], one["outcome"]) for one in actions]


# Rights -------------------------------------------------------------------------------------------


def test_every_call_wants_staff_and_every_act_the_editor_token(service: Service, act: httpx.Client) -> None:
    before = logged(act)
    looker = {"Authorization": f"Bearer {CONTROL_TOKEN}"}
    paths = service.client.get("/docs/openapi.json").json()["paths"]
    declared = {path for path in paths if path.startswith(CONTROL)}
    assert len(declared) == len(READS) + len(ACTS), "a call that is not tried here"
    for path in READS:
        problem(service.client.get(f"{CONTROL}/{path}"), 401, "unauthorized")
    for path in READS[:1] + READS[2:5]:
        assert service.client.get(f"{CONTROL}/{path}", headers=looker).status_code == 200
    for path in ACTS:
        problem(service.client.post(f"{CONTROL}/{path}", json=WHY), 401, "unauthorized")
        problem(service.client.post(f"{CONTROL}/{path}", json=WHY, headers=looker), 403, "forbidden")
    assert logged(act) == before


@pytest.mark.parametrize("why", ["", "  ", "x" * 501, "two\nlines"])
def test_nothing_is_done_without_a_reason(act: httpx.Client, why: str) -> None:
    before = logged(act)
    assert blamed(act.post("/queue/pause", json={"why": why}))[0] == "why"
    assert summary(act)["queue"]["paused"] is None
    assert logged(act) == before


# What is seen ---------------------------------------------------------------------------------------


def test_the_summary_tells_how_the_service_is(service: Service, act: httpx.Client) -> None:
    topic(service, "seen")
    for _ in range(5):
        service.client.get(f"{API}/topics/seen")
    wait_for(lambda: summary(act)["flow"]["reads"] > 0, 20)
    found = summary(act)
    assert found["sentence"].startswith("Healthy: ")
    assert (found["status"], found["troubles"]) == ("ok", [])
    (server,) = found["servers"]
    assert server["error"] is None
    assert server["keys"] > 0
    assert server["tracked_keys"] > 0
    assert found["node_times"][0]["p99_ms"] is not None
    assert found["processes"]["error"] is None
    assert [one["role"] for one in found["processes"]["alive"]] == ["serve"]
    assert found["near"]["entries"] > 0
    keyspace = next(one for one in found["keyspaces"] if one["name"] == "topic")
    assert keyspace["parts"].keys() == {"topic_id"}
    assert keyspace["flow"]["reads"] > 0
    assert found["sessions"]["active"] is not None
    assert found["queue"]["recordings"]["max_bytes"] == 2 * 1024**3
    assert found["outbox"] == {"pending": 0, "oldest_seconds": None, "error": None}
    history = act.get("/history").json()
    assert {one["name"] for one in history["keyspaces"]} == {one["name"] for one in found["keyspaces"]}


def test_the_summary_is_pushed(act: httpx.Client) -> None:
    with act.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: summary"
        assert '"sentence"' in next(lines)
        assert next(line for line in lines if line.startswith("event:")) == "event: summary"


def test_a_key_is_looked_up_by_its_parts_and_held_against_the_record(service: Service, act: httpx.Client) -> None:
    topic(service, "looked", "As it was")
    key: dict[str, Any] = {}

    def is_near() -> bool:
        service.client.get(f"{API}/topics/looked")
        key.update(act.get("/keys/topic", params={"topic_id": "looked"}).json())
        return bool(key["near"])

    wait_for(is_near)  # a machine that stands still for a second begins anew
    assert (key["key"], key["near"], key["state"], key["record"]) == ("cache:topic:looked", True, "value", "same")
    assert 0 < key["left_ms"] <= key["ttl_ms"] == 3_600_000
    assert key["fresh"]
    assert key["lease"] is None
    stored = service.raw()("GET", "cache:topic:looked")
    assert key["bytes"] == len(stored)
    # Another program has written there.
    service.raw()("SET", "cache:topic:looked", stored.replace(b"As it was", b"Otherwise"), "PX", 100_000)
    key = act.get("/keys/topic", params={"topic_id": "looked"}).json()
    assert key["record"] == "differs"
    assert key["differences"] == [{"member": "display_name", "cached": '"Otherwise"', "recorded": '"As it was"'}]
    service.client.get(f"{API}/topics/not_there")
    absent = act.get("/keys/topic", params={"topic_id": "not_there"}).json()
    assert (absent["state"], absent["record"]) == ("absence", "neither")
    page = act.get("/keys/snippet_page", params={"topic_id": "looked", "page_number": "1"}).json()
    assert (page["state"], page["groups"]) == ("nothing", ["snippet_pages:looked"])
    assert page["record"] in ("neither", "only_record")
    assert blamed(act.get("/keys/snippet_page", params={"topic_id": "looked", "page_number": "x"}))[0] == "page_number"
    assert blamed(act.get("/keys/topic", params={"topic_id": "a", "other": "b"}))[0] == "other"
    problem(act.get("/keys/session", params={"session_id": "a"}), 404, "not-found")


# What is done ---------------------------------------------------------------------------------------


def test_a_key_a_group_and_a_keyspace_are_dropped_by_name(service: Service, act: httpx.Client) -> None:
    topic(service, "dropped")
    group = {"keyspace": "snippet_page", "group": "snippet_pages:{topic_id}", "parts": {"topic_id": "dropped"}}
    drops: list[tuple[str, dict[str, Any], str]] = [
        ("key", {"keyspace": "topic", "parts": {"topic_id": "dropped"}}, "topics/dropped"),
        ("group", group, "snippets?topic_id=dropped"),
        ("keyspace", {"keyspace": "topic"}, "topics/dropped"),
    ]
    for what, body, path in drops:
        service.client.get(f"{API}/{path}")
        assert "hit" in service.client.get(f"{API}/{path}").headers["cache-status"]
        done = act.post("/drops", json={"what": what, **body, **WHY})
        assert done.raise_for_status().json()["outcome"] == "dropped"
        assert "fwd=" in service.client.get(f"{API}/{path}").headers["cache-status"]
    kinds = [(who, kind, target, outcome) for who, kind, target, _, outcome in logged(act)[:3]]
    assert kinds == [
        ("ana", "drop_keyspace", "topic", "dropped"),
        ("ana", "drop_group", "snippet_pages:dropped", "dropped"),
        ("ana", "drop_key", "topic topic_id=dropped", "dropped"),
    ]
    for wrong in (
        {"what": "pattern"},
        {"what": "group", "group": "others:{topic_id}"},
        {"what": "keyspace", "parts": {"a": "b"}},
    ):
        assert blamed(act.post("/drops", json={"keyspace": "topic", **wrong, **WHY}))[0] in ("what", "group", "parts")
    problem(act.post("/drops", json={"keyspace": "session", "what": "keyspace", **WHY}), 404, "not-found")


def test_what_the_log_could_not_show_is_refused(act: httpx.Client) -> None:
    before = logged(act)
    load = {"keyspace": "topic", "key": "cache:topic:a\nana: drop_keyspace", **WHY}
    assert blamed(act.post("/loads/cancel", json=load))[0] == "key"
    assert blamed(act.post("/podcasts/a%0Ab/stop", json=WHY))[0] == "podcast_id"
    assert logged(act) == before
    done = act.post("/loads/cancel", json=load | {"key": "cache:topic:a"}).raise_for_status().json()
    assert done["outcome"].startswith("0 waited in ")


def test_podcasts_are_stopped_retried_given_back_and_deleted(service: Service, act: httpx.Client) -> None:
    one = podcast(service, "told")
    status = f"{API}/podcasts/{one}/status"
    assert task(act, one)["status"] == "queued"
    problem(act.post(f"/podcasts/{one}/retry", json=WHY), 409, "conflict")
    problem(act.post(f"/podcasts/{one}/release", json=WHY), 409, "conflict")
    act.post(f"/podcasts/{one}/stop", json=WHY).raise_for_status()
    assert service.client.get(status).json()["status"] == "error"
    act.post(f"/podcasts/{one}/retry", json=WHY).raise_for_status()
    assert service.client.get(status).json() == {"podcast_id": one, "status": "queued"}
    act.post(f"/podcasts/{one}/delete", json=WHY).raise_for_status()
    problem(service.client.get(status), 404, "not-found")
    assert task(act, one) is None
    problem(act.post(f"/podcasts/{one}/delete", json=WHY), 404, "not-found")
    outcomes = [(kind, outcome) for _, kind, target, _, outcome in reversed(logged(act)) if target == one]
    assert [kind for kind, _ in outcomes] == [
        *("retry_podcast", "release_podcast", "stop_podcast", "retry_podcast", "delete_podcast", "delete_podcast")
    ]
    assert outcomes[0][1].startswith("failed: ")
    assert outcomes[2][1] == "failed for listeners"


def test_a_pause_outlives_a_restart_and_so_does_the_log(service: Service, act: httpx.Client) -> None:
    act.post("/queue/pause", json={"why": "the disk is full"}).raise_for_status()
    act.post("/outbox/send", json=WHY).raise_for_status()
    paused = summary(act)["queue"]["paused"]
    assert (paused["who"], paused["why"]) == ("ana", "the disk is full")
    assert [one["kind"] for one in summary(act)["troubles"]] == ["paused"]
    before = logged(act)
    service.stop()
    service.start()
    act.base_url = httpx.URL(service.url + CONTROL)
    assert logged(act) == before
    assert summary(act)["queue"]["paused"] == paused
    act.post("/queue/resume", json=WHY).raise_for_status()
    assert summary(act)["queue"]["paused"] is None
    assert [kind for _, kind, *_ in logged(act)[:3]] == ["resume_queue", "send_outbox", "pause_queue"]


def test_the_sessions_of_a_user_are_seen_and_ended(service: Service, act: httpx.Client) -> None:
    with people_of(service) as people:
        person = people().sign_up()
        person.log_in()
        seen = act.get(f"/users/{person.username}/sessions").raise_for_status().json()
        (session,) = seen["sessions"]
        assert seen["username"] == person.username
        assert act.get(f"/users/{seen['user_id']}/sessions").json() == seen
        done = act.post(f"/users/{person.username}/sessions/end", json={"handle": session["handle"], **WHY})
        assert done.raise_for_status().json()["outcome"] == "ended 1"
        assert act.get(f"/users/{person.username}/sessions").json()["sessions"] == []
    problem(act.get("/users/nobody-of-this-name/sessions"), 404, "not-found")


def test_nobody_signs_up_under_the_id_of_another_user(service: Service, act: httpx.Client) -> None:
    with people_of(service) as people:
        victim = act.get(f"/users/{people().sign_up().username}/sessions").raise_for_status().json()
        draft = {"username": victim["user_id"], "password": "seven unrelated words"}
        assert blamed(service.client.post(f"{API}/users", json=draft))[0] == "username"
        assert act.get(f"/users/{victim['user_id']}/sessions").json() == victim
