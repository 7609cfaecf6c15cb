"""Opus in WebM: every element as its standard says, and the audio that another program decodes has the right length."""

from __future__ import annotations

import array
import io
import math
import struct
from collections.abc import Sequence

import pytest

from greenroom_platform.studio import webm
from greenroom_platform.studio.opus import PRE_SKIP, RATE, OpusEncoder
from greenroom_platform.studio.webm import Cluster, Muxer
from tests.support.studio_samples import Element, a_cluster, parse

av = pytest.importorskip("av", reason="PyAV is not installed; make test installs it")


def tone(seconds: float) -> bytes:
    """A hum, as loud as speech."""
    samples = round(seconds * RATE)
    return array.array("h", (round(9000 * math.sin(at / 7)) for at in range(samples))).tobytes()


def encoded(*pcm: bytes) -> list[Cluster]:
    encoder, muxer = OpusEncoder(), Muxer()
    clusters = [cluster for piece in pcm for cluster in muxer.add(encoder.feed(piece))]
    return [*clusters, *muxer.finish(*encoder.finish())]


def stream(clusters: Sequence[Cluster]) -> bytes:
    return webm.init_segment() + b"".join(cluster.data for cluster in clusters)


def file(clusters: Sequence[Cluster]) -> bytes:
    """A whole file, as a recording is."""
    body, places = b"", []
    for cluster in clusters:
        places.append((cluster.start_ms, webm.HEADER_SIZE + len(body)))
        body += cluster.data
    cues_at = webm.HEADER_SIZE + len(body)
    body += webm.cues(places)
    size = webm.HEADER_SIZE + len(body)
    return webm.file_header(duration_ms=clusters[-1].end_ms, cues_at=cues_at, size=size) + body


def decoded(data: bytes) -> array.array[float]:
    """Its samples at 48 kHz; a gap or an overlap between two frames fails."""
    samples = array.array("f")
    with av.open(io.BytesIO(data)) as container:
        (audio,) = container.streams
        assert audio.codec_context.name == "opus"
        expected = None
        for frame in container.decode(audio):
            assert frame.sample_rate == 48_000
            at = float(frame.pts * frame.time_base)
            assert expected is None or abs(at - expected) < 0.0011, "time is told in ms"
            expected = at + frame.samples / frame.sample_rate
            samples.frombytes(bytes(frame.planes[0])[: 4 * frame.samples])
    return samples


# Elements --------------------------------------------------------------------------------------------


def check_track(segment: Element) -> None:
    (entry,) = segment.one("Tracks").value
    assert (entry.one("TrackNumber"), entry.one("TrackType"), entry.one("CodecID")) == (1, 2, "A_OPUS")
    assert entry.one("FlagLacing") == 0
    assert entry.one("CodecDelay") == PRE_SKIP * 1_000_000_000 // 48_000 == 6_500_000
    assert entry.one("SeekPreRoll") == 80_000_000
    audio = entry.one("Audio")
    assert (audio.one("SamplingFrequency"), audio.one("Channels")) == (48_000.0, 1)
    head = struct.unpack("<8sBBHIhB", entry.one("CodecPrivate"))
    assert head == (b"OpusHead", 1, 1, PRE_SKIP, 16_000, 0, 0)


def test_a_stream_is_an_initial_segment_and_clusters_of_known_size() -> None:
    clusters = encoded(tone(2.5))
    head, segment = parse(stream(clusters))
    assert head.name == "EBML"
    assert (head.one("DocType"), head.one("DocTypeReadVersion"), head.one("EBMLMaxIDLength")) == ("webm", 2, 4)
    assert segment.name == "Segment"
    info = segment.one("Info")
    assert info.one("TimestampScale") == 1_000_000
    assert info.all("Duration") == []
    check_track(segment)
    assert [element.name for element in segment.value] == ["Info", "Tracks", "Cluster", "Cluster", "Cluster"]
    for number, cluster in enumerate(segment.all("Cluster")):
        assert cluster.one("Timestamp") == 1000 * number
        blocks = [child for child in cluster.value if child.name != "Timestamp"]
        for at, block in enumerate(blocks):
            last = number == 2 and at == len(blocks) - 1
            assert block.name == ("BlockGroup" if last else "SimpleBlock")
            body = block.one("Block") if last else block.value
            assert body[:1] == b"\x81", "track 1"
            assert struct.unpack(">h", body[1:3]) == (20 * at,)
            assert body[3] == (0 if last else 0x80), "a key frame"


