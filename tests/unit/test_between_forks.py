"""Work in a database and forks of the process come one after the other."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from greenroom.integrations import between_forks as module
from greenroom.integrations.between_forks import WorkBetweenForks
from tests.support.patience import wait_for


def test_a_fork_waits_for_work_and_work_for_a_fork() -> None:
    guard, end, steps = WorkBetweenForks(), Event(), list[str]()

    def work(name: str) -> None:
        with guard():
            steps.append(f"{name} begins")
            end.wait()
            steps.append(f"{name} ends")

    def fork() -> None:
        guard.before_fork()
        steps.append("fork")
        guard.in_parent()

    first = Thread(target=work, args=("first",))
    first.start()
    wait_for(lambda: steps == ["first begins"])
    forking = Thread(target=fork)
    forking.start()
    wait_for(lambda: guard._forking)
    second = Thread(target=work, args=("second",))
    second.start()
    end.set()
    for thread in (first, forking, second):
        thread.join()
    assert steps.index("first ends") < steps.index("fork")
    assert steps.index("fork") < steps.index("second begins")


def test_work_that_does_not_end_holds_up_no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.01)
    guard = WorkBetweenForks()
    with guard():
        guard.before_fork()
        guard.in_parent()


def test_a_child_begins_anew() -> None:
    guard = WorkBetweenForks()
    with guard():
        guard._changed.acquire()
        guard.in_child()
        with guard():
            assert guard._under_way == 1
        guard._under_way = 1  # the work around this one is the parent's
