"""WebM, as much of it as a podcast needs: one Opus track, written cluster by cluster.

Element ids and sizes are those of EBML (RFC 8794) and Matroska (RFC 9559). A stream is an initial segment and then
clusters of known size, each of which a player can begin with. A file has the same clusters after a header of fixed
length, so that its length and the place of its cues can be filled in when it is whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from greenroom_platform.studio.opus import PACKET_MS, PRE_SKIP

MIME = 'audio/webm; codecs="opus"'
CLUSTER_MS = 1000
"""How much audio a cluster holds; only the last holds less."""
_PACKETS = CLUSTER_MS // PACKET_MS
_SEEK_PRE_ROLL = 80_000_000
"""Nanoseconds that a decoder needs before what it plays is right (RFC 7845, section 4.6)."""

_EBML, _SEGMENT, _INFO, _TRACKS = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b"
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = b"\x11\x4d\x9b\x74", b"\x4d\xbb", b"\x53\xab", b"\x53\xac"
_CUES, _CUE_POINT, _CUE_TIME, _CUE_POSITIONS = b"\x1c\x53\xbb\x6b", b"\xbb", b"\xb3", b"\xb7"
_CLUSTER, _TIMESTAMP, _SIMPLE_BLOCK = b"\x1f\x43\xb6\x75", b"\xe7", b"\xa3"
_BLOCK_GROUP, _BLOCK, _DISCARD_PADDING, _VOID, _DURATION = b"\xa0", b"\xa1", b"\x75\xa2", b"\xec", b"\x44\x89"
_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
_TRACK, _KEYFRAME = b"\x81", b"\x80"
CLUSTER_HEAD = 14
"""Bytes of a cluster that tell its length and its time: id, size in four bytes, timestamp in four."""


class Cluster(msgspec.Struct, frozen=True):
    """A piece of a recording that a player can begin with.

    Arguments:
        start_ms: where it begins.
        end_ms: where the next begins; of the last cluster exactly where the audio ends.
        data: its bytes.
    """

    start_ms: int
    end_ms: float
    data: bytes


# Writing ---------------------------------------------------------------------------------------------


def init_segment(duration_ms: float | None = None) -> bytes:
    """What a player needs before the clusters of a stream; the duration where the recording is whole."""
    duration = b"" if duration_ms is None else _element(_DURATION, struct.pack(">d", duration_ms))
    return _EBML_HEADER + _SEGMENT + _UNKNOWN_SIZE + _info(duration) + _TRACK_ENTRY


def file_header(*, duration_ms: float | None = None, cues_at: int = 0, size: int = 0) -> bytes:
    """The beginning of a file, of the same length whatever is known.

    Arguments:
        duration_ms: of the whole audio; None, as long as it grows.
        cues_at: where in the file the cues begin.
        size: bytes of the whole file.
    """
    if duration_ms is None:
        return _header(_UNKNOWN_SIZE, _void(_SEEK_LENGTH), _void(_DURATION_LENGTH))
    duration = _element(_DURATION, struct.pack(">d", duration_ms))
    return _header(_size(size - _BODY_AT, 8), _seek_head(cues_at - _BODY_AT), duration)


def cluster(start_ms: int, packets: Sequence[bytes], *, padding: int = 0) -> bytes:
    """A cluster of packets of 20 ms.

    Arguments:
        padding: samples at 48 kHz at the end of the last packet that are not part of the audio.
    """
    body = [_element(_TIMESTAMP, struct.pack(">I", start_ms))]
    for number, packet in enumerate(packets):
        # A block's time counts from its cluster's.
        block = _TRACK + struct.pack(">h", number * PACKET_MS)
        if padding and number == len(packets) - 1:
            discard = _element(_DISCARD_PADDING, struct.pack(">q", padding * 1_000_000_000 // 48_000))
            body.append(_element(_BLOCK_GROUP, _element(_BLOCK, block + b"\0" + packet) + discard))
        else:
            body.append(_element(_SIMPLE_BLOCK, block + _KEYFRAME + packet))
    joined = b"".join(body)
    return _CLUSTER + _size(len(joined), 4) + joined


def cues(clusters: Iterable[tuple[int, int]]) -> bytes:
    """Where each cluster is, from its start in ms and its place in the file: what makes a file seekable."""
    points = (
        _element(
            _CUE_POINT,
            _element(_CUE_TIME, _number(start_ms))
            + _element(_CUE_POSITIONS, b"\xf7\x81\x01" + _element(b"\xf1", _number(at - _BODY_AT))),
        )
        for start_ms, at in clusters
    )
    return _element(_CUES, b"".join(points))


def whole_file(clusters: Sequence[bytes], duration_ms: float) -> bytes:
    """A whole file, with its duration and its cues."""
    places, at = [], HEADER_SIZE
    for number, data in enumerate(clusters):
        places.append((number * CLUSTER_MS, at))
        at += len(data)
    index = cues(places)
    return b"".join([file_header(duration_ms=duration_ms, cues_at=at, size=at + len(index)), *clusters, index])


class Muxer:
    """Gathers packets into clusters."""

    def __init__(self) -> None:
        self._packets: list[bytes] = []
        self._start_ms = 0

    def add(self, packets: Iterable[bytes]) -> Iterator[Cluster]:
        """The clusters that are whole with these packets."""
        for packet in packets:
            self._packets.append(packet)
            if len(self._packets) == _PACKETS:
                yield self._cluster(self._start_ms + CLUSTER_MS)

    def finish(self, packets: Sequence[bytes], padding: int) -> Iterator[Cluster]:
        """The last clusters, from the last packets, of which there is at least one; see `OpusEncoder.finish`."""
        yield from self.add(packets[:-1])
        self._packets.append(packets[-1])
        # A block's time is that before the pre-skip is dropped.
        end = self._start_ms + len(self._packets) * PACKET_MS - (PRE_SKIP + padding) / 48
        yield self._cluster(end, padding)

    def _cluster(self, end_ms: float, padding: int = 0) -> Cluster:
        made = Cluster(self._start_ms, end_ms, cluster(self._start_ms, self._packets, padding=padding))
        self._packets, self._start_ms = [], self._start_ms + CLUSTER_MS
        return made


# Reading ---------------------------------------------------------------------------------------------


def read_cluster_head(head: bytes) -> tuple[int, int] | None:
    """A cluster's length in bytes and its start in ms, from its first bytes; None where no cluster begins."""
    if len(head) < CLUSTER_HEAD or head[:4] != _CLUSTER:
        return None
    size = int.from_bytes(head[4:8], "big") & 0x0FFF_FFFF
    return 8 + size, int.from_bytes(head[10:14], "big")


