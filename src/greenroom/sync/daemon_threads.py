"""Threads for what would block the portal's loop: a look-up of a host's name, a driver that is not async.

Prevents: the main thread ends · executors take no more work from then on · a thread that goes on calls the room, whose
connection was lost · the name of its host cannot be looked up any more.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """An executor that begins a thread for each call, also when the main thread has ended.

    Its calls are few: what a room connects to, and a look at an outbox. It is a ThreadPoolExecutor by name alone, since
    event loops take no other.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin a call; its result is that of the future."""
        future = Future[T]()
        work = partial(fn, *args, **kwargs)
        Thread(target=_run, args=(future, work), name="greenroom-blocking", daemon=True).start()
        return future


def _run(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
