"""Several worker processes of one program, each with an embedded server of its own: said once, where it happens.

What that looks like otherwise: `uvicorn --workers 2` · a visitor signs in at one worker · every second request is asked
of the other, which knows of no session · and a change that one of them makes leaves the other's cache as it is.
"""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from greenroom.private_files import FILE

log = logging.getLogger("greenroom.client")

_WARNING = (
    "another worker of this program has an embedded Valkey of its own, as this one has: they share no sessions, and "
    "what one of them changes stays in the caches of the other. Give all of them one server: Greenroom(data_dir='…') "
    "for one on this host, or Greenroom('valkey://HOST:6379')"
)


@contextmanager
def own_server() -> Iterator[None]:
    """Around the time in which this process has an embedded server that no other can join; warns where others have.

    Each worker holds a lock that is named after the process that has started them, and which it loses when it ends.
    """
    handle = _opened(_lock_path()) if _is_worker() else None
    if handle is None:
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log.warning(_WARNING)
        yield
    finally:
        os.close(handle)


def _is_worker() -> bool:
    """Whether a program that starts several of us has started this process, as uvicorn, granian or gunicorn."""
    return multiprocessing.parent_process() is not None or "gunicorn" in sys.modules


def _lock_path() -> Path:
    return Path(tempfile.gettempdir()) / f"greenroom-{os.getuid()}-workers-of-{os.getppid()}.lock"


def _opened(path: Path) -> int | None:
    """The lock's file; None where somebody else has put something in its place."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE)
    except OSError:
        return None
    if os.fstat(handle).st_uid != os.getuid():
        os.close(handle)
        return None
    return handle
