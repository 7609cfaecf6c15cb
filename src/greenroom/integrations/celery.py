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
    from celery.exceptions import TaskRevokedError
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
        """Say how far this task is, from inside of it (`bind=True`); nothing where it is called as a function. A server
        that is away is no error."""
        if self.request.id is not None:
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

    def failed(sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
        if getattr(sender, "tasks", None) is tasks:
            tasks.failed(task_id, exception)

    def revoked(sender: Any, request: Any, terminated: bool, expired: bool, **_: Any) -> None:
        reason = "terminated" if terminated else "expired" if expired else "revoked"
        failed(sender, request.id, TaskRevokedError(reason))

    signals.worker_process_shutdown.connect(close, weak=False)
    # By signals, since no method of a task is called for what its worker alone knows: that its process was killed, that
    # it was revoked. Prevents: the task has ended · nobody tells · who follows it waits for a day.
    signals.task_failure.connect(failed, weak=False)
    signals.task_revoked.connect(revoked, weak=False)
    return tasks