def test_the_duration_of_a_whole_recording_is_told_to_its_listeners() -> None:
    _, segment = parse(webm.init_segment(1234.5))
    assert segment.one("Info").one("Duration") == 1234.5


def test_a_file_has_length_duration_and_cues_that_lead_to_the_clusters() -> None:
    clusters = encoded(tone(3.3))
    data = file(clusters)
    head, segment = parse(data)
    assert head.name == "EBML"
    body_at = segment.at + 12
    assert int.from_bytes(data[segment.at + 5 : body_at], "big") == len(data) - body_at, "its size is known"
    check_track(segment)
    assert segment.one("Info").one("Duration") == clusters[-1].end_ms == pytest.approx(3300, abs=0.001)
    (seek,) = segment.one("SeekHead").value
    assert seek.one("SeekID") == b"\x1c\x53\xbb\x6b"
    cues = segment.all("Cues")[0]
    assert body_at + seek.one("SeekPosition") == cues.at
    places = {}
    for point in cues.value:
        positions = point.one("CueTrackPositions")
        assert positions.one("CueTrack") == 1
        places[point.one("CueTime")] = body_at + positions.one("CueClusterPosition")
    assert places == {cluster.one("Timestamp"): cluster.at for cluster in segment.all("Cluster")}
    assert webm.read_duration(data) == clusters[-1].end_ms


def test_a_growing_file_has_room_for_what_is_known_when_it_is_whole() -> None:
    growing = webm.file_header()
    assert len(growing) == webm.HEADER_SIZE
    assert len(webm.file_header(duration_ms=1e9, cues_at=1 << 40, size=1 << 41)) == webm.HEADER_SIZE
    assert webm.read_duration(growing) is None
    _, segment = parse(growing + encoded(tone(1))[0].data)
    assert [child.name for child in segment.value] == ["Void", "Info", "Tracks", "Cluster"]


def test_a_cluster_s_first_bytes_tell_its_length_and_its_time() -> None:
    for cluster in (*encoded(tone(1.2)), a_cluster(700), a_cluster(0, size=3000)):
        assert webm.read_cluster_head(cluster.data[: webm.CLUSTER_HEAD]) == (len(cluster.data), cluster.start_ms)
    assert webm.read_cluster_head(cluster.data[: webm.CLUSTER_HEAD - 1]) is None
    assert webm.read_cluster_head(webm.cues([(0, 100)]).ljust(webm.CLUSTER_HEAD)) is None
    assert webm.read_cluster_head(b"") is None


# Audio -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [217, 320, 321, 15_896, 16_000, 16_001, 48_123, 160_000])
def test_another_program_decodes_exactly_as_many_samples(samples: int) -> None:
    clusters = encoded(bytes(2 * samples))
    assert clusters[-1].end_ms == pytest.approx(samples / 16, abs=0.001)
    for data in (stream(clusters), file(clusters)):
        assert len(decoded(data)) == 3 * samples


def test_how_the_samples_are_cut_makes_no_difference() -> None:
    pcm = tone(2.2)
    pieces = [pcm[at : at + 2 * 777] for at in range(0, len(pcm), 2 * 777)]
    assert (
        [one.data for one in encoded(pcm)]
        == [one.data for one in encoded(*pieces)]
        == [one.data for one in encoded(b"", pcm, b"")]
    )


def test_what_is_heard_is_what_was_said_when_it_was_said() -> None:
    silence, hum = bytes(2 * RATE), tone(1)
    samples = decoded(stream(encoded(silence, hum, silence)))
    assert len(samples) == 3 * 48_000

    def loud(from_: float, to: float) -> float:
        part = samples[round(from_ * 48_000) : round(to * 48_000)]
        return math.sqrt(sum(one * one for one in part) / len(part))

    assert loud(0, 0.99) < 0.01
    assert loud(1.01, 1.99) == pytest.approx(9000 / 32768 / math.sqrt(2), rel=0.1)
    assert loud(2.01, 3) < 0.01


def test_a_player_may_begin_with_any_cluster() -> None:
    clusters = encoded(tone(4))
    late = decoded(webm.init_segment() + b"".join(cluster.data for cluster in clusters[2:]))
    assert len(late) == pytest.approx(2 * 48_000, abs=PRE_SKIP)


def test_32_kbit_a_second() -> None:
    size = sum(len(cluster.data) for cluster in encoded(tone(20)))
    assert size * 8 / 20 < 40_000
