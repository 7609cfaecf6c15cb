"""A paused queue: no task is claimed, and none fails for its age, until somebody resumes it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from greenroom.detached import Detached
from greenroom.opened import Opened
from greenroom.testing.clock import ManualClock
from greenroom_platform.domain.action_log import QueuePause
from greenroom_platform.domain.podcasts import Tasks
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.testing.records_changes import NOON, about


async def test_no_worker_claims_from_a_paused_queue_and_a_claim_goes_on(tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "record.sqlite3")
    await records.put_topic("a", about("A"), NOON)
    clock = ManualClock()
    changes = SimpleNamespace(detached=Detached(), opened=Opened(), writing=nullcontext)
    tasks = Tasks(records.tasks, cast(Any, changes), clock, attempts=1, log=records.actions)
    for one in ("p", "q"):
        await records.tasks.add_task(one, "a", clock.now(), max_unfinished=9)
    claim = await tasks.claim("w")
    assert claim is not None
    await records.actions.set_pause(QueuePause(since=NOON, who="ana", why="the disk is full"))
    assert await tasks.claim("w") is None
    await tasks.renew(claim)
    clock.advance(3600)
    assert await tasks.claim("w") is None, "the first has lapsed, and does not fail meanwhile"
    assert (await records.tasks.queue()).length == 2
    await records.actions.set_pause(None)
    changes.send = lambda change: _sent()
    assert await tasks.claim("w") is not None
    await records.close()


async def _sent() -> None:
    """The change is sent."""
