"""HTTP: server CPU per request of the service, of the server and the framework by themselves, and of other stacks.

All are served by uvicorn with httptools and uvloop, one process each, and asked over 32 connections that are kept. CPU
per request does not depend on how fast this client is. `python -m bench.http NAME PORT` runs one of the servers.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import urllib.request
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from tests.support.patience import wait_for
from tests.support.real_servers import free_port

CONNECTIONS = 32
REQUESTS = 20_000
RUNS = 3
PAGE = "/api/v1/snippets?topic_id=tech_ai_ethics&page=1"
TAG = "If-None-Match: *\r\n"


class Contender(NamedTuple):
    """One row.

    Arguments:
        says: what it is, in a line.
        server: the name of a server of this file; "" for `greenroom serve`.
        level: of the service's log.
        headers: that each request has besides.
    """

    says: str
    server: str = ""
    level: str = "warning"
    headers: str = ""


CONTENDERS = {
    "bare": Contender("an ASGI application of two messages on uvicorn as it is", "bare"),
    "bare, bounded": Contender("the same on the service's own protocol, with its bounds on a connection", "bounded"),
    "constant": Contender("a handler of the framework (Litestar) that returns the page as bytes", "constant"),
    "near 200": Contender("the service without access lines; every request is a near hit"),
    "near 200, logged": Contender("the same with an access line for each request", level="info"),
    "near 304": Contender("the service; the client has the page already", headers=TAG),
    "near 200, routed": Contender("the service; near hits that take the way through sessions and router", "routed"),
    "Valkey hit": Contender("the service; nothing is kept near, so each request asks the server", "far"),
    "miss": Contender("the same, and nothing is stored: each request reads the record under a lease", "miss"),
    "FastAPI + SDK": Contender("FastAPI with the official SDK's cache before a handler that returns the page", "sdk"),
    "FastAPI + cashews": Contender("FastAPI with cashews on the same server around that handler", "cashews"),
}


def _ticks(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Client(asyncio.Protocol):
    """One connection: each request is sent after the answer to the last."""

    def __init__(self, request: bytes, left: count[int], done: asyncio.Future[None]) -> None:
        self._request = request
        self._left = left
        self._done = done
        self._data = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head = self._data.find(b"\r\n\r\n")
        if head < 0:
            return
        fields = self._data[:head].lower()
        assert fields[9:12] in (b"200", b"304"), fields
        at = fields.find(b"content-length: ")
        if at >= 0 and len(self._data) < head + 4 + int(fields[at + 16 :].partition(b"\r\n")[0]):
            return
        self._data = b""
        if next(self._left) >= 0:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
        else:
            self._transport.write(self._request)


async def _drive(port: int, number: int, headers: str) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    left, request = count(-number), f"GET {PAGE} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Client(request, left, done), "127.0.0.1", port)
    await done


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{PAGE}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def costs(name: str, valkey_port: int) -> list[float]:
    """Microseconds of the server's CPU per request, of each run."""
    one, port = CONTENDERS[name], free_port()
    with tempfile.TemporaryDirectory() as directory, Path(directory, "log").open("wb") as told:
        service = [str(Path(sys.executable).parent / "greenroom"), "serve", "--port", str(port)]
        command = service if not one.server else [sys.executable, "-m", "bench.http", one.server, str(port)]
        env = {
            "GREENROOM_DATA_DIR": str(Path(directory, "data")),
            "GREENROOM_LOG_LEVEL": one.level,
            "REDIS_URL": f"redis://127.0.0.1:{valkey_port}",
        }
        process = subprocess.Popen(command, env=os.environ | env, stdout=told, stderr=told)
        try:
            wait_for(lambda: _answers(port), 60)
            uvloop.run(_drive(port, 1000, one.headers))
            found = []
            for _ in range(RUNS):
                before = _ticks(process.pid)
                uvloop.run(_drive(port, REQUESTS, one.headers))
                found.append((_ticks(process.pid) - before) / REQUESTS * 1e6)
            return found
        finally:
            process.terminate()
            process.wait()


