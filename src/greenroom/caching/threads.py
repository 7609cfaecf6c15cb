"""Threads for the loaders that are not async, as those over a blocking driver."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

MAX_THREADS = 16
"""Loads of one room that run in threads at a time; more wait, within their deadline."""


class LoaderThreads:
    """The threads of one room.

    Prevents: a loader waits for its database on the event loop · meanwhile nobody is answered, no lease is renewed, and
    the connection to the server counts as silent.

    A load that is cancelled at its deadline leaves its thread running: nothing can end it but its driver's own
    deadline.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, load: Callable[..., Any], *args: object, **parts: object) -> Any:
        """Call a function in a thread, in a copy of the running context; what it returns is awaited where it can be."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(MAX_THREADS, "greenroom-loader")
        call = partial(copy_context().run, _called, load, *args, **parts)
        result = await asyncio.get_running_loop().run_in_executor(self._pool, call)
        return await result if inspect.isawaitable(result) else result

    def close(self) -> None:
        """Begin nothing more, and wait for nobody."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _called(load: Callable[..., Any], *args: object, **parts: object) -> Any:
    try:
        return load(*args, **parts)
    except StopIteration as error:
        # A future takes none before Python 3.12: the load would wait for its deadline.
        raise RuntimeError(f"a loader raised {type(error).__name__}") from error
