"""Attempts at recordings, in both stores: one goes on where another ended, fails as a whole, and leaves nothing."""

from __future__ import annotations

import asyncio
import errno
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from greenroom.errors import InvalidInput
from greenroom.testing.clock import ManualClock
from greenroom_platform.studio import recording_store, recording_writer, webm
from greenroom_platform.studio.recording_errors import RecordingFailed, RecordingsUnavailable
from greenroom_platform.studio.recording_opening import open_recordings
from greenroom_platform.studio.recordings import GivenUp, Recordings
from tests.support.made_recordings import Listener, Site, heard, later, times
from tests.support.patience import until
from tests.support.recording_fixtures import STORES
from tests.support.studio_samples import a_cluster

on_both = pytest.mark.parametrize("site", STORES, indirect=True)


@on_both
async def test_listeners_go_on_with_the_next_attempt_at_their_place(site: Site) -> None:
    recordings = site.open()
    dead = await (await site.begin(recordings)).write(0, 1)
    listener = Listener(recordings)
    await listener.has(3)
    await dead.lapse()
    second = await (await site.begin(site.open())).write(0)
    newcomer = Listener(site.open())
    await newcomer.has(2)
    await second.write(1, 2)
    await listener.has(4)
    await second.write(3)
    await second.finish()
    await listener.task
    await newcomer.task
    assert times(listener.got) == times(newcomer.got) == [0, 1000, 2000, 3000]


@pytest.mark.parametrize("whole", [False, True], ids=["growing", "whole"])
@on_both
async def test_who_has_heard_another_recording_is_not_given_the_rest_of_this(site: Site, whole: bool) -> None:
    recordings = site.open()
    dead = await (await site.begin(recordings)).write(0, 1, mark=b"one story")
    listener = Listener(recordings)
    await listener.has(3)
    await dead.lapse()
    if whole:
        # Followed by nobody while it grew: all that is known is where its clusters are.
        await site.make(site.open(), mark=b"another")
    else:
        await (await site.begin(site.open())).write(0, 1, 2, mark=b"another")
    with pytest.raises(GivenUp):
        await listener.task
    assert times(listener.got) == [0, 1000]


@on_both
async def test_who_hears_a_late_workers_whole_goes_on_with_the_one_that_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_writer, "SEGMENT", 1)
    late, reading = site.open(), site.open()
    first = await (await site.begin(late)).write(0, 1, 2)
    clusters = reading.clusters("p", wait=True)
    await anext(clusters)
    await first.recording.finish()
    await until_known(reading, claim=1)
    heard_so_far = [await anext(clusters)]
    # The late worker learns that its claim is lost, and removes what it has made.
    await first.lapse()
    await (await site.begin(site.open())).write(0, 1, 2, 3)
    await late.remove("p", 1)
    source = reading._followers["p"].source
    assert source is not None
    source.close()  # whatever of it was kept
    async with asyncio.timeout(10):
        heard_so_far += [await anext(clusters) for _ in range(3)]
    await clusters.aclose()
    assert heard_so_far == [a_cluster(number).data for number in range(4)]


@on_both
async def test_who_comes_after_a_late_workers_whole_hears_the_one_that_counts(site: Site) -> None:
    reading = site.open()
    first = await (await site.begin(site.open())).write(0, mark=b"late")
    clusters = reading.clusters("p", wait=True)
    await anext(clusters)
    await first.recording.finish()
    await until_known(reading, claim=1)
    await first.lapse()
    await site.make(site.open(), mark=b"current")
    await until_known(reading, claim=2)
    assert all(b"current" in data for data in (await heard(reading))[1:])
    await clusters.aclose()


async def until_known(recordings: Recordings, claim: int) -> None:
    """Return when a claim's recording is known to be whole to whoever follows it."""
    follower = recordings._followers["p"]
    await until(lambda: follower.source is not None and follower.source.claim == claim and follower.source.whole)


@on_both
async def test_a_late_worker_puts_its_recording_in_nobodys_place(site: Site) -> None:
    late, current = site.open(), site.open()
    first = await (await site.begin(late)).write(0, mark=b"late")
    await first.lapse()
    await site.make(current, mark=b"current")
    before = await site.bytes_of(site.open())
    # It had found its claim current, was stopped, and goes on.
    await first.recording.finish()
    assert {"p.1.webm", "p.2.webm"} < set(await site.objects())
    assert await site.bytes_of(site.open()) == before
    assert all(b"current" in data for data in (await heard(site.open()))[1:])
    await late.remove("p", 1)
    assert [name for name in await site.objects() if ".1." in name] == []
    # One that counts stays, though its worker thinks that it has lost its claim.
    await current.remove("p", 2)
    assert await site.bytes_of(site.open()) == before


