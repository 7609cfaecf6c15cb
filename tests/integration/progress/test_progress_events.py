"""Jobs of one's own, followed over server-sent events in real frameworks under a real server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import fastapi
import httpx
import litestar
import msgspec
import pytest
from litestar.params import FromPath
from litestar.response import Stream
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from greenroom import Greenroom, Keyspace
from greenroom.errors import InvalidInput, RoomClosed
from greenroom.progress import Jobs, Order
from greenroom.progress import events as progress_events
from tests.support.asgi_server import served
from tests.support.patience import until
from tests.support.real_servers import Server


class Export(msgspec.Struct, frozen=True):
    status: str
    rows: int = 0


EXPORT = Keyspace("export:{export_id}", Export, ttl=timedelta(minutes=5))
ORDER = Order("queued", "running", "done", failure="failed")


class Exports:
    """Jobs in a record that a test changes."""

    def __init__(self) -> None:
        self.record = {"a": Export("queued")}

    async def load(self, export_id: str) -> Export | None:
        return self.record.get(export_id)

    async def now(self, jobs: Jobs[Export], status: str, rows: int = 0) -> None:
        self.record["a"] = Export(status, rows)
        await jobs.cache.invalidate("a")


def starlette_app(jobs: Jobs[Export]) -> Any:
    async def events(request: Request) -> Any:
        answer = await jobs.sse(request.path_params["id"], last_event_id=request.headers.get("last-event-id"))
        if answer is None:
            raise HTTPException(404)
        return answer

    return Starlette(routes=[Route("/{id}", events)])


def fastapi_app(jobs: Jobs[Export]) -> Any:
    app = fastapi.FastAPI()

    @app.get("/{export_id}")
    async def events(request: fastapi.Request, export_id: str) -> Any:
        answer = await jobs.sse(export_id, last_event_id=request.headers.get("last-event-id"))
        if answer is None:
            raise fastapi.HTTPException(404)
        return StreamingResponse(
            answer, status_code=answer.status, media_type=answer.media_type, headers=answer.headers
        )

    return app


def litestar_app(jobs: Jobs[Export]) -> Any:
    @litestar.get("/{export_id:str}", media_type="text/event-stream")
    async def events(request: litestar.Request[Any, Any, Any], export_id: FromPath[str]) -> Any:
        answer = await jobs.sse(export_id, last_event_id=request.headers.get("last-event-id"))
        if answer is None:
            raise litestar.exceptions.NotFoundException
        return Stream(answer, status_code=answer.status, media_type=answer.media_type, headers=answer.headers)

    return litestar.Litestar([events])


FRAMEWORKS = pytest.mark.parametrize("make", [starlette_app, fastapi_app, litestar_app])


@asynccontextmanager
async def following(
    server: Server, exports: Exports, make: Callable[[Jobs[Export]], Any]
) -> AsyncIterator[tuple[httpx.AsyncClient, Jobs[Export], Greenroom]]:
    async with Greenroom(server.address, sessions=False) as room:
        jobs = room.progress(EXPORT, load=exports.load, order=ORDER)
        async with served(make(jobs)) as site, site.client() as client:
            yield client, jobs, room


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """Each event's members."""
    found: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        found[name] = value
        if not line:
            if "data" in found:
                yield found
            found = {}


@FRAMEWORKS
async def test_a_job_of_ones_own_is_followed_to_its_end_over_events(valkey: Server, make: Callable[..., Any]) -> None:
    exports, seen = Exports(), []
    async with following(valkey, exports, make) as (client, jobs, _), client.stream("GET", "/a") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        coming = [("running", 1), ("running", 2), ("done", 3)]
        async for event in events(answer):
            assert event["event"] == "status"
            seen.append(json.loads(event["data"]))
            if coming:
                await exports.now(jobs, *coming.pop(0))
        await until(lambda: jobs.followed == 0)
    assert seen == [
        {"status": "queued", "rows": 0},
        {"status": "running", "rows": 1},
        {"status": "running", "rows": 2},
        {"status": "done", "rows": 3},
    ]


