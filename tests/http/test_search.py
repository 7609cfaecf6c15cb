"""`GET /search`: topics and snippets by their words, cached, and dropped by every change."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.http.test_snippets import add, put, topic
from tests.support.problem_checks import blamed
from tests.support.running_service import API, Service


def found(service: Service, q: str, **more: Any) -> tuple[list[str], list[str]]:
    answer = service.client.get(f"{API}/search", params={"q": q, **more})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"topics", "snippets"}
    return [one["topic_id"] for one in body["topics"]], [one["title"] for one in body["snippets"]]


def test_topics_and_snippets_are_found_best_first_and_bounded(service: Service) -> None:
    word = f"Zéphyr{uuid4().hex[:8]}"
    topic(service, word.replace("é", "e"))
    for title, text in (("In the text", f"About {word}."), (f"{word} one", "Text."), (f"{word} two", "Text.")):
        add(service, word.replace("é", "e"), title=title, text_content=text)
    typed = word[:-1].upper()
    names, titles = found(service, typed)
    assert (names, titles) == ([word.replace("é", "e")], [f"{word} two", f"{word} one", "In the text"])
    assert found(service, typed, limit=1) == (names, titles[:1])
    assert found(service, f"{word} two") == ([], [f"{word} two"])
    # In a key this is a digest, which leads back to nothing; the record is asked for the words all the same.
    add(service, word.replace("é", "e"), title=f"{word} Северное сияние над замёрзшим озером")
    long = f"{word} северное сияние над замёрзшим озе"
    for _ in range(2):
        assert found(service, long)[1] == [f"{word} Северное сияние над замёрзшим озером"]
    assert found(service, f"{long}ц") == ([], [])
    whole = service.client.get(f"{API}/search", params={"q": word, "limit": 1}).json()
    stored = service.client.get(f"{API}/snippets/{whole['snippets'][0]['snippet_id']}").json()
    assert whole["snippets"] == [stored]
    assert stored["title"].endswith("озером")


def test_a_search_is_cached_and_every_change_is_seen_by_the_next_one(service: Service) -> None:
    word = f"brine{uuid4().hex[:8]}"
    (snippet,) = topic(service, word, 1)
    params = {"q": f"  {word.upper()}! "}
    first, second = (service.client.get(f"{API}/search", params=params) for _ in range(2))
    assert "fwd" in first.headers["cache-status"]
    assert "hit" in second.headers["cache-status"]
    same = service.client.get(f"{API}/search?q={word}")
    assert "hit" in same.headers["cache-status"], "what means the same is one search"
    tagged = {"If-None-Match": second.headers["etag"]}
    for _ in range(3):  # the last is answered before the router
        assert service.client.get(f"{API}/search", params=params, headers=tagged).status_code == 304
    assert service.client.get(f"{API}/search", params=params).content == first.content
    put(service, snippet, title=f"{word} first")
    assert found(service, word) == ([word], [f"{word} first"])
    added = add(service, word, text_content=word).json()
    assert found(service, word) == ([word], [f"{word} first", "A title"])
    service.client.delete(f"{API}/snippets/{added['snippet_id']}", headers=service.editor).raise_for_status()
    assert found(service, word) == ([word], [f"{word} first"])
    body = {"display_name": "Another name", "description": "", "keywords": []}
    service.client.put(f"{API}/topics/{word}", json=body, headers=service.editor).raise_for_status()
    assert found(service, word) == ([], [f"{word} first"])


def test_what_cannot_be_looked_for_is_told(service: Service) -> None:
    for query, field, said in (
        ("", "q", "type 2 to 100 characters"),
        ("?q=", "q", "type 2 to 100 characters"),
        ("?q=%20a%20", "q", "type 2 to 100 characters"),
        ("?q=" + 101 * "a", "q", "type 2 to 100 characters"),
        ("?q=!!!", "q", "type a word, or its beginning"),
        ("?q=ab&q=cd", "q", "give it once"),
        ("?q=ab&limit=21", "limit", "send a whole number from 1 to 20"),
        ("?q=ab&limit=0", "limit", "send a whole number from 1 to 20"),
    ):
        assert blamed(service.client.get(f"{API}/search{query}")) == (field, said), query
    for typed in ('"', "%22ab", "ab*", "title:ab", "a\u0000b"):
        assert service.client.get(f"{API}/search", params={"q": f"{typed} xx"}).status_code == 200, typed
    assert service.client.get(f"{API}/search?q=%ff%fe{50 * '%F0%9F%98%80'}xyz").status_code == 200


def test_searches_that_the_record_answers_are_bounded_per_address(service: Service) -> None:
    word = uuid4().hex[:8]
    assert found(service, word) == ([], [])
    raw = service.raw()
    try:

        def counted() -> int:
            return sum(raw("LLEN", key) for key in raw("KEYS", "greenroom:attempts:*"))

        before = counted()
        for _ in range(3):
            assert found(service, word) == ([], [])
        assert counted() == before, "what is cached is not counted"
        assert found(service, f"{word}a") == ([], [])
        assert counted() == before + 1
    finally:
        raw.close()
