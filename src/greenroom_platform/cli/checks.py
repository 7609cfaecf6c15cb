"""What `greenroom doctor` looks at of the platform itself: its record, its directory and how it is reached."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex

from greenroom import private_files
from greenroom.errors import MissingExtra
from greenroom.findings import Check, Finding, NotChecked, error, warning
from greenroom_platform.cli.exposure import exposure, open_files, token_strength
from greenroom_platform.domain.records import Records
from greenroom_platform.http.editor_token import NAME as TOKEN_FILE
from greenroom_platform.http.settings import Settings
from greenroom_platform.platform import RECORDINGS
from greenroom_platform.storage import open_records, shown_database
from greenroom_platform.storage.looking import look_at_record
from greenroom_platform.studio.recording_errors import RecordingsUnavailable
from greenroom_platform.studio.recording_opening import is_remote, open_recordings
from greenroom_platform.studio.voice import check_voices

LATE, VERY_LATE = 10.0, 300.0
"""Seconds after which a row of the outbox is late: it is sent within about two."""
LOW, VERY_LOW = 1024**3, 100 * 1024**2
"""Free bytes of the data directory from which there is too little room: recordings alone may take 2 GiB."""


def checks(settings: Settings, database: str | Path) -> Sequence[Check]:
    """The checks of a service with these settings."""
    return [
        Check("record", partial(_record, database)),
        Check("outbox", partial(_outbox, database)),
        Check("data directory", _plain(partial(_directory, settings.data_dir))),
        Check("recordings", partial(_recordings, settings)),
        Check("proxy and cookies", _plain(partial(exposure, settings))),
        Check("tokens of staff", _plain(partial(_token, settings))),
        Check("voices", _plain(partial(_voices, settings))),
        Check("open files", _plain(partial(open_files, settings.workers))),
    ]


def _plain(look: Callable[[], Sequence[Finding]]) -> Callable[[], Awaitable[Sequence[Finding]]]:
    async def looked() -> Sequence[Finding]:
        return look()

    return looked


async def _record(database: str | Path) -> Sequence[Finding]:
    found = list(await look_at_record(database))
    if any(one.severity == "error" for one in found):
        return found
    async with _opened(database) as records:
        await records.ping()
        trouble = getattr(records, "write_trouble", None)
        if trouble is not None:
            mend = "chown it to the user of the service, or make room on its disk"
            found.append(error("record_read_only", trouble, "every change is answered with 503", mend))
    return found


async def _outbox(database: str | Path) -> Sequence[Finding]:
    if any(one.severity == "error" for one in await look_at_record(database)):
        raise NotChecked("the record cannot be used")
    async with _opened(database) as records:
        late = await records.pending(older_than=LATE)
        very_late = await records.pending(older_than=VERY_LATE, limit=1)
    if not late:
        return ()
    make, age = (error, VERY_LATE) if very_late else (warning, LATE)
    what = f"{len(late)} changes or more wait in the outbox for longer than {age:g} s"
    why = "what they changed may still be served from the caches as it was"
    mend = "start `greenroom serve` or `greenroom work` on this record; their logs say why they cannot send"
    return (make("outbox_waits", what, why, mend),)


@asynccontextmanager
async def _opened(database: str | Path) -> AsyncIterator[Records]:
    records = await open_records(database)
    try:
        yield records
    finally:
        await records.close()


def _directory(data_dir: Path) -> Sequence[Finding]:
    if not data_dir.is_dir():
        raise NotChecked(f"there is no {data_dir}")
    found = list(free_space(data_dir, shutil.disk_usage(data_dir).free))
    for path in private_files.open_to_others([data_dir, *data_dir.glob("*.sqlite3*"), data_dir / TOKEN_FILE]):
        why = "other users of this machine may read what is in it, or change it"
        found.append(warning("open_to_others", f"{path} may be used by others", why, f"chmod go= {path}"))
    return found


def free_space(path: Path, free: int) -> Sequence[Finding]:
    """What is to be said of a directory with so many bytes free."""
    if free >= LOW:
        return ()
    make = error if free < VERY_LOW else warning
    what = f"{path} has {free / 1024**2:,.0f} MiB left"
    why = "a full disk ends every change: the record, recordings and the embedded Valkey are written there"
    mend = "make room, or move the directory and name it with --data-dir"
    return (make("disk_full", what, why, mend),)


async def _recordings(settings: Settings) -> Sequence[Finding]:
    url = settings.recordings_url
    if is_remote(url):
        assert url is not None
        store = open_recordings(url, None)
        try:
            await store.check()
        except RecordingsUnavailable as failure:
            what = f"recordings cannot be kept at {url}: {failure}"
            mend = "correct --recordings-url, or the bucket's rights: docs/operations.md, Several hosts"
            return (error("recordings_unavailable", what, "what is being made waits", mend),)
        finally:
            store.close()
        return ()
    directory = Path(url) if url is not None else settings.data_dir / RECORDINGS
    found = list(await asyncio.to_thread(hard_links, directory))
    if settings.database_url is not None and not settings.database_url.startswith("sqlite:"):
        place = shown_database(settings.database_url)
        what = f"{place} may have processes on other hosts, and recordings are in {directory}"
        why = "what a worker records on one host is not heard on another"
        mend = "name a bucket for all with --recordings-url s3://BUCKET/PREFIX"
        found.append(warning("recordings_apart", what, why, mend))
    return found


def hard_links(directory: Path) -> Sequence[Finding]:
    """Whether a directory can be written, and its files be linked: that is how a recording gets its name; blocks.

    Raises:
        NotChecked: where there is no such directory yet.
    """
    if not directory.is_dir():
        raise NotChecked(f"there is no {directory} yet: the first service makes it")
    probe = directory / f"doctor-{token_hex(8)}.new"
    linked = probe.with_suffix(".link")
    try:
        private_files.make_file(probe)
        os.link(probe, linked)
    except OSError as failure:
        what = f"{directory} takes no hard links, or no files: {failure.strerror}"
        mend = "name a directory of a local file system, and of this user, with --recordings-url"
        return (error("no_hard_links", what, "no recording can be kept", mend),)
    finally:
        for path in (probe, linked):
            with suppress(OSError):
                path.unlink()
    return ()


def _token(settings: Settings) -> Sequence[Finding]:
    # The editor token that is made is strong; who may read its file is looked at with the directory.
    given = {"editor": settings.editor_token, "control": settings.control_token}
    return [found for whose, token in given.items() if token is not None for found in token_strength(token, whose)]


def _voices(settings: Settings) -> Sequence[Finding]:
    try:
        check_voices()
    except MissingExtra as failure:
        if not settings.work:
            raise NotChecked("this process makes no podcasts (--work off), and has no voices") from None
        why = "podcasts that are asked for here are made by other processes, or by none"
        return (warning("no_voices", str(failure), why, "pip install 'greenroom[studio]', or --work off"),)
    return ()
