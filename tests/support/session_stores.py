"""What tests of sessions share: the platform's sessions over a real server, time that passes, and what is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import msgspec
import pytest

from greenroom.engine import Address, engine_at
from greenroom.engine import Limits as EngineLimits
from greenroom.sessions import Revocations, SessionLimits, Sessions, background, merged
from greenroom.sessions.snapshot import SessionSnapshot
from greenroom.sessions.store import SessionStore
from greenroom.testing.server import PASS_TIME
from greenroom_platform.definitions import SESSIONS
from greenroom_platform.domain.sessions import STREAMS
from greenroom_platform.models import Session
from tests.support.proxy import Proxy
from tests.support.real_cluster import Cluster, Routed
from tests.support.real_servers import Raw, Server

Store = Sessions[Session]
Open = Callable[..., Awaitable[Store]]

MINIMAL: dict[str, object] = {"preferences": {}}
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
USED = SessionLimits(unused=SessionLimits().lifetime)
"""Of sessions in use: one that has only begun has the same limits. `test_sessions_unused.py` tests the usual ones."""
HOUR = timedelta(hours=1)


async def open_sessions(
    server: Server | Cluster | Proxy | str,
    limits: SessionLimits | None = None,
    *,
    prefix: str = "",
    engine_limits: EngineLimits | None = None,
    ends: Revocations | None = None,
    **options: Any,
) -> Store:
    """Sessions as one process has them, on an engine of their own."""
    address = server if isinstance(server, str) else server.address
    engine = engine_at(Address.parse(address), limits=engine_limits, **options)
    limits = USED if limits is None else limits
    sessions = Sessions(engine, SESSIONS.prefixed(prefix), limits, ends=ends, streams=STREAMS)
    await engine.start()
    return sessions


async def close_sessions(sessions: Store) -> None:
    """End the touches, then the connections."""
    await sessions.close()
    await sessions.engine.close()


def age(raw: Raw | Routed, passed: timedelta) -> None:
    """Let time pass on the server, in one script and to the millisecond.

    Every lifetime there is shortened by it and what has lapsed deleted; the scores of sorted sets, which are times of
    that server, are moved into the past. TIME itself goes on as it does. On a cluster it is a script on each primary.
    """
    assert raw("EVAL", PASS_TIME, 0, passed // timedelta(milliseconds=1)) == 1


class Passing:
    """Lets time pass on the server, as `age`, and for what processes here remember of their touches."""

    def __init__(self, server: Server | Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self._raw = server.raw()
        self._passed = 0.0
        monkeypatch.setattr(background, "monotonic", lambda: monotonic() + self._passed)

    def __call__(self, passed: timedelta) -> None:
        self._passed += passed.total_seconds()
        age(self._raw, passed)


def names(raw: Raw | Routed) -> set[str]:
    """Every key on the server."""
    return {name.decode() for name in raw("KEYS", "*")}


def everything(raw: Raw | Routed) -> bytes:
    """Every key with what it holds, as one text to look for secrets in."""
    found = []
    for name in sorted(raw("KEYS", "*")):
        found += [name, repr(raw("GET", name)).encode(), repr(raw("ZRANGE", name, 0, -1)).encode()]
    return b"\n".join(found)


def calls(raw: Raw | Routed) -> dict[str, int]:
    """How often each command was called since `CONFIG RESETSTAT`, but for what a cluster asks itself."""
    found = Counter[str]()
    for line in raw("INFO", "commandstats").decode().splitlines():
        name, _, numbers = line.partition(":calls=")
        if numbers and not name.startswith(("cmdstat_cluster|", "cmdstat_replconf")):
            found[name.removeprefix("cmdstat_")] += int(numbers.split(",")[0])
    return found


def key(live: SessionSnapshot[Session] | str) -> str:
    """The key of a session."""
    return f"session:{live if isinstance(live, str) else live.session_id}"


def companion(use: str, live: SessionSnapshot[Session] | str) -> str:
    """The name of a session's companion."""
    return f"greenroom:{use}:{{{key(live)}}}"


def patch(**members: object) -> Callable[[bytes], bytes]:
    """A change that sets these members."""
    return lambda body: merged(body, members)


def add_one(body: bytes) -> bytes:
    """A change that counts."""
    return merged(body, {"count": decoded(body).get("count", 0) + 1})


def decoded(body: bytes) -> dict[str, Any]:
    """A session's JSON, with members that its type does not name."""
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


async def used(sessions: Store, token: str) -> SessionSnapshot[Session] | None:
    """One request: it reads the session and touches it; returns when that is done."""
    live = await sessions.read(token)
    if live is not None:
        sessions.touch(live)
        await sessions.close()
    return live


async def at_once(*work: Awaitable[Any]) -> list[Any]:
    """What came of these, exceptions included."""
    return list(await asyncio.gather(*work, return_exceptions=True))


def held_begin(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Hold a session that is about to be created, of which the old one is over by then.

    Returns:
        What is set when it is about to be, and what the test sets to let it go on.
    """
    reached, go, begin = asyncio.Event(), asyncio.Event(), SessionStore.begin

    async def held(self: Any, *args: Any, **options: Any) -> Any:
        reached.set()
        await go.wait()
        return await begin(self, *args, **options)

    monkeypatch.setattr(SessionStore, "begin", held)
    return reached, go


async def cancelled(task: asyncio.Task[Any], go: asyncio.Event) -> None:
    """Cancel a task, and then let go of what it waits for."""
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
