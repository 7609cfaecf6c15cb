"""The worker: what it tells while it works, what it does about failures, and how it holds on to a task."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import RecordUnavailable
from greenroom.testing.clock import ManualClock
from greenroom_platform.domain import podcasts as podcasts_module
from greenroom_platform.domain.podcasts import ATTEMPTS
from greenroom_platform.domain.records import SnippetDraft
from greenroom_platform.domain.task_records import Claim
from greenroom_platform.http.app import create_app
from greenroom_platform.http.settings import Settings
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.studio import recording_sweeper
from greenroom_platform.studio import worker as studio_worker
from greenroom_platform.studio.recording_store import segment_name
from greenroom_platform.studio.recording_writer import RecordingWriter
from greenroom_platform.studio.render_client import Progress
from greenroom_platform.studio.script import PodcastScript, weave
from greenroom_platform.studio.webm import Cluster
from greenroom_platform.studio.worker import FAILED, NO_STORY, NO_TOPIC, Worker
from greenroom_platform.testing.records_changes import NOON, about
from tests.support.counted_tasks import statuses_of
from tests.support.process_tree import ON_LINUX
from tests.support.real_servers import Server
from tests.support.running_service import TOKEN, running
from tests.support.studio_samples import a_cluster
from tests.support.worker_processes import asked, objects, renderers, task_of, working

Open = Callable[..., Any]


@pytest.fixture
async def opened(valkey: Server, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens rooms as processes on one host have them, on a record with the topic `short`."""
    async with AsyncExitStack() as stack:

        async def open_(**options: Any) -> Platform:
            platform = await stack.enter_async_context(open_platform(valkey.address, data_dir=tmp_path, **options))
            if await platform.records.is_empty():
                await platform.records.put_topic("short", about("The Sea"), NOON)
                draft = SnippetDraft(topic_id="short", title="How deep it is", text_content="The sea is deep.")
                await platform.records.add_snippet("s", draft, NOON)
            return platform

        yield open_


class Slowly:
    """Renders clusters, each in so many seconds of the clock.

    Arguments:
        hold: how many to make before it waits until it may go on.
    """

    def __init__(
        self, clock: ManualClock, *, clusters: int = 10, seconds: float = 0.0, hold: int | None = None
    ) -> None:
        self.clock = clock
        self.clusters = clusters
        self.seconds = seconds
        self.hold = hold
        self.held = asyncio.Event()
        self.may = asyncio.Event()
        self.progress = Progress(0.0, 0.0, 0.0)
        self.ended = 0
        self.times: tuple[tuple[float, float], ...] = ()

    @asynccontextmanager
    async def __call__(self, script: PodcastScript) -> AsyncIterator[Slowly]:
        self.times = tuple((float(number), number + 0.5) for number in range(len(script.lines)))
        try:
            yield self
        finally:
            self.ended += 1

    async def __aiter__(self) -> AsyncIterator[Cluster]:
        for number in range(self.clusters):
            if number == self.hold:
                self.held.set()
                await self.may.wait()
            self.clock.advance(self.seconds)
            done = number + 1
            self.progress = Progress(done / self.clusters, float(done), done * self.seconds)
            yield a_cluster(number)


