"""Celery: a room for each worker process, and the progress of tasks. Extra `celery`.

tasks = connect(app, room)  # a room of greenroom.sync

@app.task(bind=True, base=tasks.base)
def export(self, rows): self.report(10, rows)
...
for status in tasks.follow(export.delay(100).id): ...
"""

from __future__ import annotations

from typing import Any

from greenroom.argument_types import instance
from greenroom.extras import needs_extra
from greenroom.integrations.task_progress import TaskProgress, TaskStatus
from greenroom.sync.client import Greenroom

with needs_extra("celery", "the integration of Celery"):
    from celery import Celery, Task, signals
    from celery.utils import uuid

__all__ = ["CeleryTasks", "ProgressTask", "TaskStatus", "connect"]


class CeleryTasks(TaskProgress):
    """The progress of an application's tasks; made by `connect`."""

    def __init__(self, room: Greenroom) -> None:
        super().__init__(room)
        self.base: type[ProgressTask] = type("RoomTask", (ProgressTask,), {"tasks": self, "abstract": True})
        """The base of tasks whose progress is told: `@app.task(base=tasks.base)`."""


class ProgressTask(Task):  # type: ignore[misc]
    """A task that tells how far it is, in its room."""

    abstract = True
    tasks: CeleryTasks

    def report(self, done: int, total: int | None = None, note: str = "") -> None:
        """Say how far this task is, from inside of it (`bind=True`); a server that is away is no error."""
        self.tasks.running(self.request.id, done, total, note)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, *more: Any, **options: Any
    ) -> Any:
        """Send it; its status is "queued" before that."""
        task_id = task_id or uuid()
        self.tasks.queued(task_id)
        return super().apply_async(args, kwargs, task_id, *more, **options)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called by the worker."""
        self.tasks.running(task_id)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called by the worker."""
        self.tasks.done(task_id, retval)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called by the worker, after the last retry."""
        self.tasks.failed(task_id, exc)


def connect(app: Celery, room: Greenroom) -> CeleryTasks:
    """Give an application's worker processes a room each, and its tasks progress.

    The room opens itself at the first call in each process, after the fork. It is closed when a process of the pool
    ends, by which what it still had to send is sent: such a process does not run Python's own exit.

    Raises:
        InvalidInput: naming an argument of another type.
    """
    instance("app", app, Celery, "give the Celery application")
    tasks = CeleryTasks(room)

    def close(**_: Any) -> None:
        room.close()

    signals.worker_process_shutdown.connect(close, weak=False)
    return tasks
