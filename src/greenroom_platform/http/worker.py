"""What each process of the service runs: the application, made from the settings in the environment."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

from greenroom_platform.http import logs
from greenroom_platform.http.app import create_app
from greenroom_platform.http.broken_off import AnswerBrokenOff
from greenroom_platform.http.envelope import ASGIApplication, Envelope
from greenroom_platform.http.settings import Settings

METRICS_VARIABLE = "_GREENROOM_METRICS"
"""Where the workers of one service share their numbers; set by the main process, no setting."""


def build() -> ASGIApplication:
    """The application of this process.

    Raises:
        InvalidInput: naming the setting that is wrong.
    """
    settings = Settings.read(os.environ, {})
    logs.configure(format_=settings.log_format, level=settings.log_level)
    logging.getLogger("uvicorn.error").addFilter(_tells_more)
    shared = os.environ.get(METRICS_VARIABLE)
    app = create_app(settings, shared_metrics=Path(shared) if shared else None)
    # docs/decisions/0112-what-stays-is-no-garbage.md
    # Modules and routes stay as long as the process. Otherwise each full search for garbage goes through
    # all of them, and holds the event loop for some 50 ms.
    gc.collect()
    gc.freeze()
    return OrphanGuard(app) if settings.workers > 1 else app


def _tells_more(record: logging.LogRecord) -> bool:
    # That answers were cut off at the end of the drain the server says in one line, and the envelope why it breaks one
    # off; here comes a traceback for each.
    return not (record.exc_info and isinstance(record.exc_info[1], (asyncio.CancelledError, AnswerBrokenOff)))


class OrphanGuard:
    """Ends a worker whose main process is gone.

    A main process that is killed by SIGKILL cannot end its workers; left alone they would keep the port, and the next
    `serve` could not start.
    """

    def __init__(self, app: Envelope) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            self._watch()
        await self._app(scope, receive, send)

    def _watch(self) -> None:
        main = multiprocessing.parent_process()
        assert main is not None, "a worker is started by the main process"
        loop, sentinel = asyncio.get_running_loop(), main.sentinel

        def gone() -> None:
            loop.remove_reader(sentinel)
            signal.raise_signal(signal.SIGTERM)

        # A pipe whose other end only the main process holds: it also tells of one that died before we looked.
        loop.add_reader(sentinel, gone)
