"""Sending the invalidations made here: each at once and by its caller, or many together; on until it is acknowledged.

What is dropped is kept first (`caching/kept`), so that whatever fails is carried by the next connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from greenroom.caching.kept import Kept
from greenroom.caching.near import Near
from greenroom.detached import Detached
from greenroom.engine import Engine, Lane
from greenroom.engine.connection import Connection
from greenroom.engine.wire import NotHere
from greenroom.errors import EngineError

log = logging.getLogger("greenroom.caching")

_TOGETHER = 500
"""Keys dropped at a time: there may be more than may be outstanding on a connection, and a DEL blocks its server."""
Names = tuple[str, ...]
"""A key and its companions, which one command drops."""


class Drops:
    """The invalidations of one process that are under way. The engine is attached later."""

    engine: Engine

    def __init__(self, kept: Kept, near: Near) -> None:
        self._kept = kept
        self._near = near
        self.pending: dict[str, int] = {}
        """Keys whose invalidation was called here and has not ended yet: nothing of theirs is put near."""
        self.refused: set[str] = set()
        """Those of them that the server has refused so far: they are not read from it."""
        self.detached = Detached()
        """Those whose callers are gone, and groups."""

    async def settle(self, seconds: float) -> None:
        """Wait for what goes on without its caller, but not for longer than so many seconds."""
        await self.detached.close(seconds)

    async def one(self, key: str, names: Names, lifetime: float) -> None:
        """Send one, which goes on when its caller is cancelled; raises as `Backing.drop`."""
        kept = self._kept.keep(key, names, lifetime)
        self.pending[key] = self.pending.get(key, 0) + 1
        try:
            # By the caller himself, and at once: what he reads after the call is then sent after the DEL.
            await self._deliver(key, names, kept)
        except asyncio.CancelledError:
            self.detached.begin(self._go_on(key, names, kept), "greenroom-drop")
            raise
        except BaseException:
            self._ended(key)
            raise
        self._ended(key)

    async def _go_on(self, key: str, names: Names, kept: object) -> None:
        """Send an invalidation whose caller is gone, unless the server has carried it out since."""
        try:
            if self._kept.owed(kept):
                await self._deliver(key, names, kept)
        finally:
            self._ended(key)

    async def _deliver(self, key: str, names: Names, kept: object) -> None:
        def answered(replies: list[Any], _source: Connection) -> None:
            # A GET sent before the DEL has been answered since, and what it read stored.
            self._near.pop(key)
            errors = [reply for reply in replies if isinstance(reply, Exception)]
            if not errors:
                self._kept.acknowledged(kept)  # here: the caller may have been cancelled
                self.refused.discard(key)
            elif key in self.pending and not all(isinstance(error, NotHere) for error in errors):
                self.refused.add(key)

        try:
            await self.engine.execute_all(Lane.TRACKED, key, (("DEL", *names),), hook=answered, urgent=True)
        except EngineError as error:
            if self._kept.owed(kept):
                # The server may answer and refuse (read-only, short of replicas): it must then not be read from.
                self.engine.renew(Lane.TRACKED, key, f"it owes an invalidation: {error}")
            raise

    def _ended(self, key: str) -> None:
        self.pending[key] -= 1
        if not self.pending[key]:
            del self.pending[key]
            self.refused.discard(key)  # carried out by now, or the connection that refused it has been ended

    async def many(self, names: Mapping[str, Names], lifetime: float) -> None:
        """Send many, those of one server together. To be called by a task that nobody cancels; raises as `one`.

        All are kept at the call, so that what fails leaves none that is neither dropped nor kept.
        """
        keys = list(names)
        kept = {key: self._kept.keep(key, of_key, lifetime) for key, of_key in names.items()}
        for key in keys:
            self.pending[key] = self.pending.get(key, 0) + 1
        try:
            for of_server, one in self.engine.together(keys):
                await self._deliver_together(of_server, one, names, kept)
            await self._insist(names, kept)
        finally:
            for key in keys:
                self._ended(key)

    async def _insist(self, names: Mapping[str, Names], kept: Mapping[str, object]) -> None:
        """Send what is still owed: first one key of each server, which waits for that or ends its connection."""
        failures, rest = list[BaseException](), [key for key, one in kept.items() if self._kept.owed(one)]
        for of_server, one in self.engine.together(rest) if rest else ():
            try:
                await self._deliver(of_server[0], names[of_server[0]], kept[of_server[0]])
            except EngineError as error:
                failures.append(error)
                rest = sorted(set(rest).difference(of_server))  # its next connection carries them
            else:
                await self._deliver_together(of_server[1:], one, names, kept)
        rest = [key for key in rest if self._kept.owed(kept[key])]  # what has moved, or cannot be sent together
        for start in range(0, len(rest), _TOGETHER):
            drops = (self._deliver(key, names[key], kept[key]) for key in rest[start : start + _TOGETHER])
            results = await asyncio.gather(*drops, return_exceptions=True)
            failures.extend(result for result in results if result is not None)
        if failures:
            raise failures[0]

    async def _deliver_together(
        self, keys: Sequence[str], one: bool, names: Mapping[str, Names], kept: Mapping[str, object]
    ) -> None:
        for start in range(0, len(keys), _TOGETHER):
            await self._deliver_some(keys[start : start + _TOGETHER], one, names, kept)

    async def _deliver_some(
        self, keys: Sequence[str], one: bool, names: Mapping[str, Names], kept: Mapping[str, object]
    ) -> None:
        def answered(replies: list[Any], _source: Connection) -> None:
            for key in keys:
                self._near.pop(key)
            done = _carried_out(keys, replies * len(keys) if one else replies)
            for key in done:
                self._kept.acknowledged(kept[key])

        these = (names[key] for key in keys)
        commands = (("DEL", *chain.from_iterable(these)),) if one else tuple(("DEL", *of_key) for of_key in these)
        try:
            queued = self.engine.send(Lane.TRACKED, keys[0], commands, answered)
            if queued is not None:
                await queued
        except EngineError as error:
            log.debug("dropping %d keys together: %s", len(keys), error)


def _carried_out(keys: Sequence[str], replies: Sequence[Any]) -> Iterable[str]:
    return (key for key, reply in zip(keys, replies, strict=True) if not isinstance(reply, Exception))
