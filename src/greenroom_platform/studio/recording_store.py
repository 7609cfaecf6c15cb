"""Where recordings are kept: objects that are created once, read in ranges and removed.

    <podcast>.<claim>.webm          the whole recording of one claim on a podcast
    <podcast>.<claim>.json          what is said in it, and when
    parts/<podcast>.<claim>.<n>     what the claim has recorded so far, segment by segment; the last is its end mark

Every name carries the number of its claim, which the record gives to one worker only, and no object is ever replaced:
a late worker writes what nobody reads. Which claim counts is in the record.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from greenroom.errors import InvalidInput
from greenroom.keyspace.parts import check_part
from greenroom_platform.studio.recording_errors import (
    ClientPanicked,
    ObjectExists,
    RecordingFailed,
    RecordingsUnavailable,
    code_of,
    is_wrong_setting,
    shown,
    translated_errors,
    without_panic,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

DEADLINE = 5.0
"""Seconds for one call, its repetitions included; a large object has more to be put."""
PUT_TIMEOUT = 60.0
"""Seconds that the largest object has to be put."""
_MIN_RATE = 64 * 1024
"""Bytes a second that a store takes of an object at least: 512 kbit/s, sixteen times as fast as it is heard."""
_MIN_REMOVALS = 100
"""Objects a second that a store removes at least."""
_LARGE = 256 * 1024
"""Bytes of an object from which on it is put with more time: whole recordings, and no segment."""
_PIECE = 256 * 1024
"""Bytes that are read by one call, which has `DEADLINE` seconds."""
_THREADS = 16
"""Calls of a process at a time: as many listeners' blocks may be on their way."""
_RECORDERS = 4
"""Puts and removals of a process at a time, on threads of their own."""
_STOOD_STILL = 1.0
"""Seconds that a deadline is noticed too late where this process did not run, and the store cannot be blamed."""
_CONFLICT_RETRY = 0.1
"""Seconds after which a put is repeated that another put of the same name stood in the way of."""
PARTS = "parts"
MAX_SEGMENTS = 998
"""Segments of a claim, its end mark among them: with its whole and its transcript they are removed by one request,
which takes 1,000."""
CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
REMEDY = (
    f"write a directory, or s3://BUCKET/PREFIX with the credentials in {CREDENTIALS},"
    " of a user who may get, put and delete objects and list the bucket"
)
_PLACES = "AWS_REGION and the endpoint"
_MISSING_RIGHT = "AccessDenied"
"""What S3 calls a refusal for want of a right; wrong credentials have other names."""


# docs/decisions/0088-recordings-are-named-by-their-claim.md
def whole_name(podcast_id: str, claim: int) -> str:
    """The object of a claim's whole recording.

    Raises:
        InvalidInput: for an id that no podcast can have.
    """
    return f"{check_part('podcast_id', podcast_id)}.{claim}.webm"


def transcript_name(podcast_id: str, claim: int) -> str:
    """The object of what is said in a claim's whole recording; raises as `whole_name`."""
    return f"{check_part('podcast_id', podcast_id)}.{claim}.json"


def segment_name(podcast_id: str, claim: int, number: int) -> str:
    """The object of one of a claim's segments; raises as `whole_name`."""
    return f"{PARTS}/{check_part('podcast_id', podcast_id)}.{claim}.{number:05}"


def put_timeout(size: int) -> float:
    """Seconds in which an object of so many bytes is put."""
    return min(DEADLINE + size / _MIN_RATE, PUT_TIMEOUT)


def _removal_timeout(count: int) -> float:
    """Seconds in which so many objects are removed."""
    return min(DEADLINE + count / _MIN_REMOVALS, PUT_TIMEOUT)


