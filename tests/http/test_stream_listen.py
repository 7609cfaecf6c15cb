"""Listening to a podcast: every cluster from the asked place on, while it is made and when it is whole."""

from __future__ import annotations

import pytest

from greenroom_platform.studio.webm import MIME, init_segment
from tests.support.patience import eventually
from tests.support.running_service import API, Service
from tests.support.stream_listeners import (
    UNKNOWN,
    Heard,
    Studio,
    activity,
    decode,
    hear,
    heard_of,
    heavy,
    listener,
    pitch,
    seconds_of,
    tones,
)

SERVE_ENV = {"GREENROOM_WORK": "off"}
"""The tests are the worker."""

LONG = tones(6.5)
PITCHES = [pitch(second) for second in range(6)]


def whole(heard: Heard, podcast_id: str) -> None:
    """Assert that the messages are a whole stream, in the documented form and order."""
    assert heard.texts == [
        {"type": "stream_start", "podcast_id": podcast_id, "mime": MIME},
        {"type": "stream_end"},
    ]
    assert heard.order == "t" + "b" * len(heard.clusters) + "t"
    assert (heard.code, heard.reason) == (1000, "")


def failed(heard: Heard, detail: str) -> None:
    """Assert that it ends with this error."""
    assert heard.last == {"type": "error", "detail": detail}
    assert heard.order.endswith("t")
    assert heard.code == 1000


# From a place ------------------------------------------------------------------------------------------


async def test_a_whole_recording_is_heard_from_its_beginning(service: Service, studio: Studio) -> None:
    podcast_id = await studio.ready(LONG)
    heard = await heard_of(service, podcast_id)
    whole(heard, podcast_id)
    assert heard.clusters == [init_segment(LONG[-1].end_ms), *(cluster.data for cluster in LONG)]
    audio = decode(heard.audio)
    assert audio.gaps == 0
    assert audio.begins == pytest.approx(0, abs=0.01)
    assert audio.seconds == pytest.approx(seconds_of(LONG), abs=0.02)
    assert audio.pitches()[:6] == PITCHES


@pytest.mark.parametrize(
    ("query", "first"),
    [("?from=0", 0), ("?from=3", 3), ("?from=3.999", 3), ("?from=0003.5", 3), ("?from=6", 6), ("?from=6.4", 6)],
)
async def test_it_is_heard_from_the_second_that_was_asked_for(
    service: Service, studio: Studio, query: str, first: int
) -> None:
    podcast_id = await studio.ready(LONG)
    heard = await heard_of(service, podcast_id, query)
    whole(heard, podcast_id)
    assert heard.clusters[1:] == [cluster.data for cluster in LONG[first:]]
    audio = decode(heard.audio)
    assert audio.gaps == 0
    assert audio.begins == pytest.approx(first, abs=0.01)
    assert audio.begins + audio.seconds == pytest.approx(seconds_of(LONG), abs=0.02)
    # Opus needs 80 ms to come right, and the middle of a second is what is looked at.
    assert audio.pitches()[: 6 - first] == PITCHES[first:]


@pytest.mark.parametrize("query", ["?from=7", "?from=86400"])
async def test_past_the_end_there_is_a_beginning_and_an_end(service: Service, studio: Studio, query: str) -> None:
    podcast_id = await studio.ready(LONG)
    heard = await heard_of(service, podcast_id, query)
    whole(heard, podcast_id)
    assert heard.clusters == [init_segment(LONG[-1].end_ms)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?from=-1", "'-1' is not a number of seconds"),
        ("?from=", "'' is not a number of seconds"),
        ("?from=soon", "'soon' is not a number of seconds"),
        ("?from=1_0", "'1_0' is not a number of seconds"),
        ("?from=1e3", "'1e3' is not a number of seconds"),
        ("?from=nan", "'nan' is not a number of seconds"),
        ("?from=inf", "'inf' is not a number of seconds"),
        ("?from=%D9%A3", "is not a number of seconds"),
        ("?from=86400.5", "is outside the recording"),
        ("?from=1&from=2", "it is given more than once"),
    ],
)
async def test_a_place_that_cannot_be_is_told_with_what_can(service: Service, query: str, said: str) -> None:
    heard = await heard_of(service, UNKNOWN, query)
    assert heard.order == "t"
    assert heard.last["type"] == "error"
    assert heard.last["detail"].startswith("from: ")
    assert said in heard.last["detail"]
    assert heard.last["detail"].endswith("use seconds from 0 to 86400, as 12.5")
    assert heard.code == 1000


