"""RQ: a room for each process that runs jobs, and their progress. Extra `rq`.

tasks = RqTasks(room)  # a room of greenroom.sync

@tasks.job
def export(rows): tasks.report(10, rows)
...
for status in tasks.follow(tasks.enqueue(queue, export, 100).id): ...

`rq worker --worker-class greenroom.integrations.rq.RoomWorker`
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4
from weakref import WeakSet

from greenroom.argument_types import function
from greenroom.errors import GreenroomError
from greenroom.extras import needs_extra
from greenroom.integrations.task_progress import TaskProgress, TaskStatus
from greenroom.sync.client import Greenroom

with needs_extra("rq", "the integration of RQ"):
    from rq import Queue, Retry, Worker, get_current_job
    from rq.job import Job

__all__ = ["RoomWorker", "RqTasks", "TaskStatus"]

P = ParamSpec("P")
R = TypeVar("R")

_rooms: WeakSet[Greenroom] = WeakSet()
"""Those that a job of this process may have opened."""
_tasks: WeakSet[RqTasks] = WeakSet()


class RqTasks(TaskProgress):
    """The progress of the jobs of a room."""

    def __init__(self, room: Greenroom) -> None:
        super().__init__(room)
        _rooms.add(room)
        _tasks.add(self)

    def job(self, run: Callable[P, R]) -> Callable[P, R]:
        """Decorates a function whose progress is told when a worker runs it; elsewhere it is called as it is."""
        function("run", run, "decorate a plain function")

        @functools.wraps(run)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            job = get_current_job()
            if job is None:
                return run(*args, **kwargs)
            self.running(job.id)
            try:
                result = run(*args, **kwargs)
            except BaseException as error:
                if not job.retries_left:
                    self.failed(job.id, error)
                raise
            if not isinstance(result, Retry):
                self.done(job.id, result)
            elif job.number_of_retries and job.number_of_retries >= result.max:
                self.failed(job.id, RuntimeError(f"it asked for another attempt after {result.max}"))
            return result

        return told

    def enqueue(self, queue: Queue, run: Callable[..., Any], *args: Any, **options: Any) -> Job:
        """As `queue.enqueue`; its status is "queued" before that."""
        job_id = options.pop("job_id", None) or str(uuid4())
        self.queued(job_id)
        return queue.enqueue(run, *args, job_id=job_id, **options)

    def report(self, done: int, total: int | None = None, note: str = "") -> None:
        """Say how far the job is that runs here; nothing where none does. A server that is away is no error."""
        job = get_current_job()
        if job is not None:
            self.running(job.id, done, total, note)

    def killed(self, job_id: str) -> None:
        """The process of a job has ended before the job has; of jobs that nothing was told of nothing is told now."""
        try:
            known = self.get(job_id) is not None
        except GreenroomError:
            known = True  # whatever cannot be told either is logged
        if known:
            self.failed(job_id, RuntimeError("its process was killed"))


class RoomWorker(Worker):
    """RQ's worker, whose forked processes close their room: each ends without Python's own exit. Of one that is killed
    it tells that its job has failed."""

    def perform_job(self, *args: Any, **options: Any) -> bool:
        """Run a job; in the process that was forked for it the rooms are closed then."""
        try:
            return super().perform_job(*args, **options)
        finally:
            if self.is_horse:
                for room in tuple(_rooms):
                    room.close()

    def handle_work_horse_killed(self, job: Job, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """Tell of a job whose process was killed, where it is not retried."""
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # type: ignore[no-untyped-call]
        if not job.retries_left:
            for tasks in tuple(_tasks):
                tasks.killed(job.id)
