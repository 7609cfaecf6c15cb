"""Where recordings are kept: objects that are created once, read in ranges and removed, in a directory or a bucket.

    <podcast>.<claim>.webm          the whole recording of one claim on a podcast
    parts/<podcast>.<claim>.<n>     what the claim has recorded so far, segment by segment; the last is its end mark

Every name carries the number of its claim, which the record gives to one worker only, and no object is ever replaced:
a late worker writes what nobody reads. Which claim counts is in the record.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from greenroom import private_files
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.extras import needs_extra
from greenroom.keyspace.parts import check_part

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

DEADLINE = 5.0
"""Seconds for one call, its repetitions included; a large object has more to be put."""
_SLOWEST = 512 * 1024
"""Bytes a second that a store takes at least."""
_LONGEST = 30.0
"""Seconds that the client gives to the objects that have more than `DEADLINE`."""
_LARGE = 256 * 1024
"""Bytes of an object from which on it is put with more time: whole recordings, and no segment."""
_THREADS = 16
"""Calls of a process at a time: as many listeners' blocks may be on their way."""
_RECORDERS = 4
"""Puts and reads of whole recordings at a time, on threads of their own."""
_SCHEME = "s3"
_PARTS, _NEW = "parts", "new"
_REMEDY = (
    "write a directory, or s3://BUCKET/PREFIX with the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
    " of a user who may get, put and delete objects and list the bucket"
)
LEFT_OVER = 600.0
"""Seconds after which a local file that never got its name is of a process that was killed."""


class RecordingsUnavailable(GreenroomError):
    """The store of recordings does not answer, or not in time; what was asked of it may be asked again."""


class RecordingFailed(GreenroomError):
    """A recording could not be written or read, as on a full disk; nothing of it stands for a whole one."""


class _ClientPanicked(Exception):
    """The client, which is not written in Python, has broken off, as on an address that it cannot read."""


# docs/decisions/0088-recordings-are-named-by-their-claim.md
def whole_name(podcast_id: str, claim: int) -> str:
    """The object of a claim's whole recording.

    Raises:
        InvalidInput: for an id that no podcast can have.
    """
    return f"{check_part('podcast_id', podcast_id)}.{claim}.webm"


def segment_name(podcast_id: str, claim: int, number: int) -> str:
    """The object of one of a claim's segments; raises as `whole_name`."""
    return f"{_PARTS}/{check_part('podcast_id', podcast_id)}.{claim}.{number:05}"


