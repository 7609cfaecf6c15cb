"""The workers of a forked `greenroom serve`, forked as well: one that is spawned imports everything once more.

What is executed (`Service(executed=True)`) spawns them, as everywhere outside of the tests.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import ForkProcess, SpawnProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from uvicorn import _subprocess

from tests.support.process_tree import WORKER


class _Worker(ForkProcess):
    """A worker that has no more of its main process than one that was spawned."""

    def __init__(self, *, target: Callable[..., None], kwargs: dict[str, Any]) -> None:
        super().__init__(target=target, kwargs=kwargs)
        self._sockets = kwargs["sockets"]
        self._worker = kwargs["target"].__self__

    def start(self) -> None:
        self._open = {int(name) for name in os.listdir("/proc/self/fd")}
        super().start()

    def run(self) -> None:
        Path("/proc/self/comm").write_text(WORKER)
        passed = {one.fileno() for one in (*self._sockets, self._worker.parent_conn, self._worker.child_conn)}
        # Among the rest is the end of a pipe by whose closing another worker learns that the main process is gone.
        for number in self._open - passed - {0, 1, 2}:
            with suppress(OSError):
                os.close(number)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        atexit._clear()
        try:
            super().run()
        finally:
            atexit._run_exitfuncs()


def _process(**arguments: Any) -> Any:
    # A thread of a library is not there in a forked process, and the library does not know.
    alone = len(os.listdir("/proc/self/task")) == 1
    return _Worker(**arguments) if alone else SpawnProcess(**arguments)


def fork_workers() -> None:
    """Let this process fork its workers, on Linux."""
    if os.path.exists("/proc/self/task"):
        setattr(_subprocess, "spawn", SimpleNamespace(Process=_process))  # noqa: B010
