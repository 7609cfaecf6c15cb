"""The fourth part of the record's contract: drafts made of what is stored, in the transaction that stores them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from greenroom.errors import PreconditionFailed, UnknownReference
from greenroom_platform.domain.precondition import Precondition, Versions
from greenroom_platform.domain.records import Records, SnippetDraft, TopicDraft, Written
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.testing.records_changes import NOON, about, fill, snippet, topic, wording


class EditRefused(Exception):
    """What an edit raises, of a kind that no record knows."""


class EditsContract:
    """Part of `RecordsContract`."""

    async def test_an_edit_is_given_what_is_stored_and_its_draft_is_put(self, records: Records) -> None:
        assert await records.topic("a") is None
        seen: list[Topic | Snippet | None] = []

        def rename(stored: Topic | None) -> TopicDraft:
            seen.append(stored)
            return about("New" if stored is None else f"{stored.display_name}er")

        def retitle(stored: Snippet) -> SnippetDraft:
            seen.append(stored)
            return wording(stored.topic_id, f"{stored.title}s")

        made = await records.edit_topic("a", rename, NOON)
        changed = await records.edit_topic("a", rename, NOON + timedelta(days=1))
        await records.store([], [snippet("s", "a", NOON)])
        retitled = await records.edit_snippet("s", retitle)
        assert seen == [None, made.value, snippet("s", "a", NOON)]
        assert (made.created, changed.created) == (True, False)
        assert (changed.value.display_name, changed.value.created_at) == ("Newer", NOON)
        assert await records.topic("a") == changed.value
        assert retitled is not None
        assert await records.snippet("s") == retitled.value == snippet("s", "a", NOON, "Titles")
        assert retitled.change.pages == (("a", 2),)
        assert await records.edit_snippet("unknown", retitle) is None
        assert len(seen) == 3

    async def test_what_an_edit_raises_comes_out_and_nothing_is_changed(self, records: Records) -> None:
        await fill(records, "a", 1)
        pending = await records.pending()

        def refuse(stored: object) -> TopicDraft:
            raise EditRefused

        def refuse_snippet(stored: object) -> SnippetDraft:
            raise EditRefused

        with pytest.raises(EditRefused):
            await records.edit_topic("a", refuse, NOON)
        with pytest.raises(EditRefused):
            await records.edit_topic("b", refuse, NOON)
        with pytest.raises(EditRefused):
            await records.edit_snippet("a000", refuse_snippet)
        with pytest.raises(UnknownReference):
            await records.edit_snippet("a000", lambda _: wording("unknown"))
        assert await records.topics() == (topic("a"),)
        assert await records.snippet("a000") == snippet("a000", "a", NOON)
        assert await records.pending() == pending
        await records.put_topic("a", about("After"), NOON)  # and nothing is left open

    async def test_a_condition_comes_before_its_edit(self, records: Records) -> None:
        await fill(records, "a", 1)
        never = Precondition(match=Versions())

        def refuse(stored: object) -> TopicDraft:
            raise EditRefused

        def refuse_snippet(stored: object) -> SnippetDraft:
            raise EditRefused

        with pytest.raises(PreconditionFailed):
            await records.edit_topic("a", refuse, NOON, condition=never)
        with pytest.raises(PreconditionFailed):
            await records.edit_snippet("a000", refuse_snippet, condition=never)

    async def test_no_edit_of_many_at_once_is_lost(self, records: Records) -> None:
        await fill(records, "a", 1)

        def longer(stored: Topic | None) -> TopicDraft:
            assert stored is not None
            return about(f"{stored.display_name}+")

        def longer_snippet(stored: Snippet) -> SnippetDraft:
            return wording("a", f"{stored.title}+")

        written = await asyncio.gather(
            *(records.edit_topic("a", longer, NOON) for _ in range(4)),
            *(records.edit_snippet("a000", longer_snippet) for _ in range(4)),
        )
        changed, retitled = await records.topic("a"), await records.snippet("a000")
        assert changed is not None
        assert retitled is not None
        assert (changed.display_name, retitled.title) == ("Name" + 4 * "+", "Title" + 4 * "+")
        values = [one.value for one in written if isinstance(one, Written)]
        assert len(values) == len(set(values)) == 8
