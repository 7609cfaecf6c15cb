"""A change of the record: the values that it makes stale are dropped before and after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from greenroom.detached import to_the_end
from greenroom.errors import EngineError

log = logging.getLogger("greenroom.caching")


@dataclass(frozen=True, slots=True)
class Stale:
    """A value, or a group of values, that a change makes stale.

    Arguments:
        name: its key, or the group.
        drop: drops it.
    """

    name: str
    drop: Callable[[], Awaitable[None]] = field(repr=False)


@asynccontextmanager
async def changing(stale: Sequence[Stale]) -> AsyncIterator[None]:
    """Drop what a change makes stale before and after it; see `Greenroom.changing`."""
    await _drop(stale)
    try:
        yield
    finally:
        # On every way out, since a change that has failed may have been committed, and to the end: a caller who is
        # cancelled has changed something all the same.
        await to_the_end(lambda: _drop_after(stale))


async def _drop(stale: Sequence[Stale]) -> None:
    results = await asyncio.gather(*(one.drop() for one in stale), return_exceptions=True)
    for one, result in zip(stale, results, strict=True):
        if isinstance(result, EngineError):
            log.warning("dropping %s: %s; it is kept, and sent before this process reads again", one.name, result)
        elif isinstance(result, BaseException):
            raise result


async def _drop_after(stale: Sequence[Stale]) -> None:
    try:
        await _drop(stale)
    except Exception:
        log.exception("what a change made stale was not dropped")
