"""What each process of the service runs: the application, made from the settings in the environment."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from greenroom.service import logs
from greenroom.service.app import create_app
from greenroom.service.envelope import ASGIApplication, Envelope
from greenroom.service.settings import Settings

METRICS_VARIABLE = "_GREENROOM_METRICS"
"""Where the workers of one service share their numbers; set by the main process, no setting."""
_LOOK = 1.0
"""Seconds between two looks at whether the main process still lives."""


def build() -> ASGIApplication:
    """The application of this process.

    Raises:
        InvalidInput: naming the setting that is wrong.
    """
    settings = Settings.read(os.environ, {})
    logs.configure(format_=settings.log_format, level=settings.log_level)
    shared = os.environ.get(METRICS_VARIABLE)
    app = create_app(settings, shared_metrics=Path(shared) if shared else None)
    return OrphanGuard(app) if settings.workers > 1 else app


class OrphanGuard:
    """Ends a worker whose main process is gone.

    A main process that is killed by SIGKILL cannot end its workers; left alone they would keep the port, and the next
    `serve` could not start.
    """

    def __init__(self, app: Envelope) -> None:
        self._app = app
        self._parent = os.getppid()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            self._task = asyncio.get_running_loop().create_task(self._watch())
        await self._app(scope, receive, send)

    async def _watch(self) -> None:
        while os.getppid() == self._parent:
            await asyncio.sleep(_LOOK)
        signal.raise_signal(signal.SIGTERM)
