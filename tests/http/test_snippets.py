"""`/snippets` over HTTP: pages, the newest, single ones, written by editors and seen by the next read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.support.problem_checks import blamed, problem
from tests.support.running_service import API, Service

DRAFT = {"title": "A title", "text_content": "Some text."}
PICTURE = {"cover_art_prompt": "A lighthouse.", "image_url": "https://pictures.example/1.png"}
PAGE_REMEDY = "send a whole number from 1 to 10,000"


def topic(service: Service, topic_id: str, snippets: int = 0) -> list[dict[str, Any]]:
    """Make a topic with so many snippets, in the order of their making."""
    body = {"display_name": topic_id, "description": "", "keywords": []}
    service.client.put(f"{API}/topics/{topic_id}", json=body, headers=service.editor).raise_for_status()
    return [add(service, topic_id, title=f"Title {number}").json() for number in range(snippets)]


def add(service: Service, topic_id: str, **members: Any) -> httpx.Response:
    body = DRAFT | {"topic_id": topic_id} | members
    answer = service.client.post(f"{API}/snippets", json=body, headers=service.editor)
    assert answer.status_code == 201
    return answer


def put(service: Service, snippet: dict[str, Any], **members: Any) -> httpx.Response:
    path = f"{API}/snippets/{snippet['snippet_id']}"
    return service.client.put(path, json=snippet | members, headers=service.editor)


def newest(service: Service, query: str = "") -> list[dict[str, Any]]:
    answer = service.client.get(f"{API}/snippets{query}")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()
    return found


def page(service: Service, topic_id: str, number: int = 1) -> list[dict[str, Any]]:
    return newest(service, f"?topic_id={topic_id}&page={number}")


def in_order(snippets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Newest first, then by id."""
    by_id = sorted(snippets, key=lambda snippet: str(snippet["snippet_id"]))
    return sorted(by_id, key=lambda one: datetime.fromisoformat(one["generation_timestamp"]), reverse=True)


def walk(service: Service, path: str) -> list[list[dict[str, Any]]]:
    """Every page from this one on, by the links alone."""
    pages = []
    while path:
        answer = service.client.get(path)
        assert answer.status_code == 200
        pages.append(answer.json())
        link = re.fullmatch(r'<(/api/v1/snippets\?\S+)>; rel="next"', answer.headers.get("link", ""))
        assert (link is not None) == (len(pages[-1]) == 20) == ("link" in answer.headers)
        path = link.group(1) if link else ""
    return pages


def test_the_links_lead_through_all_pages_newest_first(service: Service) -> None:
    for topic_id in ("ocean_science", "structures_materials"):
        pages = walk(service, f"{API}/snippets?topic_id={topic_id}")
        assert [len(found) for found in pages[:-1]] == [20] * (len(pages) - 1)
        assert len(pages) >= 2
        every = [snippet for found in pages for snippet in found]
        assert every == in_order(every)
        assert len({snippet["snippet_id"] for snippet in every}) == len(every)
        assert {snippet["topic_id"] for snippet in every} == {topic_id}


def test_a_full_last_page_links_to_an_empty_one(service: Service) -> None:
    made = topic(service, "twenty", 20)
    assert walk(service, f"{API}/snippets?topic_id=twenty") == [made[::-1], []]


def test_the_first_page_is_the_default(service: Service) -> None:
    made = topic(service, "default", 2)
    answer = service.client.get(f"{API}/snippets?topic_id=default")
    assert answer.json() == page(service, "default", 1) == made[::-1]


@pytest.mark.parametrize("number", [2, 7, 10_000])
def test_a_page_past_the_end_is_empty(service: Service, number: int) -> None:
    topic(service, "short", 1)
    for _ in range(2):
        answer = service.client.get(f"{API}/snippets?topic_id=short&page={number}")
        assert (answer.status_code, answer.content) == (200, b"[]")
        assert answer.headers["cache-status"].startswith("greenroom; ")
        assert "etag" in answer.headers
        assert "link" not in answer.headers


@pytest.mark.parametrize("number", [1, 2])
def test_a_page_of_an_unknown_topic_is_404(service: Service, number: int) -> None:
    for _ in range(2):
        answer = service.client.get(f"{API}/snippets?topic_id=nobody&page={number}")
        assert "nobody" in problem(answer, 404, "not-found")["detail"]
        assert answer.headers["cache-status"].startswith("greenroom; ")


def test_a_topic_without_snippets_has_an_empty_page_until_it_has_one(service: Service) -> None:
    problem(service.client.get(f"{API}/snippets?topic_id=young"), 404, "not-found")
    topic(service, "young")
    assert page(service, "young") == page(service, "young") == []
    made = add(service, "young").json()
    assert page(service, "young") == [made]