@pytest.mark.parametrize("podcast_id", [UNKNOWN, "a%3Ab", "%20", "%2A", "x" * 129, "p%C3%A9"])
async def test_a_podcast_that_nobody_knows_is_4404(service: Service, podcast_id: str) -> None:
    heard = await heard_of(service, podcast_id)
    assert (heard.code, heard.reason, heard.order) == (4404, "there is no such podcast", "")


# While it is made --------------------------------------------------------------------------------------


async def test_two_listeners_and_a_late_one_hear_the_same(service: Service, studio: Studio) -> None:
    claim, recording = await studio.rendering(LONG[:2])
    async with listener(service, claim.podcast_id) as one, listener(service, claim.podcast_id) as two:
        first, second = await hear(one, clusters=3), await hear(two, clusters=3)
        for cluster in LONG[2:4]:
            await recording.append(cluster)
        async with (
            listener(service, claim.podcast_id) as three,
            listener(service, claim.podcast_id, "?from=4.2") as four,
        ):
            late, ahead = await hear(three, clusters=5), await hear(four, clusters=1)
            assert ahead.clusters == [init_segment()]
            await studio.finish(claim, recording, LONG[4:])
            heard = [await hear(one, first), await hear(two, second), await hear(three, late), await hear(four, ahead)]
    after = await heard_of(service, claim.podcast_id)
    for each in (*heard, after):
        whole(each, claim.podcast_id)
    assert all(each.clusters[1:] == [cluster.data for cluster in LONG] for each in (*heard[:3], after))
    assert ahead.clusters[1:] == [cluster.data for cluster in LONG[4:]]
    for each in (first, late):
        audio = decode(each.audio)
        assert audio.gaps == 0
        assert audio.seconds == pytest.approx(seconds_of(LONG), abs=0.02)


@pytest.mark.parametrize("how_far", ["queued", "script_generating", "audio_rendering"])
async def test_who_comes_before_the_first_cluster_waits_for_it(service: Service, studio: Studio, how_far: str) -> None:
    claim = await studio.claimed()
    if how_far != "queued":
        await studio.platform.tasks.advance(claim, how_far)
    async with listener(service, claim.podcast_id) as opened:
        heard = Heard()
        message = await opened.recv()
        assert isinstance(message, str)
        assert '"stream_start"' in message
        await eventually(lambda: claim.podcast_id in activity(service))
        await studio.finish(claim, await studio.attempt(claim), LONG[:2])
        await hear(opened, heard)
    assert heard.texts == [{"type": "stream_end"}]
    assert heard.clusters[1:] == [cluster.data for cluster in LONG[:2]]
    assert heard.code == 1000


async def test_the_next_attempt_continues_where_a_dead_one_stopped(service: Service, studio: Studio) -> None:
    claim, _ = await studio.rendering(LONG[:3])
    async with listener(service, claim.podcast_id) as opened:
        heard = await hear(opened, clusters=4)
        claim = await studio.another(claim)
        again = await studio.attempt(claim, LONG[:2])
        await studio.finish(claim, again, LONG[2:])
        await hear(opened, heard)
    whole(heard, claim.podcast_id)
    assert heard.clusters[1:] == [cluster.data for cluster in LONG]
    assert decode(heard.audio).gaps == 0


# What goes wrong ---------------------------------------------------------------------------------------


async def test_a_podcast_that_could_not_be_made_tells_why(service: Service, studio: Studio) -> None:
    podcast_id = await studio.failed("The topic has no snippets yet.")
    heard = await heard_of(service, podcast_id)
    failed(heard, "The topic has no snippets yet.")
    assert heard.texts[0]["type"] == "stream_start"
    assert heard.clusters == []


async def test_what_a_dead_attempt_left_of_a_failed_podcast_is_not_heard(service: Service, studio: Studio) -> None:
    claim, _ = await studio.rendering(LONG[:3])
    await studio.platform.tasks.fail(claim, "It was tried several times.")
    heard = await heard_of(service, claim.podcast_id)
    failed(heard, "It was tried several times.")
    assert heard.clusters == []


