"""Mutated streams: whatever a server's bytes become on their way, nobody gets what is another's, and nothing breaks.

A server made of canned replies answers caches and sessions over a socket that is none. One burst of its replies at a
time is mutated. Every value bears the name of what was asked for, so that one in the wrong hands is seen.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from greenroom.caching import Cache
from greenroom.caching.invalidation import Backing
from greenroom.clock import SYSTEM
from greenroom.counters import Counters
from greenroom.engine import Address, Limits, engine_at
from greenroom.errors import BrokenValue, EngineError, LoadFailed
from greenroom.keyspace import Keyspace
from greenroom.sessions import Presence, SessionGone, Sessions
from greenroom_platform.definitions import SESSIONS
from greenroom_platform.domain.sessions import STREAMS
from torture.canned import Bursts, canned
from torture.mutations import Mutation

Call = Callable[[], Awaitable[Any]]
CALLERS = 12
"""Calls in a burst."""
_ALLOWED = (EngineError, BrokenValue, LoadFailed, SessionGone)
_PATIENCE = 5.0
"""Seconds within which the connections must be of use again."""
_KEYSPACE: Keyspace[str] = Keyspace("stream:{shelf}:{name}", str, ttl=timedelta(minutes=5), fresh=timedelta(minutes=1))


class Client:
    """Caches and sessions of one process over that server."""

    def __init__(self, address: str) -> None:
        # No time is lost between attempts: twenty thousand streams break a connection or more each.
        limits = Limits(
            command_deadline=0.05,
            handshake_deadline=0.1,
            tick=0.01,
            backoff_first=0.0,
            backoff_max=0.0,
            probe_min=0.0,
            probe_max=0.0,
            topology_pause=0.0,
        )
        counters = Counters()
        self.engine = engine_at(Address.parse(address), counters=counters, limits=limits)
        self.backing = Backing(self.engine, "", SYSTEM, counters)
        self.cache = Cache(_KEYSPACE, _load, backing=self.backing, load_many=_load_many, groups=["shelf:{shelf}"])
        self.sessions = Sessions(self.engine, SESSIONS, counters=counters, streams=STREAMS)
        self.presence = Presence(self.sessions)

    def calls(self, chance: random.Random) -> list[tuple[str | None, Call]]:
        """Calls of all kinds, each with what it must answer where it answers text: its own."""
        calls: list[tuple[str | None, Call]] = []
        for _ in range(CALLERS):
            name = f"n{chance.randrange(10**6)}"
            session = hashlib.sha256(name.encode()).hexdigest()[:43]
            kinds: list[tuple[str | None, Call]] = [
                (f"stream:s:{name}", partial(self.cache.get, shelf="s", name=name)),
                (f"stream:s:{name}", partial(self._first, name)),
                (None, partial(self.cache.invalidate, shelf="s", name=name)),
                (None, partial(self.cache.invalidate_group, shelf="s")),
                (session, partial(self.user, session)),
                (session, partial(self.user, session)),
                (session, partial(self._changed, session)),
                (None, partial(self.sessions.end, session)),
                (None, partial(self.sessions.rotate, session, {})),
                (None, partial(self.sessions.start, user_id="u", preferences={})),
                (None, partial(self.sessions.end_all, "u")),
                (None, partial(self.sessions.of_user, "u")),
                (None, self.presence.listeners),
                (None, self.presence.active),
            ]
            calls.append(chance.choice(kinds))
        return calls

    async def _first(self, name: str) -> Any:
        return (await self.cache.get_many([{"shelf": "s", "name": name}, {"shelf": "s", "name": "other"}]))[0]

    async def user(self, session: str) -> Any:
        live = await self.sessions.read_id(session)
        return live and live.value.user_id

    async def _changed(self, session: str) -> Any:
        return (await self.sessions.change(session, _unchanged)).value.user_id


async def _load(shelf: str, name: str) -> str:
    return f"stream:{shelf}:{name}"


async def _load_many(parts: Any) -> list[str]:
    return [f"stream:{one['shelf']}:{one['name']}" for one in parts]


def _unchanged(body: bytes) -> bytes:
    return body


SERVER, CLUSTER = "valkey://canned:1", "valkey+cluster://canned:1"
BLOCK = 20
"""Streams that share a client: what one leaves behind, as ends that a new connection carries, the next ones meet."""


class Run(NamedTuple):
    """What became of some streams.

    Arguments:
        wrong: what was wrong, each with the number of its stream.
        told: how often each answer came.
        mutations: what was done to each stream; nothing where its bytes ended before.
    """

    wrong: list[str]
    told: Counter[str]
    mutations: dict[int, Mutation]


def up_to(stream: int) -> range:
    """What must be run to meet a stream as it was met among all: itself, and those before it with the same client."""
    return range(stream - stream % BLOCK, stream + 1)


async def run_streams(seed: str, streams: Iterable[int], *, address: str) -> Run:
    """Run the streams of these numbers in their order, one mutation each. The choices for each follow from its number.

    Arguments:
        address: any; it says whether the server is taken for a cluster.
    """
    run, stream, client = Run([], Counter(), {}), 0, None
    bursts = Bursts(random.Random())

    def wrong(text: str) -> None:
        run.wrong.append(f"stream {stream}: {text}")

    handler = _Errors(wrong)
    logging.getLogger("greenroom").addHandler(handler)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: wrong(f"the loop: {context!r}"))
    try:
        async with canned(bursts), AsyncExitStack() as stack:
            for stream in streams:
                chance = random.Random(f"{seed}/{address}/{stream}")
                bursts.begin(chance)
                if client is None or stream % BLOCK == 0:
                    await stack.aclose()
                    client = await stack.enter_async_context(opened(address))
                calls = client.calls(chance)
                bursts.due = chance.randrange(6)
                results = await asyncio.gather(*(call() for _, call in calls), return_exceptions=True)
                bursts.due = None
                if bursts.mutation is not None:
                    run.mutations[stream] = bursts.mutation
                names = {own for own, _ in calls if own}
                for (own, _), result in zip(calls, results, strict=True):
                    run.told[type(result).__name__] += 1
                    if isinstance(result, BaseException) and not isinstance(result, _ALLOWED):
                        wrong(f"{own} got {result!r}; {bursts.mutation}")
                    elif isinstance(result, str) and own is not None and result != own and result in names:
                        wrong(f"{own} got {result}; {bursts.mutation}")
                if not await _well(client):
                    wrong(f"not well again: {client.engine.unavailable}; {bursts.mutation}")
                    break
    finally:
        logging.getLogger("greenroom").removeHandler(handler)
        loop.set_exception_handler(None)
    return run


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Client]:
    client = Client(address)
    await client.engine.start()
    try:
        yield client
    finally:
        await client.sessions.close()
        await client.cache.close()
        await client.engine.close()


async def _well(client: Client) -> bool:
    """Whether both connections are of use again, soon."""
    try:
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    await client.sessions.read_id("a" * 43)
                    await client.cache.invalidate(shelf="s", name="n")
                    await client.sessions.start(preferences={})
                    return True
                except _ALLOWED:
                    pass
                await asyncio.sleep(0)
    except TimeoutError:
        return False


class _Errors(logging.Handler):
    """Errors that were logged: an exception of ours that had to be caught by somebody else."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(logging.Formatter().format(record))
