"""The contract of the generation tasks: what any implementation of `TaskRecords` must do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta, timezone

import msgspec
import pytest

from greenroom.errors import ClaimLost, InvalidInput
from greenroom_platform.domain.task_records import Claim, Queue, TaskRecords
from greenroom_platform.models import STATUSES
from greenroom_platform.testing.records_changes import NOON
from greenroom_platform.testing.tasks_control import ControlContract
from greenroom_platform.testing.tasks_recordings import RecordingsContract
from greenroom_platform.testing.tasks_requests import SECOND, RecordsWithTasks, claimed, requested


class TasksContract(ControlContract, RecordingsContract):
    """Every promise of `TaskRecords` as a test; used as `RecordsContract`, on a record that keeps tasks."""

    # Claims ----------------------------------------------------------------------------------------

    async def test_the_oldest_waiting_task_is_claimed_first_and_each_once(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        assert await tasks.claim("w", 10, NOON, attempts=3) is None
        for one in ("r", "p", "q"):
            await requested(records, one)
        claims = [await tasks.claim(f"w{number}", 10, NOON, attempts=3) for number in range(4)]
        assert [one and one.podcast_id for one in claims] == ["r", "p", "q", None]
        task = await tasks.task("r")
        assert claims[0] is not None
        assert task is not None
        assert claims[0].task == task
        assert (task.status, task.worker, task.attempts, task.claim) == ("queued", "w0", 1, 1)
        assert task.claimed_until == NOON + 10 * SECOND

    async def test_of_many_workers_at_once_one_has_the_claim(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        claims = await asyncio.gather(*(tasks.claim(f"w{number}", 10, NOON, attempts=3) for number in range(20)))
        assert len([one for one in claims if one is not None]) == 1

    async def test_a_claim_lapses_unless_it_is_renewed(self, records: RecordsWithTasks, tasks: TaskRecords) -> None:
        await requested(records, "p")
        claim = await claimed(tasks, seconds=10)
        assert await tasks.claim("other", 10, NOON + 9 * SECOND, attempts=3) is None
        await tasks.renew(claim, 10, NOON + 9 * SECOND, progress=0.25)
        assert await tasks.claim("other", 10, NOON + 18 * SECOND, attempts=3) is None
        await tasks.renew(claim, 10, NOON + 18 * SECOND)
        stored = await tasks.task("p")
        assert stored is not None
        assert (stored.progress, stored.claimed_until) == (0.25, NOON + 28 * SECOND)
        taken = await tasks.claim("other", 10, NOON + 28 * SECOND, attempts=3)
        assert taken is not None
        assert (taken.podcast_id, taken.number, taken.task.attempts) == ("p", 2, 2)

    async def test_a_late_worker_is_refused_whatever_it_wants(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        late = await claimed(tasks)
        now = NOON + 60 * SECOND
        current = await tasks.claim("w", 10, now, attempts=3)  # the same worker, started anew
        assert current is not None
        before, pending = await tasks.task("p"), await records.pending()
        await _refused(tasks, late)
        assert (await tasks.task("p"), await records.pending()) == (before, pending)
        await tasks.advance(current, "ready_to_stream", now)
        await _refused(tasks, late)
        await _refused(tasks, current)

    async def test_a_claim_that_lapsed_and_that_nobody_took_is_current(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        claim = await claimed(tasks, seconds=10)
        now = NOON + 60 * SECOND
        await tasks.advance(claim, "script_generating", now)
        await tasks.renew(claim, 10, now)
        assert await tasks.claim("other", 10, now, attempts=3) is None

    async def test_a_released_task_is_claimed_at_once_and_counts_only_if_told(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        for counted, attempts in ((False, 1), (True, 1), (False, 2), (True, 2)):
            claim = await claimed(tasks)
            assert claim.task.attempts == attempts
            await tasks.give_back(claim, NOON, counted=counted)
            await _refused(tasks, claim)
        assert await tasks.claim("w", 10, NOON, attempts=2) is None

    async def test_a_task_claimed_too_often_fails_once_its_last_claim_has_lapsed(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        await requested(records, "q")
        now = NOON
        for _ in range(2):
            last = await tasks.claim("w", 10, now, attempts=2)
            now += 10 * SECOND
        assert last is not None
        assert await tasks.fail_exhausted("It failed.", now - SECOND, attempts=2) == ()
        (change,) = await tasks.fail_exhausted("It failed.", now, attempts=2)
        assert (change.statuses, change.topics) == (("p",), ())
        assert (await records.pending())[-1] == change
        await _refused(tasks, last)
        failed = await tasks.task("p")
        assert failed is not None
        assert (failed.status, failed.error_message, failed.updated_at) == ("error", "It failed.", now)
        assert await tasks.fail_exhausted("It failed.", now, attempts=2) == ()
        assert (await claimed(tasks)).podcast_id == "q"

    async def test_a_task_given_back_with_a_pause_is_claimed_after_it_only(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        claim = await claimed(tasks)
        await tasks.give_back(claim, NOON, counted=True, pause=3)
        await _refused(tasks, claim)
        assert await tasks.claim("w", 10, NOON + 2.9 * SECOND, attempts=3) is None
        again = await tasks.claim("w", 10, NOON + 3 * SECOND, attempts=3)
        assert again is not None
        assert (again.task.attempts, again.number) == (2, 2)
        await tasks.give_back(again, NOON + 3 * SECOND, counted=False)
        assert await tasks.claim("w", 10, NOON + 3 * SECOND, attempts=3) is not None

    async def test_the_queue_tells_its_length_and_since_when_the_oldest_waits(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        assert await tasks.queue() == Queue(0, None)
        await requested(records, "p")
        await requested(records, "q")
        oldest = await tasks.task("p")
        assert oldest is not None
        assert await tasks.queue() == Queue(2, oldest.created_at)
        await tasks.fail(await claimed(tasks), "No.", NOON)
        queue = await tasks.queue()
        assert queue.length == 1
        await tasks.advance(await claimed(tasks), "ready_to_stream", NOON)
        assert await tasks.queue() == Queue(0, None)

    # Statuses --------------------------------------------------------------------------------------

    async def test_each_change_that_listeners_see_is_pending_in_the_outbox(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        pending = await records.pending()
        claim = await claimed(tasks)
        assert await records.pending() == pending  # nobody sees a claim
        for number, status in enumerate(STATUSES.steps[1:]):
            now = NOON + number * SECOND
            estimated = None if status == "ready_to_stream" else now + SECOND
            advanced = await tasks.advance(claim, status, now, estimated=estimated)
            assert advanced.change is not None
            assert advanced.change.statuses == ("p",)
            assert (await records.pending())[-1] == advanced.change
            assert advanced.task == await tasks.task("p")
            assert (advanced.task.status, advanced.task.updated_at) == (status, now)
            assert advanced.task.shown.estimated_completion_time == (estimated or msgspec.UNSET)
        await _refused(tasks, claim)

    async def test_an_estimate_is_shown_until_the_end_and_said_again_is_no_change(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        claim = await claimed(tasks)
        soon = (NOON + 30 * SECOND).astimezone(timezone(timedelta(hours=5)))
        first = await tasks.advance(claim, "script_generating", NOON, estimated=soon)
        pending = await records.pending()
        again = await tasks.advance(claim, "script_generating", NOON + SECOND, estimated=soon)
        kept = await tasks.advance(claim, "script_generating", NOON + SECOND)
        assert again.change is kept.change is None
        assert first.task == again.task == kept.task
        assert first.task.shown.estimated_completion_time == NOON + 30 * SECOND
        assert await records.pending() == pending
        later = await tasks.advance(claim, "script_generating", NOON + SECOND, estimated=NOON + 40 * SECOND)
        assert later.change is not None
        done = await tasks.advance(claim, "ready_to_stream", NOON + 40 * SECOND, estimated=soon)
        assert msgspec.to_builtins(done.task.shown) == {"podcast_id": "p", "status": "ready_to_stream"}
        assert done.task == await tasks.task("p")

    async def test_a_task_taken_up_again_keeps_the_furthest_status_shown(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        first = await claimed(tasks, seconds=10)
        await tasks.advance(first, "audio_rendering", NOON)
        now = NOON + 10 * SECOND
        second = await tasks.claim("other", 10, now, attempts=3)
        assert second is not None
        assert second.task.status == "audio_rendering"
        pending = await records.pending()
        advanced = await tasks.advance(second, "script_generating", now)
        assert (advanced.task.status, advanced.change) == ("audio_rendering", None)
        assert await records.pending() == pending
        estimated = await tasks.advance(second, "script_generating", now, estimated=now + SECOND)
        assert estimated.change is not None
        assert estimated.task.status == "audio_rendering"
        assert (await tasks.advance(second, "ready_to_stream", now)).task.status == "ready_to_stream"

    async def test_a_failure_ends_a_task_in_any_state_with_its_message(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        for status in (None, "script_generating", "audio_rendering"):
            podcast_id = f"p-{status}"
            await requested(records, podcast_id)
            claim = await claimed(tasks)
            if status is not None:
                await tasks.advance(claim, status, NOON, estimated=NOON + SECOND)
            change = await tasks.fail(claim, "There is no snippet.", NOON + SECOND)
            assert change.statuses == (podcast_id,)
            task = await tasks.task(podcast_id)
            assert task is not None
            assert (task.status, task.error_message, task.updated_at) == (
                "error",
                "There is no snippet.",
                NOON + SECOND,
            )
            assert task.estimated_completion_time is msgspec.UNSET
            await _refused(tasks, claim)

    async def test_what_is_no_step_is_refused(self, records: RecordsWithTasks, tasks: TaskRecords) -> None:
        await requested(records, "p")
        claim = await claimed(tasks)
        for status in ("error", "unknown", ""):
            with pytest.raises(InvalidInput):
                await tasks.advance(claim, status, NOON)
        assert await tasks.task("p") == claim.task


async def _refused(tasks: TaskRecords, claim: Claim) -> None:
    """Whatever may be written with a claim is refused."""
    now = NOON + timedelta(hours=1)
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: tasks.renew(claim, 10, now),
        lambda: tasks.advance(claim, "audio_rendering", now),
        lambda: tasks.advance(claim, "ready_to_stream", now),
        lambda: tasks.fail(claim, "No.", now),
        lambda: tasks.give_back(claim, now, counted=True),
    ]
    for write in writes:
        with pytest.raises(ClaimLost):
            await write()