@on_both
async def test_the_whole_recording_of_a_killed_worker_is_taken_over(site: Site) -> None:
    recordings = site.open()
    killed = await (await site.begin(recordings)).write(0, 1, mark=b"killed")
    await killed.recording.finish()
    await killed.lapse()
    assert await site.open().whole("p") is None, "the record has not heard of it"
    second = await site.claimed()
    size = await recordings.take_over("p", second.number)
    assert size is not None
    await site.tasks.advance(second, "ready_to_stream", site.now(), size=size)
    assert times(await heard(site.open())) == [0, 1000]
    assert b"killed" in await site.bytes_of(site.open())
    assert await recordings.take_over("q", 3) is None


async def test_only_the_last_eight_claims_are_looked_at_for_a_whole_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings, asked = site.open(), list[str]()
    for claim in (1, 5):
        await recordings.store.create(f"p.{claim}.webm", b"whole")
    get = recordings.store.get

    async def counted(name: str, *part: int) -> bytes | None:
        asked.append(name)
        return await get(name, *part)

    monkeypatch.setattr(recordings.store, "get", counted)
    assert await recordings.take_over("p", 14) is None
    assert asked == [f"p.{claim}.webm" for claim in range(13, 5, -1)]
    assert await recordings.take_over("p", 13) == 5


@on_both
async def test_a_discarded_attempt_is_gone_and_its_listeners_wait_for_another(site: Site) -> None:
    recordings = site.open()
    first = await (await site.begin(recordings)).write(0, 1)
    listener = Listener(recordings)
    await listener.has(3)
    await first.discard()
    assert await site.objects() == []
    with pytest.raises(InvalidInput, match="finished or discarded"):
        await first.write(2)
    second = await (await site.begin(recordings)).write(0, 1, 2)
    await listener.has(4)
    await second.finish()
    await listener.task
    assert times(listener.got) == [0, 1000, 2000]


async def test_who_waits_too_long_for_another_attempt_learns_that_it_is_given_up(site: Site) -> None:
    site.clock = ManualClock()
    recordings = site.open(patience=timedelta(minutes=2))
    dead = await (await site.begin(recordings)).write(0, 1)
    listener = Listener(recordings)
    await listener.has(3)
    await dead.lapse()
    follower = recordings._followers["p"]
    while follower._alone_since is None:
        await asyncio.sleep(0)
    later(site.clock, seconds=119)
    again = Listener(recordings)
    await again.has(3)
    assert not follower.given_up
    later(site.clock, seconds=2)
    for one in (listener, again):
        with pytest.raises(GivenUp):
            await one.task


async def test_as_long_as_somebody_writes_it_is_not_given_up(site: Site) -> None:
    site.clock = ManualClock()
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(0)
    listener = Listener(recordings)
    await listener.has(2)
    later(site.clock, hours=1)
    await attempt.write(1)
    await listener.has(3)
    assert not recordings._followers["p"].given_up
    await attempt.finish()
    await listener.task


# Objects ---------------------------------------------------------------------------------------------


@on_both
async def test_an_object_is_made_once_and_one_of_our_own_bytes_is_ours(site: Site) -> None:
    """A call whose answer was lost is repeated, and finds what it has made."""
    store = site.store()
    for _ in range(2):
        await store.create("p.1.webm", b"one")
    with pytest.raises(RecordingFailed, match="another object"):
        await store.create("p.1.webm", b"two")
    assert await store.get("p.1.webm") == b"one"
    assert await store.get("p.1.webm", 1, 3) == b"ne"
    assert (await store.get("p.2.webm"), await store.stream("p.2.webm", 0, 1, 1)) == (None, None)
    for _ in range(2):
        await store.delete("p.1.webm")
    assert await site.objects() == []


@on_both
async def test_a_recording_is_put_in_segments_of_about_eight_seconds(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_writer, "INTERVAL", 60.0)
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(*range(20))
    await attempt.finish()
    sizes = [len(await recordings.store.get(name) or b"") for name in await site.segments()]
    one = len(a_cluster(0).data)
    assert all(size <= max(recording_writer.SEGMENT, one) for size in sizes)
    assert len(sizes) <= 2 + 20 * one / (recording_writer.SEGMENT - one) + 1, "the first, full ones, and the end mark"


@on_both
async def test_the_segments_of_a_recording_are_not_more_than_can_be_removed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MAX_SEGMENTS": 6, "SEGMENT": 1, "INTERVAL": 0, "AHEAD": 1}.items():
        monkeypatch.setattr(recording_writer, name, value)
    recordings = site.open()
    attempt = await site.begin(recordings)
    listener = Listener(recordings)
    for number in range(4):
        await attempt.write(number)
        await listener.has(2 + number)
    await attempt.write(*range(4, 20))
    assert await site.segments() == [f"parts/p.1.{number:05}" for number in range(4)]
    await attempt.finish()
    await listener.task
    assert times(listener.got) == [1000 * number for number in range(20)]
    assert await site.segments() == [f"parts/p.1.{number:05}" for number in range(6)]
    await recordings.store.delete(*await site.segments())
    assert times(await heard(site.open())) == [1000 * number for number in range(20)]


