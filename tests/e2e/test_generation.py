"""A podcast from end to end: asked for over HTTP, made by a real worker, followed by everyone, heard and downloaded."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import av
import httpx
import msgspec
import pytest

from greenroom_platform.models import PodcastStatus
from greenroom_platform.platform import Platform, open_platform
from tests.support.counted_tasks import STEPS
from tests.support.process_tree import ON_LINUX, is_stopped
from tests.support.running_service import API, KEPT, NO_TLS, TOKEN, Serve, Service
from tests.support.status_followers import listener, long_poller, poller
from tests.support.stream_listeners import Decoded, decode, hear
from tests.support.stream_listeners import listener as socket_to
from tests.support.worker_processes import LONGER, TOPIC, make_longer, make_topic, task_of, worker_process


async def asked(client: httpx.AsyncClient, topic_id: str) -> dict[str, str]:
    answer = await client.post(f"{API}/podcasts/generate", json={"topic_id": topic_id})
    accepted: dict[str, str] = answer.raise_for_status().json()
    return accepted


def shown_length(data: bytes) -> float:
    """How long a player says that a file is, before it has played it."""
    with av.open(io.BytesIO(data), "r") as container:
        assert container.duration is not None
        return float(container.duration / 1_000_000)


def forward(statuses: list[str]) -> bool:
    """Whether they go to the end without a step back."""
    return statuses[-1] == "ready_to_stream" and statuses == sorted(statuses, key=STEPS.index)


async def everyone(client: httpx.AsyncClient, url: str, seen: dict[str, list[str]]) -> None:
    """Follow in each way that HTTP has, all at once, to the end."""
    await asyncio.gather(
        poller(client, url, seen.setdefault("poller", [])),
        long_poller(client, url, seen.setdefault("long poller", [])),
        listener(client, url, seen.setdefault("event stream", [])),
    )


async def follow(platform: Platform, podcast_id: str, seen: list[PodcastStatus]) -> None:
    async for status in platform.statuses.follow(podcast_id):
        seen.append(status)


# Step by step ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a worker."""
    flags = "--sample", "off", "--work", "off"
    service = Service(
        tmp_path_factory.mktemp("serve"), *flags, env={"GREENROOM_EDITOR_TOKEN": TOKEN}, hurried=False
    ).start()
    make_topic(service)
    yield service
    service.stop()


@pytest.fixture
async def platform(service: Service) -> AsyncIterator[Platform]:
    """Another process of the same platform."""
    async with open_platform(data_dir=service.data_dir) as platform:
        yield platform


@ON_LINUX
@pytest.mark.parametrize("flushed", [False, True], ids=["", "flushed"])
async def test_all_who_follow_a_worker_step_by_step_see_each_status_in_order(
    service: Service, platform: Platform, flushed: bool
) -> None:
    points = "script_generating", "audio_rendering"
    raw, followed, seen = service.raw(), list[PodcastStatus](), dict[str, list[str]]()
    async with httpx.AsyncClient(base_url=service.url, timeout=60, verify=NO_TLS, limits=KEPT) as client:
        accepted = await asked(client, TOPIC)
        following = [
            asyncio.create_task(everyone(client, accepted["status_url"], seen)),
            asyncio.create_task(follow(platform, accepted["podcast_id"], followed)),
        ]

        async def all_have_seen(status: str) -> None:
            async with asyncio.timeout(40):
                while len(seen) < 3 or not all(status in one for one in seen.values()):
                    await asyncio.sleep(0.001)
                while status not in {one.status for one in followed}:
                    await asyncio.sleep(0.001)

        await all_have_seen("queued")
        with worker_process(service.data_dir, *points) as worker:
            for point in points:
                await worker.at(point)
                if flushed:
                    raw("FLUSHALL")
                await all_have_seen(point)
                worker.go_on()
            await worker.has_worked()
            if flushed:
                raw("FLUSHALL")
            await asyncio.gather(*following)
    raw.close()
    for who, statuses in (seen | {"library": [one.status for one in followed]}).items():
        assert list(dict.fromkeys(statuses)) == list(STEPS), who
        assert statuses == sorted(statuses, key=STEPS.index), who
    for one in followed:
        estimated = one.estimated_completion_time is not msgspec.UNSET
        assert estimated == (one.status == "audio_rendering")


