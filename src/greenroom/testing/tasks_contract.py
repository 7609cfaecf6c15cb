"""The contract of the generation tasks: what any implementation of `TaskRecords` must do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta, timezone
from typing import Protocol

import msgspec
import pytest

from greenroom.errors import ClaimLost, Conflict, InvalidInput, KeyReused, QueueFull, UnknownReference
from greenroom.podcast.models import STATUSES, PodcastTask
from greenroom.podcast.records import (
    KEY_KEPT,
    TASK_KEPT,
    Claim,
    IdempotencyKey,
    KeepsTasks,
    Records,
    Requested,
    TaskRecords,
)
from greenroom.testing.records_changes import NOON, about, topic

SECOND = timedelta(seconds=1)
MOST = 100


class Platform(Records, KeepsTasks, Protocol):
    """A record with tasks."""


class TasksContract:
    """Every promise of `TaskRecords` as a test; used as `RecordsContract`, on a record that keeps tasks."""

    @pytest.fixture
    def records(self) -> Platform:
        """An empty record with tasks; to be overridden."""
        raise NotImplementedError("override the fixture `records`: it gives an empty record of yours")

    @pytest.fixture
    def tasks(self, records: Platform) -> TaskRecords:
        """Its tasks."""
        return records.tasks

    # Requests --------------------------------------------------------------------------------------

    async def test_a_requested_podcast_is_queued(self, records: Platform, tasks: TaskRecords) -> None:
        assert await tasks.task("p") is None
        asked = await _requested(records, "p")
        assert asked.created
        expected = PodcastTask(podcast_id="p", topic_id="a", status="queued", created_at=NOON, updated_at=NOON)
        assert asked.task == expected == await tasks.task("p")

    async def test_a_request_on_an_unknown_topic_or_with_a_taken_id_is_refused(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        with pytest.raises(UnknownReference) as caught:
            await tasks.add_task("p", "unknown", NOON, most=MOST, key=_key())
        assert (caught.value.field, caught.value.value) == ("topic_id", "unknown")
        assert await tasks.task("p") is None
        first = await _requested(records, "p")
        with pytest.raises(Conflict):
            await tasks.add_task("p", "a", NOON, most=MOST, key=_key())
        assert await tasks.task("p") == first.task
        assert (await tasks.add_task("q", "a", NOON, most=MOST, key=_key())).created  # neither refusal took the key

    async def test_the_queue_is_bounded_and_a_refused_request_may_be_sent_again(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        await _requested(records, "p", most=2)
        await _requested(records, "q", most=2)
        claim = await _claimed(tasks)
        with pytest.raises(QueueFull):  # a claimed task counts until it is finished
            await tasks.add_task("r", "a", NOON, most=2, key=_key())
        assert await tasks.task("r") is None
        await tasks.fail(claim, "No.", NOON)
        assert (await tasks.add_task("r", "a", NOON, most=2, key=_key())).created

    async def test_one_key_of_one_caller_makes_one_task(self, records: Platform, tasks: TaskRecords) -> None:
        first = await _requested(records, "p", key=_key())
        claim = await _claimed(tasks)
        await tasks.fail(claim, "No.", NOON)
        again = await tasks.add_task("q", "a", NOON + SECOND, most=0, key=_key())
        assert (again.created, again.task) == (False, await tasks.task("p"))
        assert await tasks.task("q") is None
        assert first.created
        for other in (_key(caller="another"), _key(key="another"), None):
            assert (await tasks.add_task(f"p{other}", "a", NOON, most=MOST, key=other)).created

    async def test_a_key_with_another_topic_is_refused(self, records: Platform, tasks: TaskRecords) -> None:
        await _requested(records, "p", key=_key())
        await records.put_topic("b", about("B"), NOON)
        with pytest.raises(KeyReused):
            await tasks.add_task("q", "b", NOON, most=MOST, key=_key())
        assert await tasks.task("q") is None

    async def test_a_key_counts_for_a_day(self, records: Platform, tasks: TaskRecords) -> None:
        await _requested(records, "p", key=_key())
        late = NOON + KEY_KEPT
        assert not (await tasks.add_task("q", "a", late - SECOND, most=MOST, key=_key())).created
        assert (await tasks.add_task("q", "a", late, most=MOST, key=_key())).created
        again = await tasks.add_task("r", "a", late + KEY_KEPT - SECOND, most=MOST, key=_key())
        assert again.task.podcast_id == "q"

    async def test_of_many_requests_with_one_key_at_once_one_makes_a_task(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        await records.store([topic("a")], [])
        asking = (tasks.add_task(f"p{number}", "a", NOON, most=1, key=_key()) for number in range(20))
        results = await asyncio.gather(*asking)
        (made,) = (one for one in results if one.created)
        assert {one.task.podcast_id for one in results} == {made.task.podcast_id}
        found = [await tasks.task(f"p{number}") for number in range(20)]
        assert [one for one in found if one is not None] == [made.task]

    async def test_finished_tasks_are_kept_for_a_while_and_unfinished_ones_for_good(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        await _requested(records, "done")
        await tasks.fail(await _claimed(tasks), "No.", NOON + SECOND)
        await _requested(records, "waiting")
        late = NOON + SECOND + TASK_KEPT
        await tasks.add_task("p", "a", late - SECOND, most=MOST)
        assert await tasks.task("done") is not None
        await tasks.add_task("q", "a", late, most=MOST)
        assert await tasks.task("done") is None
        assert await tasks.task("waiting") is not None

    # Claims ----------------------------------------------------------------------------------------

    async def test_the_oldest_waiting_task_is_claimed_first_and_each_once(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        assert await tasks.claim("w", 10, NOON, attempts=3) is None
        for one in ("r", "p", "q"):
            await _requested(records, one)
        claims = [await tasks.claim(f"w{number}", 10, NOON, attempts=3) for number in range(4)]
        assert [one and one.podcast_id for one in claims] == ["r", "p", "q", None]
        task = await tasks.task("r")
        assert claims[0] is not None
        assert task is not None
        assert claims[0].task == task
        assert (task.status, task.worker, task.attempts, task.claim) == ("queued", "w0", 1, 1)
        assert task.claimed_until == NOON + 10 * SECOND

    async def test_of_many_workers_at_once_one_has_the_claim(self, records: Platform, tasks: TaskRecords) -> None:
        await _requested(records, "p")
        claims = await asyncio.gather(*(tasks.claim(f"w{number}", 10, NOON, attempts=3) for number in range(20)))
        assert len([one for one in claims if one is not None]) == 1

    async def test_a_claim_lapses_unless_it_is_renewed(self, records: Platform, tasks: TaskRecords) -> None:
        await _requested(records, "p")
        claim = await _claimed(tasks, seconds=10)
        assert await tasks.claim("other", 10, NOON + 9 * SECOND, attempts=3) is None
        await tasks.renew(claim, 10, NOON + 9 * SECOND, progress=0.25)
        assert await tasks.claim("other", 10, NOON + 18 * SECOND, attempts=3) is None
        await tasks.renew(claim, 10, NOON + 18 * SECOND)
        found = await tasks.task("p")
        assert found is not None
        assert (found.progress, found.claimed_until) == (0.25, NOON + 28 * SECOND)
        taken = await tasks.claim("other", 10, NOON + 28 * SECOND, attempts=3)
        assert taken is not None
        assert (taken.podcast_id, taken.number, taken.task.attempts) == ("p", 2, 2)

    async def test_a_late_worker_is_refused_whatever_it_wants(self, records: Platform, tasks: TaskRecords) -> None:
        await _requested(records, "p")
        late = await _claimed(tasks)
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
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        await _requested(records, "p")
        claim = await _claimed(tasks, seconds=10)
        now = NOON + 60 * SECOND
        await tasks.advance(claim, "script_generating", now)
        await tasks.renew(claim, 10, now)
        assert await tasks.claim("other", 10, now, attempts=3) is None

    async def test_a_task_given_back_is_claimed_again_at_once_and_counts_where_that_is_said(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        await _requested(records, "p")
        for counted, attempts in ((False, 1), (True, 1), (False, 2), (True, 2)):
            claim = await _claimed(tasks)
            assert claim.task.attempts == attempts
            await tasks.give_back(claim, NOON, counted=counted)
            await _refused(tasks, claim)
        assert await tasks.claim("w", 10, NOON, attempts=2) is None

    async def test_a_task_claimed_too_often_fails_once_its_last_claim_has_lapsed(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        await _requested(records, "p")
        await _requested(records, "q")
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
        assert (await _claimed(tasks)).podcast_id == "q"

    # Statuses --------------------------------------------------------------------------------------

    async def test_each_change_that_listeners_see_is_pending_in_the_outbox(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        await _requested(records, "p")
        pending = await records.pending()
        claim = await _claimed(tasks)
        assert await records.pending() == pending  # nobody sees a claim
        for number, status in enumerate(STATUSES.steps[1:]):
            now = NOON + number * SECOND
            estimated = None if status == "ready_to_stream" else now + SECOND
            told = await tasks.advance(claim, status, now, estimated=estimated)
            assert told.change is not None
            assert told.change.statuses == ("p",)
            assert (await records.pending())[-1] == told.change
            assert told.task == await tasks.task("p")
            assert (told.task.status, told.task.updated_at) == (status, now)
            assert told.task.shown.estimated_completion_time == (estimated or msgspec.UNSET)
        await _refused(tasks, claim)

    async def test_an_estimate_is_shown_until_the_end_and_said_again_is_no_change(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        await _requested(records, "p")
        claim = await _claimed(tasks)
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
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        await _requested(records, "p")
        first = await _claimed(tasks, seconds=10)
        await tasks.advance(first, "audio_rendering", NOON)
        now = NOON + 10 * SECOND
        second = await tasks.claim("other", 10, now, attempts=3)
        assert second is not None
        assert second.task.status == "audio_rendering"
        pending = await records.pending()
        told = await tasks.advance(second, "script_generating", now)
        assert (told.task.status, told.change) == ("audio_rendering", None)
        assert await records.pending() == pending
        estimated = await tasks.advance(second, "script_generating", now, estimated=now + SECOND)
        assert estimated.change is not None
        assert estimated.task.status == "audio_rendering"
        assert (await tasks.advance(second, "ready_to_stream", now)).task.status == "ready_to_stream"

    async def test_a_failure_ends_a_task_in_any_state_with_its_message(
        self, records: Platform, tasks: TaskRecords
    ) -> None:
        for status in (None, "script_generating", "audio_rendering"):
            podcast_id = f"p-{status}"
            await _requested(records, podcast_id)
            claim = await _claimed(tasks)
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

    async def test_what_is_no_step_is_refused(self, records: Platform, tasks: TaskRecords) -> None:
        await _requested(records, "p")
        claim = await _claimed(tasks)
        for status in ("error", "unknown", ""):
            with pytest.raises(InvalidInput):
                await tasks.advance(claim, status, NOON)
        assert await tasks.task("p") == claim.task


async def _requested(
    records: Platform, podcast_id: str, *, most: int = MOST, key: IdempotencyKey | None = None
) -> Requested:
    await records.store([topic("a")], [])
    return await records.tasks.add_task(podcast_id, "a", NOON, most=most, key=key)


async def _claimed(tasks: TaskRecords, seconds: float = 10) -> Claim:
    claim = await tasks.claim("w", seconds, NOON, attempts=3)
    assert claim is not None
    return claim


async def _refused(tasks: TaskRecords, claim: Claim) -> None:
    """Whatever may be wanted with a claim is refused."""
    now = NOON + timedelta(hours=1)
    wanted: list[Callable[[], Awaitable[object]]] = [
        lambda: tasks.renew(claim, 10, now),
        lambda: tasks.advance(claim, "audio_rendering", now),
        lambda: tasks.advance(claim, "ready_to_stream", now),
        lambda: tasks.fail(claim, "No.", now),
        lambda: tasks.give_back(claim, now, counted=True),
    ]
    for want in wanted:
        with pytest.raises(ClaimLost):
            await want()


def _key(caller: str = "caller", key: str = "key") -> IdempotencyKey:
    return IdempotencyKey(caller, key)
