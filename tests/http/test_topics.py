"""`/topics` over HTTP: read by everyone, written by editors, seen by the next read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from tests.support.problem_checks import blamed, problem
from tests.support.running_service import API, Service

DRAFT = {"display_name": "Test", "description": "A topic of a test.", "keywords": ["one", "two"]}


def put(service: Service, name: str, /, **members: Any) -> httpx.Response:
    return service.client.put(f"{API}/topics/{name}", json=DRAFT | members, headers=service.editor)


def listed(service: Service) -> dict[str, Any]:
    answer = service.client.get(f"{API}/topics")
    assert answer.status_code == 200
    return {topic["topic_id"]: topic for topic in answer.json()}


def test_every_topic_comes_in_one_array_by_name_and_then_id(service: Service) -> None:
    for topic_id in ("order_b", "order_c", "order_a"):
        put(service, topic_id, display_name="Same name").raise_for_status()
    topics = service.client.get(f"{API}/topics").json()
    names = [(topic["display_name"], topic["topic_id"]) for topic in topics]
    assert names == sorted(names)
    assert len(topics) >= 15
    assert {"order_a", "order_b", "order_c"} < {topic["topic_id"] for topic in topics}


def test_a_topic_has_exactly_the_specification_s_members(service: Service) -> None:
    for topic_id, topic in listed(service).items():
        assert list(topic) == ["topic_id", "display_name", "description", "keywords", "created_at", "updated_at"]
        assert topic == service.client.get(f"{API}/topics/{topic_id}").json()
        for time in (topic["created_at"], topic["updated_at"]):
            assert time.endswith("Z")
            assert datetime.fromisoformat(time).tzinfo is UTC


def test_a_slash_at_the_end_changes_nothing(service: Service) -> None:
    assert service.client.get(f"{API}/topics/").json() == service.client.get(f"{API}/topics").json()


def test_an_unknown_topic_is_404(service: Service) -> None:
    answer = service.client.get(f"{API}/topics/nobody")
    assert "nobody" in problem(answer, 404, "not-found")["detail"]
    assert answer.headers["cache-status"].startswith("greenroom; ")
    assert answer.headers["cache-control"] == "no-store"


def test_a_new_topic_is_201_with_its_location_and_the_server_s_times(service: Service) -> None:
    before = datetime.now(UTC)
    answer = put(service, "made")
    after = datetime.now(UTC)
    assert (answer.status_code, answer.headers["location"]) == (201, f"{API}/topics/made")
    topic = answer.json()
    assert {name: topic[name] for name in DRAFT} == DRAFT
    assert topic["created_at"] == topic["updated_at"]
    assert before <= datetime.fromisoformat(topic["created_at"]) <= after
    assert service.client.get(answer.headers["location"]).json() == topic


def test_a_changed_topic_is_200_and_keeps_the_time_it_was_made(service: Service) -> None:
    made = put(service, "changed").json()
    answer = put(service, "changed", description="Another.")
    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert answer.json() == made | {"description": "Another.", "updated_at": answer.json()["updated_at"]}
    assert answer.json()["updated_at"] > made["updated_at"]


def test_a_change_is_seen_by_the_next_read_of_the_topic_and_of_the_list(service: Service) -> None:
    for number in range(20):
        written = put(service, "edited", description=f"Version {number}.").json()
        assert service.client.get(f"{API}/topics/edited").json() == written
        assert listed(service)["edited"] == written


def test_a_topic_that_was_missed_is_found_once_it_is_made(service: Service) -> None:
    for _ in range(2):
        assert service.client.get(f"{API}/topics/missed_first").status_code == 404
    put(service, "missed_first").raise_for_status()
    assert service.client.get(f"{API}/topics/missed_first").status_code == 200


def test_get_edit_put_works_with_the_id_and_the_times_as_they_are(service: Service) -> None:
    put(service, "round_trip")
    topic = service.client.get(f"{API}/topics/round_trip").json()
    answer = put(service, "round_trip", **topic | {"display_name": "Edited"})
    assert (answer.status_code, answer.json()["display_name"]) == (200, "Edited")


def test_a_time_may_be_written_with_another_offset(service: Service) -> None:
    made = datetime.fromisoformat(put(service, "offset").json()["created_at"])
    elsewhere = made.astimezone(timezone(timedelta(hours=2))).isoformat()
    assert elsewhere.endswith("+02:00")
    assert put(service, "offset", created_at=elsewhere).status_code == 200


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("topic_id", "another"),
        ("topic_id", 1),
        ("created_at", "2020-01-01T00:00:00Z"),
        ("updated_at", "2020-01-01T00:00:00Z"),
        ("updated_at", "yesterday"),
        ("updated_at", None),
    ],
)
def test_an_id_or_a_time_that_differs_is_422(service: Service, member: str, value: Any) -> None:
    put(service, "fixed").raise_for_status()
    assert blamed(put(service, "fixed", **{member: value})) == (member, "leave it out, or send what is stored")


def test_a_new_topic_has_no_times_yet_that_a_body_could_equal(service: Service) -> None:
    field, remedy = blamed(put(service, "not_made", created_at="2026-01-01T00:00:00Z"))
    assert (field, remedy) == ("created_at", "leave it out; send display_name, description, keywords")
    assert service.client.get(f"{API}/topics/not_made").status_code == 404
    assert put(service, "made_by_id", topic_id="made_by_id").status_code == 201


def test_a_deleted_topic_is_gone_from_every_read(service: Service) -> None:
    put(service, "gone")
    assert "gone" in listed(service)
    answer = service.client.delete(f"{API}/topics/gone", headers=service.editor)
    assert (answer.status_code, answer.content) == (204, b"")
    problem(service.client.get(f"{API}/topics/gone"), 404, "not-found")
    assert "gone" not in listed(service)
    problem(service.client.delete(f"{API}/topics/gone", headers=service.editor), 404, "not-found")


def test_a_topic_with_snippets_cannot_be_deleted(service: Service) -> None:
    put(service, "full")
    draft = {"topic_id": "full", "title": "One", "text_content": "Text."}
    snippet = service.client.post(f"{API}/snippets", json=draft, headers=service.editor).headers["location"]
    refused = service.client.delete(f"{API}/topics/full", headers=service.editor)
    assert "snippets" in problem(refused, 409, "conflict")["detail"]
    assert "full" in listed(service)
    service.client.delete(snippet, headers=service.editor).raise_for_status()
    assert service.client.delete(f"{API}/topics/full", headers=service.editor).status_code == 204


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_only_editors_write_topics(service: Service, method: str) -> None:
    put(service, "guarded", description="Untouched.")
    answer = service.client.request(method, f"{API}/topics/guarded", json=DRAFT)
    problem(answer, 401, "unauthorized")
    assert service.client.get(f"{API}/topics/guarded").json()["description"] == "Untouched."


def test_valkey_holds_the_very_bytes_of_the_answers_for_the_specified_time(service: Service) -> None:
    put(service, "stored")
    raw = service.raw()
    for path, key, lifetime in (("/stored", "cache:topic:stored", 3600), ("", "cache:topics:all", 21_600)):
        body = service.client.get(f"{API}/topics{path}").content
        assert raw("GET", key) == body
        assert 0.95 * lifetime - 5 < raw("TTL", key) <= lifetime
    put(service, "stored")
    assert raw("EXISTS", "cache:topic:stored", "cache:topics:all") == 0
