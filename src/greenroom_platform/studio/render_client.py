"""Renders a script in a process of its own, cluster by cluster, no faster than they are taken.

The synthesizer holds the interpreter lock for tens of milliseconds at a time: in this process every other answer would
wait for it. And a voice that crashes takes its own process along, not the service.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec

from greenroom.clock import SYSTEM, Clock
from greenroom.errors import GreenroomError
from greenroom_platform.studio.render_process import LENGTH, Done, Message, RenderFailed
from greenroom_platform.studio.script import PodcastScript
from greenroom_platform.studio.voice import check_voices
from greenroom_platform.studio.webm import Cluster

log = logging.getLogger("greenroom.studio")

SILENCE = 30.0
"""Seconds without a cluster after which a renderer is taken for dead; a line takes a tenth of a second."""
_LONGEST_MESSAGE = 1 << 20
_BUFFER = 64 * 1024
"""Bytes that are read ahead of whoever takes the clusters; the pipe holds as many again."""
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class RenderingFailed(GreenroomError):
    """A script could not be rendered; the cause is in the log, and another attempt may do better."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rendering is.

    Arguments:
        fraction: of the script, by its characters.
        audio: seconds of audio so far.
        elapsed: seconds since it began.
    """

    fraction: float
    audio: float
    elapsed: float

    @property
    def remaining(self) -> float | None:
        """Seconds that the rest will take at the speed so far; None before there is any."""
        return self.elapsed * (1 - self.fraction) / self.fraction if self.fraction > 0 else None


class Rendering:
    """A rendering under way: iterate over it for its clusters, in their order, as they are made. Made by `render`.

    Raises, from the iteration:
        RenderingFailed: when the process ended before the script did, or has fallen silent.
    """

    def __init__(self, process: Process, podcast_id: str, clock: Clock, silence: float) -> None:
        self._process = process
        self._podcast_id = podcast_id
        self._clock = clock
        self._silence = silence
        self._began = clock.monotonic()
        self.progress = Progress(0.0, 0.0, 0.0)
        self.times: tuple[tuple[float, float], ...] = ()
        """Where each line begins and ends, in seconds; at the end of the iteration."""

    @property
    def pid(self) -> int:
        """The process that renders."""
        return self._process.pid

    def __aiter__(self) -> Rendering:
        return self

    async def __anext__(self) -> Cluster:
        message = await self._message()
        if isinstance(message, Done):
            self.times = message.times
            raise StopAsyncIteration
        if isinstance(message, RenderFailed):
            log.error("rendering %s failed:\n%s", self._podcast_id, message.trace.rstrip())
            raise RenderingFailed(f"the renderer failed: {message.kind}")
        elapsed = self._clock.monotonic() - self._began
        self.progress = Progress(message.fraction, message.cluster.end_ms / 1000, elapsed)
        return message.cluster

    async def _message(self) -> Message:
        pipe = self._process.stdout
        assert pipe is not None
        try:
            async with asyncio.timeout(self._silence):
                length = int.from_bytes(await pipe.readexactly(LENGTH), "big")
                if length > _LONGEST_MESSAGE:
                    raise RenderingFailed("the renderer wrote something else than clusters")
                return _decoder.decode(await pipe.readexactly(length))
        except asyncio.IncompleteReadError:
            status = await self._process.wait()
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            raise RenderingFailed(f"the renderer {how} before the script was at its end") from None
        except TimeoutError:
            raise RenderingFailed(f"the renderer has made nothing for {self._silence:.0f} s") from None
        except msgspec.DecodeError:
            raise RenderingFailed("the renderer wrote something else than clusters") from None


@asynccontextmanager
async def render(script: PodcastScript, *, clock: Clock = SYSTEM, silence: float = SILENCE) -> AsyncIterator[Rendering]:
    """Render a script; when the block is left, however it is, the process has ended.

    Arguments:
        silence: seconds without a cluster after which the process is taken for dead. The time in which the clusters are
            not taken does not count.

    Raises:
        NoVoice, MissingExtra: where no podcast can be made.
    """
    check_voices()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # else a file in the working directory could stand in for a module
        "-m",
        "greenroom_platform.studio.render_process",
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        limit=_BUFFER,
        start_new_session=True,  # a terminal's Ctrl-C is for us: we end it
    )
    feeding = asyncio.create_task(_feed(process, script), name="greenroom-script")
    try:
        yield Rendering(process, script.podcast_id, clock, silence)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        feeding.cancel()
        await asyncio.shield(asyncio.gather(feeding, process.wait(), return_exceptions=True))


async def _feed(process: Process, script: PodcastScript) -> None:
    pipe = process.stdin
    assert pipe is not None
    # One that has died does not take its script; what it sent, or did not send, tells the rest.
    with suppress(ConnectionError):
        pipe.write(msgspec.json.encode(script))
        await pipe.drain()
    pipe.close()