@FRAMEWORKS
async def test_an_unknown_job_is_none_and_no_empty_stream(valkey: Server, make: Callable[..., Any]) -> None:
    async with following(valkey, Exports(), make) as (client, jobs, _):
        assert (await client.get("/none")).status_code == 404
        assert await jobs.sse("none") is None
        assert await jobs.follow("none") is None
        assert [one async for one in jobs.follow("none")] == []
        assert jobs.followed == 0


@FRAMEWORKS
async def test_a_client_that_comes_back_gets_what_it_has_not(valkey: Server, make: Callable[..., Any]) -> None:
    exports = Exports()
    async with following(valkey, exports, make) as (client, jobs, _):
        async with client.stream("GET", "/a") as answer:
            first = await anext(events(answer))
        await until(lambda: jobs.followed == 0)
        async with client.stream("GET", "/a", headers={"Last-Event-ID": first["id"]}) as answer:
            next_event = asyncio.ensure_future(anext(events(answer)))
            await until(lambda: jobs.followed == 1)
            await exports.now(jobs, "done")
            last = await next_event
            assert json.loads(last["data"])["status"] == "done"
        again = await client.get("/a", headers={"Last-Event-ID": last["id"]})
        assert (again.status_code, again.content) == (204, b"")
        # Another one's, or of another process: it is given the status that it does not have.
        assert "done" in (await client.get("/a", headers={"Last-Event-ID": "x"})).text


async def test_the_room_that_closes_ends_the_streams_of_its_jobs(valkey: Server) -> None:
    async with (
        following(valkey, Exports(), starlette_app) as (client, jobs, room),
        client.stream("GET", "/a") as answer,
    ):
        coming = events(answer)
        await anext(coming)
        await room.close()
        assert [one async for one in coming] == []
        with pytest.raises(RoomClosed):
            await jobs.sse("a")


async def test_a_client_that_leaves_is_followed_no_more(valkey: Server) -> None:
    async with following(valkey, Exports(), starlette_app) as (client, jobs, _):
        async with client.stream("GET", "/a") as answer:
            await anext(events(answer))
            assert jobs.followed == 1
        await until(lambda: jobs.followed == 0)
        assert (await client.head("/a")).status_code == 200
        await until(lambda: jobs.followed == 0)


async def test_a_silent_stream_is_kept_open_by_comments(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_events, "COMMENT_EVERY", 0.01)
    async with Greenroom(valkey.address, sessions=False) as room:
        exports = Exports()
        jobs = room.progress(EXPORT, load=exports.load, order=ORDER)
        stream = await jobs.sse("a")
        assert stream is not None
        parts = aiter(stream)
        assert await anext(parts) == b"retry: 2000\n\n"
        assert b'"queued"' in await anext(parts)
        assert await anext(parts) == b":\n\n"
        await exports.now(jobs, "done")
        rest = [part async for part in parts if part != b":\n\n"]
        assert len(rest) == 1
        assert b'"done"' in rest[0]


async def test_a_stream_is_closed_whole_though_its_closing_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever closed it is cancelled: that is not taken for the end of what the stream waited for."""
    monkeypatch.setattr(progress_events, "COMMENT_EVERY", 0.01)
    ending, let_go, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow:
        async def __anext__(self) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                await let_go.wait()

        async def aclose(self) -> None:
            closed.set()

    following: Any = Slow()
    stream: Any = progress_events.ProgressEvents(following, bytes, str, last=None, done=False, name="status")
    parts = aiter(stream)
    await anext(parts)
    await anext(parts)
    closing = asyncio.create_task(parts.aclose())
    await ending.wait()
    closing.cancel()
    let_go.set()
    await asyncio.wait([closing])
    assert (closing.cancelled(), closed.is_set()) == (True, True)


async def test_a_job_that_is_followed_is_awaited_for_its_first_status(valkey: Server) -> None:
    async with Greenroom(valkey.address, sessions=False) as room:
        exports = Exports()
        jobs = room.progress(EXPORT, load=exports.load, order=ORDER)
        found = await jobs.follow("a")
        assert found is not None
        assert await found is found, "asking twice loses no status"
        await exports.now(jobs, "done")
        assert [one.status async for one in found][-1] == "done"
        left = await jobs.follow("a")
        assert left is not None
        await left.aclose()
        assert [one async for one in left] == []
        assert jobs.followed == 0


@pytest.mark.parametrize("event", ["", "a b", "a\nb", None, 5])
async def test_an_event_that_is_no_word_is_refused(valkey: Server, event: Any) -> None:
    async with Greenroom(valkey.address, sessions=False) as room:
        jobs = room.progress(EXPORT, load=Exports().load, order=ORDER)
        with pytest.raises(InvalidInput, match="event: is"):
            await jobs.sse("a", event=event)


_OTHER_PROCESS = """
import asyncio, sys
from datetime import timedelta
import msgspec
from greenroom import Greenroom, Keyspace
from greenroom.progress import Order

