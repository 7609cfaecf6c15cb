"""The fifth part of the record's contract: others who have it open, and writes that are cut off in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Protocol

import pytest

from greenroom.errors import Conflict, RecordError, RecordOutcomeUnknown, RecordUnavailable, UnknownReference
from greenroom_platform.domain.records import Records, TopicDraft, Written, changes_in
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.testing.records_changes import NOON, about, fill, snippet, topic, wording
from greenroom_platform.testing.records_conditions import NEVER_STORED, on


class Cut(Protocol):
    """A record that is being cut off."""

    reached: bool
    """Whether the step was reached."""


Cuts = Sequence[Callable[[int], AbstractContextManager[Cut]]]
"""Ways to cut a record off: each is given a number, and lets that step (from 0) of the next write fail, and all after
it, until its block is left."""

_Write = Callable[[Records, str], Awaitable[object]]


async def _put(records: Records, name: str) -> object:
    return await records.put_topic(name, about("After"), NOON)


async def _add(records: Records, name: str) -> object:
    return await records.add_snippet(f"{name}-new", wording(name), NOON)


async def _move(records: Records, name: str) -> object:
    return await records.put_snippet(f"{name}000", wording(f"{name}-other", "After"))


async def _delete(records: Records, name: str) -> object:
    return await records.delete_snippet(f"{name}000")


async def _store(records: Records, name: str) -> object:
    return await records.store([topic(f"{name}-new")], [snippet(f"{name}-s", f"{name}-new", NOON)])


WRITES: dict[str, _Write] = {"put": _put, "add": _add, "move": _move, "delete": _delete, "store": _store}


class ElsewhereContract:
    """Part of `RecordsContract`."""

    @pytest.fixture
    def another(self, records: Records) -> Records:
        """The record of `records`, opened once more as another process has it; to be overridden."""
        pytest.skip("override the fixture `another`: it opens the record of `records` once more")

    @pytest.fixture
    def cuts(self, records: Records) -> Cuts:
        """Ways in which the record of `records` can be cut off; to be overridden."""
        pytest.skip("override the fixture `cuts`: it lets a step of a write fail")

    # Reached by two ------------------------------------------------------------------------------

    async def test_what_one_has_written_the_other_reads_at_once(self, records: Records, another: Records) -> None:
        for number in range(10):
            here, there = (records, another) if number % 2 else (another, records)
            written = await here.put_topic("a", about(f"Name {number}"), NOON)
            added = await here.add_snippet(f"s{number}", wording("a"), NOON + timedelta(seconds=number))
            assert await there.topic("a") == written.value
            assert (await there.topics(), (await there.newest(1))[0]) == ((written.value,), added.value)
            assert (await there.pending())[-2:] == (written.change, added.change)
            await there.acknowledge([written.change.change_id])
            assert written.change not in await here.pending()

    async def test_of_writers_in_two_places_on_one_version_one_succeeds(
        self, records: Records, another: Records
    ) -> None:
        await fill(records, "a", 1)
        for attempt in range(3):
            stored = await records.topic("a")
            assert stored is not None
            writes = (
                one.put_topic("a", about(f"{attempt} by {writer}"), NOON, condition=on(stored))
                for writer, one in enumerate((records, another) * 3)
            )
            results = await asyncio.gather(*writes, return_exceptions=True)
            (written,) = (one for one in results if isinstance(one, Written))
            assert await another.topic("a") == written.value

    async def test_of_two_places_that_create_a_topic_one_succeeds(self, records: Records, another: Records) -> None:
        for attempt in range(3):
            writes = (
                one.put_topic(f"t{attempt}", about(str(writer)), NOON, condition=NEVER_STORED)
                for writer, one in enumerate((records, another) * 2)
            )
            results = await asyncio.gather(*writes, return_exceptions=True)
            assert len([one for one in results if isinstance(one, Written)]) == 1

    async def test_no_edit_of_two_places_is_lost_nor_any_change_of_theirs(
        self, records: Records, another: Records
    ) -> None:
        await records.store([topic("a")], [])

        def longer(stored: Topic | None) -> TopicDraft:
            assert stored is not None
            return about(f"{stored.display_name}+")

        edits = (one.edit_topic("a", longer, NOON) for one in (records, another) * 5)
        written = await asyncio.gather(*edits)
        stored = await another.topic("a")
        assert stored is not None
        assert stored.display_name == "Name" + 10 * "+"
        numbers = {one.change.change_id for one in written}
        assert len(numbers) == 10
        assert numbers <= {one.change_id for one in await another.pending()}

    # Write skew ----------------------------------------------------------------------------------

    @pytest.mark.parametrize("arriving", ["added", "moved", "stored"])
    async def test_nothing_arrives_in_a_topic_deleted_elsewhere_at_that_moment(
        self, records: Records, another: Records, arriving: str
    ) -> None:
        await fill(records, "from", 8)
        for number in range(8):
            name = f"to{number}"
            await records.store([topic(name)], [])
            one = f"from00{number}"
            write: Awaitable[object]
            if arriving == "added":
                write, one = records.add_snippet(f"new{number}", wording(name), NOON), f"new{number}"
            elif arriving == "moved":
                write = records.put_snippet(one, wording(name))
            else:
                write = records.store([], [snippet(one, name, NOON)])
            arrived, deleted = await asyncio.gather(write, another.delete_topic(name), return_exceptions=True)
            stored, kept = await records.snippet(one), await records.topic(name)
            is_there = stored is not None and stored.topic_id == name
            assert is_there == (kept is not None) == (not isinstance(arrived, UnknownReference)), (arrived, deleted)
            assert isinstance(deleted, Conflict) == is_there, (arrived, deleted)

    async def test_snippets_added_in_two_places_make_every_page_of_theirs_stale(
        self, records: Records, another: Records
    ) -> None:
        await fill(records, "a", 16)
        adding = (
            one.add_snippet(f"s{number}", wording("a"), NOON) for number, one in enumerate((records, another) * 3)
        )
        written = await asyncio.gather(*adding)
        assert max(last for one in written for _, last in one.change.pages) == 3

    # Cut off -------------------------------------------------------------------------------------

    @pytest.mark.parametrize("write", WRITES)
    async def test_a_write_that_is_cut_off_at_any_step_is_whole_or_nothing(
        self, records: Records, cuts: Cuts, write: str
    ) -> None:
        for way, cut in enumerate(cuts):
            for step in range(100):
                name = f"t{way}-{step}"
                await fill(records, name, 1)
                await records.put_topic(f"{name}-other", about("Other"), NOON)
                before, rows = await _state(records, name), {one.change_id for one in await records.pending()}
                failure = None
                with cut(step) as under_way:
                    try:
                        await WRITES[write](records, name)
                    except RecordError as error:
                        failure = error
                await answering(records)
                changed = await _state(records, name) != before
                new = [one for one in await records.pending() if one.change_id not in rows]
                assert len(new) == changed, "an object without its row, or a row without its object"
                if isinstance(failure, RecordUnavailable):
                    assert not changed, "said not to be stored"
                elif isinstance(failure, RecordOutcomeUnknown):
                    assert set(new) <= set(changes_in(failure.result)), "what it may have made stale is told"
                else:
                    assert failure is None
                    assert changed
                if not under_way.reached:
                    break
            assert step > 0, "the way cuts nothing"


async def answering(records: Records) -> None:
    """Return when a record that was cut off answers again; within a minute, or TimeoutError."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await records.ping()
            except RecordUnavailable:
                await asyncio.sleep(0.01)


async def _state(records: Records, name: str) -> tuple[Any, ...]:
    topics = [await records.topic(one) for one in (name, f"{name}-new", f"{name}-other")]
    snippets: list[Snippet | None] = [await records.snippet(f"{name}{one}") for one in ("000", "-new", "-s")]
    return *topics, *snippets
