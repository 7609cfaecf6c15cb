"""The second half of the record's contract: what a write says it made stale, the outbox, and callers at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from greenroom.errors import Conflict, UnknownReference
from greenroom_platform.domain.records import Change, Records, SnippetDraft, TopicDraft, Written
from greenroom_platform.models import Snippet, Topic

NOON = datetime(2026, 1, 2, 12, 0, 0, 123_456, UTC)


def about(name: str, *, description: str = "", keywords: tuple[str, ...] = ()) -> TopicDraft:
    """What an editor says of a topic."""
    return TopicDraft(display_name=name, description=description, keywords=keywords)


def wording(topic_id: str, title: str = "Title", **optional: str) -> SnippetDraft:
    """What an editor says of a snippet."""
    return SnippetDraft(topic_id=topic_id, title=title, text_content="Text.", **optional)


def topic(topic_id: str, moment: datetime = NOON, *, name: str = "Name") -> Topic:
    """A whole topic, created and updated at `moment`."""
    return Topic(
        topic_id=topic_id, display_name=name, description="", keywords=(), created_at=moment, updated_at=moment
    )


def snippet(snippet_id: str, topic_id: str, moment: datetime, title: str = "Title", **optional: str) -> Snippet:
    """A whole snippet."""
    return Snippet(
        snippet_id=snippet_id,
        topic_id=topic_id,
        title=title,
        text_content="Text.",
        generation_timestamp=moment,
        **optional,
    )


async def fill(records: Records, topic_id: str, count: int) -> list[str]:
    """A topic with so many snippets, a second apart; returns their ids, oldest first."""
    every = [f"{topic_id}{number:03}" for number in range(count)]
    snippets = [snippet(one, topic_id, NOON + timedelta(seconds=number)) for number, one in enumerate(every)]
    await records.store([topic(topic_id)], snippets)
    return every


def ids(snippets: Iterable[Snippet]) -> list[str]:
    """Their ids, in order."""
    return [one.snippet_id for one in snippets]


class ChangesContract:
    """Part of `RecordsContract`."""

    # What a write made stale -----------------------------------------------------------------------

    async def test_a_written_or_deleted_topic_makes_itself_stale_and_no_page(self, records: Records) -> None:
        for _ in range(2):
            change = (await records.put_topic("a", about("A"), NOON)).change
            assert (change.topics, change.snippets, change.pages) == (("a",), (), ())
        deleted = await records.delete_topic("a")
        assert deleted is not None
        assert (deleted.topics, deleted.snippets) == (("a",), ())

    @pytest.mark.parametrize(("count", "last"), [(0, 2), (18, 2), (19, 2), (20, 3), (39, 3), (40, 4)])
    async def test_an_added_snippet_makes_stale_every_page_after_it_and_one_more(
        self, records: Records, count: int, last: int
    ) -> None:
        await fill(records, "a", count)
        await fill(records, "b", 1)
        change = (await records.add_snippet("s", wording("a"), NOON)).change
        assert (change.topics, change.snippets, change.pages) == ((), ("s",), (("a", last),))

    @pytest.mark.parametrize(("count", "last"), [(1, 2), (20, 2), (21, 3), (41, 4)])
    async def test_a_deleted_snippet_makes_stale_every_page_before_it_and_one_more(
        self, records: Records, count: int, last: int
    ) -> None:
        await fill(records, "a", count)
        change = await records.delete_snippet("a000")
        assert change is not None
        assert (change.topics, change.snippets, change.pages) == ((), ("a000",), (("a", last),))

    async def test_a_replaced_snippet_makes_stale_the_pages_of_its_topic(self, records: Records) -> None:
        await fill(records, "a", 21)
        await fill(records, "b", 1)
        written = await records.put_snippet("a000", wording("a", "After"))
        assert written is not None
        assert (written.change.topics, written.change.snippets) == ((), ("a000",))
        assert written.change.pages == (("a", 3),)

    async def test_a_moved_snippet_makes_stale_the_pages_of_both_topics(self, records: Records) -> None:
        await fill(records, "a", 21)
        await fill(records, "b", 40)
        written = await records.put_snippet("a000", wording("b"))
        assert written is not None
        assert dict(written.change.pages) == {"a": 3, "b": 4}
        stored = await records.store([], [snippet("a000", "a", NOON)])
        assert stored is not None
        assert dict(stored.pages) == {"a": 3, "b": 4}

    async def test_whole_objects_make_stale_only_what_differs(self, records: Records) -> None:
        topics = [topic("a"), topic("b"), topic("c")]
        await records.store(topics, [snippet("s", "a", NOON), snippet("t", "b", NOON)])
        later = NOON + timedelta(seconds=1)
        change = await records.store(
            [topic("a"), topic("b", name="After")], [snippet("s", "a", NOON), snippet("t", "b", later)]
        )
        assert change is not None
        assert (change.topics, change.snippets, change.pages) == (("b",), ("t",), (("b", 2),))

    async def test_whatever_reads_differently_after_a_write_is_named_by_its_change(self, records: Records) -> None:
        dice = random.Random(5)
        topics, snippets = ["a", "b", "c"], [f"s{number}" for number in range(30)]
        await records.store([topic(one) for one in topics], [])
        await records.store([], [snippet(one, "a", NOON) for one in snippets[:19]])
        looks = random.Random(5)
        before = await _everything(records, looks, topics, snippets)
        for number in range(80):
            change = await _any_write(records, dice, topics, snippets, number)
            after = await _everything(records, looks, topics, snippets)
            differing = {key for key in before if before[key] != after[key]}
            assert differing <= _named(change)
            before = after

    # The outbox ------------------------------------------------------------------------------------

    async def test_changes_stay_pending_until_acknowledged_the_oldest_first(self, records: Records) -> None:
        changes: list[Change | None] = [
            (await records.put_topic("a", about("A"), NOON)).change,
            (await records.add_snippet("s", wording("a"), NOON)).change,
            _change(await records.put_snippet("s", wording("a", "After"))),
            await records.delete_snippet("s"),
            await records.store([topic("b")], [snippet("t", "b", NOON)]),
            await records.delete_topic("a"),
        ]
        assert list(await records.pending()) == changes
        assert list(await records.pending(limit=2)) == changes[:2]
        await records.acknowledge([change.change_id for change in changes[1:4] if change])
        assert list(await records.pending()) == [changes[0], *changes[4:]]
        await records.acknowledge([change.change_id for change in changes if change])
        assert await records.pending() == ()

    async def test_a_change_is_pending_for_others_once_it_is_old_enough(self, records: Records) -> None:
        change = (await records.put_topic("a", about("A"), NOON)).change
        assert await records.pending(older_than=60) == ()
        await asyncio.sleep(0.05)
        assert await records.pending(older_than=0.02) == (change,)

    async def test_unknown_or_old_acknowledgements_remove_no_later_change(self, records: Records) -> None:
        old = (await records.put_topic("a", about("A"), NOON)).change
        await records.acknowledge([old.change_id])
        new = (await records.put_topic("a", about("B"), NOON)).change
        await records.acknowledge([old.change_id, 1_000_000])
        await records.acknowledge([])
        assert await records.pending() == (new,)

    async def test_a_write_that_does_not_take_place_leaves_no_change(self, records: Records) -> None:
        await fill(records, "a", 1)
        before = await records.pending()
        for refused in (
            records.add_snippet("s", wording("unknown"), NOON),
            records.add_snippet("a000", wording("a"), NOON),
            records.put_snippet("a000", wording("unknown")),
            records.delete_topic("a"),
            records.store([topic("b")], [snippet("s", "unknown", NOON)]),
        ):
            with pytest.raises((Conflict, UnknownReference)):
                await refused
        assert await records.put_snippet("unknown", wording("a")) is None
        assert await records.delete_snippet("unknown") is None
        assert await records.delete_topic("unknown") is None
        assert await records.pending() == before

    # Callers at once -------------------------------------------------------------------------------

    async def test_two_writers_at_once_lose_nothing(self, records: Records) -> None:
        await records.store([topic("a")], [])

        async def write(writer: str) -> list[Change]:
            return [
                (await records.add_snippet(f"{writer}{number:02}", wording("a"), NOON)).change for number in range(25)
            ]

        first, second = await asyncio.gather(write("x"), write("y"))
        every = [*await records.page("a", 1), *await records.page("a", 2), *await records.page("a", 3)]
        assert ids(every) == [f"{writer}{number:02}" for writer in "xy" for number in range(25)]
        pending = (await records.pending())[1:]
        assert sorted(pending, key=_number) == sorted([*first, *second], key=_number)
        assert len({change.change_id for change in pending}) == 50
        assert max(last for change in pending for _, last in change.pages) == 4

    async def test_of_two_that_add_one_id_at_once_one_succeeds(self, records: Records) -> None:
        await records.store([topic("a")], [])
        adding = (records.add_snippet("s", wording("a", title), NOON) for title in ("One", "Two"))
        results = await asyncio.gather(*adding, return_exceptions=True)
        (written,) = (one for one in results if isinstance(one, Written))
        assert [type(one) for one in results if one is not written] == [Conflict]
        assert await records.snippet("s") == written.value

    async def test_no_snippet_outlives_a_topic_deleted_at_the_same_time(self, records: Records) -> None:
        for number in range(10):
            topic_id = f"t{number}"
            await records.store([topic(topic_id)], [])
            added, _ = await asyncio.gather(
                records.add_snippet(f"s{number}", wording(topic_id), NOON),
                records.delete_topic(topic_id),
                return_exceptions=True,
            )
            kept = await records.topic(topic_id) is not None
            assert kept == isinstance(added, Written) == (await records.snippet(f"s{number}") is not None)

    async def test_every_read_sees_what_was_committed_before_it_began(self, records: Records) -> None:
        await records.store([topic("a")], [snippet("s", "a", NOON)])
        for number in range(20):
            name = f"Name {number}"
            await records.put_topic("a", about(name), NOON)
            await records.put_snippet("s", wording("a", name))
            reads: list[Sequence[Any]] = await asyncio.gather(
                *(asyncio.gather(records.topic("a"), records.snippet("s")) for _ in range(4)),
                *(asyncio.gather(records.topics(), records.page("a", 1), records.newest(1)) for _ in range(4)),
            )
            for read in reads:
                for value in read:
                    one = value[0] if isinstance(value, tuple) else value
                    assert name in (getattr(one, "display_name", None), getattr(one, "title", None))


def _number(change: Change) -> int:
    return change.change_id


def _change(written: Written[Snippet] | None) -> Change | None:
    return written.change if written is not None else None


async def _everything(
    records: Records, dice: random.Random, topics: Sequence[str], snippets: Sequence[str]
) -> dict[Any, object]:
    """What each cached key would hold. Most snippets are taken from their pages, which hold them whole."""
    found: dict[Any, object] = {"topics": await records.topics()}
    found |= {("topic", one): await records.topic(one) for one in topics}
    pages = {("page", one, page): await records.page(one, page) for one in topics for page in (1, 2, 3)}
    there = {one.snippet_id: one for shown in pages.values() for one in shown}
    for one in dice.sample(snippets, 5):
        assert await records.snippet(one) == there.get(one)
    return found | pages | {("snippet", one): there.get(one) for one in snippets}


def _named(change: Change | None) -> set[Any]:
    if change is None:
        return set()
    named: set[Any] = {"topics"} if change.topics else set()
    named |= {("topic", one) for one in change.topics} | {("snippet", one) for one in change.snippets}
    return named | {("page", one, page) for one, last in change.pages for page in range(1, last + 1)}


async def _any_write(
    records: Records, dice: random.Random, topics: Sequence[str], snippets: Sequence[str], number: int
) -> Change | None:
    one, topic_id, moment = dice.choice(snippets), dice.choice(topics), NOON + timedelta(seconds=dice.randrange(-9, 9))
    try:
        match dice.randrange(8):
            case 0 | 1 | 2:
                return (await records.add_snippet(one, wording(topic_id), moment)).change
            case 3 | 4:
                return _change(await records.put_snippet(one, wording(topic_id, f"Title {number}")))
            case 5:
                return await records.delete_snippet(one)
            case 6:
                return (await records.put_topic(topic_id, about(f"Name {number % 5}"), moment)).change
            case _:
                some = [snippet(each, topic_id, moment) for each in dice.sample(snippets, 3)]
                return await records.store([topic(topic_id, moment)], some)
    except (Conflict, UnknownReference):
        return None
