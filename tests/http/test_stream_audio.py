"""`GET …/audio.webm`: a whole recording, or a part of it."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import av
import httpx
import pytest

from tests.support.patience import eventually
from tests.support.problem_checks import problem
from tests.support.process_tree import ON_LINUX
from tests.support.running_service import API, Service
from tests.support.stream_listeners import UNKNOWN, Studio, decode, heavy, open_files, pitch, seconds_of, tones

SERVE_ENV = {"GREENROOM_WORK": "off"}
"""The tests are the worker."""

CLUSTERS = tones(6.5)


def path(podcast_id: str) -> str:
    return f"{API}/podcasts/{podcast_id}/audio.webm"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """The podcast of this file, once it is made."""
    return {}


@pytest.fixture
async def podcast_id(studio: Studio, made: dict[str, str]) -> str:
    if not made:
        made["id"] = await studio.ready(CLUSTERS)
    return made["id"]


@pytest.fixture
async def data(studio: Studio, podcast_id: str) -> bytes:
    """The bytes of its recording."""
    return (await studio.file(podcast_id)).read_bytes()


# All of it ---------------------------------------------------------------------------------------------


async def test_it_is_a_file_that_players_open_with_its_length(
    service: Service, podcast_id: str, data: bytes, tmp_path: Path
) -> None:
    answer = service.client.get(path(podcast_id))
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"] == "audio/webm"
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "public, max-age=86400"
    assert "content-range" not in answer.headers
    file = tmp_path / "audio.webm"
    file.write_bytes(answer.content)
    with av.open(str(file), "r") as container:
        assert container.duration is not None
        assert container.duration / 1_000_000 == pytest.approx(seconds_of(CLUSTERS), abs=0.02)
        container.seek(4_000_000)
        (frame, *_) = container.decode(audio=0)
        assert 2.9 < float(frame.time or 0) <= 4.021  # a frame of 20 ms is lost to where it begins
    audio = decode(answer.content)
    assert audio.gaps == 0
    assert audio.seconds == pytest.approx(seconds_of(CLUSTERS), abs=0.02)
    assert audio.pitches()[:6] == [pitch(second) for second in range(6)]


async def test_head_tells_of_all_of_it_whatever_range_is_asked_for(
    service: Service, podcast_id: str, data: bytes
) -> None:
    get = service.client.get(path(podcast_id))
    for headers in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=999999999-"}):
        head = service.client.head(path(podcast_id), headers=headers)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(data))
        assert head.headers["etag"] == get.headers["etag"]
        assert head.headers["accept-ranges"] == "bytes"
        assert "content-range" not in head.headers


async def test_head_reads_no_more_than_tells_that_it_is_there(service: Service, studio: Studio) -> None:
    podcast_id = await studio.ready([heavy(number) for number in range(200)])
    whole = service.client.get(path(podcast_id))
    file = await studio.file(podcast_id)
    before = len(service.output())
    os.truncate(file, 1)  # whoever reads on finds nothing more
    head = service.client.head(path(podcast_id))
    varying = {"date", "x-request-id"}
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in head.headers if name not in varying} == {
        name: whole.headers[name] for name in whole.headers if name not in varying
    }
    assert "broken off" not in service.logged()[before:]
    file.unlink()
    assert service.client.head(path(podcast_id)).status_code == 404


# Parts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=0-0", 0, 1),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=1000-", 1000, None),
        ("bytes=0-", 0, None),
        ("bytes=-500", -500, None),
        ("bytes=-99999999", 0, None),
        ("bytes=1000-99999999", 1000, None),
    ],
)
async def test_a_range_is_its_bytes(
    service: Service, podcast_id: str, data: bytes, asked: str, begin: int, end: int | None
) -> None:
    answer = service.client.get(path(podcast_id), headers={"Range": asked})
    expected = data[begin:end]
    first = len(data) + begin if begin < 0 else begin
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(data)}"
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers["content-type"] == "audio/webm"
    assert answer.headers["etag"].startswith('"')


@pytest.mark.parametrize("asked", ["bytes=0-9,20-29", "bytes=9-0", "bytes=x", "seconds=0-9", "bytes=", "nonsense"])
async def test_what_is_no_range_or_several_is_answered_with_all(
    service: Service, podcast_id: str, data: bytes, asked: str
) -> None:
    answer = service.client.get(path(podcast_id), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, data)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=99999999-99999999", "bytes=-0"])
async def test_a_range_beyond_the_end_is_416_and_tells_the_size(
    service: Service, podcast_id: str, data: bytes, asked: str
) -> None:
    answer = service.client.get(path(podcast_id), headers={"Range": asked})
    problem(answer, 416, "range-not-satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(data)}"


async def test_the_parts_of_a_recording_make_it_whole_again(service: Service, podcast_id: str, data: bytes) -> None:
    step, got, tags = 5000, b"", set()
    for at in range(0, len(data), step):
        answer = service.client.get(path(podcast_id), headers={"Range": f"bytes={at}-{at + step - 1}"})
        got += answer.content
        tags.add(answer.headers["etag"])
    assert got == data
    assert len(tags) == 1


# Conditions ------------------------------------------------------------------------------------------------


async def test_a_part_of_another_recording_is_not_sent(service: Service, podcast_id: str, data: bytes) -> None:
    tag = service.client.get(path(podcast_id)).headers["etag"]
    asked = {"Range": "bytes=10-19"}
    same = service.client.get(path(podcast_id), headers={**asked, "If-Range": tag})
    assert (same.status_code, same.content) == (206, data[10:20])
    for other in ('"other"', f"W/{tag}", "Wed, 21 Oct 2015 07:28:00 GMT", ""):
        answer = service.client.get(path(podcast_id), headers={**asked, "If-Range": other})
        assert (answer.status_code, answer.content) == (200, data), other
    beyond = service.client.get(path(podcast_id), headers={"Range": "bytes=99999999-", "If-Range": '"other"'})
    assert beyond.status_code == 200


async def test_who_has_it_already_is_told_so(service: Service, podcast_id: str) -> None:
    tag = service.client.get(path(podcast_id)).headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        for headers in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=99999999-"}):
            answer = service.client.get(path(podcast_id), headers={"If-None-Match": known, **headers})
            assert (answer.status_code, answer.content) == (304, b""), (known, headers)
            assert answer.headers["etag"] == tag
            assert answer.headers["cache-control"] == "public, max-age=86400"
    assert service.client.get(path(podcast_id), headers={"If-None-Match": '"other"'}).status_code == 200


# What is not there -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how_far", ["queued", "script_generating", "audio_rendering"])
async def test_before_it_is_whole_it_is_a_conflict(service: Service, studio: Studio, how_far: str) -> None:
    claim = await studio.claimed()
    if how_far != "queued":
        await studio.platform.tasks.advance(claim, how_far)
    recording = await studio.attempt(claim, CLUSTERS[:2])
    answer = service.client.get(path(claim.podcast_id))
    told = problem(answer, 409, "not-whole")
    assert how_far in told["detail"]
    assert told["title"] == "The recording is not complete"
    assert (answer.headers["cache-control"], answer.headers["retry-after"]) == ("no-store", "5")
    await recording.discard()


async def test_one_that_could_not_be_made_is_not_to_be_asked_for_again(service: Service, studio: Studio) -> None:
    answer = service.client.get(path(await studio.failed("No voice.")))
    assert "error" in problem(answer, 409, "not-whole")["detail"]
    assert "retry-after" not in answer.headers


async def test_one_that_nobody_knows_is_not_found(service: Service) -> None:
    problem(service.client.get(path(UNKNOWN)), 404, "not-found")


@pytest.mark.parametrize("bad", ["a%3Ab", "%2A", "x" * 129, "..%2F..%2Fgreenroom.sqlite3"])
async def test_an_id_that_cannot_be_reaches_no_file(service: Service, bad: str) -> None:
    assert service.client.get(path(bad)).status_code in (404, 422)


async def test_one_that_is_not_kept_any_more_is_not_found(service: Service, studio: Studio) -> None:
    podcast_id = await studio.ready(CLUSTERS[:1])
    (await studio.file(podcast_id)).unlink()
    assert "not kept" in problem(service.client.get(path(podcast_id)), 404, "not-found")["detail"]


# Files and clients that go --------------------------------------------------------------------------------


async def test_one_removed_while_it_is_sent_is_sent_to_its_end(service: Service, studio: Studio) -> None:
    podcast_id = await studio.ready([heavy(number) for number in range(200)])
    file = await studio.file(podcast_id)
    data = file.read_bytes()
    with service.client.stream("GET", path(podcast_id)) as answer:
        parts = answer.iter_raw()
        got = next(parts)
        file.unlink()
        got += b"".join(parts)
    assert got == data


async def test_one_cut_short_while_it_is_sent_is_not_taken_for_whole(service: Service, studio: Studio) -> None:
    podcast_id = await studio.ready([heavy(number) for number in range(200)])
    file = await studio.file(podcast_id)
    before = len(service.output())
    with service.client.stream("GET", path(podcast_id)) as answer:
        parts = answer.iter_raw()
        next(parts)
        os.truncate(file, 1000)
        with pytest.raises(httpx.RemoteProtocolError):
            list(parts)
    said = service.logged()[before:]
    assert f"an answer was broken off: {file.name} ends before byte " in said
    assert "Traceback" not in said


@ON_LINUX
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_client_that_goes_midway_leaves_no_open_file(service: Service, studio: Studio, method: str) -> None:
    podcast_id = await studio.ready([heavy(number) for number in range(200)])
    before = len(service.output())

    def open_recordings() -> list[str]:
        return [name for name in open_files(service.process.pid) if podcast_id in name]

    host, _, port = service.url.removeprefix("http://").partition(":")
    clients = []
    for _ in range(5):
        client = socket.create_connection((host, int(port)), timeout=20)
        client.sendall(f"{method} {path(podcast_id)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        clients.append(client)
    if method == "GET":
        assert len(open_recordings()) == 5
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    await eventually(lambda: not open_recordings())
    assert "Traceback" not in service.output()[before:]


# What is said in it ------------------------------------------------------------------------------------------


def transcript(podcast_id: str) -> str:
    return f"{API}/podcasts/{podcast_id}/transcript"


async def test_a_transcript_is_there_with_the_whole_recording(service: Service, studio: Studio) -> None:
    claim, recording = await studio.rendering(CLUSTERS)
    answer = service.client.get(transcript(claim.podcast_id))
    problem(answer, 409, "not-whole")
    assert answer.headers["retry-after"] == "5"
    said = b'{"lines":[{"speaker":"Laura","text":"Hello.","start_seconds":0.0,"end_seconds":1.5}],"snippets":[]}'
    size = await recording.finish(said)
    await studio.platform.tasks.advance(claim, "ready_to_stream", size=size)
    answer = service.client.get(transcript(claim.podcast_id))
    assert (answer.status_code, answer.content) == (200, said)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=86400"
    tag = answer.headers["etag"]
    assert tag != service.client.get(path(claim.podcast_id)).headers["etag"]
    again = service.client.get(transcript(claim.podcast_id), headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


async def test_one_without_a_transcript_says_so(service: Service, studio: Studio) -> None:
    answer = service.client.get(transcript(await studio.ready(CLUSTERS)))
    assert "no transcript" in problem(answer, 404, "not-found")["detail"]
    problem(service.client.get(transcript(UNKNOWN)), 404, "not-found")
    answer = service.client.get(transcript(await studio.failed("No voice.")))
    assert "error" in problem(answer, 409, "not-whole")["detail"]
    assert "retry-after" not in answer.headers