@pytest.mark.parametrize("text", ["0", "-1", "10001", "abc", "", "1.5", "%201", "1_0", "99999999999999999999", "%FF"])
@pytest.mark.parametrize("of", ["", "topic_id=tech_ai_ethics&"])
def test_a_page_number_that_cannot_be_is_422(service: Service, of: str, text: str) -> None:
    assert blamed(service.client.get(f"{API}/snippets?{of}page={text}")) == ("page", PAGE_REMEDY)


@pytest.mark.parametrize("twice", ["page=1&page=1", "page=1&topic_id=tech_ai_ethics&page=2", "topic_id=a&topic_id=b"])
def test_a_parameter_given_twice_is_422(service: Service, twice: str) -> None:
    name = "topic_id" if twice.startswith("topic_id") else "page"
    assert blamed(service.client.get(f"{API}/snippets?{twice}")) == (name, "give it once")


@pytest.mark.parametrize("topic_id", ["a%3Ab", "", "a" * 129, "a%2Ab", "%7Bx%7D", "a%20b", "a%00", "%C3%A9", "%FF"])
def test_a_topic_id_that_no_key_can_hold_is_422(service: Service, topic_id: str) -> None:
    answer = service.client.get(f"{API}/snippets?topic_id={topic_id}")
    assert blamed(answer) == ("topic_id", "use 1 to 128 characters of A-Z a-z 0-9 . _ ~ -")


def test_the_longest_topic_id_has_pages_and_a_link(service: Service) -> None:
    longest = "~._-" * 32
    topic(service, longest, 21)
    assert [len(found) for found in walk(service, f"{API}/snippets?topic_id={longest}")] == [20, 1]


def test_only_a_topic_has_further_pages(service: Service) -> None:
    field, remedy = blamed(service.client.get(f"{API}/snippets?page=2"))
    assert (field, remedy) == ("page", "give topic_id as well, or leave page out")
    assert service.client.get(f"{API}/snippets?page=1").json() == newest(service)


def test_the_newest_are_the_twenty_newest_of_all_topics(service: Service) -> None:
    ids = [one["topic_id"] for one in service.client.get(f"{API}/topics").json()]
    every = [snippet for one in ids for snippet in page(service, one)]
    answer = service.client.get(f"{API}/snippets")
    assert answer.json() == in_order(every)[:20]
    assert "link" not in answer.headers


def test_a_new_snippet_is_201_with_its_location_and_the_server_s_time(service: Service) -> None:
    topic(service, "new")
    before = datetime.now(UTC)
    answer = add(service, "new")
    after = datetime.now(UTC)
    snippet = answer.json()
    assert snippet.keys() == {"snippet_id", "topic_id", "title", "text_content", "generation_timestamp"}
    assert re.fullmatch("[0-9a-f]{32}", snippet["snippet_id"])
    assert answer.headers["location"] == f"{API}/snippets/{snippet['snippet_id']}"
    assert snippet["generation_timestamp"].endswith("Z")
    assert before <= datetime.fromisoformat(snippet["generation_timestamp"]) <= after
    assert service.client.get(answer.headers["location"]).json() == snippet


def test_optional_members_are_kept_where_given_and_left_out_where_not(service: Service) -> None:
    topic(service, "optional")
    pictured = add(service, "optional", **PICTURE).json()
    assert pictured.items() >= PICTURE.items()
    plain = {name: value for name, value in pictured.items() if name not in PICTURE}
    answer = service.client.put(f"{API}/snippets/{plain['snippet_id']}", json=plain, headers=service.editor)
    assert answer.json() == plain
    assert service.client.get(f"{API}/snippets/{plain['snippet_id']}").json() == plain


def test_get_edit_put_works_and_keeps_the_time(service: Service) -> None:
    topic(service, "edit")
    path = add(service, "edit").headers["location"]
    snippet = service.client.get(path).json()
    answer = put(service, snippet, title="Edited")
    assert (answer.status_code, answer.json()) == (200, snippet | {"title": "Edited"})


@pytest.mark.parametrize(
    ("member", "value"), [("snippet_id", "another"), ("generation_timestamp", "2020-01-01T00:00:00Z")]
)
def test_an_id_or_a_time_that_differs_is_422(service: Service, member: str, value: str) -> None:
    (snippet,) = topic(service, f"fixed_{member}", 1)
    assert blamed(put(service, snippet, **{member: value})) == (member, "leave it out, or send what is stored")


@pytest.mark.parametrize("member", ["snippet_id", "generation_timestamp"])
def test_a_new_snippet_cannot_bring_its_id_or_time(service: Service, member: str) -> None:
    (snippet,) = topic(service, f"own_{member}", 1)
    body = DRAFT | {"topic_id": f"own_{member}", member: snippet[member]}
    field, remedy = blamed(service.client.post(f"{API}/snippets", json=body, headers=service.editor))
    assert (field, remedy[:18]) == (member, "leave it out; send")


