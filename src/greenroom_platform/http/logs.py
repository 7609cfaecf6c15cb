"""Logging under `greenroom.*`, as text or as JSON lines, with the request's id in every line."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from math import inf
from typing import Any, TextIO

import msgspec

from greenroom.printable import printable, printable_json

REQUEST_ID: ContextVar[str] = ContextVar("greenroom_request_id", default="-")
"""The id of the request that the current task serves."""
_PAUSE = 0.01
"""Seconds between two writes of lines that are no warnings."""
_PIECE = 4096
"""Characters that are written at once: lines that several workers write to one pipe stay whole up to this length."""


class _WithRequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # A refusal before there is a request names its own.
        record.request_id = getattr(record, "request_id", "") or REQUEST_ID.get()
        return True


class _TextLines(logging.Formatter):
    """One line for each record, whatever is in its message; a traceback has its own lines, and no other controls."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s [%(request_id)s] %(message)s")
        self._second = (0, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        # Thousands of lines have one second: it is written once.
        second = int(record.created)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second)))
        return f"{self._second[1]},{int(record.msecs):03d}"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return printable(super().formatException(ei), lines=True)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return printable_json(msgspec.json.encode(line).decode())


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines to a stream: those of one turn of the event loop in one piece, and if there are many, of 10 ms.

    Each write is a call of the system, and costs as much as the rest of a line. A warning is written at once, with all
    before it, and so is what a thread without a loop says. At the end of the process `logging` flushes what is left; a
    process that is killed loses what it said in its last 10 ms.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._kept: list[str] = []
        self._size = 0
        self._due: asyncio.AbstractEventLoop | None = None
        """The loop that writes them soon."""
        self._written = -inf

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + self.terminator
        except Exception:  # as every handler: what cannot be written is told on standard error, and raised to nobody
            self.handleError(record)
            return
        if self._size + len(line) > _PIECE:
            self.flush()
        self._kept.append(line)
        self._size += len(line)
        if record.levelno >= logging.WARNING or not self._is_written_later():
            self.flush()

    def flush(self) -> None:
        self.acquire()
        try:
            kept, self._kept, self._size, self._due = self._kept, [], 0, None
            self._written = time.monotonic()
            # Whoever read them has gone: there is nobody to tell.
            with suppress(OSError, ValueError):
                if kept:
                    self.stream.write("".join(kept))
                self.stream.flush()
        finally:
            self.release()

    def _is_written_later(self) -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if loop is not self._due:
            if time.monotonic() - self._written < _PAUSE:
                loop.call_later(_PAUSE, self.flush)
            else:
                loop.call_soon(self.flush)
            self._due = loop
        return True


def configure(*, format_: str, level: str) -> None:
    """Send the logs of Greenroom, and the warnings of what it runs on, to standard error."""
    # No line names a file, a thread, a process or a task, so nobody looks them up ("Optimization", logging HOWTO).
    for switch in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, switch, None)
    handler = _Lines(sys.stderr)
    handler.addFilter(_WithRequestId())
    handler.setFormatter(_JsonLines() if format_ == "json" else _TextLines())
    others = ("uvicorn", "litestar", "asyncio")
    for name, minimum in (("greenroom", level.upper()), *((other, "WARNING") for other in others)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(minimum)
        logger.propagate = False
