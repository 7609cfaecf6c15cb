"""Drops of keyspaces, as processes tell the servers of them and hear of each other's.

The truth is one key. On a cluster copies of it lie on all nodes, so that each tracked connection is told of a drop by
its own server, in the order of its replies:

    the truth is raised on node A · this process has lost A, and serves what it has near of node B

Every process keeps the greatest generation that it has seen, and writes it back on each new connection. Prevents:

    the key is evicted, or a failover loses it · a process starts, knows no generation, and takes the old values for
    current
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from greenroom.caching.generation import KeyspaceGeneration, moment_of
from greenroom.clock import Clock
from greenroom.detached import Detached
from greenroom.engine import Channel, Command, Engine, Handover, KeyFilter, NoReply, Script
from greenroom.engine.shapes import Shape
from greenroom.errors import EngineError
from greenroom.keyspace import Keyspace

log = logging.getLogger("greenroom.caching")


def _is_answer(reply: list[Any], _: Command) -> bool:
    match reply:
        case [bytes(), int()]:
            return True
    return False


GENERATION = Script.named("generation", Shape(frozenset({list}), _is_answer), functions=("text",))
SCRIPTS = (GENERATION,)


class Generations:
    """The generations of one room.

    Arguments:
        forget: drops the keys that are meant in this process.
    """

    def __init__(self, engine: Engine, clock: Clock, forget: Callable[[KeyFilter], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._forget = forget
        self._all: dict[str, KeyspaceGeneration] = {}  # by the truth's name
        self._by_name: dict[str, KeyspaceGeneration] = {}
        self._asked: WeakKeyDictionary[Handover, frozenset[str]] = WeakKeyDictionary()
        self.detached = Detached()
        """Drops that go on without their callers."""

    def of(self, keyspace: Keyspace[Any]) -> KeyspaceGeneration:
        """The generation of a keyspace, which has the room's prefix.

        The first time it is asked for, before anything that is sent later: what is read then is read after it.
        """
        forget = partial(self._forget, keyspace.pattern.matches)
        generation = KeyspaceGeneration(keyspace, self._engine.tags, self._clock, forget)
        found = self._all.get(generation.truth)
        if found is not None:
            return found
        self._all[generation.truth] = generation
        for name in generation.names:
            self._by_name[name] = generation
            self._ask(generation, name)
        return generation

    async def send(self, generation: KeyspaceGeneration, drop: object) -> None:
        """Begin a generation on the server unless this drop has, and tell every node; for `KeyspaceDrop`."""
        begun = drop not in generation.pending
        call = self._copy(generation) if begun else self._drop(generation, drop)
        await self.detached.finish(call, "greenroom-drop")

    def pushed(self, name: str) -> None:
        """A key has changed; in the socket's reader, so that what is read later is read after the question."""
        generation = self._by_name.get(name)
        if generation is not None:
            self._ask(generation, name)

    def lost(self, owns: KeyFilter) -> None:
        """The truth or a copy may have changed unseen, or have another server: ask for it, if that is connected to."""
        for name, generation in self._by_name.items():
            if owns(name):
                self._ask(generation, name)

    async def before_serving(self, handover: Handover) -> None:
        """Read what a new connection's server has of them, and leave there what it does not know.

        What was asked for is remembered for the connection, for `queue`.

        Raises:
            EngineError: when the connection has ended.
        """
        due = self._due(handover.owns)
        if not due:
            return
        calls = [self._call(generation, name) for name, generation in due]
        owed = [set(generation.pending) for _, generation in due]
        replies = await handover.run((("SCRIPT", "LOAD", GENERATION.source), *(call for call, _ in calls)))
        for (name, generation), (_, begins), pending, reply in zip(due, calls, owed, replies[1:], strict=True):
            self._take(generation, reply)
            if begins and type(reply) is list:
                generation.pending -= pending
                log.info("the drop of %s has begun, after waiting for its server", name)
                self.detached.begin(self._copy(generation), "greenroom-drop")
        self._asked[handover] = frozenset(name for name, _ in due)

    def queue(self, handover: Handover) -> None:
        """As `before_serving`, before all that is read later on a connection that serves from now on.

        Of keys that its server has taken over, or of keyspaces that were declared while it was not yet in use.
        """
        asked = self._asked.get(handover, ())
        due = [(name, generation) for name, generation in self._due(handover.owns) if name not in asked]
        if not due:
            return
        calls = (GENERATION.call((name,), (generation.current, "")) for name, generation in due)

        def answered(replies: list[Any]) -> None:
            for (_, generation), reply in zip(due, replies[1:], strict=True):
                self._take(generation, reply)

        handover.queue((("SCRIPT", "LOAD", GENERATION.source), *calls), answered)

    # ------------------------------------------------------------------------------------------------

    async def _drop(self, generation: KeyspaceGeneration, drop: object) -> None:
        def answered(replies: list[Any], _: Any) -> None:
            # In the reader: the generation is known here before anything that was read after it.
            self._take(generation, replies[-1])
            if type(replies[-1]) is list:
                generation.pending.discard(drop)

        asking = asyncio.get_running_loop().create_future()
        generation.asking.add(asking)
        args = generation.current, self._random()
        try:
            await self._engine.run(Channel.TRACKED, GENERATION, (generation.truth,), args, hook=answered, urgent=True)
        except BaseException as error:  # cancelled by whoever cancels every task, too
            if drop in generation.pending:
                self._owed(generation.truth, error)
            raise
        finally:
            generation.asking.discard(asking)
            asking.set_result(None)
        await self._copy(generation)

    async def _copy(self, generation: KeyspaceGeneration) -> None:
        """Tell every node. Only after the truth: who connects meanwhile reads one or the other.

        Prevents: the copies are written · a process connects to the truth, which is old · the truth is written: it has
        read neither.
        """
        names = generation.names[1:]
        run, args = self._engine.run, (generation.current, "")
        hook = partial(self._answered, generation)
        copies = (run(Channel.TRACKED, GENERATION, (name,), args, hook=hook, urgent=True) for name in names)
        failure: BaseException | None = None
        for name, result in zip(names, await asyncio.gather(*copies, return_exceptions=True), strict=True):
            if isinstance(result, EngineError):
                self._owed(name, result)
            if isinstance(result, BaseException):
                failure = result
        if failure is not None:
            raise failure

    def _owed(self, name: str, error: BaseException) -> None:
        """The next connection carries what this one did not; what is late on one that lives may still come."""
        if not isinstance(error, NoReply):
            self._engine.reset(Channel.TRACKED, name, f"it owes the drop of a keyspace: {error}")

    def _ask(self, generation: KeyspaceGeneration, name: str) -> None:
        """Ask for the truth or a copy, before all that is sent later on its connection; a new one asks by itself."""
        call = GENERATION.call((name,), (generation.current, ""))
        again = partial(self._ask_again, generation, name)

        def answered(replies: list[Any], _: Any) -> None:
            self._take(generation, replies[-1])
            if isinstance(replies[-1], EngineError):
                again()

        try:
            sent = self._engine.send(Channel.TRACKED, name, (call,), answered)
        except EngineError:
            again()  # too much is under way already
        else:
            if sent is not None:
                sent.add_done_callback(asyncio.Future.exception)  # so it is when the connection ends before the reply

    def _ask_again(self, generation: KeyspaceGeneration, name: str) -> None:
        hook = partial(self._answered, generation)
        call = self._engine.run(Channel.TRACKED, GENERATION, (name,), (generation.current, ""), hook=hook, urgent=True)
        self.detached.begin(call, "greenroom-generation")

    def _answered(self, generation: KeyspaceGeneration, replies: list[Any], _: Any) -> None:
        self._take(generation, replies[-1])

    def _take(self, generation: KeyspaceGeneration, reply: Any) -> None:
        match reply:
            case [bytes(greatest), int(now)]:
                text = greatest.decode("utf-8", "replace")
                generation.adopt(text, (now - moment_of(text)) / 1e6)

    def _due(self, owns: KeyFilter) -> list[tuple[str, KeyspaceGeneration]]:
        return [(name, generation) for name, generation in self._by_name.items() if owns(name)]

    def _call(self, generation: KeyspaceGeneration, name: str) -> tuple[Command, bool]:
        """The question for a new connection, and whether it begins a generation that a drop could not."""
        begins = bool(generation.pending) and name == generation.truth
        return GENERATION.call((name,), (generation.current, self._random() if begins else "")), begins

    def _random(self) -> str:
        return self._clock.token().hex()[:8]


class KeyspaceDrop:
    """One drop of a keyspace. It counts in this process from the beginning, and begins one generation, however often
    it is sent."""

    def __init__(self, generations: Generations, generation: KeyspaceGeneration) -> None:
        self._generations = generations
        self._generation = generation
        self._drop = generation.begin()
        self._told = False

    async def send(self) -> None:
        """Begin a new generation; goes on when its caller is cancelled. Sent again, it tells whoever was not told.

        Raises:
            EngineError: when a server did not acknowledge. Here it counts all the same, and the next connection to that
                server carries it; other processes may serve old values until then.
        """
        if not self._told:
            await self._generations.send(self._generation, self._drop)
            self._told = True
