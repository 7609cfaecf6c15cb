"""History, lists of podcasts, and the place in the queue."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.people import People, people_of
from tests.support.problem_checks import blamed, problem
from tests.support.running_service import API, Service
from tests.support.stream_listeners import TOPIC, UNKNOWN, Studio

SERVE_ENV = {"GREENROOM_WORK": "off"}


@pytest.fixture
def people(service: Service) -> Iterator[People]:
    with people_of(service) as made:
        yield made


async def made(studio: Studio, duration: float | None = 61.5) -> str:
    """A podcast that is ready."""
    claim = await studio.claimed()
    await studio.platform.tasks.advance(claim, "ready_to_stream", size=10, duration=duration)
    return claim.podcast_id


async def test_a_history_is_kept_for_the_user_and_not_for_the_session(
    service: Service, studio: Studio, people: People
) -> None:
    first, second = await made(studio), await made(studio, None)
    name = service.client.get(f"{API}/topics/{TOPIC}").json()["display_name"]
    one = people().sign_up()
    for asked in (one.get("/history"), one.post("/history", json={}), one.delete(f"/history/{first}")):
        problem(asked, 401, "unauthorized")
    one.prefer(playback_speed_default=1.5)
    problem(one.get("/history"), 401, "unauthorized")  # an anonymous session
    one.log_in()
    assert one.get("/history").json() == []
    assert one.client.put(f"{API}/history/{first}", json={"position_seconds": 12.5}).status_code == 204
    assert one.client.put(f"{API}/history/{second}", json={}).status_code == 204
    assert one.client.put(f"{API}/history/{second}", json={"position_seconds": 3}).status_code == 204
    assert one.client.put(f"{API}/history/{second}", json={}).status_code == 204
    one.delete("/session")
    other = people(one.username)
    other.log_in()
    answer = other.get("/history")
    assert answer.headers["cache-control"] == "private, no-store"
    latest, earlier = answer.json()
    assert (latest["podcast_id"], earlier["podcast_id"]) == (second, first)
    assert latest.keys() == {
        *("podcast_id", "topic_id", "topic_name", "created_at", "status", "position_seconds", "listened_at")
    }
    assert latest["position_seconds"] == 3, "what is not told stays"
    assert earlier["listened_at"] < latest["listened_at"]
    expected = {"topic_id": TOPIC, "topic_name": name, "status": "ready_to_stream", "duration_seconds": 61.5}
    assert expected.items() <= earlier.items()
    assert other.delete(f"/history/{second}").status_code == 204
    assert other.delete(f"/history/{second}").status_code == 204
    assert [item["podcast_id"] for item in other.get("/history").json()] == [first]


async def test_what_a_page_kept_is_merged_and_the_latest_200_stay(
    service: Service, studio: Studio, people: People
) -> None:
    ids = [await made(studio) for _ in range(23)]
    person = people().sign_up()
    person.log_in()
    now = datetime.now(UTC)
    moments = [(now - timedelta(minutes=n)).isoformat() for n in range(23)]
    items = [
        {"podcast_id": one, "position_seconds": 1, "listened_at": at} for one, at in zip(ids, moments, strict=True)
    ]
    person.client.put(f"{API}/history/{ids[5]}", json={"position_seconds": 7}).raise_for_status()
    future = {"podcast_id": ids[4], "listened_at": (now + timedelta(days=9)).isoformat()}
    unknown = {"podcast_id": UNKNOWN, "position_seconds": 1}
    answer = person.post("/history", json={"items": [*items, unknown, future]})
    assert answer.status_code == 204
    answer = person.get("/history")
    assert answer.headers["link"] == '</api/v1/history?page=2>; rel="next"'
    rest = person.get("/history?page=2")
    assert "link" not in rest.headers
    every = [*answer.json(), *rest.json()]
    assert (len(answer.json()), len(every)) == (20, 23)
    assert [one["podcast_id"] for one in every][:4] == [ids[4], ids[5], ids[0], ids[1]]
    assert datetime.fromisoformat(every[0]["listened_at"]) < now + timedelta(days=1), "no clock is ahead"
    assert (every[0]["position_seconds"], every[1]["position_seconds"]) == (1, 7), "the later of each"
    for body, field in (
        ({"items": [{"podcast_id": "p"}] * 201}, "items"),
        ({"items": [{"podcast_id": ids[0], "position_seconds": -1}]}, "position_seconds"),
        ({"items": [{"podcast_id": ids[0], "position_seconds": 1e300}]}, "position_seconds"),
        ({"items": [{"podcast_id": ids[0], "listened_at": "0001-01-01T00:00:00+01:00"}]}, "listened_at"),
        ({"items": [{"podcast_id": UNKNOWN, "listened_at": "9999-12-31T23:59:59-01:00"}]}, "listened_at"),
    ):
        assert blamed(person.post("/history", json=body))[0] == field
    for place in (-0.5, 86_401):
        answer = person.client.put(f"{API}/history/{ids[0]}", json={"position_seconds": place})
        assert blamed(answer)[0] == "position_seconds"
    problem(person.client.put(f"{API}/history/{UNKNOWN}", json={}), 404, "not-found")
    assert blamed(person.client.put(f"{API}/history/a%3Ab", json={}))[0] == "podcast_id"
    assert blamed(person.get("/history?page=11"))[0] == "page"


async def test_podcasts_are_listed_by_their_ids_and_by_their_topic(service: Service, studio: Studio) -> None:
    ids = [await made(studio), await made(studio)]
    failed = await studio.failed("No voice.")
    asked = ",".join([ids[1], UNKNOWN, failed, ids[0], ids[1]])
    found = service.client.get(f"{API}/podcasts?ids={asked}").json()
    assert [(one["podcast_id"], one["status"]) for one in found] == [
        (ids[1], "ready_to_stream"),
        (failed, "error"),
        (ids[0], "ready_to_stream"),
    ]
    assert found[0].keys() == {"podcast_id", "topic_id", "topic_name", "created_at", "duration_seconds", "status"}
    for query in ("", "?ids=", "?ids=" + ",".join("a" * 51), "?ids=a,,b", "?ids=a:b", "?ids=a&ids=b"):
        assert blamed(service.client.get(f"{API}/podcasts{query}"))[0] == "ids"
    recent = service.client.get(f"{API}/topics/{TOPIC}/podcasts?limit=2").json()
    assert [one["podcast_id"] for one in recent] == [ids[1], ids[0]]
    assert recent[0].keys() == {"podcast_id", "created_at", "duration_seconds"}
    problem(service.client.get(f"{API}/topics/nobody/podcasts"), 404, "not-found")
    assert blamed(service.client.get(f"{API}/topics/{TOPIC}/podcasts?limit=0"))[0] == "limit"


async def test_a_podcast_that_waits_has_a_place_in_the_queue(service: Service, studio: Studio) -> None:
    platform = studio.platform
    one = await studio.claimed()
    await platform.tasks.advance(one, "audio_rendering", estimated=datetime.now(UTC) + timedelta(seconds=40))
    waiting = [(await platform.generation.request(TOPIC)).task.podcast_id for _ in range(2)]
    places = [service.client.get(f"{API}/podcasts/{each}/queue").json() for each in (one.podcast_id, *waiting)]
    assert [(each["position"], each["of"]) for each in places] == [(0, 2), (1, 2), (2, 2)]
    assert [("estimated_start" in each) for each in places] == [False, True, False]
    assert [("paused" in each) for each in places] == [False, False, False]
    await platform.tasks.advance(one, "ready_to_stream", size=1)
    assert service.client.get(f"{API}/podcasts/{one.podcast_id}/queue").json() == {"position": 0, "of": 0}
    problem(service.client.get(f"{API}/podcasts/{UNKNOWN}/queue"), 404, "not-found")
    for _ in waiting:
        claim = await platform.tasks.claim("by-hand", 600)
        assert claim is not None
        await platform.tasks.fail(claim, "No.")
