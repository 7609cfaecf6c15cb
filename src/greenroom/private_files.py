"""Directories and files for this user alone, wherever they lie: what is in them is nobody else's business."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
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


def open_to_others(paths: Iterable[Path]) -> Iterator[Path]:
    """Those of the paths that other users may use in some way; what is not there is nobody's."""
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if stat.S_IMODE(mode) & 0o077:
            yield path
