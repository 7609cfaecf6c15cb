"""The renderer: speech in a process of its own, taken as fast as it is wanted, and gone when nobody wants it."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from array import array
from pathlib import Path

import msgspec
import pytest

from greenroom.errors import MissingExtra
from greenroom.testing.clock import ManualClock
from greenroom_platform.studio import webm
from greenroom_platform.studio.render_client import Progress, RenderingFailed, render
from greenroom_platform.studio.script import Host, Line, PodcastScript, weave
from greenroom_platform.studio.voice import RATE, NoVoice, Voices
from greenroom_platform.studio.webm import CLUSTER_MS, Cluster
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, below, process
from tests.support.studio_samples import a_script, sample

SENTENCE = "The weather is good today, and people are going to the river with their children."
LONG = a_script(*[SENTENCE] * 24)
"""Nearly two minutes: far more than a pipe holds."""


async def taken(script: PodcastScript) -> list[Cluster]:
    async with render(script) as rendering:
        return [cluster async for cluster in rendering]


@ON_LINUX
async def test_it_runs_at_a_lower_priority_than_the_service() -> None:
    async with render(LONG) as rendering:
        await anext(rendering)
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, rendering.pid) == min(19, own + 10)


# What is heard ---------------------------------------------------------------------------------------


async def test_a_sample_topic_s_podcast_is_whole_and_without_a_gap() -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed; make test installs it")
    script = weave("p1", *sample("ocean_science"))
    # A part of it says how fast they speak.
    part = script.lines[::6]
    clusters = await taken(msgspec.structs.replace(script, lines=part))
    assert [cluster.start_ms for cluster in clusters] == [CLUSTER_MS * number for number in range(len(clusters))]
    of_all = sum(len(line.text) for line in script.lines) / sum(len(line.text) for line in part)
    assert 240 < clusters[-1].end_ms / 1000 * of_all < 420, "about five to six minutes"
    data = webm.init_segment() + b"".join(cluster.data for cluster in clusters)
    samples, expected = 0, 0.0
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(audio=0):
            at = float(frame.pts * frame.time_base)
            assert samples == 0 or abs(at - expected) < 0.0011
            expected = at + frame.samples / frame.sample_rate
            samples += frame.samples
    assert samples / 48 == pytest.approx(clusters[-1].end_ms, abs=0.001)


async def test_a_recognizer_finds_the_words_of_both_hosts() -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed; make test installs it")
    sphinx = pytest.importorskip("pocketsphinx", reason="pocketsphinx has wheels for Python 3.11 and 3.13 only")
    said = [
        "Good morning and welcome to the show.",
        "Thank you. Today we are talking about the history of the river and the city.",
        "The people of the city were very happy when the water came back.",
        "That is a good story, and I would like to hear more about it.",
    ]
    clusters = await taken(a_script(*said))
    data = webm.init_segment() + b"".join(cluster.data for cluster in clusters)
    pcm = b""
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                pcm += bytes(part.planes[0])[: 2 * part.samples]
    # Quick rather than exact: it still gets most of the words.
    quick = {"fwdflat": False, "bestpath": False, "maxhmmpf": 2000, "maxwpf": 5, "ds": 2, "topn": 2}
    decoder = sphinx.Decoder(samprate=RATE, loglevel="FATAL", **quick)
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    heard = set(decoder.hyp().hypstr.split())
    for speaker in (0, 1):
        words = {word for text in said[speaker::2] for word in re.findall("[a-z]+", text.lower()) if len(word) > 3}
        assert len(words & heard) >= 0.5 * len(words), (words, heard)
    others = {"seven", "bridge", "computer", "mountain", "library", "doctor", "winter", "science", "animal", "green"}
    assert len(others & heard) <= 1


def loudness(pcm: bytes) -> int:
    return max(map(abs, array("h", pcm)), default=0)


def test_each_host_speaks_without_clipping_and_then_pauses() -> None:
    voices = Voices()
    said = {host: voices.say(Line(host, SENTENCE, 0.5)) for host in Host}
    for pcm in said.values():
        assert 3 * RATE < len(pcm) // 2 < 9 * RATE
        assert 8_000 < loudness(pcm) < 32_767
        assert loudness(pcm[-RATE:]) == 0, "half a second"
    assert said[Host.LAURA] != said[Host.KATE]


@pytest.mark.parametrize(
    "text", ["", " ", ".", "...", "\0hello", "中文", "🎉", "<", "<speed level='500'>", "a" * 500, "\ud800", "x\ny"]
)
def test_odd_text_is_said_as_far_as_it_can_be(text: str) -> None:
    pcm = Voices().say(Line(Host.KATE, text, 0.25))
    assert len(pcm) % 2 == 0
    assert len(pcm) >= 2 * 0.25 * RATE


def test_a_word_without_an_end_is_cut() -> None:
    # Whole, it could keep the synthesizer busy for ever.
    whole, cut = (Voices().say(Line(Host.LAURA, text)) for text in ("b" * 95, " ".join(["b" * 30] * 3 + ["b" * 5])))
    assert len(whole) == pytest.approx(len(cut), rel=0.1)


async def test_a_script_that_cannot_be_said_is_silence_not_an_error() -> None:
    (cluster,) = await taken(a_script("🎉", ""))
    assert cluster.end_ms == pytest.approx(500, abs=0.001)


async def test_a_script_sounds_the_same_whatever_its_memory_held(monkeypatch: pytest.MonkeyPatch) -> None:
    script = a_script(
        "Hello, and welcome to the Green Room. I'm Kate.", "And I'm Laura. Today it is all about the sea."
    )
    once = await taken(script)
    monkeypatch.setenv("MALLOC_PERTURB_", "85")  # glibc then fills new memory with another byte
    assert await taken(script) == once


# As it is made ---------------------------------------------------------------------------------------


@ON_LINUX
async def test_the_first_cluster_comes_while_rendering_goes_on_with_progress() -> None:
    clock = ManualClock()
    clusters, fractions = [], []
    async with render(LONG, clock=clock) as rendering:
        assert rendering.progress == Progress(0.0, 0.0, 0.0)
        assert rendering.progress.remaining is None
        async for cluster in rendering:
            clusters.append(cluster)
            clock.advance(0.5)
            fractions.append(rendering.progress.fraction)
            assert rendering.progress.audio == cluster.end_ms / 1000
            if cluster.start_ms == 0:
                assert rendering.progress.fraction < 0.05
                # Nobody takes from it. It sleeps in a write: the pipe and the buffer are full, and it holds no more
                # than a line of the rest.
                await asyncio.to_thread(_until_it_rests, rendering.pid)
                assert process(rendering.pid).lives
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert Progress(0.25, 10.0, 2.0).remaining == 6.0
    assert sum(1 for cluster in clusters if cluster.start_ms < 60_000) == 60
    assert sum(len(cluster.data) for cluster in clusters) > 350_000, "far more than pipe and buffer hold"


def _until_it_rests(pid: int) -> None:
    """Until a process has used no time for 20 looks in a row."""
    looks: list[tuple[str, str, str]] = []

    def rests() -> bool:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        looks.append((fields[0], fields[11], fields[12]))
        return looks[-1][0] == "S" and len(looks) > 20 and len(set(looks[-20:])) == 1

    wait_for(rests, 60)


# How it ends -----------------------------------------------------------------------------------------


@ON_LINUX
async def test_a_cancelled_rendering_leaves_no_process() -> None:
    begun = asyncio.Event()
    pids = []

    async def listen() -> None:
        async with render(LONG) as rendering:
            pids.append(process(rendering.pid))
            async for _ in rendering:
                begun.set()

    task = asyncio.create_task(listen())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not pids[0].lives


@ON_LINUX
async def test_a_rendering_left_early_leaves_no_process() -> None:
    async with render(LONG) as rendering:
        await anext(rendering)
        child = process(rendering.pid)
        assert child.lives
    assert not child.lives
    async with render(LONG) as rendering:
        child = process(rendering.pid)
    assert not child.lives


async def test_a_killed_renderer_is_a_clear_error() -> None:
    async with render(LONG) as rendering:
        await anext(rendering)
        os.kill(rendering.pid, signal.SIGKILL)
        with pytest.raises(RenderingFailed, match="ended by signal 9 before the script was at its end"):
            async for _ in rendering:
                pass


async def test_a_renderer_killed_before_it_has_its_script_is_the_same_error() -> None:
    async with render(LONG) as rendering:
        os.kill(rendering.pid, signal.SIGKILL)
        with pytest.raises(RenderingFailed, match="signal 9"):
            await anext(rendering)


async def test_a_renderer_that_falls_silent_is_given_up() -> None:
    async with render(LONG, silence=0.5) as rendering:
        # It may have made some before: they are taken, and then there are no more.
        os.kill(rendering.pid, signal.SIGSTOP)
        with pytest.raises(RenderingFailed, match="has made nothing for"):
            async for _ in rendering:
                pass


async def test_what_failed_in_the_renderer_is_logged_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    broken = PodcastScript(podcast_id="p7", title="", lines=(Line("Nobody", "Hello."),), snippets=())  # type: ignore[arg-type]
    async with render(broken) as rendering:
        with pytest.raises(RenderingFailed, match="ValidationError"):
            await anext(rendering)
    assert "p7" in caplog.text
    assert "Traceback" in caplog.text


ALONE = """
import asyncio, sys
from greenroom_platform.studio.render_client import render
from tests.integration.studio.test_render_client import LONG

async def main():
    async with render(LONG) as rendering:
        await anext(rendering)
        print(rendering.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@ON_LINUX
def test_a_killed_parent_leaves_no_renderer() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ALONE], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = process(int(parent.stdout.readline()))
        assert child.lives
        assert child in below(parent.pid)
    finally:
        parent.kill()
        parent.communicate()
    wait_for(lambda: not child.lives, 30)


# Where it cannot be ----------------------------------------------------------------------------------


async def test_where_there_is_no_voice_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(NoVoice, match=r"no voice for macOS: run Greenroom on Linux") as raised:
        async with render(LONG):
            pass
    assert isinstance(raised.value, MissingExtra)
    assert raised.value.extra == "studio"


@pytest.mark.parametrize("missing", ["py_nanotts", "opuslib_next"])
async def test_where_a_package_is_missing_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=r"pip install 'greenroom\[studio\]'"):
        async with render(LONG):
            pass