class RecordingStore:
    """A store of objects, over obstore. Every call has `DEADLINE` seconds, and to put much or to remove many more.

    Arguments:
        store: a client that gives a call up after `DEADLINE` seconds, so that its thread is free for the next one.
        patient: makes another one, which gives up after so many seconds: to put whole recordings and to remove many
            objects.

    Raises, from any method:
        RecordingsUnavailable: when the store does not answer, or with an error of its own.
    """

    def __init__(self, store: ObjectStore, place: str, patient: Callable[[float], ObjectStore] | None = None) -> None:
        self._store = store
        self._patient = patient or (lambda _: store)
        self.place = place
        """Where the recordings are, for operators; without credentials."""
        self._closed = False
        self._check_names: list[str] = []  # of the checks since the last that went well, as many as one request removes
        self._threads = ThreadPoolExecutor(_THREADS, "greenroom-recordings")
        # Otherwise: four whole recordings are put to a slow store · sixteen listeners' blocks wait for their threads.
        self._recorders = ThreadPoolExecutor(_RECORDERS, "greenroom-recorder")

    async def create(self, name: str, data: bytes) -> None:
        """Make an object; one of that name with the same bytes is this one.

        A call whose answer was lost is repeated, by the client or by us, and then finds its own object.

        Raises:
            RecordingFailed: where there is another of that name, or none can be made.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + put_timeout(len(data))
        while True:
            try:
                with translated_errors(self.place):
                    return await self._run(lambda: self._put(name, data), put_timeout(len(data)), self._recorders)
            except ObjectExists:
                pass
            there = await self.get(name)
            if there is not None:
                if there != data:
                    raise RecordingFailed(f"another object has the name {name}")
                return None
            # S3 refuses a put while another of that name is under way (409), as it does one whose object is there
            # (412), and obstore does not tell them apart. Otherwise: a put is slow · it is repeated, and refused ·
            # nothing is there yet, which is taken for the object of another.
            if loop.time() >= until:
                raise RecordingsUnavailable(f"{self.place} is busy with another put of {name}")
            await asyncio.sleep(_CONFLICT_RETRY)

    def _put(self, name: str, data: bytes) -> None:
        """Make an object, on a thread; raises `ObjectExists`."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            store = self._patient(put_timeout(len(data))) if len(data) > _LARGE else self._store
            obstore.put(store, name, data, mode="create")
        except AlreadyExistsError:
            raise ObjectExists from None

    async def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """An object's bytes from `start` to before `stop`, or to its end; None where there is no such object.

        Each piece is a call of its own. Otherwise: a store is slow · all of a recording does not come within the time
        of one call · nobody can take it over or compare with it, though the store moves.
        """
        pieces, at, end = list[bytes](), start, stop
        while True:
            try:
                with translated_errors(self.place):
                    last = at + _PIECE if end is None else min(at + _PIECE, end)
                    data, size = await self._get_piece(name, at, last)
            except FileNotFoundError:
                return None
            pieces.append(data)
            at += len(data)
            end = size if end is None else min(end, size)
            if at >= end or not data:
                return b"".join(pieces)

    async def _get_piece(self, name: str, start: int, stop: int) -> tuple[bytes, int]:
        """Some bytes of an object, and the size of all of it; with the errors of obstore."""
        import obstore

        def read() -> tuple[bytes, int]:
            result = obstore.get(self._store, name, options={"range": (start, stop)})
            return bytes(result.bytes()), result.meta["size"]

        return await self._run(read)

    async def stream(self, name: str, start: int, stop: int, chunk: int) -> AsyncIterator[bytes] | None:
        """The same, in pieces as they are taken; None where there is no such object.

        Raises:
            RecordingFailed: from the iteration too, where it ends before `stop` or is removed meanwhile.
        """
        first = range(start, min(start + chunk, stop))
        data = await self.get(name, first.start, first.stop)
        return None if data is None else self._pieces(whole_piece(name, first, data), name, range(start, stop), chunk)

    # Each piece is a call of its own. Otherwise: a client takes a recording slowly · the time that the whole answer of
    # the store may take is over · the download is cut off.
    async def _pieces(self, data: bytes, name: str, wanted: range, chunk: int) -> AsyncIterator[bytes]:
        yield data
        for start in range(wanted.start + chunk, wanted.stop, chunk):
            part = range(start, min(start + chunk, wanted.stop))
            yield whole_piece(name, part, await self.get(name, part.start, part.stop))

    async def delete(self, *names: str) -> None:
        """Remove objects, up to a thousand at once, where they are there."""
        seconds = _removal_timeout(len(names))
        # Where there is no bucket nothing is left in it: some stores make it with the first object.
        with translated_errors(self.place), suppress(FileNotFoundError):
            await self._run(lambda: self._remove(names), seconds, self._recorders)

    def _remove(self, names: Sequence[str]) -> None:
        """Remove objects, on a thread."""
        import obstore

        # A thread that waits for the store keeps the process from its end.
        few = len(names) <= _MIN_REMOVALS
        obstore.delete(self._store if few else self._patient(_removal_timeout(len(names))), names)

    # docs/decisions/0090-the-store-is-reached-from-threads.md
    async def _run(
        self, call: Callable[[], T], seconds: float | None = None, threads: ThreadPoolExecutor | None = None
    ) -> T:
        """Run a blocking call on a thread. A caller whose time is over goes, and the call ends by itself soon after.

        The client's time is the caller's. Otherwise: the store is silent · sixteen callers go · their threads stay with
        it · the store is well again, and nobody's call gets a thread.
        """
        if self._closed:
            raise RecordingsUnavailable(f"{self.place} is closed")
        loop = asyncio.get_running_loop()
        calling = loop.run_in_executor(threads or self._threads, without_panic, call)
        del call  # it may hold a file, and a traceback would hold it
        seconds = DEADLINE if seconds is None else seconds
        try:
            while True:
                due = loop.time() + seconds
                await asyncio.wait([calling], timeout=seconds)
                if calling.done():
                    return calling.result()
                # Otherwise: the process stands still, as on a machine that sleeps · it goes on · every call under way
                # has failed, and its thread puts what its caller thinks is not there.
                if loop.time() < due + _STOOD_STILL:
                    raise TimeoutError
        finally:
            calling.cancel()  # of an error that comes now nobody complains

    def close(self) -> None:
        """Let the threads end; further calls fail."""
        self._closed = True
        self._threads.shutdown(wait=False)
        self._recorders.shutdown(wait=False)

    async def sweep(self, now: float) -> None:
        """Remove what killed processes have left that never was an object; `now` in seconds since the epoch."""

    async def check(self) -> None:
        """See that objects can be made, read and removed, and are not replaced: that keeps late workers away.

        Raises:
            InvalidInput: naming the setting, where the store refuses our credentials or one of the calls, has no such
                bucket, or replaces an object that is there.
        """
        name = self._next_check()
        with translated_errors(self.place):
            try:
                try:
                    await self._check_put(name)
                    with self._refusals("read objects", "s3:GetObject"):
                        await self._get_piece(name, 0, 1)
                except BaseException:
                    with suppress(Exception):
                        await self.delete(name)
                    raise
                with self._refusals("remove objects", "s3:DeleteObject"):
                    names = tuple(self._check_names)
                    await self._run(lambda: self._remove(names), _removal_timeout(len(names)), self._recorders)
                # What is not there must be told as such: readers wait for the next segment by it. S3 says 403 to a user
                # who may not list the bucket.
                with self._refusals("say that an object is not there", "s3:ListBucket"), suppress(FileNotFoundError):
                    await self._get_piece(name, 0, 1)
                self._check_names.clear()
            except ClientPanicked as error:
                reason = f"the client of {self.place} cannot work with the AWS_ variables: {error}"
                remedy = "correct AWS_ENDPOINT (http://HOST:PORT), AWS_REGION and AWS_ACCESS_KEY_ID"
                raise InvalidInput("recordings_url", reason, remedy) from None
            except FileNotFoundError:
                raise InvalidInput("recordings_url", f"there is no {self.place}", "make the bucket first") from None

    def _next_check(self) -> str:
        """A new name for a check's object. Those of checks that failed are kept, and removed with it.

        Otherwise: the store is slow · the put of a check comes after its removal · nobody knows of the object. Each has
        a name of its own. Otherwise: a late removal comes between two puts · the store seems to replace objects.
        """
        self._check_names = [*self._check_names[1 - MAX_SEGMENTS :], f"{PARTS}/check-{os.urandom(8).hex()}"]
        return self._check_names[-1]

    async def _check_put(self, name: str) -> None:
        """See that an object is made, and not replaced."""
        with self._refusals("make objects", "s3:PutObject"):
            try:
                await self._run(lambda: self._put(name, b"1"))
            except ObjectExists:
                pass  # ours, whose answer was lost
            except NotImplementedError:
                reason = "AWS_CONDITIONAL_PUT makes objects replaceable"
                raise InvalidInput("recordings_url", reason, "leave AWS_CONDITIONAL_PUT out") from None
            try:
                await self._run(lambda: self._put(name, b"2"))
            except ObjectExists:
                return
        remedy = "use a store that honours If-None-Match on PUT, as S3 does"
        raise InvalidInput("recordings_url", f"{self.place} replaces objects that are there", remedy)

    @contextmanager
    def _refusals(self, call: str, right: str) -> Iterator[None]:
        """A refusal of a call, which needs a right, as an error that says how to mend it."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except BaseError as error:
            code = code_of(error)
            # Of the removal of several objects S3 says 200, and in it that it was refused.
            if code != _MISSING_RIGHT and not isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
                if isinstance(error, FileNotFoundError) or not is_wrong_setting(error):
                    raise
                reason, remedy = (
                    f"{self.place} does not {call}: {shown(error)}",
                    f"correct the bucket's name, {_PLACES}",
                )
                raise InvalidInput("recordings_url", reason, remedy) from None
            told = f" ({code})" if code else ""
            if code == _MISSING_RIGHT:
                reason, remedy = f"{self.place} refuses to {call}{told}", f"give the user of {CREDENTIALS} {right}"
            else:
                reason = f"{self.place} refuses the credentials{told}, or to {call}"
                remedy = f"correct {CREDENTIALS}, and give their user {right}"
            raise InvalidInput("recordings_url", reason, remedy) from None


def whole_piece(name: str, part: range, data: bytes | None) -> bytes:
    """A piece of an object that was read, all of it.

    Raises:
        RecordingFailed: where it is shorter, or the object is not there any more.
    """
    if data is None:
        raise RecordingFailed(f"{name} was removed while it was read")
    if len(data) != len(part):
        raise RecordingFailed(f"{name} ends before byte {part.stop}")
    return data