class RecordingStore:
    """A store of objects, over obstore. Every call has `DEADLINE` seconds, and a whole recording more.

    Arguments:
        store: a client that gives a call up after `DEADLINE` seconds, so that its thread is free for the next one.
        patient: another one, for whole recordings; it gives up after `_LONGEST`.

    Raises, from any method:
        RecordingsUnavailable: when the store does not answer, or with an error of its own.
    """

    def __init__(self, store: ObjectStore, place: str, patient: ObjectStore | None = None) -> None:
        self._store = store
        self._patient = store if patient is None else patient
        self.place = place
        """Where the recordings are, for operators; without credentials."""
        self._closed = False
        self._threads = ThreadPoolExecutor(_THREADS, "greenroom-recordings")
        # Otherwise: four whole recordings are put to a slow store · sixteen listeners' blocks wait for their threads.
        self._recorders = ThreadPoolExecutor(_RECORDERS, "greenroom-recorder")

    async def create(self, name: str, data: bytes) -> None:
        """Make an object; one of that name with the same bytes is this one.

        A call whose answer was lost is repeated, by the client or by us, and then finds its own object.

        Raises:
            RecordingFailed: where there is another of that name.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with _told(self.place):
            try:
                store = self._patient if len(data) > _LARGE else self._store
                seconds = min(DEADLINE + len(data) / _SLOWEST, _LONGEST)
                await self._run(lambda: obstore.put(store, name, data, mode="create"), seconds, self._recorders)
                return
            except AlreadyExistsError:
                pass
        if await self.get_whole(name) != data:
            raise RecordingFailed(f"another object has the name {name}")

    async def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """An object's bytes from `start` to before `stop`; None where there is no such object."""
        import obstore

        with _told(self.place):
            try:
                if stop is None:
                    return await self._run(lambda: bytes(obstore.get(self._store, name).bytes()))
                return await self._run(lambda: bytes(obstore.get_range(self._store, name, start=start, end=stop)))
            except FileNotFoundError:
                return None

    async def get_whole(self, name: str) -> bytes | None:
        """All of an object that may be large; None where there is no such object. It has `_LONGEST` seconds."""
        import obstore

        def read() -> bytes:
            return bytes(obstore.get(self._patient, name).bytes())

        with _told(self.place):
            try:
                return await self._run(read, _LONGEST, self._recorders)
            except FileNotFoundError:
                return None

    async def stream(self, name: str, start: int, stop: int, chunk: int) -> AsyncIterator[bytes] | None:
        """The same, in pieces as they are taken; None where there is no such object.

        Raises:
            RecordingFailed: from the iteration too, where it ends before `stop` or is removed meanwhile.
        """
        first = range(start, min(start + chunk, stop))
        data = await self.get(name, first.start, first.stop)
        return None if data is None else self._pieces(_whole_piece(name, first, data), name, range(start, stop), chunk)

    # Each piece is a call of its own. Otherwise: a client takes a recording slowly · the time that the whole answer of
    # the store may take is over · the download is cut off.
    async def _pieces(self, data: bytes, name: str, wanted: range, chunk: int) -> AsyncIterator[bytes]:
        yield data
        for start in range(wanted.start + chunk, wanted.stop, chunk):
            part = range(start, min(start + chunk, wanted.stop))
            yield _whole_piece(name, part, await self.get(name, part.start, part.stop))

    async def has(self, name: str) -> bool:
        """Whether there is such an object."""
        import obstore

        with _told(self.place):
            try:
                await self._run(lambda: obstore.head(self._store, name))
            except FileNotFoundError:
                return False
            return True

    async def delete(self, name: str) -> None:
        """Remove an object, where there is one."""
        import obstore

        with _told(self.place), suppress(FileNotFoundError):
            await self._run(lambda: obstore.delete(self._store, name))

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
        calling = asyncio.get_running_loop().run_in_executor(threads or self._threads, _without_panic, call)
        del call  # it may hold a file, and a traceback would hold it
        async with asyncio.timeout(DEADLINE if seconds is None else seconds):
            return await calling

    def close(self) -> None:
        """Let the threads end; further calls fail."""
        self._closed = True
        self._threads.shutdown(wait=False)
        self._recorders.shutdown(wait=False)

    async def sweep(self, now: float) -> None:
        """Remove what killed processes have left that never was an object; `now` in seconds since the epoch."""

    async def check(self) -> None:
        """See that objects can be made, and are not replaced: what keeps late workers away stands on it.

        Raises:
            InvalidInput: naming the setting, where the store refuses our credentials, has no such bucket, or replaces
                an object that is there.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PermissionDeniedError, UnauthenticatedError

        name = f"{_PARTS}/check-{os.urandom(8).hex()}"
        with _told(self.place):
            try:
                # What is not there must be told as such: readers wait for the next segment by it. S3 says 403 to a user
                # who may not list the bucket.
                with suppress(FileNotFoundError):
                    await self._run(lambda: obstore.head(self._store, name))
                for _ in range(2):
                    await self._run(lambda: obstore.put(self._store, name, b"1", mode="create"))
            except AlreadyExistsError:
                return
            except (PermissionDeniedError, UnauthenticatedError):
                reason = f"{self.place} refuses the credentials, or what they are used for"
                raise InvalidInput("recordings_url", reason, _REMEDY) from None
            except _ClientPanicked as error:
                reason = f"the client of {self.place} cannot work with the AWS_ variables: {error}"
                remedy = "correct AWS_ENDPOINT (http://HOST:PORT), AWS_REGION and AWS_ACCESS_KEY_ID"
                raise InvalidInput("recordings_url", reason, remedy) from None
            except FileNotFoundError:
                raise InvalidInput("recordings_url", f"there is no {self.place}", "make the bucket first") from None
            finally:
                with suppress(Exception):
                    await self.delete(name)
        remedy = "use a store that honours If-None-Match on PUT, as S3 does"
        raise InvalidInput("recordings_url", f"{self.place} replaces objects that are there", remedy)


class LocalRecordingStore(RecordingStore):
    """A directory of this machine, for this user alone. Its files last, whatever happens to the machine next."""

    def __init__(self, directory: Path) -> None:
        with needs_extra("service", "keeping recordings"):
            from obstore.store import LocalStore

        self.directory = directory.absolute()
        try:
            for part in (_PARTS, _NEW):
                private_files.make_directory(self.directory / part)
        except OSError as error:
            reason = f"{directory} cannot be used: {error.strerror}"
            raise InvalidInput("recordings_url", reason, "name a directory that this user may write to") from None
        super().__init__(LocalStore(self.directory), str(directory))

    async def create(self, name: str, data: bytes) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._recorders, self._create, name, data)
        except FileExistsError:
            if await self.get_whole(name) != data:
                raise RecordingFailed(f"another object has the name {name}") from None
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

    async def stream(self, name: str, start: int, stop: int, chunk: int) -> AsyncIterator[bytes] | None:
        # Of one open file: a recording that is removed meanwhile is read to its end.
        import obstore

        with _told(self.place):
            try:
                async with asyncio.timeout(DEADLINE):
                    found = await obstore.get_async(self._store, name, options={"range": (start, stop)})
            except FileNotFoundError:
                return None
        return self._pieces_of_file(found.stream(min_chunk_size=chunk).__aiter__())

    async def _pieces_of_file(self, pieces: AsyncIterator[Any]) -> AsyncIterator[bytes]:
        try:
            while True:
                with _told(self.place):
                    try:
                        async with asyncio.timeout(DEADLINE):
                            piece = bytes(await anext(pieces))
                    except StopAsyncIteration:
                        return
                yield piece
        finally:
            del pieces  # its file goes now, and not when the collector finds it

    async def sweep(self, now: float) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._sweep, now - LEFT_OVER)

    def _sweep(self, oldest: float) -> None:
        for path in (self.directory / _NEW).glob("*.new"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    async def check(self) -> None:
        """Nothing to see: its directories were made, and a link never replaces."""


def open_recordings(url: str | None, directory: Path | None) -> RecordingStore:
    """The store of a setting.

    Arguments:
        url: a directory, or `s3://BUCKET/PREFIX`; obstore reads credentials and endpoint from the `AWS_` variables.
        directory: the default.

    Raises:
        InvalidInput: for an address that cannot be, or a directory that cannot be used.
        MissingExtra: when obstore is not installed.
    """
    if url is None:
        if directory is None:
            raise InvalidInput("data_dir", "recordings need a directory", "pass data_dir= or recordings_url=")
        return LocalRecordingStore(directory)
    check_url(url, field="recordings_url")
    if not is_remote(url):
        return LocalRecordingStore(Path(url))
    with needs_extra("service", "keeping recordings"):
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    # The client's settings that we give replace those of the environment.
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1", "yes", "on")

    def client(seconds: float) -> S3Store:
        return S3Store.from_url(
            url,
            client_options={
                "timeout": timedelta(seconds=seconds),
                "connect_timeout": timedelta(seconds=min(seconds, 2)),
                "allow_http": plain,
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=DEADLINE / 2)},
        )

    try:
        return RecordingStore(client(DEADLINE), url, client(_LONGEST))
    except BaseError as error:
        reason = f"the client of {url} cannot be made: {_shown(error)}"
        raise InvalidInput("recordings_url", reason, "correct the AWS_ variable that this is about") from None


def is_remote(url: str | None) -> bool:
    """Whether the recordings are kept where several hosts find them."""
    return url is not None and url.startswith(f"{_SCHEME}://")


def check_url(url: str, *, field: str) -> str:
    """The address, where it can be one.

    Raises:
        InvalidInput: for another scheme, without a bucket, or with what an address cannot have.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        if not url:
            raise InvalidInput(field, "is empty", _REMEDY)
        return url
    if scheme != _SCHEME:
        raise InvalidInput(field, f"{scheme}:// is not known", _REMEDY)
    bucket, _, prefix = rest.partition("/")
    if not bucket or "@" in bucket or "?" in rest or "#" in rest:
        raise InvalidInput(field, "it names no bucket, or more than bucket and prefix", _REMEDY)
    if prefix and any(part in ("", ".", "..") for part in prefix.rstrip("/").split("/")):
        raise InvalidInput(field, "its prefix has an empty part, or `.` or `..`", _REMEDY)
    return url


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Errors of obstore as ours; not found and already there pass through, and are the caller's to tell."""
    from obstore.exceptions import AlreadyExistsError, BaseError

    try:
        yield
    except (FileNotFoundError, AlreadyExistsError):
        raise
    except TimeoutError:
        raise RecordingsUnavailable(f"{place} did not answer in time") from None
    except (BaseError, OSError, _ClientPanicked) as error:
        # Without its cause, which a log would show with the credentials of the endpoint.
        raise RecordingsUnavailable(f"{place} cannot be used: {_shown(error)}") from None


def _shown(error: Exception) -> str:
    """An error's first line, without credentials in its addresses; what follows is the client's inside."""
    return re.sub(r"//[^/\s]*@", "//", str(error).partition("\n")[0])[:300]


def _without_panic(call: Callable[[], T]) -> T:
    try:
        return call()
    except BaseException as error:
        # It is no Exception, and has no name that can be imported.
        if type(error).__name__ == "PanicException":
            raise _ClientPanicked(str(error).partition("\n")[0]) from None
        raise


def _whole_piece(name: str, part: range, data: bytes | None) -> bytes:
    if data is None:
        raise RecordingFailed(f"{name} was removed while it was read")
    if len(data) != len(part):
        raise RecordingFailed(f"{name} ends before byte {part.stop}")
    return data


def _sync_directory(directory: Path) -> None:
    """Have the names of a directory's files survive the machine."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
