"""An engine whose callers wake late: what a busy event loop does by chance, done often."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from greenroom.engine import Channel, Direct, Engine, Listener, Script
from greenroom.engine.commands import Command, Hook, ReadTogether
from greenroom.engine.deletions import Answered, Names, Queued
from greenroom.errors import EngineError

T = TypeVar("T")

MOST = 0.03
"""Seconds that a caller is woken late, at most."""


class LateLane:
    """The engine under it, as it is; only that a caller may learn of a reply late.

    Nothing is delayed before it is sent: a caller that has not been suspended has not been overtaken either.

    Arguments:
        share: of the calls whose caller is woken late.
    """

    def __init__(self, engine: Engine, share: float, chance: random.Random) -> None:
        self._engine = engine
        self.address = engine.address
        self._share = share
        self._chance = chance
        self.limits = engine.limits
        self.call_budget = engine.call_budget

    @property
    def tags(self) -> tuple[str, ...]:
        return self._engine.tags

    @property
    def direct(self) -> Direct | None:
        return self._engine.direct

    def add_listener(self, listener: Listener, scripts: Sequence[Script] = ()) -> None:
        self._engine.add_listener(listener, scripts)

    async def execute(
        self, channel: Channel, key: str, *command: str | bytes | int, retry: bool = True, deadline: float | None = None
    ) -> Any:
        return await self._late(self._engine.execute(channel, key, *command, retry=retry, deadline=deadline))

    async def broadcast(self, *command: str | bytes | int) -> list[Any]:
        return await self._late(self._engine.broadcast(*command))

    async def execute_all(
        self,
        channel: Channel,
        key: str,
        commands: tuple[Command, ...],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        deadline: float | None = None,
        urgent: bool = False,
    ) -> list[Any]:
        call = self._engine.execute_all(
            channel, key, commands, hook=hook, retry=retry, deadline=deadline, urgent=urgent
        )
        return await self._late(call)

    async def run(
        self,
        channel: Channel,
        script: Script,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        deadline: float | None = None,
        urgent: bool = False,
    ) -> Any:
        call = self._engine.run(channel, script, keys, args, hook=hook, retry=retry, deadline=deadline, urgent=urgent)
        return await self._late(call)

    def send(
        self, channel: Channel, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        sent = self._engine.send(channel, key, commands, hook)
        return None if sent is None else self._woken_late(sent)

    def drop(self, keys: Sequence[str], names: Names, answered: Answered) -> list[Queued]:
        sent = self._engine.drop(keys, names, answered)
        return [
            one if isinstance(one.replies, EngineError) else Queued(one.keys, self._woken_late(one.replies))
            for one in sent
        ]

    def read(
        self, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        sent = self._engine.read(key, commands, hook)
        return None if sent is None else self._woken_late(sent)

    def read_together(self, keys: Sequence[str], commands: Sequence[Command]) -> list[ReadTogether]:
        return [
            one if one.replies is None else one._replace(replies=self._woken_late(one.replies))
            for one in self._engine.read_together(keys, commands)
        ]

    def reset(self, channel: Channel, key: str, reason: str) -> None:
        self._engine.reset(channel, key, reason)

    @property
    def unavailable(self) -> EngineError | None:
        return self._engine.unavailable

    async def start(self) -> None:
        await self._engine.start()

    async def close(self) -> None:
        await self._engine.close()

    def _woken_late(self, sent: asyncio.Future[T]) -> asyncio.Future[T]:
        # A task that is cancelled before its first step never waits for this, and an error would count as nobody's.
        # Without this lane its caller waits for it himself.
        sent.add_done_callback(lambda one: one.cancelled() or one.exception())
        return asyncio.ensure_future(self._late(sent))

    async def _late(self, call: Awaitable[T]) -> T:
        try:
            return await call
        finally:
            if self._chance.random() < self._share:
                await asyncio.sleep(self._chance.random() * MOST)
