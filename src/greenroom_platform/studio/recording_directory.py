"""Recordings in a directory of this machine, or of a file server that it has mounted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from greenroom import private_files
from greenroom.errors import InvalidInput
from greenroom.extras import needs_extra
from greenroom_platform.studio.recording_errors import ObjectExists, RecordingFailed, translated_errors
from greenroom_platform.studio.recording_store import PARTS, RecordingStore, whole_piece

LEFT_OVER = 600.0
"""Seconds after which a file that never got its name is of a process that was killed."""
_NEW = "new"


class LocalRecordingStore(RecordingStore):
    """A directory of this machine, for this user alone. Its files last, whatever happens to the machine next."""

    def __init__(self, directory: Path) -> None:
        with needs_extra("service", "keeping recordings"):
            from obstore.store import LocalStore

        self.directory = directory.absolute()
        try:
            for part in (PARTS, _NEW):
                private_files.make_directory(self.directory / part)
        except OSError as error:
            raise _unusable(str(directory), error) from None
        super().__init__(LocalStore(self.directory), str(directory))

    def _put(self, name: str, data: bytes) -> None:
        try:
            self._create(name, data)
        except FileExistsError:
            raise ObjectExists from None
        except OSError as error:
            raise RecordingFailed(f"the recording cannot be written: {error.strerror or error}") from error

    # docs/decisions/0062-recordings-are-linked.md
    def _create(self, name: str, data: bytes) -> None:
        # obstore's own files are of the umask's mode, and are not synchronized.
        new = self.directory / _NEW / f"{os.urandom(8).hex()}.new"
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, private_files.FILE)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(handle, view) :]
                # Before it has its name. Otherwise: linked · the power fails · the name is there without its bytes.
                os.fsync(handle)
            finally:
                os.close(handle)
            # A link never replaces. Otherwise: two processes of one claim's number, as on two records that were
            # confused · each puts its own in the other's place, and clients have the half of both.
            os.link(new, self.directory / name)
            _sync_directory((self.directory / name).parent)
        finally:
            new.unlink(missing_ok=True)

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            (self.directory / name).unlink(missing_ok=True)

    async def stream(self, name: str, start: int, stop: int, chunk: int) -> AsyncIterator[bytes] | None:
        # Of one open file: a recording that is removed meanwhile is read to its end.
        with translated_errors(self.place):
            try:
                file = await self._run(lambda: _OpenFile(self.directory / name))
            except FileNotFoundError:
                return None
        wanted = range(start, stop)
        # Before anything is said of it: that it is cut short already, or cannot be read, can still be told.
        first = await self._piece(file, name, wanted[:chunk])
        return self._pieces_of(first, file, name, wanted, chunk)

    # docs/decisions/0117-recordings-of-a-directory-are-read-by-the-system.md
    async def _pieces_of(
        self, first: bytes, file: _OpenFile, name: str, wanted: range, chunk: int
    ) -> AsyncIterator[bytes]:
        yield first
        for at in range(chunk, len(wanted), chunk):
            yield await self._piece(file, name, wanted[at : at + chunk])

    async def _piece(self, file: _OpenFile, name: str, part: range) -> bytes:
        with translated_errors(self.place):
            data = await self._run(partial(file.read, part))
        return whole_piece(name, part, data)

    async def sweep(self, now: float) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._sweep, now - LEFT_OVER)

    def _sweep(self, oldest: float) -> None:
        for path in (self.directory / _NEW).glob("*.new"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    async def check(self) -> None:
        """See that files can be made; that a link never replaces is the system's word."""
        name = self._next_check()
        with translated_errors(self.place):
            try:
                await self._run(lambda: self._create(name, b"1"), threads=self._recorders)
                await self._run(lambda: self._remove(self._check_names))
                self._check_names.clear()
            except TimeoutError:
                raise
            except OSError as error:
                raise _unusable(self.place, error) from None


class _OpenFile:
    """A file that is open for reading until nobody holds it any more.

    Nobody closes it. Otherwise: a thread is about to read · its client goes, and the file is closed · another file gets
    its number · the thread reads that one.
    """

    def __init__(self, path: Path) -> None:
        self._handle = -1
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, part: range) -> bytes:
        """These bytes of it; fewer where it ends before."""
        data = os.pread(self._handle, len(part), part.start)
        while data and len(data) < len(part):  # a file server may give some at a time
            more = os.pread(self._handle, len(part) - len(data), part.start + len(data))
            if not more:
                break
            data += more
        return data

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


def _unusable(place: str, error: OSError) -> InvalidInput:
    remedy = "name a directory that this user may write to, on a file system with hard links"
    return InvalidInput("recordings_url", f"{place} cannot be used: {error.strerror}", remedy)


def _sync_directory(directory: Path) -> None:
    """Have the names of a directory's files survive the machine."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
