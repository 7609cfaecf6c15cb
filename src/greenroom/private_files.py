"""Directories and files for this user alone, wherever they lie: what is in them is nobody else's business."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

DIRECTORY = 0o700
FILE = 0o600


def make_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing; one that is there is left as it is.

    Raises:
        OSError: when that cannot be done, or it is no directory.
    """
    # `Path.mkdir` gives its mode to the last directory only, and those above it what the umask leaves.
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for directory in reversed(missing):
        directory.mkdir(mode=DIRECTORY, exist_ok=True)


def make_file(path: Path) -> None:
    """Make an empty file where there is none; one that is there is left as it is.

    Raises:
        OSError: when that cannot be done.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE))


@contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """A directory that goes with its block, at the latest when this process ends.

    Prevents, as `tempfile.TemporaryDirectory` does not: a child is forked inside the block · it ends, or collects its
    garbage · the directory in which its parent's server writes is gone.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix))
    remove = partial(_remove, path, os.getpid())
    atexit.register(remove)
    try:
        yield path
    finally:
        atexit.unregister(remove)
        remove()


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(path, ignore_errors=True)


def open_to_others(paths: Iterable[Path]) -> Iterator[Path]:
    """Those of the paths that other users may use in some way; what is not there is nobody's."""
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if stat.S_IMODE(mode) & 0o077:
            yield path
