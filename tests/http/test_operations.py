"""What operators ask over HTTP: health, numbers, documentation; and HEAD, which works wherever GET does."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.patience import wait_for
from tests.support.problem_checks import problem
from tests.support.real_servers import Server
from tests.support.running_service import API, TOKEN, Service

TOPIC = f"{API}/topics/tech_ai_ethics"
PATHS = [
    f"{API}/topics",
    TOPIC,
    f"{API}/snippets",
    f"{API}/snippets?topic_id=tech_ai_ethics",
    f"{API}/snippets?topic_id=tech_ai_ethics&page=0",
    f"{API}/topics/nobody",
    "/health/live",
    "/health/ready",
    "/docs",
    "/docs/openapi.json",
    "/docs/assets/swagger-ui.css",
    "/problems/not-found",
    "/nobody",
]


def samples(service: Service, name: str) -> list[Sample]:
    answer = service.client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return [sample for family in families for sample in family.samples if sample.name == name]


def count(service: Service, name: str, **labels: str) -> float:
    return sum(sample.value for sample in samples(service, name) if labels.items() <= sample.labels.items())


# HEAD ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_head_answers_as_get_does_without_the_body(service: Service, path: str) -> None:
    service.client.get(path)
    headers = {"X-Request-Id": "the-same"}
    get, head = service.client.get(path, headers=headers), service.client.head(path, headers=headers)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert get.content
    changing = {"date", "cache-status"}
    assert head.headers.keys() == get.headers.keys()
    assert {name: value for name, value in head.headers.items() if name not in changing} == {
        name: value for name, value in get.headers.items() if name not in changing
    }


def test_head_of_the_numbers_is_answered(service: Service) -> None:
    answer = service.client.head("/metrics")
    assert (answer.status_code, answer.content) == (200, b"")


# Health ----------------------------------------------------------------------------------------


def test_a_live_service_says_so(service: Service) -> None:
    answer = service.client.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_ready_service_tells_how_its_parts_are(service: Service) -> None:
    answer = service.client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "engine": "ok", "database": "ok"})
    assert answer.headers["cache-control"] == "no-store"


def test_without_the_engine_it_is_degraded_and_answers_all_the_same(tmp_path: Path, valkey: Server) -> None:
    env = {"GREENROOM_EDITOR_TOKEN": TOKEN}
    service = Service(tmp_path, "--valkey-url", valkey.address, env=env).start()
    try:
        before = service.client.get(TOPIC)
        valkey.kill()
        answer = service.client.get(f"{API}/snippets?topic_id=tech_ai_ethics")
        assert (answer.status_code, len(answer.json())) == (200, 20)
        assert answer.headers["cache-status"] == "greenroom; fwd=bypass; detail=engine-down"
        assert {"etag", "cache-control", "link"} <= answer.headers.keys()
        health = service.client.get("/health/ready")
        assert (health.status_code, health.json()["status"], health.json()["database"]) == (200, "degraded", "ok")
        assert health.json()["engine"] != "ok"
        assert count(service, "greenroom_cache_errors_total", keyspace="snippet_page") >= 1
        assert count(service, "greenroom_cache_reads_total", keyspace="snippet_page", outcome="bypassed") >= 1

        draft = {name: before.json()[name] for name in ("display_name", "keywords")} | {"description": "Edited."}
        written = service.client.put(TOPIC, json=draft, headers=service.editor)
        assert written.status_code == 200
        assert service.client.get(TOPIC).json() == written.json()

        valkey.start()
        wait_for(lambda: service.client.get("/health/ready").json()["status"] == "ok")
        wait_for(lambda: "hit" in service.client.get(TOPIC).headers["cache-status"])
        assert service.client.get(TOPIC).json() == written.json()
    finally:
        service.stop()


# Numbers ---------------------------------------------------------------------------------------


def test_every_read_is_counted_by_keyspace_and_outcome(service: Service) -> None:
    name, path = "greenroom_cache_reads_total", f"{API}/topics/counted"
    draft = {"display_name": "Counted", "description": "", "keywords": []}
    loaded = count(service, name, keyspace="topic", outcome="loaded")
    every = count(service, name, keyspace="topic")
    loads = count(service, "greenroom_cache_load_seconds_count", keyspace="topic")
    service.client.put(path, json=draft, headers=service.editor).raise_for_status()
    for _ in range(5):
        assert service.client.get(path).status_code == 200
    assert count(service, name, keyspace="topic") == every + 5
    assert count(service, name, keyspace="topic", outcome="loaded") == loaded + 1
    assert count(service, "greenroom_cache_load_seconds_count", keyspace="topic") == loads + 1
    assert {sample.labels["keyspace"] for sample in samples(service, name)} <= {
        *("session", "topic", "topics", "snippet", "snippet_page", "podcast_status"),
        *("search", "search_epoch"),
    }


def test_the_engine_s_commands_are_timed_by_node(service: Service) -> None:
    service.client.get(TOPIC)
    (node,) = {one.labels["node"] for one in samples(service, "greenroom_engine_command_seconds_count")}
    assert str(service.data_dir) in node
    buckets = samples(service, "greenroom_engine_command_seconds_bucket")
    assert [one.value for one in buckets] == sorted(one.value for one in buckets)
    assert buckets[-1].labels["le"] == "+Inf"
    assert buckets[-1].value > 0


def test_no_label_grows_with_what_is_asked(service: Service) -> None:
    def series() -> set[tuple[str, ...]]:
        families = text_string_to_metric_families(service.client.get("/metrics").text)
        return {(sample.name, *sorted(sample.labels.values())) for family in families for sample in family.samples}

    def ask(mark: str) -> None:
        for path in (f"/{mark}", f"{API}/topics/{mark}", f"{API}/topics/{mark}%3A", f"{API}/snippets?topic_id={mark}"):
            service.client.get(path)
        service.client.request("PROPFIND", f"/{mark}")
        service.client.get("/health/live", headers={"X-Request-Id": mark, "User-Agent": mark})

    ask("first")
    service.client.get("/metrics")
    before = series()
    for number in range(20):
        ask(f"another{number}")
    assert {name for name, *_ in series()} == {name for name, *_ in before}
    assert len(series()) == len(before)
    assert not [one for one in series() if "another" in repr(one)]
    methods = {sample.labels["method"] for sample in samples(service, "greenroom_http_requests_total")}
    assert methods == {"GET", "OTHER"} | (methods & {"DELETE", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


# Documentation ---------------------------------------------------------------------------------


class Links(HTMLParser):
    """Everything that a page loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, _tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in ("src", "href")]


