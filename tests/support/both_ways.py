"""The service in this event loop, whose near hits a test may send past the fast path; spoken to in bytes."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from greenroom_platform.http.app import create_app
from greenroom_platform.http.envelope import Envelope
from greenroom_platform.http.logs import REQUEST_ID
from greenroom_platform.http.metrics import Metrics
from greenroom_platform.http.near_answers import KnownAddresses, NearAnswers
from tests.support import stream_listeners
from tests.support.running_service import API, TOKEN
from tests.support.stream_listeners import Inner, inner

_CHANGING = re.compile(rb"(?im)^(date|x-request-id): [^\r\n]*\r\n")
_LENGTH = re.compile(rb"(?im)^content-length: (\d+)\r$")


@dataclass
class Exchange:
    """One answer, and what the service has noted of it.

    Arguments:
        answer: its bytes, without `Date` and `X-Request-Id`.
        fast: whether it came before the router.
        requests: what was counted of requests, by method, route and status.
        reads: what was counted of cached reads, by keyspace and outcome.
        line: the fields of the access line but for the time, and whether its request id is the answer's.
    """

    answer: bytes
    fast: bool
    requests: dict[Any, int]
    reads: dict[Any, int]
    line: dict[str, Any]

    @property
    def status(self) -> int:
        return int(self.answer[9:12])

    @property
    def noted(self) -> object:
        """All but the way."""
        return self.answer, self.requests, self.reads, self.line

    def header(self, name: str) -> str | None:
        """A header's value."""
        found = re.search(rb"(?im)^%s: ([^\r\n]*)\r$" % name.encode(), self.answer.partition(b"\r\n\r\n")[0] + b"\r\n")
        return None if found is None else found[1].decode("latin-1")

    @property
    def is_near(self) -> bool:
        return self.header("cache-status") == "greenroom; hit; detail=near"

    @property
    def body(self) -> bytes:
        return self.answer.partition(b"\r\n\r\n")[2]


class BothWays:
    """Asks a service, one request at a time.

    Arguments:
        app: what `create_app` has made.
    """

    snippet_id = ""
    """One that a test has made."""

    def __init__(self, service: Inner, app: Envelope) -> None:
        self.service = service
        self.platform = service.platform
        self.metrics: Metrics = app._metrics
        layer: Any = app
        while not isinstance(layer, NearAnswers):
            layer = layer._app
        self._layer = layer
        self._routed = 0
        self._lines: list[tuple[str, dict[str, Any]]] = []
        behind = layer._app

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self._routed += 1
            await behind(scope, receive, send)

        layer._app = counted

    @property
    def known(self) -> KnownAddresses:
        """What the fast path remembers."""
        known: KnownAddresses = self._layer._known
        return known

    @contextmanager
    def past_the_fast_path(self) -> Iterator[None]:
        """Inside the block every request takes the whole way."""
        known, self._layer._known = self._layer._known, KnownAddresses()
        try:
            yield
        finally:
            self._layer._known = known

    async def ask(self, request: bytes) -> Exchange:
        """Send a request on a connection of its own, and read its answer."""
        requests, reads = dict(self.metrics._requests), dict(self.metrics._counters.reads)
        routed, lines = self._routed, len(self._lines)
        host, _, port = self.service.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            async with asyncio.timeout(30):
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                bodiless = request.startswith(b"HEAD ") or head[9:12] in (b"204", b"304") or length is None
                body = b"" if length is None or bodiless else await reader.readexactly(int(length[1]))
        finally:
            writer.close()
        request_id = re.search(rb"(?im)^x-request-id: ([^\r\n]*)\r$", head)
        line: dict[str, Any] = {}
        if len(self._lines) > lines:
            named, fields = self._lines[-1]
            line = fields | {"of the answer": request_id is not None and named == request_id[1].decode()}
        counted = _more(requests, self.metrics._requests)
        if request_id is not None:
            body = body.replace(request_id[1], b"(the id)")  # as a problem repeats it
        return Exchange(
            _CHANGING.sub(b"", head) + body,
            bool(counted) and self._routed == routed,
            counted,
            _more(reads, self.metrics._counters.reads),
            line,
        )

    async def get(self, path: str, **headers: str) -> Exchange:
        """Ask with GET."""
        return await self.ask(
            request_of("GET", path, [(name.replace("_", "-"), text) for name, text in headers.items()])
        )

    async def warm(self, path: str) -> None:
        """Ask until the fast path answers; a machine that stands still for a second begins anew."""
        async with asyncio.timeout(60):
            while not (await self.get(path)).fast:
                pass

    def heard(self, record: logging.LogRecord) -> None:
        fields = dict(getattr(record, "fields", {}))
        fields.pop("milliseconds", None)
        self._lines.append((REQUEST_ID.get(), fields))


def request_of(method: str, target: str, headers: list[tuple[str, str]] | None = None, body: bytes = b"") -> bytes:
    """The bytes of a request; with a Host unless one is given."""
    lines = [f"{method} {target} HTTP/1.1"]
    if not any(name.lower() == "host" for name, _ in headers or ()):
        lines.append("Host: 127.0.0.1")
    lines += [f"{name}: {value}" for name, value in headers or ()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _more(before: dict[Any, int], after: dict[Any, int]) -> dict[Any, int]:
    return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


@asynccontextmanager
async def both_ways(data_dir: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[BothWays]:
    """Serve while the block runs; the access lines are kept instead of written.

    Arguments:
        settings: as for `inner`, text.
    """
    made: list[Envelope] = []

    def create(*args: Any, **options: Any) -> Envelope:
        made.append(create_app(*args, **options))
        return made[-1]

    monkeypatch.setattr(stream_listeners, "create_app", create)
    access = logging.getLogger("greenroom.access")
    async with inner(data_dir, **settings) as service:
        ways = BothWays(service, made[0])
        handler = logging.Handler()
        handler.emit = ways.heard  # type: ignore[method-assign]
        monkeypatch.setattr(access, "handlers", [handler])
        monkeypatch.setattr(access, "propagate", False)
        level = access.level
        access.setLevel(logging.INFO)
        try:
            yield ways
        finally:
            access.setLevel(level)


EDITOR = ("Authorization", f"Bearer {TOKEN}")


async def edit(ways: BothWays, method: str, path: str, body: bytes) -> Exchange:
    """Change something as an editor."""
    headers = [EDITOR, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return await ways.ask(request_of(method, f"{API}{path}", headers, body))
