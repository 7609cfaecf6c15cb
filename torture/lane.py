"""An engine whose callers wake late: what a busy event loop does by chance, done often."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from greenroom.engine import Engine, Lane, Script
from greenroom.engine.deletions import Answered, Names, Queued
from greenroom.engine.protocol.wire import Command, Hook
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
        self._share = share
        self._chance = chance

    async def execute(
        self, lane: Lane, key: str, *command: str | bytes | int, retry: bool = True, until: float | None = None
    ) -> Any:
        return await self._late(self._engine.execute(lane, key, *command, retry=retry, until=until))

    async def everywhere(self, *command: str | bytes | int) -> list[Any]:
        return await self._late(self._engine.everywhere(*command))

    async def execute_all(
        self,
        lane: Lane,
        key: str,
        commands: tuple[Command, ...],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        until: float | None = None,
        urgent: bool = False,
    ) -> list[Any]:
        call = self._engine.execute_all(lane, key, commands, hook=hook, retry=retry, until=until, urgent=urgent)
        return await self._late(call)

    async def run(
        self,
        lane: Lane,
        script: Script,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        hook: Hook | None = None,
        retry: bool = True,
        until: float | None = None,
        urgent: bool = False,
    ) -> Any:
        call = self._engine.run(lane, script, keys, args, hook=hook, retry=retry, until=until, urgent=urgent)
        return await self._late(call)

    def send(
        self, lane: Lane, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        sent = self._engine.send(lane, key, commands, hook)
        return None if sent is None else asyncio.ensure_future(self._late(sent))

    def drop(self, keys: Sequence[str], names: Names, answered: Answered) -> list[Queued]:
        sent = self._engine.drop(keys, names, answered)
        return [
            one
            if isinstance(one.replies, EngineError)
            else Queued(one.keys, asyncio.ensure_future(self._late(one.replies)))
            for one in sent
        ]

    def read(
        self, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        sent = self._engine.read(key, commands, hook)
        return None if sent is None else asyncio.ensure_future(self._late(sent))

    def renew(self, lane: Lane, key: str, reason: str) -> None:
        self._engine.renew(lane, key, reason)

    @property
    def trouble(self) -> EngineError | None:
        return self._engine.trouble

    async def start(self) -> None:
        await self._engine.start()

    async def close(self) -> None:
        await self._engine.close()

    async def _late(self, call: Awaitable[T]) -> T:
        try:
            return await call
        finally:
            if self._chance.random() < self._share:
                await asyncio.sleep(self._chance.random() * MOST)