class Tagged(msgspec.Struct, frozen=True):
    status: str
    steps: list[dict[str, frozenset[str]]]

async def load(id):
    return Tagged("done", [{"tags": frozenset("abcdefgh")}])

async def main(address, last):
    room = Greenroom(address, sessions=False)
    keyspace = Keyspace("tagged:{id}", Tagged, ttl=timedelta(minutes=5))
    jobs = room.progress(keyspace, load=load, order=Order("queued", "done", failure="failed"))
    async with room:
        await jobs.cache.invalidate("a")  # each process loads and writes it
        events = await jobs.sse("a", last_event_id=last or None)
        print(events.status, b"".join([part async for part in events]).decode())

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_set_has_one_id_in_all_processes(valkey: Server) -> None:
    def process(seed: int, last: str) -> str:
        command = [sys.executable, "-c", _OTHER_PROCESS, valkey.address, last]
        run = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True
        )
        return run.stdout

    first = process(1, "")
    assert first.startswith("200 ")
    (event_id,) = [line[4:] for line in first.splitlines() if line.startswith("id: ")]
    assert [process(seed, event_id)[:4] for seed in (2, 3)] == ["204 ", "204 "]


async def test_a_value_that_a_client_had_before_is_news_again(valkey: Server) -> None:
    exports = Exports()
    async with Greenroom(valkey.address, sessions=False) as room, asyncio.timeout(30):
        jobs = room.progress(EXPORT, load=exports.load, order=ORDER)
        answer = await jobs.sse("a")
        assert answer is not None
        parts = aiter(answer)
        await anext(parts)
        event_id = (await anext(parts)).split(b"\n")[0][4:].decode()
        await answer.aclose()
        again = await jobs.sse("a", last_event_id=event_id)
        assert again is not None
        rows = []
        parts = aiter(again)
        await anext(parts)
        for number in (1, 0):
            coming = asyncio.ensure_future(anext(parts))
            await asyncio.sleep(0)
            await exports.now(jobs, "queued", number)
            rows.append((await coming).split(b"data: ")[1].strip())
        assert [json.loads(row)["rows"] for row in rows] == [1, 0]
        await parts.aclose()


async def test_an_id_that_no_key_can_hold_is_refused_by_name(valkey: Server) -> None:
    async def load(export_id: Any) -> Export:
        return Export("queued")

    numbered = Keyspace("numbered:{export_id}", Export, parts={"export_id": int}, ttl=timedelta(minutes=5))
    async with Greenroom(valkey.address, sessions=False) as room:
        for keyspace in (EXPORT, numbered):
            jobs = room.progress(keyspace, load=load, order=ORDER)
            first = jobs.follow(1)
            assert await anext(first) == Export("queued")
            wrongs: tuple[Any, ...] = [1], {}, True
            for wrong in wrongs:
                for asked in (jobs.follow(wrong).first(), jobs.sse(wrong)):
                    with pytest.raises(InvalidInput) as caught:
                        await asked
                    assert caught.value.field == "export_id"
            await first.aclose()
            assert jobs.followed == 0


async def test_what_is_one_key_is_followed_as_one_job(valkey: Server) -> None:
    exports = Exports()
    async with Greenroom(valkey.address, sessions=False) as room:
        jobs = room.progress(EXPORT, load=lambda export_id: exports.record["a"], order=ORDER)
        number, text = jobs.follow(1), jobs.follow("1")
        assert [await anext(one) for one in (number, text)] == [Export("queued")] * 2
        assert jobs.followed == 1
        await number.aclose()
        await text.aclose()
