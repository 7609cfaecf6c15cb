"""Where recordings lie, how an attempt is told from a whole one, and which may go.

    recordings/<podcast>.webm                                   whole: it appears by one link, and never changes
    recordings/parts/<podcast>.<number>.<attempt>-<token>.part  an attempt; the one with the highest number counts
    recordings/parts/<token>.new                                an attempt that is about to get its name

Whoever writes a part holds its exclusive lock, which the system lets go when the process ends, however it ends: a part
without a lock is of a dead attempt. Whoever reads a file holds its shared lock where it can have it: what is listened
to is not removed.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from greenroom import private_files
from greenroom.errors import InvalidInput
from greenroom.keyspace.pattern import check_part

PARTS = "parts"
_WHOLE, _PART, _NEW = ".webm", ".part", ".new"
_ATTEMPT = re.compile(r"[A-Za-z0-9_-]{1,64}")
LEFT_OVER = 600.0
"""Seconds after which a part that nobody writes is swept, though no later attempt has taken its place."""


@dataclass(frozen=True, slots=True, order=True)
class RecordingPart:
    """An attempt's file."""

    number: int
    name: str
    podcast_id: str


class RecordingDir:
    """The directory of all recordings."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.parts_directory = self.directory / PARTS

    def make(self) -> None:
        """Make the directories, for this user alone."""
        private_files.make_directory(self.parts_directory)

    def whole(self, podcast_id: str) -> Path:
        """Where the whole recording lies, if there is one.

        Raises:
            InvalidInput: for an id that no podcast can have.
        """
        check_part("podcast_id", podcast_id)
        return self.directory / f"{podcast_id}{_WHOLE}"

    def new(self, token: str) -> Path:
        """Where an attempt begins."""
        return self.parts_directory / f"{token}{_NEW}"

    def next_part(self, podcast_id: str, attempt: str, token: str) -> Path:
        """The name of an attempt after every one there is. The token keeps it apart from one that begins just now."""
        if _ATTEMPT.fullmatch(attempt) is None:
            raise InvalidInput(
                "attempt", f"{attempt[:80]!r} is not a valid value", "use 1 to 64 characters of A-Z a-z 0-9 _ -"
            )
        number = max((part.number for part in self.parts(podcast_id)), default=0) + 1
        return self.parts_directory / f"{podcast_id}.{number}.{attempt}-{token}{_PART}"

    def newest_part(self, podcast_id: str) -> Path | None:
        """The attempt that counts."""
        newest = max(self.parts(podcast_id), default=None)
        return self.parts_directory / newest.name if newest else None

    def parts(self, podcast_id: str | None = None) -> Iterator[RecordingPart]:
        """Every attempt's file, of one podcast or of all."""
        with suppress(FileNotFoundError), os.scandir(self.parts_directory) as entries:
            for entry in entries:
                # From the right: a podcast's id may have dots.
                fields = entry.name.removesuffix(_PART).rsplit(".", 2)
                if entry.name.endswith(_PART) and len(fields) == 3 and fields[1].isdecimal():
                    part = RecordingPart(int(fields[1]), entry.name, fields[0])
                    if podcast_id in (None, part.podcast_id):
                        yield part

    def sweep(self, *, max_bytes: int, oldest: float, now: float) -> list[Path]:
        """Remove what is left over, and whole recordings beyond the limits, the oldest first.

        Arguments:
            max_bytes: of all whole recordings together; the newest one stays in any case.
            oldest: time in seconds since the epoch before which a whole recording is too old.
            now: the same scale; for what is left over.

        Returns:
            What was removed.
        """
        return [*self._sweep_wholes(max_bytes, oldest), *self._sweep_parts(now)]

    def _sweep_wholes(self, max_bytes: int, oldest: float) -> Iterator[Path]:
        found: list[tuple[float, int, Path]] = []
        for path in self.directory.glob(f"*{_WHOLE}"):
            with suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in found)
        for number, (modified, size, path) in enumerate(sorted(found), 1):
            too_much = total > max_bytes and number < len(found)
            if (too_much or modified < oldest) and _removed(path):
                total -= size
                yield path

    def _sweep_parts(self, now: float) -> Iterator[Path]:
        parts = sorted(self.parts())
        newest = {part.podcast_id: part.name for part in parts}
        for part in parts:
            path = self.parts_directory / part.name
            replaced = part.name != newest[part.podcast_id] or self.whole(part.podcast_id).exists()
            if (replaced or _is_older(path, now - LEFT_OVER)) and _removed(path):
                yield path
        for path in self.parts_directory.glob(f"*{_NEW}"):
            # By age alone: one that has just been made has no lock yet.
            if _is_older(path, now - LEFT_OVER) and _removed(path):
                yield path


def lock_to_write(handle: int) -> None:
    """Take the lock of a file that nobody else knows yet."""
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_to_read(handle: int) -> bool:
    """Take a file's shared lock; False while somebody writes it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_directory(directory: Path) -> None:
    """Have the names of a directory's files survive the machine."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_older(path: Path, than: float) -> bool:
    try:
        return path.stat().st_mtime < than
    except FileNotFoundError:
        return False


def _removed(path: Path) -> bool:
    """Remove a file that nobody writes or reads; whether it is gone by our doing."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Held until the name is gone: who opens it in between reads on from the file without a name.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
