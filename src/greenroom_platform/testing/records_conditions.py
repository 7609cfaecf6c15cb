"""The third part of the record's contract: writes with a condition, compared in their own transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from greenroom.errors import Conflict, PreconditionFailed
from greenroom_platform.domain.precondition import Precondition, Versions, version_of
from greenroom_platform.domain.records import Records, Written
from greenroom_platform.models import Snippet, Topic
from greenroom_platform.testing.records_changes import NOON, about, fill, wording

Write = Callable[[Records, Precondition], Awaitable[Any]]

NEVER_STORED = Precondition(none_match=Versions(any=True))
STORED = Precondition(match=Versions(any=True))

# Each changes what `fill(records, "a", 1)` and an empty topic "b" have stored.
WRITES: dict[str, Write] = {
    "put a topic": lambda records, condition: records.put_topic("a", about("After"), NOON, condition=condition),
    "delete a topic": lambda records, condition: records.delete_topic("b", condition=condition),
    "put a snippet": lambda records, condition: records.put_snippet("a000", wording("a", "After"), condition=condition),
    "delete a snippet": lambda records, condition: records.delete_snippet("a000", condition=condition),
}
OF = {"put a topic": "a", "delete a topic": "b", "put a snippet": "a000", "delete a snippet": "a000"}


def on(*stored: Topic | Snippet) -> Precondition:
    """The condition that one of these versions is stored."""
    return Precondition(match=Versions(frozenset(map(version_of, stored))))


class ConditionsContract:
    """Part of `RecordsContract`."""

    @pytest.mark.parametrize("write", WRITES)
    async def test_a_write_on_the_stored_version_takes_place(self, records: Records, write: str) -> None:
        stored = await _stored(records, OF[write])
        assert await WRITES[write](records, on(stored)) is not None
        assert await _found(records, OF[write]) != stored

    @pytest.mark.parametrize("write", WRITES)
    async def test_a_write_on_whatever_is_stored_takes_place(self, records: Records, write: str) -> None:
        stored = await _stored(records, OF[write])
        assert await WRITES[write](records, STORED) is not None
        assert await _found(records, OF[write]) != stored

    @pytest.mark.parametrize("write", WRITES)
    async def test_a_write_on_another_version_changes_nothing(self, records: Records, write: str) -> None:
        stored = await _stored(records, OF[write])
        pending = await records.pending()
        await _refused(WRITES[write](records, Precondition(match=Versions(frozenset({"another"})))))
        await _refused(WRITES[write](records, Precondition(match=Versions())))
        await _refused(WRITES[write](records, Precondition(none_match=Versions(frozenset({version_of(stored)})))))
        await _refused(WRITES[write](records, NEVER_STORED))
        assert await _found(records, OF[write]) == stored
        assert await records.pending() == pending

    async def test_a_topic_is_created_only_where_there_is_none(self, records: Records) -> None:
        written = await records.put_topic("a", about("First"), NOON, condition=NEVER_STORED)
        assert written.created
        await _refused(records.put_topic("a", about("Second"), NOON, condition=NEVER_STORED))
        assert await records.topic("a") == written.value

    async def test_a_topic_that_must_be_there_is_not_created(self, records: Records) -> None:
        await _refused(records.put_topic("a", about("A"), NOON, condition=STORED))
        await _refused(records.put_topic("a", about("A"), NOON, condition=Precondition(match=Versions(frozenset("v")))))
        assert await records.topic("a") is None
        assert await records.pending() == ()

    @pytest.mark.parametrize("condition", [STORED, NEVER_STORED, Precondition(match=Versions())])
    async def test_what_is_not_there_is_missed_whatever_the_condition(
        self, records: Records, condition: Precondition
    ) -> None:
        assert await records.delete_topic("unknown", condition=condition) is None
        assert await records.put_snippet("unknown", wording("a"), condition=condition) is None
        assert await records.delete_snippet("unknown", condition=condition) is None

    async def test_a_topic_with_snippets_is_a_conflict_whatever_the_condition(self, records: Records) -> None:
        await fill(records, "a", 1)
        with pytest.raises(Conflict):
            await records.delete_topic("a", condition=Precondition(match=Versions()))

    async def test_of_many_writers_on_one_version_one_succeeds(self, records: Records) -> None:
        await fill(records, "a", 1)
        for attempt in range(5):
            topic, snippet = await _found(records, "a"), await _found(records, "a000")
            names = [f"{attempt} by {writer}" for writer in range(10)]
            results = await asyncio.gather(
                *(records.put_topic("a", about(name), NOON, condition=on(topic)) for name in names),
                *(records.put_snippet("a000", wording("a", name), condition=on(snippet)) for name in names),
                return_exceptions=True,
            )
            written = [result.value for result in results if isinstance(result, Written)]
            assert written == [await _found(records, "a"), await _found(records, "a000")]
            refused = [result for result in results if not isinstance(result, Written)]
            assert {type(error) for error in refused} == {PreconditionFailed}


async def _stored(records: Records, name: str) -> Any:
    await fill(records, "a", 1)
    await records.put_topic("b", about("B"), NOON)
    return await _found(records, name)


async def _found(records: Records, name: str) -> Any:
    return await (records.topic(name) if len(name) == 1 else records.snippet(name))


async def _refused(write: Awaitable[object]) -> None:
    with pytest.raises(PreconditionFailed):
        await write
