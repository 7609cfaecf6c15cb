"""A search among a great many matches: bounded, and what few documents have is found all the same."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from greenroom_platform.storage import open_records
from greenroom_platform.storage.mongodb import search as mongodb_search
from greenroom_platform.storage.sqlite import search as sqlite_search
from greenroom_platform.testing.records_changes import NOON, snippet, topic
from greenroom_platform.testing.records_search import snippets_found


async def test_a_rare_word_is_found_beside_one_that_all_have(record_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongodb_search, "CANDIDATES", 3)
    monkeypatch.setattr(sqlite_search, "CANDIDATES", 3)
    records = await open_records(record_url)
    try:
        titles = ["The zebra", "The zebu", *["The sea"] * 8]
        every = [snippet(f"s{n}", "t", NOON + timedelta(seconds=n), title) for n, title in enumerate(titles)]
        odd = msgspec.structs.replace(every[2], text_content="The zebra again.")
        await records.store([topic("t")], [*every, odd])
        assert await snippets_found(records, "the zebra") == ["s0", "s2"], "though all have the other word"
        assert await snippets_found(records, "zebra the") == ["s0", "s2"]
        assert await snippets_found(records, "the zeb") == ["s1", "s0", "s2"]
        assert await snippets_found(records, "the sea", 2) == ["s9", "s8"]
        assert await snippets_found(records, "zebras") == [], "its first four letters are the same"
        assert len(await snippets_found(records, "the")) == 3, "as many as are looked at"
    finally:
        await records.close()