def read_duration(header: bytes) -> float | None:
    """The duration in ms that a file's header tells; None while it grows."""
    at = header.find(_DURATION + b"\x88")
    return None if at < 0 else float(struct.unpack(">d", header[at + 3 : at + 11])[0])


def read_cues_place(header: bytes) -> int | None:
    """Where in the file its cues begin, as its header tells; None while it grows."""
    at = header.find(_SEEK_POSITION + b"\x88")
    return None if at < 0 else int.from_bytes(header[at + 3 : at + 11], "big") + _BODY_AT


def read_cues(data: bytes) -> list[int]:
    """The places of the clusters in the file, from its cues as we write them.

    Raises:
        ValueError: for anything else.
    """
    places, at = list[int](), _body_of(data, 0, _CUES)[0]
    while at < len(data):
        point, end = _body_of(data, at, _CUE_POINT)
        _, after = _body_of(data, point, _CUE_TIME)
        positions, _ = _body_of(data, after, _CUE_POSITIONS)
        place, stop = _body_of(data, _body_of(data, positions, b"\xf7")[1], b"\xf1")
        places.append(int.from_bytes(data[place:stop], "big") + _BODY_AT)
        at = end
    return places


def _body_of(data: bytes, at: int, id_: bytes) -> tuple[int, int]:
    """Where an element's body begins and ends."""
    size_at = at + len(id_)
    if data[at:size_at] != id_ or size_at >= len(data) or not data[size_at]:
        raise ValueError("these are not the cues of a recording")
    width = 9 - data[size_at].bit_length()
    begin = size_at + width
    end = begin + (int.from_bytes(data[size_at:begin], "big") & ((1 << 7 * width) - 1))
    if end > len(data):
        raise ValueError("these cues are cut off")
    return begin, end


