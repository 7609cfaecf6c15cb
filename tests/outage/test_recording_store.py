"""A store of recordings that is slow, goes away or refuses us: clear errors, and nothing half-named."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from msgspec import UNSET

from greenroom.errors import InvalidInput
from greenroom_platform.domain import podcasts as podcasts_module
from greenroom_platform.domain.podcasts import ATTEMPTS
from greenroom_platform.platform import open_platform
from greenroom_platform.studio import recording_opening, recording_store, recording_writer
from greenroom_platform.studio import worker as studio_worker
from greenroom_platform.studio.recording_errors import RecordingFailed, RecordingsUnavailable
from greenroom_platform.studio.recording_opening import open_recordings
from greenroom_platform.testing.records_changes import NOON, about, wording
from tests.support.counted_tasks import statuses_of
from tests.support.made_recordings import Listener, Site, heard, site_of, times
from tests.support.patience import until
from tests.support.problem_checks import problem
from tests.support.running_service import API, KEPT, NO_TLS
from tests.support.s3_gateway import SUCCESS, Request, S3Gateway, not_removed, refused
from tests.support.s3_server import BUCKET, Road, S3Server
from tests.support.stream_listeners import hear, inner, listener, tones
from tests.support.worker_processes import asked, swept, task_of, working


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long between two attempts; a busy store has a minute for each."""
    monkeypatch.setattr(recording_store, "DEADLINE", 60.0)
    monkeypatch.setattr(recording_writer, "AGAIN", 0.05)
    monkeypatch.setattr(studio_worker, "WITHOUT_STORE", 0.05)


@contextmanager
def away(road: Road, how: str) -> Iterator[None]:
    """Cut or hold a road for a while; a call that is held is given up after a second, not after a minute."""
    with pytest.MonkeyPatch.context() as patch:
        if how == "hold":
            patch.setattr(recording_store, "DEADLINE", 1.0)
        getattr(road, how)()
        yield
    road.go_on()


@pytest.fixture
async def road(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Road]:
    async with Road(s3).listening() as road:
        for name, value in road.environ.items():
            monkeypatch.setenv(name, value)
        yield road


@pytest.fixture
async def gateway(s3: S3Server, url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Gateway]:
    """The way to `url` by a gateway, which at first passes everything on."""
    async with S3Gateway(s3, lambda _: None).listening() as gateway:
        for name, value in gateway.environ.items():
            monkeypatch.setenv(name, value)
        yield gateway


@pytest.fixture
def url(road: Road) -> str:
    """A place of its own on the server, by a road that may be closed."""
    return f"s3://{BUCKET}/{os.urandom(6).hex()}"


