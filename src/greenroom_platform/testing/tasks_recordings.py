"""The contract of what ended tasks have in the store of recordings: part of that of the generation tasks."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from greenroom_platform.domain.task_records import TASK_KEPT, StoredRecording, TaskRecords, Waiting
from greenroom_platform.testing.records_changes import NOON, topic
from greenroom_platform.testing.tasks_requests import (
    MOST,
    SECOND,
    RecordsWithTasks,
    RequestsContract,
    claimed,
    requested,
)


class RecordingsContract(RequestsContract):
    """What `TaskRecords` promises of stored recordings; used through `TasksContract`."""

    async def test_a_task_that_ends_notes_what_it_may_have_stored(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        for one in ("made", "failed", "exhausted", "never claimed"):
            await requested(records, one.replace(" ", "-"))
        first = await claimed(tasks)
        await tasks.give_back(first, NOON, counted=False)
        made = await claimed(tasks)
        assert (made.podcast_id, made.number) == ("made", 2)
        assert await tasks.stored("made") is None
        await tasks.advance(made, "audio_rendering", NOON)
        assert await tasks.all_stored() == ()
        await tasks.advance(made, "ready_to_stream", NOON + SECOND, size=1234)
        await tasks.fail(await claimed(tasks), "No.", NOON)
        assert await tasks.claim("w", 1, NOON, attempts=3) is not None
        await tasks.fail_exhausted("It failed.", NOON + 2 * SECOND, attempts=1)
        expected = {
            "failed": StoredRecording(podcast_id="failed", claim=1, size=0, ended=NOON),
            "made": StoredRecording(podcast_id="made", claim=2, size=1234, ended=NOON + SECOND),
            "exhausted": StoredRecording(podcast_id="exhausted", claim=1, size=0, ended=NOON + 2 * SECOND),
        }
        assert await tasks.all_stored() == tuple(expected.values())
        for podcast_id, stored in expected.items():
            assert await tasks.stored(podcast_id) == stored
        assert await tasks.stored("never-claimed") is None

    async def test_podcasts_are_listed_with_what_is_stored_and_by_topic(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await records.store([topic("a"), topic("b")], [])
        assert (await tasks.listed([]), await tasks.ready("a", 9)) == ((), ())
        for number, (one, topic_id) in enumerate((("p", "a"), ("q", "b"), ("r", "a"), ("s", "a"), ("t", "a"))):
            await tasks.add_task(one, topic_id, NOON, max_unfinished=MOST)
            claim = await claimed(tasks)
            if one == "s":
                await tasks.fail(claim, "No.", NOON + 9 * SECOND)
            elif one != "t":
                at = NOON + number * SECOND
                await tasks.advance(claim, "ready_to_stream", at, size=10, duration=None if one == "q" else 61.5)
        every = {one.task.podcast_id: one for one in await tasks.listed(["s", "t", "q", "p", "nobody"])}
        assert every.keys() == {"s", "t", "q", "p"}
        assert {name: one.task for name, one in every.items()} == {name: await tasks.task(name) for name in every}
        assert {name: one.stored for name, one in every.items()} == {name: await tasks.stored(name) for name in every}
        assert every["t"].stored is None
        assert (every["p"].duration, every["q"].duration, every["s"].duration) == (61.5, msgspec.UNSET, msgspec.UNSET)

        async def ready(topic_id: str, limit: int = 9) -> list[str]:
            return [one.task.podcast_id for one in await tasks.ready(topic_id, limit)]

        assert await ready("a") == ["r", "p"]
        assert (await ready("a", 1), await ready("b"), await ready("c")) == (["r"], ["q"], [])
        await tasks.update_stored("r", expired=NOON)
        assert await ready("a") == ["p"]

    async def test_who_waits_is_told_in_the_order_of_the_requests(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        assert await tasks.waiting(NOON) == Waiting((), None)
        for one in ("r", "p", "q"):
            await requested(records, one)
        assert await tasks.waiting(NOON) == Waiting(("r", "p", "q"), None)
        claim = await claimed(tasks, seconds=10)
        await tasks.advance(claim, "audio_rendering", NOON, estimated=NOON + 5 * SECOND)
        assert await tasks.waiting(NOON) == Waiting(("p", "q"), NOON + 5 * SECOND)
        assert await tasks.waiting(NOON + 10 * SECOND) == Waiting(("r", "p", "q"), None), "its claim has lapsed"
        await tasks.advance(claim, "ready_to_stream", NOON, size=1)
        assert await tasks.waiting(NOON) == Waiting(("p", "q"), None)

    async def test_what_is_stored_is_updated_and_forgotten_apart_from_its_task(
        self, records: RecordsWithTasks, tasks: TaskRecords
    ) -> None:
        await requested(records, "p")
        await tasks.advance(await claimed(tasks), "ready_to_stream", NOON, size=10)
        stored = await tasks.stored("p")
        assert stored is not None
        pending = await records.pending()
        # By two who have both read it as it was, each its own; and what was noted first stays.
        await tasks.update_stored("p", expired=NOON + timedelta(days=1))
        await tasks.update_stored("p", swept=True)
        await tasks.update_stored("p", expired=NOON + timedelta(days=2))
        changed = msgspec.structs.replace(stored, expired=NOON + timedelta(days=1), swept=True)
        # The task goes when its time has come; what is still in the store is remembered.
        await tasks.add_task("q", "a", NOON + TASK_KEPT + SECOND, max_unfinished=MOST)
        assert await tasks.task("p") is None
        assert await tasks.stored("p") == changed
        for _ in range(2):
            await tasks.forget_stored("p")
        assert await tasks.stored("p") is None
        await tasks.update_stored("p", expired=NOON)
        assert await tasks.all_stored() == ()
        assert await records.pending() == pending, "nothing of it is cached"
