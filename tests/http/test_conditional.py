"""Cached answers over HTTP: strong entity tags, `If-None-Match`, `Cache-Control` and `Cache-Status`."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from greenroom.caching.result import digest
from tests.support.running_service import API, Service

READS = [
    f"{API}/topics",
    f"{API}/topics/tech_ai_ethics",
    f"{API}/snippets",
    f"{API}/snippets?topic_id=tech_ai_ethics",
    f"{API}/snippets?topic_id=tech_ai_ethics&page=2",
    f"{API}/snippets?topic_id=tech_ai_ethics&page=99",
    f"{API}/snippets/ai_ethics_001",
]


def draft(**members: str) -> dict[str, Any]:
    return {"display_name": "Test", "description": "", "keywords": []} | members


def write(service: Service, name: str, **members: str) -> httpx.Response:
    answer = service.client.put(f"{API}/topics/{name}", json=draft(**members), headers=service.editor)
    assert answer.is_success
    return answer


@pytest.mark.parametrize("path", READS)
def test_a_cached_answer_carries_its_headers_whether_whole_or_304(service: Service, path: str) -> None:
    whole = service.client.get(path)
    assert whole.status_code == 200
    assert re.fullmatch('"[!#-~]+"', whole.headers["etag"])
    assert whole.headers["cache-control"] == "public, no-cache"
    assert whole.headers["content-type"] == "application/json"
    assert whole.headers["cache-status"].startswith("greenroom; ")
    for sent in (whole.headers["etag"], f'"a", W/{whole.headers["etag"]}', "*"):
        unchanged = service.client.get(path, headers={"If-None-Match": sent})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        for name in ("etag", "cache-control", "link"):
            assert unchanged.headers.get(name) == whole.headers.get(name)
        assert unchanged.headers["cache-status"].startswith("greenroom; ")
        assert "content-length" not in unchanged.headers
        assert service.client.head(path, headers={"If-None-Match": sent}).status_code == 304
    other = service.client.get(path, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, whole.content)


def test_tags_over_several_lines_are_one_list(service: Service) -> None:
    path = READS[1]
    lines = [("If-None-Match", '"other"'), ("If-None-Match", service.client.get(path).headers["etag"])]
    assert service.client.get(path, headers=lines).status_code == 304


def test_different_answers_have_different_tags(service: Service) -> None:
    answers = [service.client.get(path) for path in READS]
    assert len({answer.headers["etag"] for answer in answers}) == len({answer.content for answer in answers}) == 7


def test_a_tag_changes_with_the_answer_and_with_nothing_else(service: Service) -> None:
    write(service, "tagged", description="One.")
    path = f"{API}/topics/tagged"
    tags = [service.client.get(path).headers["etag"] for _ in range(5)]
    assert len(set(tags)) == 1
    write(service, "tagged", description="Two.")
    answer = service.client.get(path, headers={"If-None-Match": tags[0]})
    assert (answer.status_code, answer.json()["description"]) == (200, "Two.")
    assert answer.headers["etag"] != tags[0]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_a_tag_is_honoured_on_a_miss_too(service: Service, form: str) -> None:
    body = write(service, "missed").content
    tag = f'"{digest(body)}"'
    answer = service.client.get(f"{API}/topics/missed", headers={"If-None-Match": form.format(tag)})
    assert answer.headers["cache-status"] == "greenroom; fwd=miss; stored"
    assert (answer.status_code, answer.headers["etag"]) == (304, tag)


def test_a_missing_thing_matches_nothing(service: Service) -> None:
    for path in (f"{API}/topics/nobody", f"{API}/snippets?topic_id=nobody"):
        assert service.client.get(path, headers={"If-None-Match": "*"}).status_code == 404


@pytest.mark.parametrize(("path", "lifetime"), [("topics/{}", 3600), ("snippets?topic_id={}", 1800)])
def test_a_miss_is_stored_and_then_a_hit(service: Service, path: str, lifetime: int) -> None:
    name = f"read_{lifetime}"
    write(service, name)
    snippet = {"topic_id": name, "title": "Title", "text_content": "Text."}
    service.client.post(f"{API}/snippets", json=snippet, headers=service.editor).raise_for_status()
    told = [service.client.get(f"{API}/{path.format(name)}").headers["cache-status"] for _ in range(3)]
    assert told[0] == "greenroom; fwd=miss; stored"
    for hit in told[1:]:
        found = re.fullmatch(r"greenroom; hit; (?:ttl=(\d+)|detail=near)", hit)
        assert found is not None
        assert 0 < int(found.group(1) or 1) <= lifetime


def test_the_newest_are_stored_nowhere(service: Service) -> None:
    snippet = {"topic_id": "tech_ai_ethics", "title": "Title", "text_content": "Text."}
    service.client.post(f"{API}/snippets", json=snippet, headers=service.editor).raise_for_status()
    assert service.client.get(f"{API}/snippets").headers["cache-status"] == "greenroom; fwd=miss"
    assert service.raw()("KEYS", "*newest*") == []