@pytest.fixture
async def site(url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with site_of(tmp_path / "record.sqlite3", url) as site:
        yield site


# Writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["hold", "cut"])
async def test_a_store_that_goes_away_for_a_while_costs_a_recording_nothing(
    site: Site, road: Road, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(0)
    listening = Listener(site.open())
    await listening.has(2)
    listening.task.cancel()
    with away(road, how):
        await attempt.write(1, 2)
        finishing = asyncio.create_task(attempt.finish())
        # A call has failed, and the recording has not: it asks again.
        await until(lambda: "a recording waits for its store" in caplog.text or finishing.done())
        assert not finishing.done()
        assert await recordings.whole("p") is None
    await finishing
    assert times(await heard(site.open())) == [0, 1000, 2000]


async def test_a_store_that_stays_away_leaves_nothing_that_is_taken_for_whole(
    site: Site, road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_writer, "PATIENCE", 0.2)
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(0, 1)
    await Listener(recordings).has(3)
    road.cut()
    await attempt.write(2)
    with pytest.raises(RecordingsUnavailable):
        await attempt.recording.finish()
    await attempt.discard()  # what it cannot remove goes when the podcast is over
    road.go_on()
    assert all(name.startswith("parts/p.1.") for name in await site.objects())
    assert await site.open().whole("p") is None
    await site.make(recordings)
    assert times(await heard(site.open())) == [0, 1000, 2000]


async def test_a_podcast_waits_for_its_store_and_no_attempt_is_counted(
    url: str, road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording_writer, "PATIENCE", 0.1)
    async with open_platform(data_dir=tmp_path / "data", recordings_url=url, sessions=False) as platform:
        await platform.records.put_topic("short", about("The Sea"), NOON)
        await platform.records.add_snippet("s", wording("short", "The sea is deep"), NOON)
        road.cut()
        podcast_id = await asked(platform)
        async with working(platform):
            await until(lambda: caplog.text.count("no podcast is made without the store of recordings") >= 3)
            given_back = await task_of(platform, podcast_id)
            assert (given_back.status, given_back.claim, given_back.worker) == ("audio_rendering", 1, UNSET)
            assert f"podcast {podcast_id} waits for the store of recordings" in caplog.text
            road.go_on()
            statuses = await statuses_of(platform.statuses.follow(podcast_id))
        assert statuses[-1] == "ready_to_stream"
        assert (await task_of(platform, podcast_id)).attempts == 1
        assert await swept(platform, podcast_id) == [f"{podcast_id}.2.json", f"{podcast_id}.2.webm"]


async def test_a_podcast_that_the_store_alone_does_not_take_ends_as_an_error(
    url: str, gateway: S3Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked of a store that takes small objects is not asked for ever."""
    monkeypatch.setattr(recording_writer, "PATIENCE", 0.1)
    monkeypatch.setattr(podcasts_module, "PAUSE_MIN", 0.01)

    def without_wholes(request: Request) -> bytes | None:
        return refused(501, "TooLarge") if request.method == "PUT" and request.path.endswith(".webm") else None

    gateway.answer = without_wholes
    async with open_platform(data_dir=tmp_path / "data", recordings_url=url, sessions=False) as platform:
        await platform.records.put_topic("short", about("The Sea"), NOON)
        await platform.records.add_snippet("s", wording("short", "The sea is deep"), NOON)
        podcast_id = await asked(platform)
        async with working(platform), asyncio.timeout(60):
            assert (await statuses_of(platform.statuses.follow(podcast_id)))[-1] == "error"
        assert (await task_of(platform, podcast_id)).attempts == ATTEMPTS


async def test_a_put_that_another_one_stood_in_the_way_of_is_repeated(
    gateway: S3Gateway, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 refuses a put while one of the same name is under way, and nothing is there yet."""
    refusals = [2]

    def conflicting(request: Request) -> bytes | None:
        if request.method != "PUT" or not refusals[0]:
            return None
        refusals[0] -= 1
        return refused(409, "ConditionalRequestConflict")

    gateway.answer = conflicting
    store = site.store()
    await store.create("p.1.webm", b"ours")
    assert await store.get("p.1.webm") == b"ours"
    refusals[0] = 1
    with pytest.raises(RecordingFailed, match="another object"):
        await store.create("p.1.webm", b"another")
    refusals[0] = 10**6
    monkeypatch.setattr(recording_store, "put_timeout", lambda _: 2.0)
    with pytest.raises(RecordingsUnavailable, match=r"another put of p\.2\.webm"):
        await store.create("p.2.webm", b"never")
    store.close()


async def test_what_a_claim_has_left_is_removed_by_one_request(gateway: S3Gateway, site: Site) -> None:
    recordings = site.open()
    attempt = await (await site.begin(recordings)).write(*range(10))
    await attempt.recording.finish()
    assert len(await site.objects()) >= 3
    begun = len(gateway.requests)
    await attempt.discard()
    assert [one.method for one in gateway.requests[begun:]] == ["POST"]
    assert await site.objects() == []


async def test_a_call_of_a_process_that_stood_still_is_given_its_time_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_store, "DEADLINE", 1.0)
    monkeypatch.setattr(recording_store, "_STOOD_STILL", 0.2)
    store, begun, may = open_recordings(str(tmp_path / "recordings"), None), threading.Event(), threading.Event()
    link = os.link

    def held(*paths: Path) -> None:
        begun.set()
        may.wait()
        link(*paths)

    monkeypatch.setattr(os, "link", held)
    putting = asyncio.create_task(store.create("p.1.webm", b"all"))
    await asyncio.to_thread(begun.wait)
    time.sleep(1.5)  # noqa: ASYNC251  the loop stands still, as that of a process that is stopped
    asyncio.get_running_loop().call_later(0.1, may.set)
    await putting
    assert await store.get("p.1.webm") == b"all"
    store.close()


# Reading ------------------------------------------------------------------------------------------------


async def test_a_store_that_is_down_is_503_and_closes_sockets_with_1013(
    url: str, road: Road, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with inner(tmp_path / "data", recordings_url=url) as app:
        podcast_id = await app.studio.ready(tones(2))
        claim, recording = await app.studio.rendering(tones(2)[:1])
        path = f"{API}/podcasts/{podcast_id}/audio.webm"
        async with (
            httpx.AsyncClient(base_url=app.url, timeout=30, limits=KEPT, verify=NO_TLS) as client,
            listener(app.url, claim.podcast_id) as one,
        ):
            assert (await client.get(path, headers={"Range": "bytes=0-99"})).status_code == 206
            so_far = await hear(one, clusters=2)
            for how in ("cut", "hold"):
                with away(road, how):
                    answer = await client.get(path)
                    told = problem(answer, 503, "unavailable")
                    assert told["detail"] == "the store of recordings does not answer"
                    assert answer.headers["retry-after"] == "1"
                    # What needs no store is answered all the same.
                    tag = {"If-None-Match": "*"}
                    assert (await client.get(path, headers=tag)).status_code == 304
                    assert (await client.get("/health/ready")).status_code == 200
                    async with listener(app.url, podcast_id) as other:
                        heard_now = await hear(other)
                    assert (heard_now.code, heard_now.reason) == (
                        1013,
                        "the recording cannot be read now; try again in a moment",
                    )
            await hear(one, so_far)
            assert so_far.code == 1013
            again = await client.get(path)
            assert again.status_code == 200
        await recording.discard()
    assert "Traceback" not in caplog.text


async def test_a_store_that_was_silent_is_asked_at_once_when_it_is_well(
    url: str, road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_recordings(url, None).create("p.1.webm", b"all")
    monkeypatch.setattr(recording_store, "DEADLINE", 2.0)
    store = open_recordings(url, None)
    road.hold()
    silent = await asyncio.gather(*[store.get("p.1.webm") for _ in range(16)], return_exceptions=True)
    assert {type(one) for one in silent} == {RecordingsUnavailable}
    road.lose()
    # Long, and shorter than what a client's calls may take that are not bounded by ours.
    monkeypatch.setattr(recording_store, "DEADLINE", recording_store.PUT_TIMEOUT / 2)
    assert await store.get("p.1.webm") == b"all"
    store.close()


async def test_a_removal_that_was_silent_keeps_no_thread_from_the_next(
    url: str, road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that waits for the store keeps a process from its end, too."""
    monkeypatch.setattr(recording_store, "DEADLINE", 2.0)
    store = open_recordings(url, None)
    road.hold()
    silent = await asyncio.gather(*[store.delete("p.1.webm") for _ in range(4)], return_exceptions=True)
    assert {type(one) for one in silent} == {RecordingsUnavailable}
    road.lose()
    monkeypatch.setattr(recording_store, "DEADLINE", recording_store.PUT_TIMEOUT / 2)
    await store.create("p.1.webm", b"all")
    store.close()


async def test_a_slow_client_gets_all_of_a_download(url: str, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_store, "DEADLINE", 2.0)
    store, data = open_recordings(url, None), os.urandom(8 * 1024 * 1024)
    await store.create("p.1.webm", data)
    pieces = await store.stream("p.1.webm", 0, len(data), 256 * 1024)
    assert pieces is not None
    got = await anext(pieces)
    # Longer than one answer of the store may take. The clock is the HTTP client's own, which nothing here can set.
    await asyncio.sleep(1.5 * recording_store.DEADLINE)
    got += b"".join([piece async for piece in pieces])
    assert got == data
    store.close()


async def test_no_read_of_a_long_object_waits_for_more_than_256_kb(gateway: S3Gateway, site: Site) -> None:
    """Each has a deadline of its own: a store that is slow and moves gives all of it in the end."""
    store, data = site.store(), os.urandom(700_000)
    await store.create("p.1.webm", data)
    whole, begun = range(len(data)), len(gateway.requests)
    for wanted in (whole, whole[100_000:], whole[1000:300_000], whole[:1000], whole[650_000:]):
        assert await store.get("p.1.webm", wanted.start, wanted.stop) == data[wanted.start : wanted.stop]
    assert await store.get("p.1.webm") == data
    assert await store.get("p.1.webm", 699_000, 10**6) == data[699_000:]
    reads = [one.requested for one in gateway.requests[begun:]]
    assert all(one is not None and len(one) <= 256 * 1024 for one in reads)
    assert len(reads) == 3 + 3 + 2 + 1 + 1 + 3 + 1
    store.close()


def test_the_time_for_a_put_grows_with_the_object_up_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_store, "DEADLINE", 5.0)
    megabyte = 1024 * 1024
    assert [recording_store.put_timeout(size) for size in (0, megabyte, 2 * megabyte, 9 * megabyte)] == [5, 21, 37, 60]


async def test_a_download_that_is_removed_or_shorter_is_told(url: str, road: Road) -> None:
    store = open_recordings(url, None)
    await store.create("p.1.webm", b"12345678")
    pieces = await store.stream("p.1.webm", 0, 8, 4)
    assert pieces is not None
    assert await anext(pieces) == b"1234"
    await store.delete("p.1.webm")
    with pytest.raises(RecordingFailed, match="removed"):
        await anext(pieces)
    await store.create("p.1.webm", b"123456")
    pieces = await store.stream("p.1.webm", 0, 8, 4)
    assert pieces is not None
    with pytest.raises(RecordingFailed, match="ends before byte 8"):
        _ = [piece async for piece in pieces]
    store.close()


async def test_closing_does_not_wait_for_a_record_that_does_not_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings, asked = site.open(), asyncio.Event()

    async def silent(podcast_id: str) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(site.tasks, "task", silent)
    listening = Listener(recordings, wait=True)
    await asked.wait()
    async with asyncio.timeout(10):
        await recordings.close()
    with pytest.raises(RecordingFailed, match="closed"):
        await listening.task


# The start -----------------------------------------------------------------------------------------------


async def test_credentials_that_are_refused_are_told_with_the_setting(
    url: str, road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_recordings(url, None).check()
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        with monkeypatch.context() as patched:
            patched.setenv(name, "wrong")
            with pytest.raises(InvalidInput, match="refuses the credentials") as refused:
                await open_recordings(url, None).check()
            # Those that are taken away later: the store cannot be used, whatever it says.
            with pytest.raises(RecordingsUnavailable, match="cannot be used"):
                await open_recordings(url, None).get("p.1.webm")
        assert refused.value.field == "recordings_url"
        assert "AWS_SECRET_ACCESS_KEY" in refused.value.remedy
        assert "wrong" not in str(refused.value)


def denied(_: Request) -> bytes:
    return refused(403, "AccessDenied")


def denied_within(request: Request) -> bytes:
    return not_removed(request, "AccessDenied")


@pytest.mark.parametrize(
    ("method", "before", "answer", "right", "call"),
    [
        ("PUT", (), denied, "s3:PutObject", "make objects"),
        ("GET", (), denied, "s3:GetObject", "read objects"),
        ("POST", (), denied, "s3:DeleteObject", "remove objects"),
        ("POST", (), denied_within, "s3:DeleteObject", "remove objects"),
        ("GET", ("POST",), denied, "s3:ListBucket", "say that an object is not there"),
    ],
    ids=["put", "get", "delete", "delete-by-200", "list"],
)
async def test_a_right_that_the_user_does_not_have_is_named(
    gateway: S3Gateway,
    site: Site,
    method: str,
    before: tuple[str, ...],
    answer: Callable[[Request], bytes],
    right: str,
    call: str,
) -> None:
    def deny(request: Request) -> bytes | None:
        seen = {one.method for one in gateway.requests}
        return answer(request) if request.method == method and seen.issuperset(before) else None

    gateway.answer = deny
    with pytest.raises(InvalidInput) as told:
        await site.store().check()
    assert told.value.field == "recordings_url"
    assert f"{site.place} refuses to {call} (AccessDenied)" in str(told.value)
    assert f"give the user of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY {right}" in told.value.remedy
    gateway.answer = lambda _: None
    assert len(await site.objects()) == (method == "POST"), "what the check has made is gone, where it may be removed"


@pytest.mark.parametrize(
    ("status", "code", "wrong"),
    [
        (400, "InvalidBucketName", True),
        (301, "PermanentRedirect", True),
        (405, "MethodNotAllowed", True),
        (400, "RequestTimeout", False),
        (429, "SlowDown", False),
        (503, "SlowDown", False),
    ],
)
async def test_a_refusal_that_does_not_pass_is_a_wrong_setting(
    gateway: S3Gateway, url: str, status: int, code: str, wrong: bool
) -> None:
    # Where S3 begins its answers with a line of their own, the code comes on the second.
    gateway.answer = lambda _: refused(status, code, head="\n")
    store = open_recordings(url, None)
    with pytest.raises(InvalidInput if wrong else RecordingsUnavailable) as told:
        await store.check()
    assert wrong == (getattr(told.value, "field", "") == "recordings_url")
    assert code in str(told.value) or status == 301
    store.close()


async def test_a_bucket_that_is_not_there_is_told_and_has_nothing_to_remove(
    gateway: S3Gateway, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_recordings(f"s3://{os.urandom(6).hex()}/x", None)
    await store.delete("p.1.webm", "p.2.webm")
    assert await store.get("p.1.webm") is None
    gateway.answer = lambda _: refused(404, "NoSuchBucket")
    with pytest.raises(InvalidInput, match="there is no") as told:
        await site.store().check()
    assert told.value.remedy == "make the bucket first"
    store.close()


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_an_endpoint_without_tls_needs_the_setting_that_allows_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    for allowed in ("", "false"):
        monkeypatch.setenv("AWS_ALLOW_HTTP", allowed)
        with pytest.raises(InvalidInput, match=f"{name} begins with http://") as told:
            open_recordings("s3://bucket/x", None)
        assert "AWS_ALLOW_HTTP=true" in told.value.remedy
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    open_recordings("s3://bucket/x", None).close()


async def test_a_directory_without_hard_links_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_recordings(str(tmp_path / "recordings"), None)
    await store.check()

    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(InvalidInput, match="Operation not permitted") as told:
        await store.check()
    assert "hard links" in told.value.remedy
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "not an address"),
        ("AWS_REGION", "a\nb"),
        ("AWS_CONDITIONAL_PUT", "nonsense"),
        ("AWS_CONDITIONAL_PUT", "disabled"),
    ],
)
async def test_a_variable_that_the_client_cannot_use_is_told_in_one_line(
    url: str, road: Road, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match=r"client|AWS_CONDITIONAL_PUT") as refused:
        await open_recordings(url, None).check()
    assert refused.value.field == "recordings_url"
    assert "\n" not in str(refused.value)


async def test_credentials_of_the_endpoint_are_not_told(url: str, road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:pa55@word@127.0.0.1:{road.port}")
    road.cut()
    with pytest.raises(RecordingsUnavailable) as told:
        await open_recordings(url, None).get("p.1.webm")
    assert "pa55" not in "".join(traceback.format_exception(told.value))
    assert "word@" not in str(told.value)


async def test_a_store_that_replaces_objects_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with S3Gateway(None, lambda _: SUCCESS).listening() as replacing:
        for name, value in replacing.environ.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(InvalidInput, match="replaces objects") as refused:
            await open_recordings("s3://bucket/prefix", None).check()
    assert refused.value.field == "recordings_url"


async def test_a_store_that_does_not_answer_at_the_start_is_no_wrong_setting(url: str, road: Road) -> None:
    for how in ("cut", "hold"):
        with away(road, how), pytest.raises(RecordingsUnavailable):
            await open_recordings(url, None).check()
    await open_recordings(url, None).check()


async def test_a_check_removes_what_an_earlier_one_has_left(gateway: S3Gateway, site: Site) -> None:
    """A put that comes after its removal is found by the next check."""
    store = site.store()
    gateway.answer = lambda request: refused(503, "SlowDown") if request.method == "GET" else None
    with pytest.raises(RecordingsUnavailable):
        await store.check()
    gateway.answer = lambda _: None
    (late,) = {one.path for one in gateway.requests if one.method == "PUT"}
    await store.create(late.partition("/")[2], b"1")
    await store.check()
    assert await site.objects() == []
    store.close()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "s3://",
        "s3:///x",
        "https://bucket",
        "file:///tmp/x",
        "s3://key:secret@bucket/x",
        "s3://b/x?y",
        "s3://b/../x",
        "s3:/bucket/x",
        "s3:bucket",
        "S3:key:secret@bucket/x",
    ],
)
def test_an_address_that_cannot_be_is_refused_with_the_remedy(address: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        recording_opening.check_url(address, field="--recordings-url")
    assert refused.value.field == "--recordings-url"
    assert "s3://BUCKET/PREFIX" in refused.value.remedy
    assert "secret" not in str(refused.value)
