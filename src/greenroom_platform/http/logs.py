"""Logging under `greenroom.*`, as text or as JSON lines, with the request's id in every line."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from greenroom.printable import printable, printable_json

REQUEST_ID: ContextVar[str] = ContextVar("greenroom_request_id", default="-")
"""The id of the request that the current task serves."""


class _WithRequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # A refusal before there is a request names its own.
        record.request_id = getattr(record, "request_id", "") or REQUEST_ID.get()
        return True


class _TextLines(logging.Formatter):
    """One line for each record, whatever is in its message; a traceback has its own lines, and no other controls."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s [%(request_id)s] %(message)s")

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


def configure(*, format_: str, level: str) -> None:
    """Send the logs of Greenroom, and the warnings of what it runs on, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_WithRequestId())
    handler.setFormatter(_JsonLines() if format_ == "json" else _TextLines())
    others = ("uvicorn", "litestar", "asyncio")
    for name, minimum in (("greenroom", level.upper()), *((other, "WARNING") for other in others)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(minimum)
        logger.propagate = False
