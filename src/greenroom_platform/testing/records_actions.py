"""The seventh part of the record's contract: what operators have done, the pause of the queue, a look at the outbox."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from greenroom_platform.domain.action_log import Action, ActionLog, KeepsActions, QueuePause
from greenroom_platform.domain.records import Records
from greenroom_platform.testing.records_changes import NOON, about


def _log(records: Records) -> ActionLog:
    if not isinstance(records, KeepsActions):
        pytest.skip("the record keeps no log of what operators do")
    return records.actions


def _action(number: int) -> Action:
    at = NOON + timedelta(seconds=number)
    return Action(at=at, who="ana", kind="drop_key", target=f"topic {number}", why="it was stale")


class ActionsContract:
    """Part of `RecordsContract`; skipped for a record that has no member `actions`."""

    async def test_actions_are_kept_with_their_outcome_the_newest_first(
        self, records: Records, another: Records
    ) -> None:
        log, elsewhere = _log(records), _log(another)
        assert await log.newest(10) == ()
        numbers = [await one.begin(_action(at)) for at, one in enumerate((log, elsewhere, log))]
        await elsewhere.end(numbers[2], "dropped")
        newest = await log.newest(2)
        assert newest == await elsewhere.newest(2)
        assert [(one.number, one.target, one.outcome) for one in newest] == [
            (numbers[2], "topic 2", "dropped"),
            (numbers[1], "topic 1", "begun"),
        ]
        assert (newest[0].who, newest[0].why, newest[0].at) == ("ana", "it was stale", NOON + timedelta(seconds=2))
        assert await records.is_empty()
        assert await records.pending() == ()

    async def test_the_oldest_actions_go(self, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
        log = _log(records)
        monkeypatch.setattr(f"{type(log).__module__}.ACTIONS_KEPT", 3, raising=False)
        numbers = [await log.begin(_action(number)) for number in range(5)]
        assert [one.target for one in await log.newest(9)] == ["topic 4", "topic 3", "topic 2"]
        await log.end(numbers[0], "done")  # it is forgotten

    async def test_a_pause_of_the_queue_is_seen_by_all_and_its_first_word_stays(
        self, records: Records, another: Records
    ) -> None:
        log, elsewhere = _log(records), _log(another)
        assert await log.pause() is None
        first = QueuePause(since=NOON, who="ana", why="the disk is full")
        await log.set_pause(first)
        await elsewhere.set_pause(QueuePause(since=NOON, who="ben", why="me too"))
        assert await log.pause() == await elsewhere.pause() == first
        for _ in range(2):
            await elsewhere.set_pause(None)
            assert await log.pause() is None

    async def test_the_outbox_is_counted_with_the_age_of_its_oldest(self, records: Records) -> None:
        log = _log(records)
        empty = await log.outbox()
        assert (empty.pending, empty.oldest) == (0, None)
        before = time.time()
        first = (await records.put_topic("a", about("A"), NOON)).change
        after = time.time()
        await records.put_topic("b", about("B"), NOON)
        two = await log.outbox()
        assert two.pending == 2
        assert two.oldest is not None
        assert before - 1 <= two.oldest.timestamp() <= after + 1
        await records.acknowledge([first.change_id])
        assert (await log.outbox()).pending == 1
