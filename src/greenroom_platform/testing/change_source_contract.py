"""The contract of a source of changes made outside: what any implementation of `ChangeSource` must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

import pytest

from greenroom.clock import SYSTEM
from greenroom.errors import RecordUnavailable
from greenroom_platform.definitions import SNIPPET_PAGE
from greenroom_platform.domain.foreign_changes import EVERYTHING, ChangeSource, ForeignChanges, TellsForeignChanges
from greenroom_platform.domain.records import Records
from greenroom_platform.domain.searching import Searchable
from greenroom_platform.domain.task_records import KeepsTasks, TaskRecords
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.testing.records_changes import NOON, about, fill, snippet, topic, wording
from greenroom_platform.testing.records_search import searchable, snippets_found, topics_found

_PATIENCE = 60.0
"""Seconds after which a change that is not told counts as never told."""


class Outside(Protocol):
    """Another program that writes to the record. What a call has written is committed when it returns."""

    def put_topic(self, topic: Topic) -> None:
        """Insert or replace a topic."""

    def delete_topic(self, topic_id: str) -> None:
        """Delete a topic, whatever is in it."""

    def put_snippet(self, snippet: Snippet) -> None:
        """Insert or replace a snippet, which may so move to another topic."""

    def delete_snippets(self, *snippet_ids: str) -> None:
        """Delete snippets, in one transaction."""

    def set_status(self, podcast_id: str, status: str) -> None:
        """Change a task's status."""

    def lose_history(self) -> None:
        """Let the record not know any more what was changed, as after a restored backup."""


class Seen:
    """What was told so far, put together."""

    def __init__(self) -> None:
        self.each: list[ForeignChanges[Any]] = []

    @property
    def topics(self) -> set[str]:
        return {one for told in self.each for one in told.topics}

    @property
    def snippets(self) -> set[str]:
        return {one for told in self.each for one in told.snippets}

    @property
    def statuses(self) -> set[str]:
        return {one for told in self.each for one in told.statuses}

    @property
    def lost(self) -> set[str]:
        return {one.name for told in self.each for one in told.lost}

    def last_page(self, topic_id: str) -> int:
        """The last page of a topic that was told; 0 where none was."""
        return max((dict(told.pages).get(topic_id, 0) for told in self.each), default=0)


class Watch:
    """A watcher that writes down what it is told."""

    def __init__(self, source: ChangeSource[Any], changes: Any, *, acknowledges: bool) -> None:
        self._source = source
        self._changes = changes
        self._acknowledges = acknowledges
        self.seen = Seen()

    async def until(self, condition: Callable[[Seen], object]) -> Seen:
        """Read on until a condition holds of what was told."""
        async with asyncio.timeout(_PATIENCE):
            while not condition(self.seen):
                told = await anext(self._changes)
                if self._acknowledges:
                    await self._source.acknowledge(told.position)
                self.seen.each.append(told)
        return self.seen


def source_of(records: Records) -> ChangeSource[Any]:
    """The record's source of changes made outside."""
    assert isinstance(records, TellsForeignChanges), "the record has no member `foreign_changes`"
    return records.foreign_changes


@asynccontextmanager
async def watching(records: Records, *, acknowledges: bool = True) -> AsyncIterator[Watch]:
    """Watch a record; what was told is acknowledged at once, unless the test says otherwise."""
    source = source_of(records)
    async with aclosing(source.changes()) as changes:
        yield Watch(source, changes, acknowledges=acknowledges)


