"""What the tests of the studio share: the sample as objects, made-up clusters, and a reader of EBML of its own."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from greenroom_platform.models import Snippet, Topic
from greenroom_platform.studio.script import Host, Line, PodcastScript
from greenroom_platform.studio.webm import CLUSTER_MS, Cluster, cluster

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def sample(name: str) -> tuple[Topic, list[Snippet]]:
    """A topic of the packaged sample with its snippets."""
    first, *rest = files("greenroom_platform.storage").joinpath("sample", f"{name}.ndjson").read_bytes().splitlines()
    return msgspec.json.decode(first, type=Topic), [msgspec.json.decode(line, type=Snippet) for line in rest]


def every_sample() -> list[str]:
    """The names of the packaged sample's topics."""
    folder = files("greenroom_platform.storage").joinpath("sample")
    return sorted(file.name.removesuffix(".ndjson") for file in folder.iterdir())


def a_topic(name: str = "Ocean Science", description: str = "", keywords: tuple[str, ...] = ()) -> Topic:
    return Topic(
        topic_id="a",
        display_name=name,
        description=description,
        keywords=keywords,
        created_at=NOON,
        updated_at=NOON,
    )


def a_snippet(number: int, text: str, title: str = "Title") -> Snippet:
    """The higher its number, the newer it is."""
    return Snippet(
        snippet_id=f"s{number}",
        topic_id="a",
        title=title,
        text_content=text,
        generation_timestamp=NOON + timedelta(minutes=number),
    )


def a_script(*texts: str) -> PodcastScript:
    """Lines said in turn."""
    hosts = list(Host)
    lines = tuple(Line(hosts[number % 2], text) for number, text in enumerate(texts))
    return PodcastScript(podcast_id="p", title="Title", lines=lines, snippets=())


def a_cluster(number: int, mark: bytes = b"", size: int = 80) -> Cluster:
    """The cluster of a second: what its packets hold is no audio, and begins with a mark."""
    start = number * CLUSTER_MS
    packets = [mark.ljust(size, b".") for _ in range(50)]
    return Cluster(start, start + CLUSTER_MS, cluster(start, packets))


# EBML ------------------------------------------------------------------------------------------------

# Of RFC 9559 and RFC 8794, not of the code under test: the ids, and how a body is read.
_MASTERS = {
    0x1A45DFA3: "EBML", 0x18538067: "Segment", 0x1549A966: "Info", 0x1654AE6B: "Tracks", 0xAE: "TrackEntry",
    0xE1: "Audio", 0x1F43B675: "Cluster", 0xA0: "BlockGroup", 0x114D9B74: "SeekHead", 0x4DBB: "Seek",
    0x1C53BB6B: "Cues", 0xBB: "CuePoint", 0xB7: "CueTrackPositions",
}  # fmt: skip
_NUMBERS = {
    0x4286: "EBMLVersion", 0x42F7: "EBMLReadVersion", 0x42F2: "EBMLMaxIDLength", 0x42F3: "EBMLMaxSizeLength",
    0x4287: "DocTypeVersion", 0x4285: "DocTypeReadVersion", 0x2AD7B1: "TimestampScale", 0xD7: "TrackNumber",
    0x73C5: "TrackUID", 0x83: "TrackType", 0x9C: "FlagLacing", 0x56AA: "CodecDelay", 0x56BB: "SeekPreRoll",
    0x9F: "Channels", 0xE7: "Timestamp", 0xB3: "CueTime", 0xF7: "CueTrack", 0xF1: "CueClusterPosition",
    0x53AC: "SeekPosition",
}  # fmt: skip
_FLOATS = {0x4489: "Duration", 0xB5: "SamplingFrequency"}
_TEXTS = {0x4282: "DocType", 0x4D80: "MuxingApp", 0x5741: "WritingApp", 0x86: "CodecID", 0x22B59C: "Language"}
_BYTES = {0x63A2: "CodecPrivate", 0xA3: "SimpleBlock", 0xA1: "Block", 0xEC: "Void", 0x53AB: "SeekID"}
_SIGNED = {0x75A2: "DiscardPadding"}


class Element(NamedTuple):
    """An element: a master's value is the list of those in it."""

    name: str
    value: Any
    at: int

    def all(self, name: str) -> list[Element]:
        """Its children of a name."""
        return [child for child in self.value if child.name == name]

    def one(self, name: str) -> Any:
        """Its only child of a name: the value, or the element if that has children."""
        (child,) = self.all(name)
        return child if isinstance(child.value, list) else child.value


def parse(data: bytes, at: int = 0, end: int | None = None) -> list[Element]:
    """Every element; an id that is not known, or an end inside an element, fails."""
    end = len(data) if end is None else end
    found = []
    while at < end:
        begin = at
        width = 9 - data[at].bit_length()
        assert 1 <= width <= 4, f"no id at {at}"
        id_ = int.from_bytes(data[at : at + width], "big")
        at += width
        width = 9 - data[at].bit_length()
        assert 1 <= width <= 8, f"no size at {at}"
        size = int.from_bytes(data[at : at + width], "big") - (1 << 7 * width)
        at += width
        if size == (1 << 7 * width) - 1:
            assert id_ == 0x18538067, "only the segment may be of unknown size"
            size = end - at
        assert at + size <= end, f"the element at {begin} goes beyond what it is in"
        found.append(Element(*_value(id_, data, at, size), begin))
        at += size
    return found


def _value(id_: int, data: bytes, at: int, size: int) -> tuple[str, Any]:
    body = data[at : at + size]
    if id_ in _MASTERS:
        return _MASTERS[id_], parse(data, at, at + size)
    if id_ in _NUMBERS:
        return _NUMBERS[id_], int.from_bytes(body, "big")
    if id_ in _SIGNED:
        return _SIGNED[id_], int.from_bytes(body, "big", signed=True)
    if id_ in _FLOATS:
        return _FLOATS[id_], struct.unpack(">d", body)[0]
    if id_ in _TEXTS:
        return _TEXTS[id_], body.decode("ascii")
    return _BYTES[id_], body
