"""What is said in a recording, and when: kept beside it, under its claim, and never changed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from greenroom_platform.studio.script import PodcastScript


class TranscriptLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says without a break, as it was spoken; `snippet_id` where it is of a story."""

    speaker: str
    text: str
    start_seconds: float
    end_seconds: float
    snippet_id: str | msgspec.UnsetType = msgspec.UNSET


class TranscriptSnippet(msgspec.Struct, frozen=True, kw_only=True):
    """A snippet that is told, with its title as it was then."""

    snippet_id: str
    title: str


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a recording in their order, and the snippets that it is made of."""

    lines: tuple[TranscriptLine, ...]
    snippets: tuple[TranscriptSnippet, ...]


def transcribed(script: PodcastScript, times: Sequence[tuple[float, float]]) -> bytes | None:
    """The JSON of a script as it was rendered; None where the renderer has not told the times of its lines."""
    if len(times) != len(script.lines):
        return None
    lines = tuple(
        TranscriptLine(
            speaker=line.speaker.value,
            text=line.text,
            start_seconds=start,
            end_seconds=end,
            snippet_id=line.snippet_id or msgspec.UNSET,
        )
        for line, (start, end) in zip(script.lines, times, strict=True)
    )
    snippets = zip(script.snippets, script.titles, strict=True)
    told = tuple(TranscriptSnippet(snippet_id=one, title=title) for one, title in snippets)
    return msgspec.json.encode(Transcript(lines=lines, snippets=told))