def test_segments_come_more_rarely_the_more_there_are() -> None:
    intervals = [recording_writer.interval_after(segments) for segments in range(recording_store.MAX_SEGMENTS)]
    assert intervals[:200] == [0.25] * 200
    assert intervals == sorted(intervals)
    assert sum(intervals) > 25 * 60, "a rendering of 25 minutes is heard while it lasts"
    assert max(intervals) == 4


# Refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("podcast_id", ["", "a/b", "../x", "a b", "x" * 129, "é", "a:b"])
async def test_an_id_that_no_podcast_can_have_reaches_no_object(site: Site, podcast_id: str) -> None:
    recordings = site.open()
    with pytest.raises(InvalidInput, match="podcast_id"):
        await recordings.whole(podcast_id)
    with pytest.raises(InvalidInput, match="podcast_id"):
        recordings.begin(podcast_id, 1)
    with pytest.raises(InvalidInput, match="podcast_id"):
        await heard(recordings, podcast_id)


@on_both
async def test_ids_with_dots_are_kept_apart(site: Site) -> None:
    recordings = site.open()
    await site.make(recordings, "p", mark=b"other")
    for podcast_id in ("..", ".", "parts", "p.1", "p.1.webm", "-", "~", "x" * 128):
        attempt = await (await site.begin(recordings, podcast_id)).write(0, mark=b"mine")
        clusters = recordings.clusters(podcast_id, wait=True)
        assert b"mine" in [await anext(clusters), await anext(clusters)][1]
        await clusters.aclose()
        await attempt.finish()
        assert len(await heard(recordings, podcast_id)) == 2
    assert len(await heard(recordings, "p")) == 4


async def test_what_cannot_be_is_refused_and_named(site: Site) -> None:
    recordings = site.open()
    with pytest.raises(InvalidInput, match="from"):
        await heard(recordings, from_ms=-1)
    attempt = await site.begin(recordings)
    with pytest.raises(InvalidInput, match="append the one that begins at 0 ms"):
        await attempt.write(1)
    with pytest.raises(InvalidInput, match="no cluster"):
        await attempt.recording.finish()
    await attempt.write(0)
    with pytest.raises(InvalidInput, match="append the one that begins at 1000 ms"):
        await attempt.write(0)
    await attempt.finish()


async def test_a_full_disk_is_an_error_and_leaves_nothing_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(0)
    await Listener(recordings).has(2)

    def full(handle: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        await attempt.write(1)
        with pytest.raises(RecordingFailed, match="No space left"):
            await attempt.recording.finish()
        with pytest.raises(InvalidInput, match="finished or discarded"):
            await attempt.write(2)
    await attempt.discard()
    assert await recordings.whole("p") is None
    assert await site.objects() == []


async def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match=r"recordings_url.*cannot be used"):
        open_recordings(str(tmp_path / "file" / "recordings"), None)


async def test_who_still_listens_when_it_closes_is_turned_away(site: Site) -> None:
    recordings = site.open()
    attempt = await (await site.begin(site.open())).write(0)
    listener = Listener(recordings)
    await listener.has(2)
    await recordings.close()
    with pytest.raises(RecordingFailed, match="closed"):
        await listener.task
    await attempt.recording.discard()


# Limits ----------------------------------------------------------------------------------------------


async def kept(recordings: Recordings, *podcasts: str) -> list[bool]:
    """Which of the podcasts have a recording."""
    return [await recordings.whole(podcast) is not None for podcast in podcasts]


@on_both
async def test_the_oldest_whole_recordings_go_when_there_are_too_many(site: Site) -> None:
    site.clock = ManualClock()
    recordings = site.open()
    names = [f"p{number}" for number in range(4)]
    sizes = []
    for name in names:
        sizes.append(len(await site.make(recordings, name)))
        later(site.clock, days=1)
    bounded = site.open(max_bytes=sum(sizes[:2]) + 1)
    await bounded.sweep()
    assert await kept(bounded, *names) == [False, False, True, True]
    # One that is larger than the limit stays until there is a newer one.
    tiny = site.open(max_bytes=1)
    await tiny.sweep()
    assert await kept(tiny, *names) == [False, False, False, True]
    await site.make(tiny, "p4")
    await tiny.sweep()
    assert await kept(tiny, "p3", "p4") == [False, True]
    later(site.clock, hours=1)
    await tiny.sweep()
    assert await site.objects() == ["p4.1.webm"]


