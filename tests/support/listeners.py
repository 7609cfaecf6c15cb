"""A listener made of a test's own functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from greenroom.engine import Engine, Handover, KeyFilter, Listener, Script

AnyEngine = TypeVar("AnyEngine", bound=Engine)
Before = Callable[[Handover], Awaitable[None]]


async def _nothing(_: Handover) -> None:
    pass


class Functions(Listener):
    """Calls what it was given."""

    def __init__(
        self,
        on_invalidate: Callable[[bytes | None], object],
        on_lost: Callable[[KeyFilter], object],
        before_use: Before,
        before_serving: Before,
    ) -> None:
        self._on_invalidate = on_invalidate
        self._on_lost = on_lost
        self._before_use = before_use
        self._before_serving = before_serving

    def keys_invalidated(self, name: bytes | None) -> None:
        self._on_invalidate(name)

    def keys_lost(self, owns: KeyFilter) -> None:
        self._on_lost(owns)

    async def before_use(self, handover: Handover) -> None:
        await self._before_use(handover)

    async def before_serving(self, handover: Handover) -> None:
        await self._before_serving(handover)


def listening(
    engine: AnyEngine,
    *,
    scripts: Sequence[Script] = (),
    on_invalidate: Callable[[bytes | None], object] = lambda _: None,
    on_lost: Callable[[KeyFilter], object] = lambda _: None,
    before_use: Before = _nothing,
    before_serving: Before = _nothing,
) -> AnyEngine:
    """The engine, with these functions as a listener."""
    engine.add_listener(Functions(on_invalidate, on_lost, before_use, before_serving), scripts)
    return engine