def renewals(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[None]:
    """Gets something after each renewal of a claim."""
    renewed, renew = asyncio.Queue[None](), platform.tasks.renew

    async def renewing(*args: Any, **options: Any) -> None:
        await renew(*args, **options)
        renewed.put_nowait(None)

    monkeypatch.setattr(platform.tasks, "renew", renewing)
    return renewed


async def next_of(queue: asyncio.Queue[None]) -> None:
    """Return at the next thing that gets into it."""
    while not queue.empty():
        queue.get_nowait()
    await queue.get()


def worker_of(platform: Platform, renderer: Slowly, claim: float = 30.0) -> Worker:
    """A worker with a renderer of its own."""
    parts = platform.tasks, platform.topics, platform.snippets, platform.recordings
    made: Any = renderer
    return Worker("w", *parts, wake=platform.generation.asked, claim=claim, clock=renderer.clock, renderer=made)


async def claimed(platform: Platform, seconds: float = 30.0) -> Claim:
    await asked(platform)
    claim = await platform.tasks.claim("w", seconds)
    assert claim is not None
    return claim


# What is told ----------------------------------------------------------------------------------------


async def test_the_estimate_uses_past_speed_first_then_the_measured_one(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    platform = await opened(clock=clock)
    told: list[float] = []
    advance = platform.tasks.advance

    async def telling(claim: Claim, status: str, **options: Any) -> Any:
        task = await advance(claim, status, **options)
        if "estimated" in options:
            told.append((task.estimated_completion_time - clock.now()) / timedelta(seconds=1))
        return task

    monkeypatch.setattr(platform.tasks, "advance", telling)
    slow = Slowly(clock, clusters=10, seconds=2.0)  # half a second of audio a second
    worker = worker_of(platform, slow)

    async def made() -> tuple[float, list[float]]:
        claim = await claimed(platform)
        topic = await platform.topics.get("short")
        assert topic is not None
        words = weave(claim.podcast_id, topic, await platform.snippets.page("short", 1)).words
        told.clear()
        await worker.work(claim)
        shown = await platform.statuses.get(claim.podcast_id)
        assert shown is not None
        assert shown.status == "ready_to_stream"
        return words / 2.5, told.copy()

    seconds, (first, *later) = await made()
    assert first == pytest.approx(math.ceil(seconds / 30), abs=1), "before it was measured it is taken to be fast"
    assert later == [pytest.approx(20 - at, abs=1) for at in (4, 8, 12, 16, 20)]
    seconds, (first, *_) = await made()
    assert first == pytest.approx(2 * seconds, abs=1), "and then as it was"


async def test_how_far_it_is_is_kept_with_each_renewal(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = await opened(clock=ManualClock())
    slow = Slowly(ManualClock(), clusters=4, hold=2)
    renewed = renewals(platform, monkeypatch)
    claim = await claimed(platform)
    task = asyncio.create_task(worker_of(platform, slow, claim=0.06).work(claim))
    await slow.held.wait()
    for _ in range(2):  # the first may have been under way
        await next_of(renewed)
    assert (await task_of(platform, claim.podcast_id)).progress == 0.5
    slow.may.set()
    await task


# What fails ------------------------------------------------------------------------------------------


def killing(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Have the renderer killed at the second cluster, so many times; returns those that were."""
    append, killed = RecordingWriter.append, list[int]()

    async def deadly(self: RecordingWriter, cluster: Cluster) -> None:
        await append(self, cluster)
        if cluster.start_ms == 1000 and len(killed) < times:
            (renderer,) = renderers(os.getpid())
            os.kill(renderer.pid, signal.SIGKILL)
            killed.append(renderer.pid)

    monkeypatch.setattr(RecordingWriter, "append", deadly)
    return killed


@ON_LINUX
async def test_a_killed_renderer_costs_another_attempt(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = await opened()
    killed = killing(monkeypatch, 1)
    podcast_id = await asked(platform)
    async with working(platform):
        statuses = await statuses_of(platform.statuses.follow(podcast_id))
    assert statuses[-1] == "ready_to_stream"
    assert "error" not in statuses
    assert len(killed) == 1
    assert (await task_of(platform, podcast_id)).attempts == 2


@ON_LINUX
async def test_a_renderer_killed_every_time_is_a_clear_error_with_a_logged_cause(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(podcasts_module, "PAUSE_MIN", 0.01)
    platform = await opened()
    killed = killing(monkeypatch, 99)
    podcast_id = await asked(platform)
    async with working(platform):
        statuses = await statuses_of(platform.statuses.follow(podcast_id))
        assert statuses[-1] == "error"
        shown = await platform.statuses.get(podcast_id)
    assert shown is not None
    assert shown.error_message == FAILED
    assert len(killed) == ATTEMPTS
    assert caplog.text.count("the renderer was ended by signal 9") == ATTEMPTS
    assert caplog.text.count(f"podcast {podcast_id} could not be made") == ATTEMPTS
    assert not await objects(platform)
    assert not renderers(os.getpid())


async def test_what_there_is_nothing_to_tell_of_is_not_tried_again(opened: Open) -> None:
    platform = await opened()
    await platform.records.put_topic("silent", about("Silence"), NOON)
    await platform.records.put_topic("gone", about("Gone"), NOON)
    silent, gone = await asked(platform, "silent"), await asked(platform, "gone")
    await platform.records.delete_topic("gone")
    async with working(platform):
        for podcast_id, message in ((silent, NO_STORY), (gone, NO_TOPIC)):
            assert (await statuses_of(platform.statuses.follow(podcast_id)))[-1] == "error"
            shown = await platform.statuses.get(podcast_id)
            assert shown is not None
            assert shown.error_message == message
            assert (await task_of(platform, podcast_id)).attempts == 1


# The queue -------------------------------------------------------------------------------------------


async def test_a_request_of_this_process_is_heard_at_once(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio_worker, "IDLE", 3600.0)
    platform = await opened()
    looked = asyncio.Event()
    claim = platform.tasks.claim

    async def looking(*args: Any) -> Any:
        found = await claim(*args)
        looked.set()
        return found

    monkeypatch.setattr(platform.tasks, "claim", looking)
    async with working(platform):
        await looked.wait()
        assert (await statuses_of(platform.statuses.follow(await asked(platform))))[-1] == "ready_to_stream"


async def test_a_worker_without_work_removes_what_is_left_of_old_podcasts(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio_worker, "IDLE", 0.01)
    clock = ManualClock()
    platform = await opened(clock=clock)
    claims = [await claimed(platform) for _ in range(2)]
    for claim in claims:
        await platform.recordings.store.create(segment_name(claim.podcast_id, claim.number, 0), b"left")
    await platform.tasks.fail(claims[0], FAILED)
    clock.advance(recording_sweeper.LATER)
    await platform.tasks.fail(claims[1], FAILED)
    async with working(platform):
        await until_left(platform, [segment_name(claims[1].podcast_id, 1, 0)])
        clock.advance(recording_sweeper.LATER)
        await until_left(platform, [])


async def until_left(platform: Platform, names: list[str]) -> None:
    """Return when these are the objects of the store."""
    async with asyncio.timeout(20):
        while await objects(platform) != names:
            await asyncio.sleep(0.01)


async def test_a_queue_that_cannot_be_asked_for_a_while_is_asked_again(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(studio_worker, "IDLE", 0.01)
    platform = await opened()
    claim, refused = platform.tasks.claim, list[None]()

    async def failing(*args: Any) -> Any:
        if len(refused) < 3:
            refused.append(None)
            raise RecordUnavailable("for the test")
        return await claim(*args)

    monkeypatch.setattr(platform.tasks, "claim", failing)
    podcast_id = await asked(platform)
    async with working(platform):
        assert (await statuses_of(platform.statuses.follow(podcast_id)))[-1] == "ready_to_stream"
    assert caplog.text.count("the queue of podcasts cannot be read: for the test") == 3


async def test_two_workers_share_the_queue_and_each_podcast_is_made_once(opened: Open) -> None:
    platforms = [await opened(), await opened()]
    podcasts = [await asked(platforms[0]) for _ in range(4)]
    async with working(platforms[0]), working(platforms[1]):
        for podcast_id in podcasts:
            assert (await statuses_of(platforms[0].statuses.follow(podcast_id)))[-1] == "ready_to_stream"
    assert [(await task_of(platforms[0], one)).claim for one in podcasts] == [1] * 4


# The claim -------------------------------------------------------------------------------------------


async def test_the_claim_is_renewed_as_long_as_it_works(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    platform = await opened(clock=clock)
    slow = Slowly(clock, hold=0)
    renewed = renewals(platform, monkeypatch)
    claim = await claimed(platform, 0.06)
    task = asyncio.create_task(worker_of(platform, slow, claim=0.06).work(claim))
    await slow.held.wait()
    for _ in range(5):
        await next_of(renewed)
        clock.advance(0.04)  # once more, and it has lapsed
        assert await platform.tasks.claim("another") is None
    slow.may.set()
    await task
    assert (await task_of(platform, claim.podcast_id)).status == "ready_to_stream"


@pytest.mark.parametrize("slow", ["take_over", "duration"])
async def test_the_claim_is_renewed_while_a_recording_is_taken_over(
    opened: Open, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Prevents: a worker was killed before its last word · the store is slow · the next loses its claim meanwhile."""
    clock = ManualClock()
    platform = await opened(clock=clock)
    recordings, renewed = platform.recordings, renewals(platform, monkeypatch)
    killed = await claimed(platform, 0.06)
    recording = recordings.begin(killed.podcast_id, killed.number)
    for second in range(3):
        await recording.append(a_cluster(second))
    await recording.finish()
    clock.advance(0.07)
    claim = await platform.tasks.claim("w", 0.06)
    assert claim is not None
    held, may, real = asyncio.Event(), asyncio.Event(), getattr(recordings, slow)

    async def slowly(*args: Any) -> Any:
        held.set()
        await may.wait()
        return await real(*args)

    monkeypatch.setattr(recordings, slow, slowly)
    task = asyncio.create_task(worker_of(platform, Slowly(clock), claim=0.06).work(claim))
    await held.wait()
    for _ in range(5):
        await next_of(renewed)
        clock.advance(0.04)  # once more, and it has lapsed
        assert await platform.tasks.claim("another") is None
    may.set()
    await task
    assert (await task_of(platform, claim.podcast_id)).status == "ready_to_stream"
    whole = await recordings.whole(claim.podcast_id)
    assert whole is not None
    assert whole.name == f"{claim.podcast_id}.{claim.number}.webm"


@pytest.mark.parametrize("lapses", [False, True])
async def test_an_unreachable_record_is_waited_for_until_the_claim_lapses(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lapses: bool
) -> None:
    clock = ManualClock()
    platform = await opened(clock=clock)
    slow = Slowly(clock, hold=0)
    refused: asyncio.Queue[None] = asyncio.Queue()

    async def failing(*args: Any, **options: Any) -> None:
        refused.put_nowait(None)
        raise RecordUnavailable("for the test")

    with monkeypatch.context() as patched:
        patched.setattr(platform.tasks, "renew", failing)
        claim = await claimed(platform, 0.06)
        task = asyncio.create_task(worker_of(platform, slow, claim=0.06).work(claim))
        await slow.held.wait()
        for _ in range(3):
            await refused.get()
        assert not task.done()
        if lapses:
            clock.advance(0.06)
            await task
    slow.may.set()
    await task
    status = "audio_rendering" if lapses else "ready_to_stream"
    assert (await task_of(platform, claim.podcast_id)).status == status
    assert slow.ended == 1
    assert (f"podcast {claim.podcast_id} is given up here" in caplog.text) == lapses
    if lapses:
        assert not await objects(platform)


async def test_a_task_that_is_told_to_be_done_is_not_held_any_more(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal would be refused then, and taken for a lost claim."""
    platform = await opened()
    advance, held = platform.tasks.advance, list[str]()

    async def telling(claim: Claim, status: str, **options: Any) -> Any:
        if status == "ready_to_stream":
            held.extend(task.get_name() for task in asyncio.all_tasks() if task.get_name() == "greenroom-claim")
        return await advance(claim, status, **options)

    monkeypatch.setattr(platform.tasks, "advance", telling)
    await worker_of(platform, Slowly(ManualClock())).work(await claimed(platform))
    assert held == []


async def test_a_worker_that_has_to_end_over_its_last_word_still_tells_it(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = await opened()
    send, sending, may = platform.changes.send, asyncio.Event(), asyncio.Event()

    async def sent(change: Any) -> None:
        if (await task_of(platform, claim.podcast_id)).status == "ready_to_stream":
            sending.set()
            await may.wait()
        await send(change)

    monkeypatch.setattr(platform.changes, "send", sent)
    claim = await claimed(platform)
    task = asyncio.create_task(worker_of(platform, Slowly(ManualClock())).work(claim))
    await sending.wait()
    task.cancel()
    await asyncio.sleep(0)
    may.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not any(change.statuses for change in await platform.records.pending())


async def test_a_worker_that_ends_gives_its_task_back_before_it_removes(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is silent keeps the task from nobody, and the worker from its end for a second."""
    monkeypatch.setattr(studio_worker, "_DISCARD", 0.05)
    platform = await opened()
    discarding, may, discard = asyncio.Event(), asyncio.Event(), RecordingWriter.discard

    async def held(self: RecordingWriter) -> None:
        discarding.set()
        await may.wait()
        await discard(self)

    monkeypatch.setattr(RecordingWriter, "discard", held)
    slow = Slowly(ManualClock(), hold=2)
    claim = await claimed(platform)
    task = asyncio.create_task(worker_of(platform, slow).work(claim))
    await slow.held.wait()
    task.cancel()
    await discarding.wait()
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()
    again = await platform.tasks.claim("another", 30.0)
    assert again is not None
    assert (again.podcast_id, again.task.attempts) == (claim.podcast_id, 1)
    may.set()
    await until_left(platform, [])


async def test_a_worker_of_the_service_that_fails_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: Worker) -> None:
        raise RuntimeError("for the test")

    monkeypatch.setattr(Worker, "run", broken)
    async with running(create_app(Settings(data_dir=tmp_path, editor_token=TOKEN))) as client:
        assert (await client.get("/health/ready")).status_code == 200
    assert "this process makes no more podcasts" in caplog.text
    assert "for the test" in caplog.text
