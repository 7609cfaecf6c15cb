"""Logging under `greenroom.*`, as text or as JSON lines, with the request's id in every line."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from math import inf
from typing import Any, TextIO

import msgspec

from greenroom.printable import printable, printable_json

REQUEST_ID: ContextVar[str] = ContextVar("greenroom_request_id", default="-")
"""The id of the request that the current task serves."""
Fields = Mapping[str, Any]
_PAUSE = 0.01
"""Seconds between two writes of lines that are no warnings."""
_PIECE = 4096
"""Characters that are written at once: lines that several workers write to one pipe stay whole up to this length."""


def _id_of(record: logging.LogRecord) -> str:
    # A refusal before there is a request names its own.
    return getattr(record, "request_id", "") or REQUEST_ID.get()


class _TextLines(logging.Formatter):
    """One line for each record, whatever is in its message; a traceback has its own lines, and no other controls."""

    def __init__(self) -> None:
        super().__init__()
        self._second = (0, "")

    def line(self, at: float, level: str, name: str, request_id: str, message: str, _: Fields) -> str:
        """A line, without its end.

        Arguments:
            at: seconds since 1970.
        """
        # Thousands of lines have one second: it is written once.
        second = int(at)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second)))
        return printable(
            f"{self._second[1]},{int((at - second) * 1000):03d} {level:<7} {name} [{request_id}] {message}"
        )

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return self.line(record.created, record.levelname, record.name, _id_of(record), record.message, {})

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return printable(super().formatException(ei), lines=True)


class _JsonLines(logging.Formatter):
    def line(self, at: float, level: str, name: str, request_id: str, message: str, fields: Fields) -> str:
        """A line, without its end.

        Arguments:
            at: seconds since 1970.
            fields: that it has besides.
        """
        line = {
            "time": datetime.fromtimestamp(at, UTC),
            "level": level.lower(),
            "logger": name,
            "request_id": request_id,
            "message": message,
            **fields,
        }
        try:
            text = msgspec.json.encode(line).decode()
        except UnicodeEncodeError:  # the name of a file, say, that is no UTF-8
            text = json.dumps(msgspec.to_builtins(line), ensure_ascii=False)
        return printable_json(text)

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        if record.exc_info:
            fields = {**fields, "exception": self.formatException(record.exc_info)}
        message = record.getMessage()
        return self.line(record.created, record.levelname, record.name, _id_of(record), message, fields)


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
            line = self.format(record)
        except Exception:  # as every handler: what cannot be written is told on standard error, and raised to nobody
            self.handleError(record)
            return
        self._keep(line, at_once=record.levelno >= logging.WARNING)

    def inform(self, name: str, message: str, fields: Fields) -> None:
        """Write what `logging` would have this handler write for `info`, at a third of the cost.

        Arguments:
            name: of the logger.
            fields: that a line of JSON has besides.
        """
        assert isinstance(self.formatter, _TextLines | _JsonLines)
        line = self.formatter.line(time.time(), "INFO", name, REQUEST_ID.get(), message, fields)
        self.acquire()
        try:
            self._keep(line, at_once=False)
        finally:
            self.release()

    def _keep(self, line: str, *, at_once: bool) -> None:
        line += self.terminator
        if self._size + len(line) > _PIECE:
            self.flush()
        self._kept.append(line)
        self._size += len(line)
        if at_once or not self._is_written_later():
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


# docs/decisions/0111-access-lines-need-no-record.md
def inform(log: logging.Logger, message: str, fields: Fields) -> None:
    """`log.info(message)` for what is said thousands of times a second.

    Arguments:
        log: of `greenroom.*`.
        fields: that a line of JSON has besides.
    """
    if not log.isEnabledFor(logging.INFO):
        return
    # Other handlers of this logger, and its filters, are given a record. What cannot be written `logging` tells.
    if (handler := _only_handler(log)) is not None:
        with suppress(Exception):
            handler.inform(log.name, message, fields)
            return
    log.info("%s", message, extra={"fields": fields})


def _only_handler(log: logging.Logger) -> _Lines | None:
    above = log.parent
    if above is None or above.propagate or not log.propagate or log.handlers or log.filters:
        return None
    if len(above.handlers) != 1 or not isinstance(handler := above.handlers[0], _Lines) or handler.filters:
        return None
    return handler


def configure(*, format_: str, level: str) -> None:
    """Send the logs of Greenroom, and the warnings of what it runs on, to standard error."""
    # No line names a file, a thread, a process or a task, so nobody looks them up ("Optimization", logging HOWTO).
    for switch in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, switch, None)
    handler = _Lines(sys.stderr)
    handler.setFormatter(_JsonLines() if format_ == "json" else _TextLines())
    others = ("uvicorn", "litestar", "asyncio")
    for name, minimum in (("greenroom", level.upper()), *((other, "WARNING") for other in others)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(minimum)
        logger.propagate = False
