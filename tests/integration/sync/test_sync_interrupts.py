"""A thread that is interrupted in a call, at whatever step, leaves no old value and nothing stuck."""

from __future__ import annotations

import linecache
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from greenroom.sync import Greenroom, process
from greenroom.sync.called_drops import CalledDrop
from tests.support.sync_rooms import COUNT, EPISODE, Episode, Record, together


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the tests."""


def interrupted(step: int, call: Callable[[], object]) -> bool:
    """Make a call, and interrupt it at a step of `greenroom.sync` in this thread; False where it has fewer steps."""
    left = step

    def lines(frame: FrameType, event: str, __: Any) -> Any:
        nonlocal left
        # Between the end of a `with` block and its exit the interpreter looks for no signal.
        if event == "line" and "with " not in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
            if not left:
                raise Interrupted
            left -= 1
        return lines

    def calls(frame: FrameType, _: str, __: Any) -> Any:
        # What a finalizer raises nobody gets.
        ours = "/greenroom/sync/" in frame.f_code.co_filename and frame.f_code.co_name not in ("__del__", "ended")
        return lines if ours else None

    sys.settrace(calls)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("what", ["key", "many", "group", "keyspace", "changing"])
def test_a_drop_that_is_interrupted_at_any_step_leaves_no_old_value(room: Greenroom, what: str) -> None:
    record = Record()
    episode = room.cached(EPISODE, groups=["episodes:{show_id}"])(record.load)
    began = list[CalledDrop]()
    room.open()
    begin = room._called.begin

    def marked(drop: CalledDrop) -> None:
        began.append(drop)
        begin(drop)

    room._called.begin = marked  # type: ignore[method-assign]

    def change() -> None:
        with room.changing(episode.of("s1", 1)):
            record.version += 1

    drops: dict[str, Callable[[], object]] = {
        "key": lambda: episode.invalidate("s1", 1),
        "many": lambda: episode.invalidate_many([("s1", number) for number in range(300)]),
        "group": lambda: episode.invalidate_group("s1"),
        "keyspace": lambda: room.drop_keyspace(EPISODE),
        "changing": change,
    }
    step = 0
    while True:
        before = episode("s1", 1)
        began.clear()
        changed = record.version
        if what != "changing":
            record.version += 1
        went_on = interrupted(step, drops[what])
        if began and record.version != changed:
            assert episode("s1", 1) == Episode("s1", 1, record.version), step
        else:
            record.version = changed
            assert episode("s1", 1) == before
        if not went_on:
            break
        step += 1
    assert step > 20
    room.health()
    assert (room._called.keys, room._called.wide) == ({}, set())
    assert together([lambda: episode("s1", 1)]) == [Episode("s1", 1, record.version)]


def test_a_write_that_is_interrupted_at_any_step_is_read_as_it_is_stored(room: Greenroom) -> None:
    count = room.store(COUNT)
    step = 0
    while interrupted(step, lambda: count.increment(name="a")):
        seen = count.get("a")
        room.forget_near()
        assert count.get("a") == seen, step
        step += 1
    assert step > 20
    assert (room._called.keys, room._called.wide) == ({}, set())


def test_a_read_that_is_interrupted_at_any_step_harms_no_other(room: Greenroom) -> None:
    record = Record()
    episode = room.cached(EPISODE)(record.load)
    step = 0
    while interrupted(step, partial(episode, "s1", step + 20)):
        assert together([partial(episode, "s1", step + 20)]) == [Episode("s1", step + 20)]
        step += 1
    assert step > 20
    room.health()
    assert not process.portal().running


def test_a_load_whose_thread_is_interrupted_is_done_by_another(room: Greenroom) -> None:
    record, loading, waits = Record(), threading.Event(), threading.Event()

    def before() -> None:
        if threading.current_thread() is threading.main_thread():
            loading.set()
            while True:
                waits.wait(0.01)

    record.before = before
    episode, got = room.cached(EPISODE)(record.load), list[Episode | None]()

    def other() -> None:
        loading.wait(60)
        interrupting.start()
        got.append(episode("s1", 1))

    def interrupt() -> None:
        while len(process.portal().running) < 2:
            waits.wait(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def handle(*_: object) -> None:
        raise Interrupted

    waiting, interrupting = threading.Thread(target=other, daemon=True), threading.Thread(target=interrupt, daemon=True)
    old = signal.signal(signal.SIGUSR1, handle)
    try:
        waiting.start()
        with pytest.raises(Interrupted):
            episode("s1", 1)
    finally:
        signal.signal(signal.SIGUSR1, old)
    waiting.join(60)
    assert got == [Episode("s1", 1)]
    assert record.threads == [threading.main_thread(), waiting]


@pytest.mark.parametrize("closing", [False, True])
def test_opening_and_closing_go_on_when_interrupted_at_any_step(
    make_room: Callable[..., Greenroom], closing: bool
) -> None:
    step = 0
    while True:
        room = make_room(sessions=False)
        count = room.store(COUNT)
        if closing:
            room.open()
        went_on = interrupted(step, room.close if closing else room.open)
        if closing:
            room.open()
        assert count.increment(name="a") == step + 1, step
        room.close()
        if not went_on:
            break
        step += 1
    assert step > 5