class ChangeSourceContract:
    """Every promise of `ChangeSource` as a test. Subclass it, and say how an empty record of yours is opened
    (`records`), how it is opened once more (`another`), and how another program writes to it (`outside`):

        from greenroom_platform.testing import ChangeSourceContract

        class TestMyChanges(ChangeSourceContract):
            @pytest.fixture
            async def records(self): ...

            @pytest.fixture
            async def another(self, records): ...

            @pytest.fixture
            def outside(self, records): ...  # an `Outside`, of greenroom_platform.testing.change_source_contract

    The tests are coroutines, as those of `RecordsContract`.
    """

    @pytest.fixture
    def records(self) -> Records:
        """An empty record; to be overridden."""
        raise NotImplementedError("override the fixture `records`: it gives an empty record of yours")

    @pytest.fixture
    def another(self, records: Records) -> Records:
        """The record of `records`, opened once more as another process has it; to be overridden."""
        raise NotImplementedError("override the fixture `another`: it opens the record of `records` once more")

    @pytest.fixture
    def outside(self, records: Records) -> Outside:
        """Another program; to be overridden."""
        raise NotImplementedError("override the fixture `outside`: it writes to the record as another program does")

    @pytest.fixture
    async def begun(self, records: Records, outside: Outside) -> None:
        """The record has been watched, and has topics a with 21 snippets, b with one, and c without any."""
        await fill(records, "a", 21)
        await fill(records, "b", 1)
        await records.store([topic("c")], [])
        outside.put_topic(topic("first"))
        async with watching(records) as watch:
            await watch.until(lambda seen: seen.each)

    # What is told ----------------------------------------------------------------------------------

    @pytest.mark.usefixtures("begun")
    async def test_a_topic_put_and_deleted_by_another_is_told(self, records: Records, outside: Outside) -> None:
        changes: tuple[Callable[[], None], ...] = (
            lambda: outside.put_topic(topic("new")),
            lambda: outside.put_topic(topic("c", name="Theirs")),
            lambda: outside.delete_topic("c"),
        )
        for change in changes:
            change()
            async with watching(records) as watch:
                seen = await watch.until(lambda seen: seen.topics)
                assert len(seen.topics) == 1
                assert seen.snippets == seen.statuses == seen.lost == set()

    @pytest.mark.usefixtures("begun")
    async def test_a_snippet_put_by_another_is_told_with_its_pages(self, records: Records, outside: Outside) -> None:
        for one in (snippet("new", "b", NOON), snippet("b000", "b", NOON, "Theirs")):
            outside.put_snippet(one)
            async with watching(records) as watch:
                seen = await watch.until(lambda seen: seen.snippets and seen.last_page("b"))
                assert seen.snippets == {one.snippet_id}
                assert seen.last_page("b") >= 2
                assert (seen.last_page("a"), seen.lost) == (0, set())

    @pytest.mark.usefixtures("begun")
    async def test_a_moved_snippet_is_told_with_the_pages_of_both_topics(
        self, records: Records, outside: Outside
    ) -> None:
        outside.put_snippet(snippet("a000", "b", NOON))
        async with watching(records) as watch:
            seen = await watch.until(lambda seen: seen.last_page("a") and seen.last_page("b"))
        assert seen.snippets == {"a000"}
        assert seen.last_page("a") >= 3, "it had two pages, and may have had a snippet more"
        assert seen.last_page("b") >= 2

    @pytest.mark.usefixtures("begun")
    async def test_pages_that_deletions_leave_empty_are_told_too(self, records: Records, outside: Outside) -> None:
        outside.delete_snippets(*(f"a{number:03}" for number in range(21)))
        async with watching(records) as watch:
            seen = await watch.until(lambda seen: len(seen.snippets) == 21 or SNIPPET_PAGE.name in seen.lost)
        assert seen.last_page("a") >= 2 or SNIPPET_PAGE.name in seen.lost

    @pytest.mark.usefixtures("begun")
    async def test_a_status_set_by_another_is_told(self, records: Records, outside: Outside) -> None:
        if not isinstance(records, KeepsTasks):
            pytest.skip("the record keeps no tasks")
        tasks: TaskRecords = records.tasks
        await tasks.add_task("p", "a", NOON, max_unfinished=1)
        outside.set_status("p", "error")
        async with watching(records) as watch:
            seen = await watch.until(lambda seen: seen.statuses)
        assert seen.statuses == {"p"}
        assert seen.topics == seen.snippets == set()

    @pytest.mark.usefixtures("begun")
    async def test_no_change_of_the_records_own_is_told(self, records: Records, outside: Outside) -> None:
        await records.put_topic("a", about("Ours"), NOON)
        await records.add_snippet("new", wording("a"), NOON)
        await records.put_snippet("new", wording("b"))
        await records.delete_snippet("new")
        await records.store([topic("d")], [snippet("d000", "d", NOON)])
        await records.acknowledge([one.change_id for one in await records.pending()])
        outside.put_topic(topic("c", name="Theirs"))
        async with watching(records) as watch:
            seen = await watch.until(lambda seen: seen.topics)
        assert (seen.topics, seen.snippets, seen.last_page("a")) == ({"c"}, set(), 0)

    @pytest.mark.usefixtures("begun")
    async def test_changes_are_told_in_the_order_of_their_commits(self, records: Records, outside: Outside) -> None:
        names = [f"t{number}" for number in range(20)]
        for name in names:
            outside.put_topic(topic(name))
        async with watching(records) as watch:
            seen = await watch.until(lambda seen: names[-1] in seen.topics)
        together = [sorted(told.topics, key=names.index) for told in seen.each]
        assert [name for some in together for name in some] == names

    @pytest.mark.usefixtures("begun")
    async def test_what_others_write_is_found_before_it_is_told(self, records: Records, outside: Outside) -> None:
        """Prevents: it is told, and searches are dropped · a search is cached without it · its words are written."""
        searchable(records)
        outside.put_topic(topic("c", name="Whales"))
        outside.put_snippet(snippet("b000", "b", NOON, "Whales"))
        outside.delete_snippets("a000")
        async with watching(records) as watch:
            await watch.until(lambda seen: seen.topics and seen.snippets == {"a000", "b000"})
            assert (await topics_found(records, "whales"), await snippets_found(records, "whales")) == (["c"], ["b000"])
            assert await topics_found(records, "name") == ["a", "b", "first"]
            assert len(await snippets_found(records, "title")) == 20
            # What was told are not the words, which were changed for it.
            outside.put_topic(topic("later", name="Sharks"))
            await watch.until(lambda seen: "later" in seen.topics)
            assert await topics_found(records, "sharks") == ["later"]
        assert watch.seen.topics == {"c", "later"}

    # Who is told, and how often --------------------------------------------------------------------

    @pytest.mark.usefixtures("begun")
    async def test_what_comes_while_it_is_watched_is_told(self, records: Records, outside: Outside) -> None:
        async with watching(records) as watch:
            for number in range(3):
                await asyncio.to_thread(outside.put_topic, topic(f"t{number}"))
                await watch.until(lambda seen: len(seen.topics) > number)  # noqa: B023  it is called at once

    @pytest.mark.usefixtures("begun")
    async def test_what_was_acknowledged_is_never_told_again(
        self, records: Records, another: Records, outside: Outside
    ) -> None:
        outside.put_topic(topic("one"))
        async with watching(records) as watch:
            await watch.until(lambda seen: seen.topics)
        outside.put_topic(topic("two"))
        async with watching(another) as watch:
            assert (await watch.until(lambda seen: seen.topics)).topics == {"two"}

    @pytest.mark.usefixtures("begun")
    async def test_what_was_not_acknowledged_is_told_to_the_next(
        self, records: Records, another: Records, outside: Outside
    ) -> None:
        """Prevents: a watcher reads a change · it is killed before the drop · nobody ever drops it."""
        outside.put_topic(topic("one"))
        async with watching(records, acknowledges=False) as watch:
            await watch.until(lambda seen: seen.topics)
        async with watching(another) as watch:
            assert (await watch.until(lambda seen: seen.topics)).topics == {"one"}

    @pytest.mark.usefixtures("begun")
    async def test_two_that_watch_are_both_told(self, records: Records, another: Records, outside: Outside) -> None:
        async with watching(records, acknowledges=False) as one, watching(another, acknowledges=False) as two:
            outside.put_topic(topic("new"))
            for watch in (one, two):
                await watch.until(lambda seen: "new" in seen.topics)

    @pytest.mark.usefixtures("begun")
    async def test_the_slower_of_two_watchers_acknowledges_no_later_change(
        self, records: Records, another: Records, outside: Outside
    ) -> None:
        """Prevents: both read · the faster acknowledges what comes later · the slower takes its place back."""
        outside.put_topic(topic("one"))
        async with watching(records, acknowledges=False) as slow:
            await slow.until(lambda seen: "one" in seen.topics)
        outside.put_topic(topic("two"))
        async with watching(another) as fast:
            await fast.until(lambda seen: "two" in seen.topics)
        outside.put_topic(topic("three"))
        await source_of(records).acknowledge(slow.seen.each[-1].position)
        async with watching(another) as watch:
            assert (await watch.until(lambda seen: seen.topics)).topics == {"three"}

    # Failures --------------------------------------------------------------------------------------

    @pytest.mark.usefixtures("begun")
    async def test_a_lost_history_is_everything_and_what_comes_later_is_told(
        self, records: Records, outside: Outside
    ) -> None:
        outside.put_topic(topic("missed"))
        outside.lose_history()
        outside.put_topic(topic("missed", name="Unseen"))
        async with watching(records) as watch:
            await watch.until(lambda seen: seen.lost >= {one.name for one in EVERYTHING})
            outside.put_topic(topic("later"))
            await watch.until(lambda seen: "later" in seen.topics)
            if isinstance(records, Searchable):
                async with asyncio.timeout(_PATIENCE):
                    while await topics_found(records, "unseen") != ["missed"]:
                        await asyncio.sleep(0.01)

    @pytest.mark.usefixtures("begun")
    async def test_the_moment_of_a_change_is_told_or_none(self, records: Records, outside: Outside) -> None:
        outside.put_topic(topic("new"))
        async with watching(records) as watch:
            (told,) = (await watch.until(lambda seen: seen.topics)).each
        assert told.events >= 1
        assert told.written is None or abs(told.written - _now()) < timedelta(minutes=10).total_seconds()

    @pytest.mark.usefixtures("begun")
    async def test_a_closed_record_tells_that_it_cannot_be_asked(self, records: Records) -> None:
        await records.close()
        with pytest.raises(RecordUnavailable):
            async with watching(records) as watch:
                await watch.until(lambda seen: seen.each)


def _now() -> float:
    return SYSTEM.now().timestamp()
