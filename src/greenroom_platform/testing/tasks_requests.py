"""The part of the tasks' contract that is about asking for podcasts, and what its tests share."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Protocol

import pytest

from greenroom.errors import ClaimLost, Conflict, KeyReused, QueueFull, UnknownReference
from greenroom_platform.domain.records import Records
from greenroom_platform.domain.task_records import (
    KEY_KEPT,
    TASK_KEPT,
    Advanced,
    Claim,
    IdempotencyKey,
    KeepsTasks,
    Requested,
    TaskRecords,
)
from greenroom_platform.models import PodcastTask
from greenroom_platform.testing.records_changes import NOON, about, topic

SECOND = timedelta(seconds=1)
MOST = 100


class RecordsWithTasks(Records, KeepsTasks, Protocol):
    """A record with tasks."""


class RequestsContract:
    """What `add_task` promises; used through `TasksContract`."""

    @pytest.fixture
    def records(self) -> RecordsWithTasks:
        """An empty record with tasks; to be overridden."""
        raise NotImplementedError("override the fixture `records`: it gives an empty record of yours")

    @pytest.fixture
    def tasks(self, records: RecordsWithTasks) -> TaskRecords:
        """Its tasks."""
        return records.tasks

    @pytest.fixture
    def another(self, records: RecordsWithTasks) -> RecordsWithTasks:
        """The record of `records`, opened once more as another process has it; to be overridden."""
        pytest.skip("override the fixture `another`: it opens the record of `records` once more")

    async def test_a_requested_podcast_is_queued(self, records: RecordsWithTasks, tasks: TaskRecords) -> None:
        assert await tasks.task("p") is None
        asked = await requested(records, "p")
        assert asked.created
        expected = PodcastTask(podcast_id="p", topic_id="a", status="queued", created_at=NOON, updated_at=NOON)
        assert asked.task == expected == await tasks.task("p")

    async def test_a_request_on_an_unknown_topic_or_with_a_taken_id_is_refused(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        with pytest.raises(UnknownReference) as caught:
            await tasks.add_task("p", "unknown", NOON, max_unfinished=MOST, key=key_of())
        assert (caught.value.field, caught.value.value) == ("topic_id", "unknown")
        assert await tasks.task("p") is None
        first = await requested(records, "p")
        with pytest.raises(Conflict):
            await tasks.add_task("p", "a", NOON, max_unfinished=MOST, key=key_of())
        assert await tasks.task("p") == first.task
        assert (
            await tasks.add_task("q", "a", NOON, max_unfinished=MOST, key=key_of())
        ).created  # neither refusal took the key

    async def test_the_queue_is_bounded_and_a_refused_request_may_be_sent_again(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p", max_unfinished=2)
        await requested(records, "q", max_unfinished=2)
        claim = await claimed(tasks)
        with pytest.raises(QueueFull):  # a claimed task counts until it is finished
            await tasks.add_task("r", "a", NOON, max_unfinished=2, key=key_of())
        assert await tasks.task("r") is None
        await tasks.fail(claim, "No.", NOON)
        assert (await tasks.add_task("r", "a", NOON, max_unfinished=2, key=key_of())).created

    async def test_one_key_of_one_caller_makes_one_task(self, records: RecordsWithTasks, tasks: TaskRecords) -> None:
        first = await requested(records, "p", key=key_of())
        claim = await claimed(tasks)
        await tasks.fail(claim, "No.", NOON)
        again = await tasks.add_task("q", "a", NOON + SECOND, max_unfinished=0, key=key_of())
        assert (again.created, again.task) == (False, await tasks.task("p"))
        assert await tasks.task("q") is None
        assert first.created
        for other in (key_of(caller="another"), key_of(key="another"), None):
            assert (await tasks.add_task(f"p{other}", "a", NOON, max_unfinished=MOST, key=other)).created

    async def test_a_key_with_another_topic_is_refused(self, records: RecordsWithTasks, tasks: TaskRecords) -> None:
        await requested(records, "p", key=key_of())
        await records.put_topic("b", about("B"), NOON)
        with pytest.raises(KeyReused):
            await tasks.add_task("q", "b", NOON, max_unfinished=MOST, key=key_of())
        assert await tasks.task("q") is None

    async def test_a_key_counts_for_a_day(self, records: RecordsWithTasks, tasks: TaskRecords) -> None:
        await requested(records, "p", key=key_of())
        late = NOON + KEY_KEPT
        assert not (await tasks.add_task("q", "a", late - SECOND, max_unfinished=MOST, key=key_of())).created
        assert (await tasks.add_task("q", "a", late, max_unfinished=MOST, key=key_of())).created
        again = await tasks.add_task("r", "a", late + KEY_KEPT - SECOND, max_unfinished=MOST, key=key_of())
        assert again.task.podcast_id == "q"

    async def test_of_many_requests_with_one_key_at_once_one_makes_a_task(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await records.store([topic("a")], [])
        asking = (tasks.add_task(f"p{number}", "a", NOON, max_unfinished=1, key=key_of()) for number in range(20))
        results = await asyncio.gather(*asking)
        (made,) = (one for one in results if one.created)
        assert {one.task.podcast_id for one in results} == {made.task.podcast_id}
        stored = [await tasks.task(f"p{number}") for number in range(20)]
        assert [one for one in stored if one is not None] == [made.task]

    async def test_the_queue_is_bounded_for_two_places_together(
        self, records: RecordsWithTasks, another: RecordsWithTasks
    ) -> None:
        await records.store([topic("a")], [])
        asking = (
            one.tasks.add_task(f"p{number}", "a", NOON, max_unfinished=3)
            for number, one in enumerate((records, another) * 5)
        )
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(one) for one in results if not isinstance(one, Requested)] == [QueueFull] * 7
        assert (await another.tasks.queue()).length == 3

    async def test_of_two_places_one_has_each_claim_and_a_key_makes_one_task(
        self, records: RecordsWithTasks, another: RecordsWithTasks
    ) -> None:
        await records.store([topic("a")], [])
        places = (records, another) * 3
        asking = (
            one.tasks.add_task(f"p{number}", "a", NOON, max_unfinished=MOST, key=key_of())
            for number, one in enumerate(places)
        )
        assert len({one.task.podcast_id for one in await asyncio.gather(*asking)}) == 1
        claims = await asyncio.gather(*(one.tasks.claim("w", 10, NOON, attempts=3) for one in places))
        (claim,) = (one for one in claims if one is not None)
        later = await another.tasks.claim("w", 10, NOON + timedelta(minutes=1), attempts=3)
        assert later is not None
        # The first wakes up at that moment: one is refused, whichever place it asks.
        told = await asyncio.gather(
            records.tasks.advance(claim, "audio_rendering", NOON),
            another.tasks.advance(later, "script_generating", NOON),
            return_exceptions=True,
        )
        assert isinstance(told[0], ClaimLost)
        assert isinstance(told[1], Advanced)

    async def test_finished_tasks_are_kept_for_a_while_and_unfinished_ones_for_good(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "done")
        await tasks.fail(await claimed(tasks), "No.", NOON + SECOND)
        await requested(records, "waiting")
        late = NOON + SECOND + TASK_KEPT
        await tasks.add_task("p", "a", late - SECOND, max_unfinished=MOST)
        assert await tasks.task("done") is not None
        await tasks.add_task("q", "a", late, max_unfinished=MOST)
        assert await tasks.task("done") is None
        assert await tasks.task("waiting") is not None


async def requested(
    records: RecordsWithTasks, podcast_id: str, *, max_unfinished: int = MOST, key: IdempotencyKey | None = None
) -> Requested:
    await records.store([topic("a")], [])
    return await records.tasks.add_task(podcast_id, "a", NOON, max_unfinished=max_unfinished, key=key)


async def claimed(tasks: TaskRecords, seconds: float = 10) -> Claim:
    claim = await tasks.claim("w", seconds, NOON, attempts=3)
    assert claim is not None
    return claim


def key_of(caller: str = "caller", key: str = "key") -> IdempotencyKey:
    return IdempotencyKey(caller, key)
