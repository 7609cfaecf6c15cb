"""What is said in a recording and when: as it was rendered, kept beside the recording, and gone with it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from greenroom.testing.clock import ManualClock
from greenroom_platform.platform import Platform
from greenroom_platform.studio.recording_sweeper import LATER
from greenroom_platform.studio.render_process import Done, Made, render
from greenroom_platform.studio.script import Host, Line, PodcastScript, weave
from greenroom_platform.studio.transcript import Transcript, transcribed
from tests.integration.studio.test_worker import Open, Slowly, claimed, opened, worker_of
from tests.support.made_recordings import Site
from tests.support.recording_fixtures import STORES
from tests.support.studio_samples import a_snippet, a_topic

__all__ = ["opened"]
SAID = b'{"lines":[],"snippets":[]}'


def test_the_renderer_tells_when_each_line_is_said() -> None:
    lines = (Line(Host.LAURA, "The sea is deep.", 0.8), Line(Host.KATE, "And it is cold.", 0.25))
    script = PodcastScript(podcast_id="p", title="", lines=lines, snippets=())
    *clusters, done = render(script)
    assert isinstance(done, Done)
    (begin, end), (second, last) = done.times
    assert 0 == begin < end < second < last
    assert second - end == pytest.approx(0.8, abs=0.002), "the silence after it is not said"
    made = clusters[-1]
    assert isinstance(made, Made)
    assert made.cluster.end_ms / 1000 == pytest.approx(last + 0.25, abs=0.03), "as the recording has it"


def test_each_line_of_a_story_names_its_snippet() -> None:
    snippets = [
        a_snippet(number, f"{word} is told here.", f"The {word}!") for number, word in enumerate(("Sea", "Sky"))
    ]
    script = weave("p", a_topic(), snippets)
    told = transcribed(script, [(float(n), n + 0.5) for n in range(len(script.lines))])
    assert told is not None
    transcript = msgspec.json.decode(told, type=Transcript)
    assert [(one.speaker, one.text) for one in transcript.lines] == [
        (one.speaker.value, one.text) for one in script.lines
    ]
    assert transcript.lines[3].start_seconds == 3.0
    assert {one.snippet_id: one.title for one in transcript.snippets} == {one.snippet_id: one.title for one in snippets}
    for one in snippets:
        mine = [line.text for line in transcript.lines if line.snippet_id == one.snippet_id]
        assert any(one.text_content == text for text in mine)
        assert not any(other.text_content in mine for other in snippets if other is not one)
    assert transcript.lines[0].snippet_id is msgspec.UNSET
    assert transcript.lines[-1].snippet_id is msgspec.UNSET
    assert transcribed(script, []) is None


@pytest.mark.parametrize("site", STORES, indirect=True)
async def test_it_is_kept_with_the_recording_and_goes_with_it(site: Site) -> None:
    site.clock = ManualClock()
    recordings = site.open(max_age=timedelta(days=1))
    first = await (await site.begin(recordings)).write(0, 1)
    size = await first.recording.finish(SAID)
    await first.lapse()
    # Its worker was killed before the last word: the next claim takes both over.
    second = await site.claimed()
    assert await recordings.take_over("p", second.number) == size
    assert await recordings.duration("p", second.number) == first.recording.duration > 0
    await site.tasks.advance(second, "ready_to_stream", site.now(), size=size)
    whole = await recordings.whole("p")
    assert whole is not None
    assert await whole.transcript() == SAID
    await site.make(recordings, "q")
    without = await recordings.whole("q")
    assert without is not None
    assert await without.transcript() is None
    discarded = await (await site.begin(recordings, "r")).write(0)
    await discarded.recording.finish(SAID)
    await discarded.discard()
    site.clock.advance(LATER * 2)
    await recordings.sweep()
    assert [name for name in await site.objects() if name.endswith(".json")] == ["p.2.json"]
    for _ in range(2):
        site.clock.advance(timedelta(days=2))
        await recordings.sweep()
    assert await site.objects() == []


async def test_a_worker_keeps_what_it_has_rendered_with_its_times(opened: Open) -> None:
    clock = ManualClock()
    platform: Platform = await opened(clock=clock)
    slow = Slowly(clock, clusters=3)
    claim = await claimed(platform)
    await worker_of(platform, slow).work(claim)
    whole = await platform.recordings.whole(claim.podcast_id)
    assert whole is not None
    said = await whole.transcript()
    assert said is not None
    transcript = msgspec.json.decode(said, type=Transcript)
    assert [(one.snippet_id, one.title) for one in transcript.snippets] == [("s", "How deep it is")]
    assert [(one.start_seconds, one.end_seconds) for one in transcript.lines] == list(slow.times)
    (listed,) = await platform.listings.of_topic("short", 1)
    assert listed.duration == await whole.duration()
