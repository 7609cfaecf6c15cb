"""Workers that are killed, or come late: what they have begun is finished once, by another, and nothing goes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from greenroom_platform.domain.podcasts import ATTEMPTS, EXHAUSTED
from greenroom_platform.models import STATUSES
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.studio.recordings import Recordings
from tests.support.counted_tasks import STEPS, statuses_of
from tests.support.process_tree import ON_LINUX
from tests.support.running_service import TOKEN, Service
from tests.support.stream_listeners import decode, heard_of
from tests.support.worker_processes import (
    CLUSTERS,
    SHORT,
    asked,
    make_topic,
    objects,
    recorded,
    swept,
    task_of,
    worker_process,
    working,
)

pytestmark = ON_LINUX

LONG = 600.0
"""Seconds of a claim that does not lapse while its worker is stopped."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a worker."""
    flags = "--sample", "off", "--work", "off"
    service = Service(tmp_path_factory.mktemp("serve"), *flags, env={"GREENROOM_EDITOR_TOKEN": TOKEN}).start()
    make_topic(service)
    yield service
    service.stop()


@pytest.fixture
async def platform(service: Service) -> AsyncIterator[Platform]:
    """Another process of the same platform: where the worker is that takes over."""
    async with open_platform(data_dir=service.data_dir) as platform:
        yield platform


def in_order(statuses: list[str]) -> bool:
    """Whether they go forward to the end; who is slow may miss a short one."""
    return statuses[-1] == "ready_to_stream" and statuses == sorted(statuses, key=STEPS.index)


STATES = [
    ("claimed", "queued"),
    ("script_generating", "script_generating"),
    ("audio_rendering", "audio_rendering"),
    ("clusters", "audio_rendering"),
    ("checked", "audio_rendering"),
    ("whole", "audio_rendering"),
]


@pytest.mark.parametrize(("point", "status"), STATES)
async def test_what_a_killed_worker_has_begun_is_finished_once_by_another(
    service: Service,
    platform: Platform,
    point: str,
    status: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO", "greenroom.studio")
    podcast_id = await asked(platform)
    following = asyncio.create_task(statuses_of(platform.statuses.follow(podcast_id)))
    hearing = asyncio.create_task(heard_of(service, podcast_id))
    with worker_process(service.data_dir, point, claim=SHORT) as worker:
        await worker.at(point)
        begun = await task_of(platform, podcast_id)
        assert (begun.status, begun.claim) == (status, 1)
        worker.kill()
    if point == "whole":
        monkeypatch.delattr(Recordings, "begin")  # what is whole is not made again
    async with working(platform):
        assert in_order(await following)
        heard = await hearing
    made = await task_of(platform, podcast_id)
    assert (made.status, made.claim, made.attempts) == ("ready_to_stream", 2, 2)
    assert [one.message for one in caplog.records if "making podcast" in one.message] == [
        f"making podcast {podcast_id}, attempt 2"
    ]
    whole, listened = decode(await recorded(platform, podcast_id)), decode(heard.audio)
    assert (whole.gaps, listened.gaps) == (0, 0)
    assert whole.seconds > CLUSTERS + 5
    assert listened.seconds == pytest.approx(whole.seconds, abs=0.05)
    assert (heard.last["type"], heard.code) == ("stream_end", 1000), service.output()[-1500:]
    assert await swept(platform, podcast_id) == [f"{podcast_id}.2.json", f"{podcast_id}.2.webm"]


async def test_the_last_word_of_a_killed_worker_is_told_by_others(service: Service, platform: Platform) -> None:
    podcast_id = await asked(platform)
    following = asyncio.create_task(statuses_of(platform.statuses.follow(podcast_id)))
    with worker_process(service.data_dir, "committed", claim=SHORT) as worker:
        await worker.at("committed")
        worker.kill()
        assert in_order(await following)
    assert (await task_of(platform, podcast_id)).claim == 1
    assert await platform.tasks.claim("another") is None


@pytest.mark.parametrize("point", ["claimed", "checked", "whole"])
async def test_a_late_worker_is_refused_and_harms_neither_recording_nor_status(
    service: Service, platform: Platform, point: str
) -> None:
    podcast_id = await asked(platform)
    following = asyncio.create_task(statuses_of(platform.statuses.follow(podcast_id)))
    with worker_process(service.data_dir, point, claim=SHORT) as late:
        await late.at(point)
        async with working(platform):
            assert in_order(await following)
        before = (
            await recorded(platform, podcast_id),
            await task_of(platform, podcast_id),
            await platform.statuses.get(podcast_id),
        )
        late.go_on()
        await late.has_worked()
        assert (
            await recorded(platform, podcast_id),
            await task_of(platform, podcast_id),
            await platform.statuses.get(podcast_id),
        ) == before
        assert f"podcast {podcast_id} is given up here" in late.log
        assert "Traceback" not in late.log
        assert [name for name in await objects(platform, podcast_id) if ".1." in name] == []
        assert await swept(platform, podcast_id) == [f"{podcast_id}.2.json", f"{podcast_id}.2.webm"]
        if point == "claimed":
            # It was late, and is as good a worker as any.
            assert in_order(await statuses_of(platform.statuses.follow(await asked(platform))))


async def test_a_late_worker_does_not_disturb_the_one_that_has_taken_over(service: Service, platform: Platform) -> None:
    podcast_id = await asked(platform)
    following = asyncio.create_task(statuses_of(platform.statuses.follow(podcast_id)))
    hearing = asyncio.create_task(heard_of(service, podcast_id))
    with worker_process(service.data_dir, "clusters", claim=SHORT) as late:
        await late.at("clusters")
        with worker_process(service.data_dir, "script_generating", "clusters", claim=LONG) as current:
            await current.at("script_generating")
            shown = await platform.statuses.get(podcast_id)
            assert shown is not None
            assert shown.status == "audio_rendering"  # as far as it was seen to be
            current.go_on()
            await current.at("clusters")
            before = await task_of(platform, podcast_id)
            late.go_on()
            await late.has_worked()
            assert await task_of(platform, podcast_id) == before
            assert [name for name in await objects(platform, podcast_id) if ".2." not in name] == []
            current.go_on()
            await current.has_worked()
    assert in_order(await following)
    heard = await hearing
    audio = decode(heard.audio)
    assert (heard.last["type"], audio.gaps) == ("stream_end", 0)


async def test_a_podcast_that_kills_its_workers_is_given_up_in_the_end(service: Service, platform: Platform) -> None:
    podcast_id = await asked(platform)
    following = asyncio.create_task(statuses_of(platform.statuses.follow(podcast_id)))
    hearing = asyncio.create_task(heard_of(service, podcast_id))
    for attempt in range(1, ATTEMPTS + 1):
        with worker_process(service.data_dir, "clusters", claim=SHORT) as worker:
            await worker.at("clusters")
            assert (await task_of(platform, podcast_id)).attempts == attempt
    async with working(platform):
        statuses = await following
        assert statuses == sorted(statuses, key=STATUSES.rank)
        assert statuses[-1] == "error"
        heard = await hearing
        assert heard.last == {"type": "error", "detail": EXHAUSTED}
    told = await platform.statuses.get(podcast_id)
    assert told is not None
    assert told.error_message == EXHAUSTED