# Elements --------------------------------------------------------------------------------------------


def _size(length: int, width: int) -> bytes:
    return (length | 1 << (7 * width)).to_bytes(width, "big")


def _element(id_: bytes, body: bytes) -> bytes:
    width = next(width for width in range(1, 9) if len(body) < (1 << (7 * width)) - 1)
    return id_ + _size(len(body), width) + body


def _number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def _void(length: int) -> bytes:
    """An element that says nothing and takes so many bytes."""
    return _VOID + _size(length - 2, 1) + bytes(length - 2)


def _seek_head(cues_at: int) -> bytes:
    position = _element(_SEEK_POSITION, struct.pack(">Q", cues_at))
    return _element(_SEEK_HEAD, _element(_SEEK, _element(_SEEK_ID, _CUES) + position))


def _info(duration: bytes) -> bytes:
    scale = _element(b"\x2a\xd7\xb1", _number(1_000_000))  # nanoseconds of a tick: times are in ms
    names = _element(b"\x4d\x80", b"greenroom") + _element(b"\x57\x41", b"greenroom")
    return _element(_INFO, scale + duration + names)


def _header(size: bytes, seek_head: bytes, duration: bytes) -> bytes:
    return _EBML_HEADER + _SEGMENT + size + seek_head + _info(duration) + _TRACK_ENTRY


def _track_entry() -> bytes:
    # RFC 7845, section 5.1: version, channels, pre-skip, the rate before encoding, gain, mapping.
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, PRE_SKIP, 16_000, 0, 0)
    audio = _element(b"\xe1", _element(b"\xb5", struct.pack(">d", 48_000.0)) + _element(b"\x9f", b"\x01"))
    entry = (
        _element(b"\xd7", b"\x01")
        + _element(b"\x73\xc5", b"\x01")
        + _element(b"\x83", b"\x02")  # audio
        + _element(b"\x9c", b"\0")  # no lacing
        + _element(b"\x22\xb5\x9c", b"eng")
        + _element(b"\x86", b"A_OPUS")
        + _element(b"\x56\xaa", _number(PRE_SKIP * 1_000_000_000 // 48_000))
        + _element(b"\x56\xbb", _number(_SEEK_PRE_ROLL))
        + audio
        + _element(b"\x63\xa2", head)
    )
    return _element(_TRACKS, _element(b"\xae", entry))


def _ebml_header() -> bytes:
    fields = ((b"\x42\x86", b"\x01"), (b"\x42\xf7", b"\x01"), (b"\x42\xf2", b"\x04"), (b"\x42\xf3", b"\x08"))
    kind = ((b"\x42\x82", b"webm"), (b"\x42\x87", b"\x04"), (b"\x42\x85", b"\x02"))
    return _element(_EBML, b"".join(_element(id_, body) for id_, body in (*fields, *kind)))


_EBML_HEADER = _ebml_header()
_BODY_AT = len(_EBML_HEADER) + 12
"""Where the body of a file's segment begins: places within a file count from there."""
_TRACK_ENTRY = _track_entry()
_SEEK_LENGTH = len(_seek_head(0))
_DURATION_LENGTH = len(_element(_DURATION, bytes(8)))
HEADER_SIZE = len(file_header())
