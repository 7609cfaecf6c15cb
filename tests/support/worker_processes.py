"""Workers for tests: in this process, or in one of their own that stops itself where a test wants to have it.

A process that has stopped itself (SIGSTOP) does nothing at all from there on, as one on a frozen machine: it can be
killed in that state, or let go on after others have done whatever they like.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import obstore

from greenroom_platform.domain.podcasts import CLAIM, Tasks
from greenroom_platform.domain.task_records import KeepsTasks
from greenroom_platform.models import PodcastTask
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import SqliteRecords, SqliteTasks
from greenroom_platform.studio import recording_sweeper, recording_writer
from greenroom_platform.studio.recording_writer import RecordingWriter
from greenroom_platform.studio.worker import Worker
from tests.support import process_tree
from tests.support.forked_programs import Forked, start_module
from tests.support.patience import wait_for
from tests.support.running_service import API, Service
from tests.support.studio_samples import sample

TOPIC, LONGER = "short", "longer"
SHORT = 0.3
"""Seconds of a claim that has lapsed by the time that another worker has been started."""
CLUSTERS = 3
"""Clusters that are stored at the point of that name."""
RENDERING = "greenroom_platform.studio.render_process"


class _Point(NamedTuple):
    owner: type
    method: str
    reached: Callable[..., bool]
    """Whether the call that just returned is the one, given its object, its result and its arguments."""


def _advanced(status: str) -> Callable[..., bool]:
    return lambda self, result, claim, to, *_, **__: to == status


POINTS = {
    "claimed": _Point(Tasks, "claim", lambda self, result, *_: result is not None),
    "script_generating": _Point(Tasks, "advance", _advanced("script_generating")),
    "audio_rendering": _Point(Tasks, "advance", _advanced("audio_rendering")),
    "clusters": _Point(RecordingWriter, "_put_segment", lambda self, *_: self._taken >= CLUSTERS),
    # The claim was found current, and the recording is about to be made whole.
    "checked": _Point(Tasks, "renew", lambda self, *_, **options: "progress" not in options),
    "whole": _Point(RecordingWriter, "finish", lambda *_: True),
    # The record knows, and nobody has been told.
    "committed": _Point(SqliteTasks, "advance", _advanced("ready_to_stream")),
}
"""Where a worker stops itself: after a call."""


class WorkerProcess:
    """A worker that stops itself at the first of its points, once at each."""

    def __init__(self, process: Forked, log: Path) -> None:
        self.process = process
        self._log = log

    async def at(self, point: str) -> None:
        """Return when it has stopped there."""
        assert await self._said() == point
        await asyncio.to_thread(wait_for, lambda: process_tree.is_stopped(self.process.pid))

    async def has_worked(self) -> None:
        """Return when it has done what it can for a podcast."""
        assert await self._said() == "worked"

    def go_on(self) -> None:
        """Let it go on from where it has stopped."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """All it has logged so far."""
        return self._log.read_text()

    async def _said(self) -> str:
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert line, f"it ended:\n{self.log}"
        return line.strip()


@contextmanager
def worker_process(data_dir: Path, *points: str, claim: float = CLAIM) -> Iterator[WorkerProcess]:
    """A worker beside a service on its data directory."""
    log = data_dir / f"worker-{os.urandom(4).hex()}.log"
    started = start_module("tests.support.worker_processes", data_dir, claim, *points, errors=log)
    try:
        yield WorkerProcess(started, log)
    finally:
        started.end()


@asynccontextmanager
async def working(platform: Platform, **options: Any) -> AsyncIterator[None]:
    """A worker in this process; ended without its task done if the block ends before."""
    task = asyncio.create_task(platform.worker(**options).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), task.exception()


async def task_of(platform: Platform, podcast_id: str) -> PodcastTask:
    """What the record knows of a podcast."""
    assert isinstance(platform.records, KeepsTasks)
    task = await platform.records.tasks.task(podcast_id)
    assert task is not None
    return task


async def asked(platform: Platform, topic_id: str = TOPIC) -> str:
    """The id of a podcast that was just asked for."""
    return (await platform.generation.request(topic_id)).task.podcast_id


async def recorded(platform: Platform, podcast_id: str) -> bytes:
    """The bytes of a whole recording."""
    whole = await platform.recordings.whole(podcast_id)
    assert whole is not None
    pieces = await whole.read(range(whole.size), 65_536)
    assert pieces is not None
    return b"".join([piece async for piece in pieces])


async def objects(platform: Platform, podcast_id: str = "") -> list[str]:
    """The names of what is in the store of recordings, of one podcast or of all."""
    store: Any = platform.recordings.store._store
    names = [str(one["path"]) async for batch in obstore.list(store) for one in batch]
    return sorted(name for name in names if name.removeprefix("parts/").startswith(podcast_id))


async def swept(platform: Platform, podcast_id: str) -> list[str]:
    """What is left of a podcast an hour after its end."""
    assert isinstance(platform.records, KeepsTasks)
    later = platform.room.clock.now() + recording_sweeper.LATER
    limits = {"max_bytes": 1 << 40, "max_age": timedelta(days=30)}
    await recording_sweeper.sweep(platform.recordings.store, platform.records.tasks, later, **limits)  # type: ignore[arg-type]
    return await objects(platform, podcast_id)


def make_topic(service: Service, topic_id: str = TOPIC, *texts: str) -> None:
    """A topic with these snippets; by default one that makes a podcast of some twenty seconds."""
    topic = {"display_name": "The Sea", "description": "", "keywords": []}
    service.client.put(f"{API}/topics/{topic_id}", json=topic, headers=service.editor).raise_for_status()
    for text in texts or ("The sea is deep.",):
        snippet = {"topic_id": topic_id, "title": "How deep it is", "text_content": text}
        service.client.post(f"{API}/snippets", json=snippet, headers=service.editor).raise_for_status()


def make_longer(service: Service, stories: int = 1) -> None:
    """A topic whose podcast of a minute for each story takes as many seconds to make."""
    _, snippets = sample("ocean_science")
    make_topic(service, LONGER, *(one.text_content for one in snippets[:stories]))


def renderers(pid: int) -> set[process_tree.Process]:
    """The processes that render for a process."""
    return {one for one in process_tree.below(pid) if RENDERING in one.command}


# The process -----------------------------------------------------------------------------------------


_WRITERS: list[Executor] = []


def _stop_after(name: str, point: _Point) -> None:
    real = getattr(point.owner, point.method)
    left = [name]

    async def call(self: Any, *args: Any, **options: Any) -> Any:
        result = await real(self, *args, **options)
        if left and point.reached(self, result, *args, **options):
            left.clear()
            _say(name)
            # By the thread that writes the record, so between two transactions: a claim is renewed beside the work, and
            # a process that stands still in that keeps the record from everybody.
            _WRITERS[0].submit(os.kill, os.getpid(), signal.SIGSTOP).result()
        return result

    setattr(point.owner, point.method, call)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


class _Telling(Worker):
    async def work(self, claim: Any) -> None:
        await super().work(claim)
        _say("worked")


async def _main(data_dir: str, claim: str, *points: str) -> None:
    recording_writer.SEGMENT = recording_writer.INTERVAL = 0  # a segment for each cluster, so that they can be counted
    for name in points:
        _stop_after(name, POINTS[name])
    async with open_platform(data_dir=data_dir) as platform:
        assert isinstance(platform.records, SqliteRecords)
        _WRITERS.append(platform.records._database._writer)
        worker = platform.worker(claim=timedelta(seconds=float(claim)))
        worker.__class__ = _Telling
        await worker.run()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
