"""The contract of what operators do to generation tasks: part of that of the tasks, for a record that allows it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from greenroom.errors import ClaimLost, Conflict, QueueFull
from greenroom_platform.domain.task_control import ControlsTasks, TaskControl
from greenroom_platform.domain.task_records import IdempotencyKey, TaskRecords
from greenroom_platform.testing.records_changes import NOON
from greenroom_platform.testing.tasks_requests import MOST, SECOND, RecordsWithTasks, claimed, requested


def _control(records: RecordsWithTasks) -> TaskControl:
    if not isinstance(records, ControlsTasks):
        pytest.skip("operators cannot change the tasks of this record")
    return records.task_control


class ControlContract:
    """Part of `TasksContract`; skipped for a record that has no member `task_control`."""

    async def test_operators_see_what_waits_in_its_order_then_what_has_ended(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        control = _control(records)
        for one in ("r", "p", "q", "s"):
            await requested(records, one)
        for seconds in range(2):
            await tasks.fail(await claimed(tasks), "No.", NOON + seconds * SECOND)
        assert [one.podcast_id for one in await control.tasks(finished=9)] == ["q", "s", "p", "r"]
        assert [one.podcast_id for one in await control.tasks(finished=1)] == ["q", "s", "p"]

    async def test_a_failed_podcast_is_made_once_more_by_a_later_claim(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        control = _control(records)
        await requested(records, "p")
        first = await claimed(tasks)
        with pytest.raises(Conflict):
            await control.retry("p", NOON, max_unfinished=MOST)
        await tasks.fail(first, "No.", NOON)
        stale = await tasks.stored("p")
        assert stale is not None
        with pytest.raises(QueueFull):
            await control.retry("p", NOON, max_unfinished=0)
        change = await control.retry("p", NOON + SECOND, max_unfinished=1)
        assert change.statuses == ("p",)
        assert change in await records.pending()
        task = await tasks.task("p")
        assert task is not None
        assert (task.status, task.attempts, task.updated_at) == ("queued", 0, NOON + SECOND)
        assert task.error_message is msgspec.UNSET
        assert await tasks.stored("p") is None, "or a sweep would remove what is being made"
        second = await claimed(tasks)
        assert (second.podcast_id, second.number, second.task.attempts) == ("p", 2, 1)
        with pytest.raises(ClaimLost):
            await tasks.renew(first, 10, NOON)
        await tasks.advance(second, "ready_to_stream", NOON + 2 * SECOND, size=7)
        # A worker that sweeps has read the note of the failure before all this.
        await tasks.forget_stored("p", claim=stale.claim)
        stored = await tasks.stored("p")
        assert stored is not None
        assert (stored.claim, stored.size) == (2, 7)
        await tasks.forget_stored("p", claim=2)
        assert await tasks.stored("p") is None

    async def test_a_podcast_given_back_is_claimed_at_once_and_its_worker_must_stop(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        control = _control(records)
        await requested(records, "p")
        with pytest.raises(Conflict):
            await control.release("p")
        first = await claimed(tasks, seconds=1000)
        pending = await records.pending()
        await control.release("p")
        assert await records.pending() == pending, "listeners see no difference"
        with pytest.raises(ClaimLost):
            await tasks.renew(first, 10, NOON)
        second = await claimed(tasks)
        assert (second.number, second.task.attempts) == (2, 1)
        with pytest.raises(ClaimLost):
            await tasks.advance(first, "ready_to_stream", NOON, size=1)

    async def test_a_podcast_that_is_stopped_fails_whoever_has_it(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        control = _control(records)
        for one in ("p", "q"):
            await requested(records, one)
        claim = await claimed(tasks)
        for one in ("p", "q"):
            change = await control.stop(one, "Stopped.", NOON + SECOND)
            assert change in await records.pending()
            task = await tasks.task(one)
            assert task is not None
            assert (task.status, task.error_message) == ("error", "Stopped.")
        with pytest.raises(ClaimLost):
            await tasks.advance(claim, "ready_to_stream", NOON, size=1)
        with pytest.raises(Conflict):
            await control.stop("p", "Stopped.", NOON)
        stored = await tasks.stored("p")
        assert stored is not None
        assert stored.size == 0
        assert await tasks.stored("q") is None, "nobody has begun it"

    async def test_a_deleted_podcast_is_gone_and_what_it_has_stored_expires(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        control = _control(records)
        key = IdempotencyKey("caller", "key")
        await requested(records, "made", key=key)
        await tasks.advance(await claimed(tasks), "ready_to_stream", NOON, size=10)
        for one in ("claimed", "waiting"):
            await requested(records, one)
        claim = await claimed(tasks)
        late = NOON + timedelta(hours=1)
        for one in ("made", "claimed", "waiting"):
            change = await control.delete(one, late)
            assert change.statuses == (one,)
            assert await tasks.task(one) is None
            with pytest.raises(LookupError):
                await control.delete(one, late)
        assert await control.tasks(finished=9) == ()
        stored = {one.podcast_id: (one.claim, one.size, one.expired) for one in await tasks.all_stored()}
        assert stored == {"made": (1, 10, late), "claimed": (1, 0, late)}
        with pytest.raises(ClaimLost):
            await tasks.renew(claim, 10, NOON)
        assert (await requested(records, "anew", key=key)).created, "nobody is given a podcast that is gone"