def test_the_documentation_loads_nothing_from_outside(service: Service) -> None:
    page = service.client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = [link for link in Links(page.text).found if not link.startswith("data:")]
    assert len(loaded) == 3
    assert "<script>" not in page.text
    for link in loaded:
        assert link.startswith("/docs/assets/")
        asset = service.client.get(link)
        assert asset.status_code == 200
        assert asset.content
        if link.endswith(".css"):
            assert re.findall(r"url\(\s*(?!['\"]?(?:data:|#)).{20}", asset.text) == []
            assert "@import" not in asset.text
    assert re.findall(r"https?://[^\"'\s]*", page.text) == []


def test_the_description_names_every_call_its_body_and_its_errors(service: Service) -> None:
    answer = service.client.get("/docs/openapi.json")
    assert answer.status_code == 200
    described = answer.json()
    assert described["openapi"].startswith("3.1")
    calls = {(method, path): call for path, item in described["paths"].items() for method, call in item.items()}
    topic, snippet = f"{API}/topics/{{topic_id}}", f"{API}/snippets/{{snippet_id}}"
    editors = {("put", topic), ("delete", topic), ("post", f"{API}/snippets"), ("put", snippet), ("delete", snippet)}
    editors |= {("get", f"{API}/activity"), ("get", f"{API}/export"), ("post", f"{API}/load")}
    bodies = {
        ("put", topic): "TopicDraft",
        ("post", f"{API}/snippets"): "SnippetDraft",
        ("put", snippet): "SnippetDraft",
        ("post", f"{API}/users"): "NewUser",
        ("post", f"{API}/session/login"): "Credentials",
        ("put", f"{API}/session/password"): "NewPassword",
        ("patch", f"{API}/session/preferences"): "PreferencesPatch",
        ("post", f"{API}/podcasts/generate"): "PodcastRequest",
        ("post", f"{API}/staff/session"): "StaffCredentials",
    }
    acts = dict.fromkeys(("outbox/send", "queue/pause", "queue/resume"), "Reason")
    acts |= {f"podcasts/{{podcast_id}}/{what}": "Reason" for what in ("retry", "release", "stop", "delete")}
    acts |= {"drops": "Drop", "loads/cancel": "Cancel", "users/{name}/sessions/end": "EndSessions"}
    bodies |= {("post", f"{API}/control/{path}"): body for path, body in acts.items()}
    editors |= {("post", f"{API}/control/{path}") for path in acts}
    bodies |= {
        ("put", f"{API}/history/{{podcast_id}}"): "Listened",
        ("post", f"{API}/history"): "History",
        ("delete", f"{API}/users/me"): "AccountDeletion",
    }
    listeners = {("patch", f"{API}/session/preferences"), ("get", f"{API}/session"), ("delete", f"{API}/session")}
    listeners |= {("post", f"{API}/session/logout-everywhere"), ("get", f"{API}/sessions")}
    listeners |= {("delete", f"{API}/sessions/{{handle}}"), ("put", f"{API}/session/password")}
    listeners |= {(method, f"{API}/history") for method in ("get", "post")}
    listeners |= {(method, f"{API}/history/{{podcast_id}}") for method in ("put", "delete")}
    listeners |= {("post", f"{API}/history/feed"), ("delete", f"{API}/history/feed"), ("delete", f"{API}/users/me")}
    reads = {("get", path) for path in (f"{API}/topics", topic, f"{API}/snippets", snippet, "/health/live", "/metrics")}
    assert calls.keys() >= editors | bodies.keys() | listeners | reads
    schemas = described["components"]["schemas"]
    for name, call in calls.items():
        assert "requestBody" not in call or {"400", "413", "422"} <= call["responses"].keys()
        assert call["responses"]["default"] == {"$ref": "#/components/responses/problem"}
        assert (call.get("security") == [{"editor": []}, {"staff": []}]) == (name in editors)
        of_session = [one for one in call.get("security", ()) if one] == [{"session": []}, {"session_token": []}]
        assert of_session == (name in listeners)
        assert ({} in call.get("security", ())) == (name == ("patch", f"{API}/session/preferences"))
        body = call.get("requestBody")
        assert (body is not None) == (name in bodies)
        if body is not None:
            reference = body["content"]["application/json"]["schema"]["$ref"]
            assert reference == f"#/components/schemas/{bodies[name]}"
    for reference in re.findall(r'"\$ref":"#/components/(\w+)/(\w+)"', answer.text):
        assert reference[1] in described["components"][reference[0]]
    assert all(schemas[body]["additionalProperties"] is False for body in bodies.values())
    user, patch = schemas["NewUser"]["properties"], schemas["PreferencesPatch"]["properties"]
    assert user["username"] == {"type": "string", "pattern": "^[A-Za-z0-9._~-]+$", "minLength": 3, "maxLength": 64}
    assert user["password"] == {"type": "string", "minLength": 8, "maxLength": 256}
    assert all({"type": "null"} in one["anyOf"] for one in patch.values())
    assert schemas["TopicDraft"]["properties"]["display_name"] == {"type": "string", "minLength": 1}
    an_id = {"type": "string", "pattern": "^[A-Za-z0-9._~-]+$", "minLength": 1, "maxLength": 128}
    assert schemas["SnippetDraft"]["properties"]["topic_id"] == an_id
    assert schemas["PodcastRequest"]["properties"]["topic_id"] == an_id
    assert patch["preferred_topics"]["anyOf"][0]["items"] == an_id
    ids = [one for call in calls.values() for one in call.get("parameters", ()) if one.get("name", "").endswith("_id")]
    assert len(ids) == 20
    assert all(one["schema"] == an_id for one in ids)


def test_an_unknown_page_of_the_documentation_is_a_problem(service: Service) -> None:
    problem(service.client.get("/docs/redoc"), 404, "not-found")


def test_the_documentation_s_assets_lead_to_no_other_file(service: Service) -> None:
    for path in ("..%2f__init__.py", "%2e%2e/__init__.py", "..%5c__init__.py", "%2fetc%2fpasswd"):
        problem(service.client.get(httpx.URL(f"{service.url}/docs/assets/{path}")), 404, "not-found")