async def test_recordings_that_are_too_old_go(site: Site) -> None:
    site.clock = ManualClock()
    recordings = site.open(max_age=timedelta(days=2))
    await site.make(recordings, "old")
    later(site.clock, hours=5)
    await site.make(recordings, "new")
    later(site.clock, hours=45)
    await recordings.sweep()
    assert await kept(recordings, "old", "new") == [False, True]


@on_both
async def test_what_is_listened_to_is_heard_to_its_end_and_goes_afterwards(site: Site) -> None:
    site.clock = ManualClock()
    recordings, other = site.open(), site.open(max_age=timedelta(days=2))
    await site.make(recordings)
    later(site.clock, days=3)
    clusters = recordings.clusters("p", wait=True)
    assert await anext(clusters) == webm.init_segment(3000)
    await other.sweep()
    assert await kept(other, "p") == [False]
    assert [data async for data in clusters] == [a_cluster(number).data for number in range(3)]
    later(site.clock, hours=1)
    await other.sweep()
    assert await site.objects() == []
    assert await site.tasks.all_stored() == ()


@on_both
async def test_what_dead_attempts_have_left_goes_an_hour_after_the_end(site: Site) -> None:
    site.clock = ManualClock()
    recordings = site.open()
    first = await (await site.begin(recordings)).write(0, 1)
    await Listener(recordings).has(3)
    await first.lapse()
    second = await (await site.begin(recordings)).write(0)
    await second.recording.finish()
    await second.lapse()
    assert [name for name in await site.objects() if ".2." in name] != []
    await site.make(recordings)
    later(site.clock, minutes=59)
    await recordings.sweep()
    assert {name.split(".")[1] for name in await site.objects()} == {"1", "2", "3"}, "somebody may listen"
    later(site.clock, minutes=1)
    await recordings.sweep()
    assert await site.objects() == ["p.3.webm"]
    # Of one that could not be made nothing is left, its whole recording neither.
    failed = await (await site.begin(recordings, "q")).write(0)
    await failed.recording.finish()
    await site.tasks.fail(failed.claim, "No.", site.now())
    later(site.clock, hours=1)
    await recordings.sweep()
    assert await site.objects() == ["p.3.webm"]
    assert [one.podcast_id for one in await site.tasks.all_stored()] == ["p"]


async def test_a_removal_that_is_interrupted_is_finished_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = site.open()
    monkeypatch.setattr(recording_writer, "SEGMENT", 1)
    attempt = await (await site.begin(recordings)).write(*range(4))
    await attempt.recording.finish()
    delete = recordings.store.delete

    async def some(*names: str) -> None:
        await delete(*names[:2])
        raise RecordingsUnavailable("it has gone away")

    monkeypatch.setattr(recordings.store, "delete", some)
    await recordings.remove("p", 1)
    assert len(await site.objects()) == 4, "segments and end mark were five, and there was the whole"
    monkeypatch.undo()
    await recordings.remove("p", 1)
    assert await site.objects() == []


async def test_a_podcast_that_cannot_be_swept_keeps_no_other_from_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.clock = ManualClock()
    recordings = site.open(max_age=timedelta(hours=2))
    for podcast_id in ("attempts", "expired", "other"):
        await site.make(recordings, podcast_id)
    delete = recordings.store.delete

    async def refusing(*names: str) -> None:
        if any("attempts" in name or name == "expired.1.webm" for name in names):
            raise RecordingsUnavailable("this one cannot be removed")
        await delete(*names)

    monkeypatch.setattr(recordings.store, "delete", refusing)
    later(site.clock, hours=1)
    await recordings.sweep()
    assert {name.split(".")[0] for name in await site.objects() if name.startswith("parts/")} == {"parts/attempts"}
    assert "cannot be removed yet, 1 times; the first: this one cannot be removed" in caplog.text
    for _ in range(2):
        later(site.clock, hours=2)
        await recordings.sweep()
    assert "cannot be removed yet, 2 times" in caplog.text
    assert [name for name in await site.objects() if "other" in name] == []
    monkeypatch.undo()
    await recordings.sweep()
    assert await site.objects() == []


@on_both
async def test_objects_that_the_record_does_not_name_are_left_alone(site: Site) -> None:
    site.clock = ManualClock()
    recordings = site.open(max_age=timedelta(days=1), max_bytes=1)
    await site.make(recordings)
    others = ["notes.txt", "other.1.webm", "parts/notes.txt", "parts/other.1.00000", "parts/other.2.00000"]
    for name in others:
        await recordings.store.create(name, b"mine")
    for _ in range(2):
        later(site.clock, days=10)
        await recordings.sweep()
    assert await site.objects() == sorted(others)
