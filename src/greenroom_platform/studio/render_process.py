"""The process that renders one script: clusters to standard output, as fast as they are taken.

It is started as `python -m greenroom_platform.studio.render_process`. It yields to the service: it computes for
seconds on end, and whoever waits for an answer must not wait for it on a machine with few cores. It ends when its
reader does: a write into a pipe that nobody reads any more fails, and nobody else holds the other end.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import msgspec

from greenroom_platform.studio.opus import OpusEncoder
from greenroom_platform.studio.script import PodcastScript
from greenroom_platform.studio.voice import RATE, Voices, zero_new_memory
from greenroom_platform.studio.webm import Cluster, Muxer

NICENESS = 10
"""How much lower its priority is than that of the process that started it."""
LENGTH = 4
"""Bytes before each message that tell its length, big-endian."""


class Made(msgspec.Struct, frozen=True, tag=True):
    """A cluster, and the share of the script's characters that has been said with it."""

    cluster: Cluster
    fraction: float


class Done(msgspec.Struct, frozen=True, tag=True):
    """The script has been rendered to its end: without it a recording is not whole.

    Arguments:
        times: of each line, where it begins and where its last word ends, in seconds.
    """

    times: tuple[tuple[float, float], ...] = ()


class RenderFailed(msgspec.Struct, frozen=True, tag=True):
    """Rendering failed; `trace` is for the log."""

    kind: str
    trace: str


Message = Made | Done | RenderFailed


def render(script: PodcastScript) -> Iterator[Made | Done]:
    """The clusters of a script, one after another, and the end."""
    voices, encoder, muxer = Voices(), OpusEncoder(), Muxer()
    total = sum(len(line.text) for line in script.lines) or 1
    said = 0
    times = list[tuple[float, float]]()
    for line in script.lines:
        said += len(line.text)
        samples = voices.say(line)
        begin = encoder.samples / RATE
        # As the silence is added to it.
        times.append((round(begin, 3), round(begin + len(samples) / (2 * RATE) - round(line.pause * RATE) / RATE, 3)))
        for cluster in muxer.add(encoder.feed(samples)):
            yield Made(cluster, min(said / total, 0.999))
    for cluster in muxer.finish(*encoder.finish()):
        yield Made(cluster, 1.0)
    yield Done(tuple(times))


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Render the script that `source` holds as JSON into `sink`."""

    def send(message: Message) -> None:
        body = msgspec.msgpack.encode(message)
        sink.write(len(body).to_bytes(LENGTH, "big") + body)
        sink.flush()

    try:
        for made in render(msgspec.json.decode(source.read(), type=PodcastScript)):
            send(made)
    except BrokenPipeError:
        # Whoever wanted it is gone. Python would flush once more at the end, and complain.
        os._exit(0)
    except Exception as error:
        with suppress(BrokenPipeError):
            send(RenderFailed(type(error).__name__, traceback.format_exc()))
        os._exit(1)


if __name__ == "__main__":
    os.nice(NICENESS)
    zero_new_memory()
    main(sys.stdin.buffer, sys.stdout.buffer)
