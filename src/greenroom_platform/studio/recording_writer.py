"""One attempt to record a podcast: its own file, which becomes the recording by one link when it is whole."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from greenroom.errors import GreenroomError, InvalidInput
from greenroom_platform.studio import webm
from greenroom_platform.studio.recording_dir import RecordingDir, lock_to_write, sync_directory
from greenroom_platform.studio.webm import CLUSTER_MS, Cluster


class RecordingFailed(GreenroomError):
    """A recording could not be written, as on a full disk; nothing of it stands for a whole one."""


class RecordingFile:
    """The file of one attempt. Its calls block, one at a time: they belong on a thread.

    A crash between any two of its steps leaves a part, which the lock shows to be dead, or the whole recording. Two
    attempts never write one file: each has a name that no other can have, and the first that is whole stays.
    """

    def __init__(self, shelf: RecordingDir, podcast_id: str, attempt: str) -> None:
        self._shelf = shelf
        self._whole = shelf.whole(podcast_id)
        self._turn = threading.Lock()  # a caller that was cancelled has left a call under way
        self._places: list[int] = []
        self._size = 0
        self._duration_ms = 0.0
        token = os.urandom(8).hex()
        self._path = shelf.next_part(podcast_id, attempt, token)
        shelf.make()
        new = shelf.new(token)
        self._handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Locked before it has its name. Otherwise: we make the part · a sweep finds it without a lock, and removes
            # it as a dead attempt's · we lock and write a file that nobody can find.
            lock_to_write(self._handle)
            self._write(webm.file_header())
            os.rename(new, self._path)
        except BaseException:
            new.unlink(missing_ok=True)
            self._close()
            raise

    def append(self, cluster: Cluster) -> None:
        """Write the next cluster; readers of any process see it from now on.

        Raises:
            InvalidInput: for one that does not begin where the last one ended.
            OSError: when it cannot be written; then the recording can only be discarded.
        """
        with self._turn:
            self._must_be_open()
            expected = len(self._places) * CLUSTER_MS
            if cluster.start_ms != expected:
                remedy = f"append the one that begins at {expected} ms"
                raise InvalidInput("cluster", f"it begins at {cluster.start_ms} ms", remedy)
            at = self._size
            self._write(cluster.data)
            self._places.append(at)
            self._duration_ms = cluster.end_ms

    def finish(self) -> Path:
        """Make it the whole recording, whatever happens to the machine next; where there is one already, discard it.

        Raises:
            InvalidInput: where it has no cluster.
            OSError: when it cannot be written, or its part has been taken away.
        """
        with self._turn:
            self._must_be_open()
            if not self._places:
                raise InvalidInput("recording", "it has no cluster", "append what was rendered, or discard it")
            cues_at = self._size
            self._write(webm.cues((number * CLUSTER_MS, at) for number, at in enumerate(self._places)))
            header = webm.file_header(duration_ms=self._duration_ms, cues_at=cues_at, size=self._size)
            if os.pwrite(self._handle, header, 0) != len(header):
                raise OSError("the header was not written whole")
            # Before it has its name. Otherwise: linked · the power fails · the name is there, and its bytes are not.
            os.fsync(self._handle)
            # docs/decisions/0062-recordings-are-linked.md
            # A link never replaces. Otherwise: a worker finds its claim current, and is stopped · another one's attempt
            # becomes whole, and clients have the half of it · the first goes on, and puts its own in that one's place.
            with suppress(FileExistsError):
                os.link(self._path, self._whole)
            sync_directory(self._shelf.directory)
            self._path.unlink(missing_ok=True)
            self._close()
            return self._whole

    def discard(self) -> None:
        """Remove the attempt's file, if it is not whole already."""
        with self._turn:
            if self._handle >= 0:
                self._path.unlink(missing_ok=True)
                self._close()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._handle, view)
            self._size += written
            view = view[written:]

    def _must_be_open(self) -> None:
        if self._handle < 0:
            raise InvalidInput("recording", "it is finished or discarded", "begin another attempt")

    def _close(self) -> None:
        handle, self._handle = self._handle, -1
        os.close(handle)
