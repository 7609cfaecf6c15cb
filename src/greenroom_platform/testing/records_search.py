"""The sixth part of the record's contract: what a search finds, for a record that is `Searchable`."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from greenroom_platform.domain.records import Records, SnippetDraft
from greenroom_platform.domain.searching import Searchable, words_of
from greenroom_platform.testing.records_changes import NOON, about, snippet, topic, wording


def searchable(records: Records) -> Searchable:
    """The record, if it can be searched; the test is skipped otherwise."""
    if not isinstance(records, Searchable):
        pytest.skip("the record cannot be searched")
    return records


async def topics_found(records: Records, typed: str, limit: int = 20) -> list[str]:
    """The ids of the topics that a search finds."""
    return [one.topic_id for one in await searchable(records).search_topics(words_of(typed), limit)]


async def snippets_found(records: Records, typed: str, limit: int = 20) -> list[str]:
    """The ids of the snippets that a search finds."""
    return [one.snippet_id for one in await searchable(records).search_snippets(words_of(typed), limit)]


class SearchContract:
    """Part of `RecordsContract`."""

    async def test_a_search_finds_all_words_and_the_last_by_its_beginning(self, records: Records) -> None:
        draft = about("Deep Océan", description="Waves, Straße & ΦΩΣ.", keywords=("tide pools", "C++", "серый ёж"))
        await records.put_topic("a", draft, NOON)
        for found in (
            "deep",
            "DEEP oc",
            "ocean",
            "océ",
            "pools wav",
            "straß",
            "φωσ",
            "φως",
            "tide",
            "c",
            "deep deep",
            "СЕРЫЙ ё",
        ):
            assert await topics_found(records, found) == ["a"], found
        for missing in ("eep", "de ocean", "deep sea", "deepocean", "oceans", "straßen", "серыи"):
            assert await topics_found(records, missing) == [], missing
        assert await snippets_found(records, "deep") == []

    async def test_what_is_typed_is_never_grammar(self, records: Records) -> None:
        await records.put_topic("a", about("AND OR NOT near title body $where"), NOON)
        for typed in ('"and" or', "title:and", "near(and or)", "-and", "^and", "and*", "{title} : and", "$where", "a%"):
            assert await topics_found(records, typed) == ["a"], typed
        for typed in ("x OR and", "not x", 'x"', "x*"):
            assert await topics_found(records, typed) == [], typed

    async def test_titles_go_before_texts_then_the_newest_first(self, records: Records) -> None:
        searchable(records)
        day = timedelta(days=1)
        every = [
            msgspec.structs.replace(snippet(name, "t", NOON + moment * day, title), text_content=text)
            for name, moment, title, text in (
                ("old", 0, "A whale", "One."),
                ("new", 2, "The whales", "Two."),
                ("same", 2, "Whale song", "Three."),
                ("text", 9, "A fish", "Smaller than a whale."),
                ("none", 9, "A fish", "Smaller than a shark."),
            )
        ]
        await records.store([topic("t", name="b"), topic("u", name="a")], every)
        assert await snippets_found(records, "a whale") == ["old", "text"]
        assert await snippets_found(records, "whal") == ["new", "same", "old", "text"]
        assert await snippets_found(records, "whal", 3) == ["new", "same", "old"]
        await records.put_topic("named", about("Whale"), NOON)
        for name in ("b", "a"):
            await records.put_topic(name, about(name, keywords=("whale",)), NOON)
        assert await topics_found(records, "whale") == ["named", "a", "b"]

    async def test_a_change_is_found_by_the_next_search_and_what_was_is_not(self, records: Records) -> None:
        searchable(records)
        await records.put_topic("t", about("Before"), NOON)
        await records.add_snippet("s", wording("t", "Before"), NOON)
        assert (await topics_found(records, "before"), await snippets_found(records, "before")) == (["t"], ["s"])
        await records.put_topic("t", about("After"), NOON)
        await records.put_snippet("s", SnippetDraft(topic_id="t", title="After", text_content="Then."))
        assert (await topics_found(records, "before"), await snippets_found(records, "before")) == ([], [])
        assert (await topics_found(records, "after"), await snippets_found(records, "then")) == (["t"], ["s"])
        await records.store([topic("t", name="Whole")], [snippet("s", "t", NOON, "Whole")])
        assert (await topics_found(records, "whole"), await snippets_found(records, "whole")) == (["t"], ["s"])
        assert await snippets_found(records, "then") == []
        await records.delete_snippet("s")
        await records.delete_topic("t")
        assert (await topics_found(records, "whole"), await snippets_found(records, "whole")) == ([], [])

    async def test_a_change_that_fails_changes_no_word(self, records: Records) -> None:
        searchable(records)
        await records.put_topic("t", about("Before"), NOON)

        def failing(_: object) -> object:
            raise KeyError

        with pytest.raises(KeyError):
            await records.edit_topic("t", failing, NOON)  # type: ignore[arg-type]
        with pytest.raises(Exception):  # noqa: B017  the topic that a snippet names is not there
            await records.store([topic("t", name="After")], [snippet("s", "none", NOON, "After")])
        assert await topics_found(records, "before") == ["t"]
        assert (await topics_found(records, "after"), await snippets_found(records, "after")) == ([], [])

    async def test_searches_and_changes_at_once_find_one_or_the_other(self, records: Records) -> None:
        searchable(records)
        names = ("Even", "Odd")
        await records.put_topic("t", about(names[0]), NOON)

        async def change() -> None:
            for number in range(10):
                await records.put_topic("t", about(names[number % 2]), NOON)

        async def look() -> None:
            for _ in range(10):
                for name in names:
                    for one in await searchable(records).search_topics(words_of(name), 20):
                        assert one.display_name == name

        await asyncio.gather(change(), look(), look())