@pytest.mark.parametrize("begun", [0, 2])
async def test_a_podcast_that_fails_while_it_is_listened_to_tells_why(
    service: Service, studio: Studio, begun: int
) -> None:
    claim, _ = await studio.rendering(LONG[:begun]) if begun else (await studio.claimed(), None)
    async with listener(service, claim.podcast_id) as opened:
        heard = await hear(opened, clusters=begun + 1 if begun else 0)
        await eventually(lambda: claim.podcast_id in activity(service))
        await studio.platform.tasks.fail(claim, "The voice is hoarse.")
        await hear(opened, heard)
    failed(heard, "The voice is hoarse.")
    assert len(heard.clusters) == (begun + 1 if begun else 0)


async def test_a_recording_that_is_not_kept_any_more_is_an_error(service: Service, studio: Studio) -> None:
    podcast_id = await studio.ready(LONG[:1])
    (await studio.file(podcast_id)).unlink()
    failed(await heard_of(service, podcast_id), "This recording is not kept any more. Ask for the podcast again.")


async def test_a_recording_made_where_we_cannot_see_it_is_not_waited_for(service: Service, studio: Studio) -> None:
    """Another host without this directory makes it: nothing comes here, and the status says that it is whole."""
    claim = await studio.claimed()
    async with listener(service, claim.podcast_id) as opened:
        heard = Heard(texts=[{}])
        assert isinstance(await opened.recv(), str)
        await studio.platform.tasks.advance(claim, "ready_to_stream")
        await hear(opened, heard)
    failed(heard, "This recording is not kept any more. Ask for the podcast again.")


async def test_who_listens_hears_a_recording_to_its_end_though_it_expires(service: Service, studio: Studio) -> None:
    clusters = [heavy(number) for number in range(120)]  # more than is on its way at any time
    podcast_id = await studio.ready(clusters)
    async with listener(service, podcast_id) as opened:
        heard = await hear(opened, clusters=2)
        await studio.expire(podcast_id)
        await hear(opened, heard)
    whole(heard, podcast_id)
    assert heard.clusters[1:] == [cluster.data for cluster in clusters]
    failed(await heard_of(service, podcast_id), "This recording is not kept any more. Ask for the podcast again.")


async def test_a_recording_that_is_not_what_was_put_is_an_interruption(service: Service, studio: Studio) -> None:
    podcast_id = await studio.ready(LONG[:1])
    file = await studio.file(podcast_id)
    file.write_bytes(bytes(file.stat().st_size))
    failed(await heard_of(service, podcast_id), "The recording was interrupted. Try again in a moment.")


# Who comes and goes --------------------------------------------------------------------------------------


async def test_what_a_listener_says_is_of_no_matter(service: Service, studio: Studio) -> None:
    claim, recording = await studio.rendering(LONG[:1])
    async with listener(service, claim.podcast_id) as opened:
        heard = await hear(opened, clusters=2)
        for said in ("hello", b"\0" * 60_000, "", "x" * 60_000) * 10:
            await opened.send(said)
        await studio.finish(claim, recording, LONG[1:])
        await hear(opened, heard)
    whole(heard, claim.podcast_id)


async def test_who_says_too_much_at_once_is_cut_off_and_nobody_else(service: Service, studio: Studio) -> None:
    claim, recording = await studio.rendering(LONG[:1])
    async with listener(service, claim.podcast_id) as loud, listener(service, claim.podcast_id) as quiet:
        heard, other = await hear(loud, clusters=2), await hear(quiet, clusters=2)
        await loud.send(b"\0" * 70_000)
        await hear(loud, heard)
        assert heard.code == 1009
        await studio.finish(claim, recording, LONG[1:])
        whole(await hear(quiet, other), claim.podcast_id)
    await eventually(lambda: claim.podcast_id not in activity(service))


@pytest.mark.parametrize("how", ["closes", "is cut", "leaves at the handshake"])
async def test_who_has_gone_is_not_counted_any_more(service: Service, studio: Studio, how: str) -> None:
    claim, recording = await studio.rendering(LONG[:2])
    podcast_id = claim.podcast_id
    logged = len(service.output())
    opened = await listener(service, podcast_id)
    if how != "leaves at the handshake":
        await eventually(lambda: activity(service).get(podcast_id) == 1)
    if how == "closes":
        await opened.close()
    else:
        opened.transport.abort()
    await eventually(lambda: podcast_id not in activity(service))
    await recording.discard()
    assert "Traceback" not in service.output()[logged:]


def test_a_stream_is_no_document(service: Service) -> None:
    answer = service.client.get(f"{API}/podcasts/{UNKNOWN}/stream")
    assert answer.status_code in (404, 405, 426)
    assert answer.headers["content-type"] == "application/problem+json"