def test_a_change_is_seen_by_the_next_read_of_everything_it_is_in(service: Service) -> None:
    topic(service, "seen")
    snippet = add(service, "seen").json()
    for number in range(20):
        snippet = put(service, snippet, title=f"Version {number}").json()
        assert service.client.get(f"{API}/snippets/{snippet['snippet_id']}").json() == snippet
        assert page(service, "seen") == [snippet]
        assert newest(service)[0] == snippet
    service.client.delete(f"{API}/snippets/{snippet['snippet_id']}", headers=service.editor).raise_for_status()
    assert page(service, "seen") == []
    assert snippet not in newest(service)


def test_a_new_snippet_moves_every_page_on(service: Service) -> None:
    made = topic(service, "moving", 40)
    assert [len(page(service, "moving", number)) for number in (1, 2, 3)] == [20, 20, 0]
    made.append(add(service, "moving").json())
    pages = [page(service, "moving", number) for number in (1, 2, 3)]
    assert [snippet for found in pages for snippet in found] == made[::-1]
    service.client.delete(f"{API}/snippets/{made[-1]['snippet_id']}", headers=service.editor).raise_for_status()
    pages = [page(service, "moving", number) for number in (1, 2, 3)]
    assert pages == [made[39:19:-1], made[19::-1], []]


def test_a_snippet_that_changes_its_topic_changes_the_pages_of_both(service: Service) -> None:
    (snippet,) = topic(service, "from_here", 1)
    (other,) = topic(service, "to_there", 1)
    assert (page(service, "from_here"), page(service, "to_there")) == ([snippet], [other])
    moved = put(service, snippet, topic_id="to_there").json()
    assert moved == snippet | {"topic_id": "to_there"}
    assert (page(service, "from_here"), page(service, "to_there")) == ([], [other, moved])


def test_an_unknown_snippet_is_404(service: Service) -> None:
    path = f"{API}/snippets/nobody"
    read = service.client.get(path)
    assert read.headers["cache-status"].startswith("greenroom; ")
    written = service.client.put(path, json=DRAFT | {"topic_id": "tech_ai_ethics"}, headers=service.editor)
    deleted = service.client.delete(path, headers=service.editor)
    for answer in (read, written, deleted):
        assert "nobody" in problem(answer, 404, "not-found")["detail"]


def test_a_deleted_snippet_is_204_and_then_404(service: Service) -> None:
    (snippet,) = topic(service, "deleted", 1)
    path = f"{API}/snippets/{snippet['snippet_id']}"
    assert service.client.get(path).json() == snippet
    answer = service.client.delete(path, headers=service.editor)
    assert (answer.status_code, answer.content) == (204, b"")
    problem(service.client.get(path), 404, "not-found")


@pytest.mark.parametrize("topic_id", ["nobody", "a:b", "", "x" * 500])
def test_a_body_that_names_an_unknown_topic_is_422(service: Service, topic_id: str) -> None:
    (snippet,) = topic(service, "known", 1)
    posted = service.client.post(f"{API}/snippets", json=DRAFT | {"topic_id": topic_id}, headers=service.editor)
    for answer in (posted, put(service, snippet, topic_id=topic_id)):
        assert blamed(answer) == ("topic_id", "name one that exists")
        assert len(answer.content) < 700
    assert service.client.get(f"{API}/snippets/{snippet['snippet_id']}").json() == snippet


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PUT", "/{id}"), ("DELETE", "/{id}")])
def test_only_editors_write_snippets(service: Service, method: str, path: str) -> None:
    (snippet,) = topic(service, f"guarded_{method}", 1)
    body = DRAFT | {"topic_id": f"guarded_{method}"}
    answer = service.client.request(method, f"{API}/snippets" + path.format(id=snippet["snippet_id"]), json=body)
    problem(answer, 401, "unauthorized")
    assert page(service, f"guarded_{method}") == [snippet]


def test_valkey_holds_the_very_bytes_of_the_answers_for_the_specified_time(service: Service) -> None:
    made = topic(service, "stored", 21)
    single = f"/{made[0]['snippet_id']}"
    raw = service.raw()
    for path, key in (
        ("?topic_id=stored", "cache:snippets:topic:stored:page:1"),
        ("?topic_id=stored&page=2", "cache:snippets:topic:stored:page:2"),
        (single, f"cache:snippet:{made[0]['snippet_id']}"),
    ):
        body = service.client.get(f"{API}/snippets{path}").content
        assert raw("GET", key) == body
        assert b"null" not in body
        assert b"cover_art_prompt" not in body
        assert 0.95 * 1800 - 5 < raw("TTL", key) <= 1800
    put(service, made[0], title="Edited")
    assert raw("KEYS", "cache:snippets:topic:stored:*") == []
    assert raw("EXISTS", f"cache:snippet:{made[0]['snippet_id']}") == 0


def test_nothing_is_kept_under_the_key_of_a_page_past_the_end(service: Service) -> None:
    topic(service, "ended", 1)
    assert page(service, "ended", 2) == []
    assert service.raw()("EXISTS", "cache:snippets:topic:ended:page:2") == 0
