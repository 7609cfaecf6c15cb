"""The progress of tasks, and a room for each process that runs them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Reject
from redis import Redis
from rq import Queue, Retry, SimpleWorker

from greenroom.errors import EngineUnavailable, RoomClosed
from greenroom.integrations.celery import connect
from greenroom.integrations.rq import RoomWorker, RqTasks
from greenroom.integrations.task_progress import TaskProgress, TaskStatus
from greenroom.sync import Greenroom
from tests.support.patience import wait_for
from tests.support.real_servers import Server


@pytest.fixture
def room(valkey: Server) -> Iterator[Greenroom]:
    with Greenroom(valkey.address) as room:
        yield room


def redis(server: Server) -> Redis:
    """A client of another library."""
    return Redis.from_url(server.address.replace("valkey://", "redis://"))


def test_another_process_follows_to_the_result(valkey: Server, room: Greenroom) -> None:
    mine = TaskProgress(room)
    mine.queued("a")
    with Greenroom(valkey.address) as other:
        seen = TaskProgress(other).follow("a")
        assert next(seen).status == "queued"
        mine.running("a", 10, 100, "half way")
        assert next(seen) == TaskStatus(status="running", done=10, total=100, note="half way")
        mine.done("a", {"rows": 100})
        assert list(seen) == [TaskStatus(status="done", done=10, total=100, note="half way", result={"rows": 100})]
    assert list(mine.follow("nobody")) == []


def test_a_task_that_is_delivered_again_stays_ended(room: Greenroom) -> None:
    tasks = TaskProgress(room)
    tasks.done("a", 1)
    tasks.running("a", 5)
    tasks.failed("a", ValueError("again"))
    tasks.queued("a")
    assert tasks.get("a") == TaskStatus(status="done", result=1)


def test_a_result_that_is_no_json_is_not_kept_but_the_end_is(room: Greenroom, caplog: pytest.LogCaptureFixture) -> None:
    tasks = TaskProgress(room)
    tasks.done("a", {1, 2})
    assert tasks.get("a") == TaskStatus(status="done")
    assert "the result of a task is not kept" in caplog.text


def test_a_result_too_large_is_not_kept_but_the_end_is(room: Greenroom, caplog: pytest.LogCaptureFixture) -> None:
    tasks = TaskProgress(room)
    tasks.running("a", 1, 2, "half way")
    tasks.done("a", "x" * 1_000_000)
    assert tasks.get("a") == TaskStatus(status="done", done=1, total=2, note="half way")
    assert "the end of a task is kept without its result" in caplog.text


def test_a_failure_is_told_after_a_note_that_left_no_room_for_it(room: Greenroom) -> None:
    tasks = TaskProgress(room)
    tasks.running("a", note="x" * 999_900)
    tasks.failed("a", ValueError("y" * 400))
    assert tasks.get("a") == TaskStatus(status="failed", note="x" * 500, error=f"ValueError: {'y' * 400}")


def test_half_of_a_surrogate_pair_fails_no_task(room: Greenroom) -> None:
    tasks = TaskProgress(room)
    tasks.running("a", 1, note="file \ud83d")
    assert tasks.get("a") == TaskStatus(status="running", done=1, note="file \\ud83d")
    tasks.failed("a", ValueError("no \ud83d"))
    assert tasks.get("a") == TaskStatus(status="failed", done=1, note="file \\ud83d", error="ValueError: no \\ud83d")


def test_an_error_without_a_text_is_told(room: Greenroom) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise TypeError

    tasks = TaskProgress(room)
    tasks.failed("a", Silent())
    assert tasks.get("a") == TaskStatus(status="failed", error="Silent: (its text cannot be made)")


def test_a_status_of_another_form_fails_no_task(
    valkey: Server, room: Greenroom, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = TaskProgress(room)
    redis(valkey).set("task:a", "[]")
    tasks.running("a", 1)
    tasks.done("a", 1)
    assert caplog.text.count("the progress of a task could not be stored") == 2


def test_a_server_that_is_away_fails_no_task(caplog: pytest.LogCaptureFixture) -> None:
    with Greenroom("valkey://127.0.0.1:1") as room:
        TaskProgress(room).running("a", 1)
    assert "the progress of a task could not be stored" in caplog.text


@pytest.mark.own_limits
def test_an_end_is_told_when_the_server_is_back(valkey: Server, room: Greenroom) -> None:
    tasks = TaskProgress(room)
    tasks.running("a", 1)
    with Greenroom(valkey.address) as other:
        seen = TaskProgress(other).follow("a")
        assert next(seen).done == 1
        with valkey.frozen():
            tasks.done("a", 7)
            tasks.failed("b", ValueError("no rows"))
        room.ready()
        other.ready()
        wait_for(lambda: tasks.get("b") == TaskStatus(status="failed", error="ValueError: no rows"))
        wait_for(lambda: tasks.get("a") == TaskStatus(status="done", done=1, result=7))
        assert list(seen) == [TaskStatus(status="done", done=1, result=7)]


@pytest.mark.own_limits
def test_an_end_that_cannot_be_stored_holds_up_no_later_one(valkey: Server, room: Greenroom) -> None:
    tasks = TaskProgress(room)
    tasks.running("a", 1)
    tasks.running("b", 1)
    redis(valkey).set("task:b", "[]")
    with valkey.frozen():
        tasks.done("a", "x" * 1_000_000)
        tasks.done("b", 1)
        tasks.done("c", 2)
    room.ready()
    wait_for(lambda: tasks.get("c") == TaskStatus(status="done", result=2))
    assert tasks.get("a") == TaskStatus(status="done", done=1)


@pytest.mark.own_limits
def test_an_end_whose_server_stays_away_holds_up_no_later_one(valkey: Server, room: Greenroom) -> None:
    class OneAway(TaskProgress):
        async def _tell_end(self, task_id: str, end: Any) -> None:
            if task_id == "a":
                raise EngineUnavailable("for the test")
            await super()._tell_end(task_id, end)

    tasks = OneAway(room)
    with valkey.frozen():
        tasks.done("a", 1)
        tasks.done("b", 2)
    room.ready()
    wait_for(lambda: tasks.get("b") == TaskStatus(status="done", result=2))


def test_a_process_of_celery_closes_its_room_at_its_end(room: Greenroom) -> None:
    connect(Celery("closing"), room)
    signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
    with pytest.raises(RoomClosed):
        room.health()


def test_a_task_of_celery_that_raises_is_failed_for_who_follows(room: Greenroom) -> None:
    app = Celery("failing", broker="memory://")
    tasks = connect(app, room)

    @app.task(bind=True, base=tasks.base)  # type: ignore[untyped-decorator]
    def export(self: Any) -> None:
        self.report(1, 2)
        raise ValueError("no rows")

    export.apply(task_id="a")
    assert tasks.get("a") == TaskStatus(status="failed", done=1, total=2, error="ValueError: no rows")


@pytest.fixture
def logging_stays() -> Iterator[None]:
    """Keep a worker of Celery from setting up logging: no later test of this process would see a warning."""

    def stays(**_: object) -> None:
        pass

    signals.setup_logging.connect(stays)
    yield
    signals.setup_logging.disconnect(stays)


@pytest.mark.usefixtures("logging_stays")
def test_what_a_worker_alone_knows_of_a_task_of_celery_is_told(room: Greenroom) -> None:
    app = Celery("refusing", broker="memory://")
    tasks = connect(app, room)

    @app.task(bind=True, base=tasks.base)  # type: ignore[untyped-decorator]
    def refuse(self: Any) -> None:
        raise Reject("no more", requeue=False)

    def status_of(sent: Any) -> TaskStatus:
        status = tasks.get(sent.id)
        assert status is not None
        return status

    late = refuse.apply_async(expires=-1)
    refused = refuse.delay()
    with start_worker(app, pool="solo", perform_ping_check=False):
        wait_for(lambda: status_of(late).status == status_of(refused).status == "failed")
    assert status_of(late).error == "TaskRevokedError: expired"
    assert "no more" in status_of(refused).error


def test_a_task_of_celery_that_is_called_as_a_function_tells_nothing(
    room: Greenroom, caplog: pytest.LogCaptureFixture
) -> None:
    app = Celery("called")
    tasks = connect(app, room)

    @app.task(bind=True, base=tasks.base)  # type: ignore[untyped-decorator]
    def export(self: Any) -> int:
        self.report(1)
        return 7

    assert export() == 7
    assert "the progress of a task" not in caplog.text


JOBS: list[Any] = []


def job(rows: int) -> int:
    """Stands for a job; what the test has decorated is called by it."""
    result: int = JOBS[-1](rows)
    return result


def test_a_job_of_rq_that_will_be_retried_has_not_failed(valkey: Server, room: Greenroom) -> None:
    tasks = RqTasks(room)
    attempts: list[int] = []

    @tasks.job
    def flaky(rows: int) -> int:
        attempts.append(rows)
        tasks.report(len(attempts), 2)
        if len(attempts) == 1:
            assert (tasks.get("a") or TaskStatus(status="failed")).status == "running"
            raise ValueError("once")
        assert tasks.get("a") == TaskStatus(status="running", done=2, total=2)
        return rows

    JOBS.append(flaky)
    queue = Queue(connection=redis(valkey))
    tasks.enqueue(queue, job, 3, job_id="a", retry=Retry(max=1))
    SimpleWorker([queue], connection=queue.connection).work(burst=True)
    assert tasks.get("a") == TaskStatus(status="done", done=2, total=2, result=3)
    assert room.health() is not None  # a worker that does not fork keeps its room


def test_a_job_of_rq_that_returns_a_retry_is_not_done(valkey: Server, room: Greenroom) -> None:
    tasks = RqTasks(room)
    seen: list[str] = []

    @tasks.job
    def again(rows: int) -> Retry:
        seen.append(getattr(tasks.get("a"), "status", "none"))
        return Retry(max=rows)

    JOBS.append(again)
    queue = Queue(connection=redis(valkey))
    tasks.enqueue(queue, job, 1, job_id="a")
    SimpleWorker([queue], connection=queue.connection).work(burst=True)
    assert seen == ["running", "running"]
    assert tasks.get("a") == TaskStatus(status="failed", error="RuntimeError: it asked for another attempt after 1")


def test_a_job_of_rq_whose_process_is_killed_has_failed(valkey: Server, room: Greenroom) -> None:
    tasks = RqTasks(room)

    @tasks.job
    def killed(rows: int) -> int:
        tasks.report(1, rows)
        os.kill(os.getpid(), signal.SIGKILL)
        return rows

    JOBS.append(killed)
    queue = Queue(connection=redis(valkey))
    tasks.enqueue(queue, job, 3, job_id="a")
    queue.enqueue(signal.raise_signal, signal.SIGKILL, job_id="other")
    RoomWorker([queue], connection=queue.connection).work(burst=True)
    told = TaskStatus(status="failed", done=1, total=3, error="RuntimeError: its process was killed")
    assert tasks.get("a") == told
    assert tasks.get("other") is None


def test_a_forked_process_of_rq_closes_its_room_at_its_end(valkey: Server, room: Greenroom) -> None:
    RqTasks(room)
    queue = Queue(connection=redis(valkey))
    worker = RoomWorker([queue], connection=queue.connection)
    worker._is_horse = True
    with pytest.raises(TypeError):
        worker.perform_job()
    with pytest.raises(RoomClosed):
        room.health()