# The servers -----------------------------------------------------------------------------------


def _body() -> bytes:
    from importlib.resources import files

    sample = files("greenroom_platform.storage").joinpath("sample", "tech_ai_ethics.ndjson").read_bytes().splitlines()
    return b"[" + b",".join(sample[1:21]) + b"]"


def serve(name: str, port: int) -> None:
    """Run one of the servers that are compared with."""
    import uvicorn

    if name in _CHANGED:
        _serve_changed(name, port)
        return
    app = {"bare": _bare, "bounded": _bare, "constant": _constant, "sdk": _sdk, "cashews": _cashews}[name]()
    http: Any = "httptools"
    if name == "bounded":
        from greenroom_platform.http.http_protocol import HttpProtocol

        http = HttpProtocol
    uvicorn.run(app, port=port, http=http, loop="uvloop", access_log=False, log_level="warning")


_CHANGED = "routed", "far", "miss"


def _serve_changed(name: str, port: int) -> None:
    """The service without its fast path, without a near cache, or with values that are never stored."""
    from greenroom.caching.load_steps import LoadSteps
    from greenroom.caching.near import Entry, Near
    from greenroom_platform.cli.serve import serve
    from greenroom_platform.http.near_answers import KnownAddresses

    async def unstored(self: LoadSteps[Any], holder: Any, *_: object) -> bool:
        holder.release()
        return False

    def kept_nowhere(self: Near, entry: Entry) -> None:
        return None

    if name == "routed":
        setattr(KnownAddresses, "keep", lambda *_: None)  # noqa: B010  mypy takes no other way
    else:
        setattr(Near, "put", kept_nowhere)  # noqa: B010
    if name == "miss":
        setattr(LoadSteps, "store", unstored)  # noqa: B010
    serve.main(["--port", str(port)], standalone_mode=False)


def _bare() -> Any:
    """Two messages."""
    body = _body()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def _constant() -> Any:
    """The same framework, parameters and headers, and nothing behind them."""
    from typing import Annotated

    from litestar import Litestar, Request, Response, get
    from litestar.params import Parameter

    body = _body()
    head = {
        "ETag": '"000000000000000000000000"',
        "Cache-Control": "public, no-cache",
        "Cache-Status": "greenroom; hit; detail=near",
        "X-Request-Id": "0" * 32,
        "Link": '</api/v1/snippets?topic_id=tech_ai_ethics&page=2>; rel="next"',
    }

    @get("/api/v1/snippets")
    async def snippets(
        request: Request[Any, Any, Any],
        topic_id: str | None = None,
        page: Annotated[int, Parameter(ge=1, le=10_000)] = 1,
    ) -> Response[bytes]:
        return Response(body, media_type="application/json", headers=head)

    snippets.fn.__annotations__ |= {
        "request": Request[Any, Any, Any], "topic_id": str | None,
        "page": Annotated[int, Parameter(ge=1, le=10_000)], "return": Response[bytes],
    }  # fmt: skip
    return Litestar([snippets], logging_config=None)


def _sdk() -> Any:
    """FastAPI with the official SDK's cache in front of a handler that returns the same page."""
    import json

    from fastapi import Depends, FastAPI
    from redis_fastapi import FastAPIRedis, cache

    page = json.loads(_body())
    app = FastAPI()
    FastAPIRedis(app).lifespan().caching()

    async def snippets(topic_id: str, page_number: int = 1) -> object:
        return page

    app.get("/api/v1/snippets", dependencies=[Depends(cache(ttl=300))])(snippets)
    return app


def _cashews() -> Any:
    """FastAPI with cashews around a handler that returns the same page."""
    import json

    from cashews import Cache
    from fastapi import FastAPI

    page = json.loads(_body())
    cache = Cache()
    cache.setup(os.environ["REDIS_URL"])
    app = FastAPI()

    async def snippets(topic_id: str, page_number: int = 1) -> object:
        return page

    app.get("/api/v1/snippets")(cache(ttl=300, key="page:{topic_id}:{page_number}")(snippets))
    return app


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
