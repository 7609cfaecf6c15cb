"""Around a change of the record: what it makes stale is dropped before it, and on every way out of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from greenroom.caching.drops import LONGEST
from greenroom.detached import to_the_end
from greenroom.errors import EngineError, InvalidInput

log = logging.getLogger("greenroom.caching")


@dataclass(frozen=True, slots=True)
class DropTarget:
    """A value, or a group of values, that a change makes stale.

    Arguments:
        name: its key, or the group.
        drop: drops it.
        lifetime: seconds that a value of it can live at most.
        is_group: whether it is a group.
    """

    name: str
    drop: Callable[[], Awaitable[None]] = field(repr=False)
    lifetime: float = field(default=LONGEST, repr=False)
    is_group: bool = field(default=False, repr=False)


def changing(stale: Sequence[DropTarget]) -> AbstractAsyncContextManager[None]:
    """Drop what a change makes stale before and after it; see `Greenroom.changing`.

    Raises:
        InvalidInput: at the call, for what is no target.
    """
    for one in stale:
        if not isinstance(one, DropTarget):
            if isinstance(one, Coroutine):
                one.close()  # as of `invalidate`: this error says enough, no warning need follow it
            raise InvalidInput("stale", f"{one!r:.80} is nothing to drop", "give episode.of(…) or episode.group(…)")
    return _changing(stale)


@asynccontextmanager
async def _changing(stale: Sequence[DropTarget]) -> AsyncIterator[None]:
    await drop_each(stale)
    try:
        yield
    finally:
        # On every way out, since a change that has failed may have been committed, and to the end: a caller who is
        # cancelled has changed something all the same.
        await to_the_end(lambda: drop_after(stale))


async def drop_each(stale: Sequence[DropTarget]) -> None:
    """Drop each target; what a server does not acknowledge is logged, and kept."""
    results = await asyncio.gather(*(one.drop() for one in stale), return_exceptions=True)
    for one, result in zip(stale, results, strict=True):
        if isinstance(result, EngineError):
            log.warning("dropping %s: %s; it is kept, and sent before this process reads again", one.name, result)
        elif isinstance(result, BaseException):
            raise result


async def drop_after(stale: Sequence[DropTarget]) -> None:
    """Drop each target after the change, which is made whatever becomes of this."""
    try:
        await drop_each(stale)
    except Exception:
        log.exception("the stale keys of a change were not dropped")
