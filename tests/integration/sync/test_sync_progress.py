"""Following a job from a thread: an iterator of its statuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from greenroom import Keyspace
from greenroom.progress import Order
from greenroom.sync import Greenroom, process
from tests.support.patience import wait_for
from tests.support.sync_rooms import MINUTES, together


class Job(msgspec.Struct, frozen=True):
    status: str


JOB = Keyspace("job:{job_id}", Job, ttl=MINUTES, fresh=timedelta(minutes=1))
ORDER = Order("queued", "running", "done", failure="failed")


class Work:
    """Jobs by their ids, and a loader of them that notes its threads."""

    def __init__(self) -> None:
        self.statuses = {"a": "queued"}
        self.threads = set[threading.Thread]()

    def load(self, job_id: str) -> Job | None:
        self.threads.add(threading.current_thread())
        status = self.statuses.get(job_id)
        return None if status is None else Job(status)


def test_each_status_of_a_job_comes_until_the_last(room: Greenroom) -> None:
    work, seen = Work(), list[str]()
    jobs = room.progress(JOB, load=work.load, order=ORDER)
    for job in jobs.follow("a"):
        seen.append(job.status)
        later = {"queued": "running", "running": "done"}.get(job.status)
        if later:
            work.statuses["a"] = later
            jobs.cache.invalidate("a")
    assert seen == ["queued", "running", "done"]
    assert jobs.get("a") == jobs.read("a").value == Job("done")
    assert threading.current_thread() in work.threads


def test_a_job_that_is_not_there_ends_at_once(room: Greenroom) -> None:
    jobs = room.progress(JOB, load=Work().load, order=ORDER)
    assert list(jobs.follow("none")) == []
    assert jobs.get("none") is None


def test_many_threads_follow_one_job(room: Greenroom) -> None:
    work, begun = Work(), threading.Barrier(9)
    jobs = room.progress(JOB, load=work.load, order=ORDER)

    def follow() -> list[str]:
        followed = jobs.follow("a")
        seen = [next(followed).status]
        begun.wait()
        return [*seen, *(job.status for job in followed)]

    def change() -> list[str]:
        begun.wait()
        work.statuses["a"] = "done"
        jobs.cache.invalidate("a")
        return []

    assert together([*[follow] * 8, change])[:8] == [["queued", "done"]] * 8


def followers(room: Greenroom) -> int:
    return sum(jobs.followed for jobs in room.room._jobs)


def test_who_stops_following_leaves_no_follower(room: Greenroom) -> None:
    jobs = room.progress(JOB, load=Work().load, order=ORDER)
    followed = jobs.follow("a")
    assert next(followed).status == "queued"
    followed.close()
    assert list(followed) == []
    given_up = jobs.follow("a")
    assert next(given_up).status == "queued"
    del given_up
    end = threading.Event()
    for _ in range(1000):
        if followers(room) == 0:
            break
        end.wait(0.01)
    assert followers(room) == 0


def test_who_follows_in_an_open_transaction_loads_for_nobody(make_room: Callable[..., Greenroom]) -> None:
    work = Work()
    work.statuses["a"] = "done"
    room = make_room(in_transaction=lambda: True)
    jobs = room.progress(JOB, load=work.load, order=ORDER)
    assert [job.status for job in jobs.follow("a")] == ["done"]
    assert threading.current_thread() not in work.threads


def test_an_error_of_following_is_raised_once_and_ends_it(room: Greenroom) -> None:
    def load(_: str) -> Job | None:
        raise ValueError("the database is away")

    followed = room.progress(JOB, load=load, order=ORDER).follow("a")
    with pytest.raises(ValueError, match="away"):
        next(followed)
    assert list(followed) == []


def test_following_that_another_thread_closes_ends_there(room: Greenroom) -> None:
    followed = room.progress(JOB, load=Work().load, order=ORDER).follow("a")
    assert next(followed) == Job("queued")

    def close() -> list[Job]:
        wait_for(lambda: followed._next is not None and process.portal().running)
        followed.close()
        return []

    assert together([lambda: list(followed), close]) == [[], []]