@ON_LINUX
async def test_an_early_listener_hears_what_there_is_and_then_the_rest(service: Service, platform: Platform) -> None:
    async with httpx.AsyncClient(base_url=service.url, timeout=60, verify=NO_TLS, limits=KEPT) as client:
        accepted = await asked(client, TOPIC)
        path = f"{API}/podcasts/{accepted['podcast_id']}/audio.webm"
        with ExitStack() as stack:
            async with socket_to(service, accepted["podcast_id"]) as early:
                worker = stack.enter_context(worker_process(service.data_dir, "clusters"))
                await worker.at("clusters")
                heard = await hear(early, clusters=4)  # the initial segment, and a second each
                async with socket_to(service, accepted["podcast_id"], "?from=2") as late:
                    joined = await hear(late, clusters=2)
                    assert is_stopped(worker.process.pid)
                    assert (await client.get(path)).status_code == 409
                    worker.go_on()
                    await asyncio.gather(hear(early, heard), hear(late, joined))
                    await worker.has_worked()  # the recording ends a moment before the status says so
        downloaded = await client.get(path)
    assert (await task_of(platform, accepted["podcast_id"])).status == "ready_to_stream"
    whole, early_audio, late_audio = decode(downloaded.content), decode(heard.audio), decode(joined.audio)
    assert (heard.last["type"], heard.code) == (joined.last["type"], joined.code) == ("stream_end", 1000)
    assert early_audio.samples == whole.samples
    assert late_audio.begins == pytest.approx(2, abs=0.03)
    assert late_audio.begins + late_audio.seconds == pytest.approx(whole.seconds, abs=0.03)
    check_whole(whole, downloaded.content)
    assert (early_audio.gaps, late_audio.gaps) == (0, 0)


# As it is used ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_service_alone_makes_a_podcast_that_everyone_follows_and_hears(serve: Serve, workers: str) -> None:
    service = await asyncio.to_thread(serve, "--sample", "off", "--workers", workers)
    make_longer(service)
    followed, seen = list[PodcastStatus](), dict[str, list[str]]()
    async with (
        open_platform(data_dir=service.data_dir) as platform,
        httpx.AsyncClient(base_url=service.url, timeout=60, verify=NO_TLS, limits=KEPT) as client,
    ):
        accepted = await asked(client, LONGER)
        podcast_id = accepted["podcast_id"]
        following = [
            asyncio.create_task(everyone(client, accepted["status_url"], seen)),
            asyncio.create_task(follow(platform, podcast_id, followed)),
        ]
        async with socket_to(service, podcast_id) as socket:
            heard = await hear(socket, clusters=3)
            flushing = service.raw()
            flushing("FLUSHALL")  # in the middle of it
            flushing.close()
            await hear(socket, heard)
        await asyncio.gather(*following)
        downloaded = await client.get(f"{API}/podcasts/{podcast_id}/audio.webm")
        task = await task_of(platform, podcast_id)
    for who, statuses in (seen | {"library": [one.status for one in followed]}).items():
        assert forward(statuses), (who, statuses)
    assert (task.claim, task.attempts, task.progress <= 1) == (1, 1, True)
    rendering = [one for one in followed if one.status == "audio_rendering"]  # none where all was over before
    assert all(one.estimated_completion_time is not msgspec.UNSET for one in rendering)
    whole = decode(downloaded.content)
    check_whole(whole, downloaded.content)
    assert 30 < whole.seconds < 100
    assert heard.last["type"] == "stream_end"
    assert decode(heard.audio).samples == whole.samples
    assert "Traceback" not in service.output()


def check_whole(audio: Decoded, data: bytes) -> None:
    """A recording has no gap, begins at its beginning, and is as long as it says."""
    assert audio.gaps == 0
    assert audio.begins == pytest.approx(0, abs=0.01)
    assert audio.seconds == pytest.approx(shown_length(data), abs=0.02)
    second = [audio.samples[at * audio.rate : (at + 1) * audio.rate] for at in range(int(audio.seconds))]
    silent = [max(map(abs, one)) < 0.001 for one in second]
    assert not any(all(silent[at : at + 2]) for at in range(len(silent) - 2)), "nobody is silent for two seconds"
