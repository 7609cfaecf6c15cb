"""What SQLite says where a file cannot be written, and what to do about it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

REMEDY = "let this user write to the file, to its -wal and -shm files and to their directory"
_DISK = "look at the disk: it has failed, or has no room left"

_REMEDIES = {
    sqlite3.SQLITE_PERM: REMEDY,
    sqlite3.SQLITE_READONLY: REMEDY,
    sqlite3.SQLITE_CANTOPEN: REMEDY,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_FULL: "make room on the disk",
}
_ANSWERS = {*_REMEDIES, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
"""Errors whose text is SQLite's own and fixed; others quote names or values."""

_ROOM = 256 * 1024
"""Bytes that a disk which was full must have for changes; more than one change takes."""


def is_over(error: sqlite3.Error, path: Path) -> bool:
    """Whether a trouble is over after a write that succeeded; of a full disk, whether it has room for more."""
    if _code(error) != sqlite3.SQLITE_FULL:
        return True
    try:
        disk = os.statvfs(path)
    except OSError:  # the change is committed, and never fails for this
        return True
    return disk.f_bavail * disk.f_frsize >= _ROOM


def remedy(error: sqlite3.Error) -> str | None:
    """What an operator does about an error for which no change can be stored; None for any other error."""
    return _REMEDIES.get(_code(error))


def answer(error: sqlite3.Error) -> str:
    """The error's text, where strangers may read it; else nothing."""
    return str(error) if _code(error) in _ANSWERS else ""


def _code(error: sqlite3.Error) -> int:
    # The lowest byte; the others tell the kind of it. Python's own errors, as of a closed connection, have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
