"""HTTP: a near hit of `GET /api/v1/snippets` against a constant handler, and against FastAPI with the official SDK.

Server CPU per request is compared, which does not depend on how fast this client is. `python -m bench.http NAME PORT`
runs one of the servers that are compared with.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.patience import wait_for
from tests.support.real_servers import free_port

CONNECTIONS = 32
REQUESTS = 12_000
PATH = "/api/v1/snippets?topic_id=tech_ai_ethics&page=1"


def _ticks(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _drive(port: int, count: int) -> None:
    """Send requests over one kept-alive connection, each after the answer to the last."""
    request = f"GET {PATH} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        for _ in range(count):
            connection.sendall(request)
            while (head := data.find(b"\r\n\r\n")) < 0:
                data += connection.recv(65536)
            assert data.startswith(b"HTTP/1.1 200"), data[:200]
            fields = data[:head].lower()
            start = fields.index(b"content-length: ") + 16
            whole = head + 4 + int(fields[start : fields.find(b"\r\n", start) if b"\r\n" in fields[start:] else None])
            while len(data) < whole:
                data += connection.recv(65536)
            data = data[whole:]


def cost(command: list[str], port: int, env: dict[str, str]) -> float:
    """Microseconds of the server's CPU per request."""
    process = subprocess.Popen(command, env=os.environ | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port), 60)
        _drive(port, 500)
        before = _ticks(process.pid)
        drivers = [threading.Thread(target=_drive, args=(port, REQUESTS // CONNECTIONS)) for _ in range(CONNECTIONS)]
        for driver in drivers:
            driver.start()
        for driver in drivers:
            driver.join()
        return (_ticks(process.pid) - before) / (REQUESTS // CONNECTIONS * CONNECTIONS) * 1e6
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{PATH}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def greenroom_cost() -> float:
    """The service as users run it."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        command = [
            str(Path(sys.executable).parent / "greenroom"), "serve", "--port", str(port), "--data-dir", directory,
            "--log-level", "warning",
        ]  # fmt: skip
        return cost(command, port, {})


def peer_cost(name: str, valkey_port: int) -> float:
    """One of the servers of this file."""
    port = free_port()
    env = {"REDIS_URL": f"redis://127.0.0.1:{valkey_port}"}
    return cost([sys.executable, "-m", "bench.http", name, str(port)], port, env)


def _body() -> bytes:
    from importlib.resources import files

    sample = files("greenroom_platform.storage").joinpath("sample", "tech_ai_ethics.ndjson").read_bytes().splitlines()
    return b"[" + b",".join(sample[1:21]) + b"]"


def serve(name: str, port: int) -> None:
    """Run one of the servers that are compared with."""
    import uvicorn

    app = {"constant": _constant, "fastapi": _fastapi}[name]()
    uvicorn.run(app, port=port, http="httptools", loop="uvloop", access_log=False, log_level="warning")


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


def _fastapi() -> Any:
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


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
