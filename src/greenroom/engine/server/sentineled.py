"""The engine of one server that sentinels watch, wherever they have put its primary."""

from __future__ import annotations

from greenroom.clock import Clock
from greenroom.counters import Counters
from greenroom.engine.address import Address
from greenroom.engine.limits import Limits
from greenroom.engine.server.sentinels import SentinelWatch
from greenroom.engine.server.standalone import Standalone


class Sentineled(Standalone):
    """The engine of the primary that sentinels name.

    Arguments:
        address: that of the sentinels, with the primary's name.
    """

    def __init__(self, address: Address, *, clock: Clock, counters: Counters | None, limits: Limits | None) -> None:
        counters = counters if counters is not None else Counters()
        limits = limits or Limits()
        self._sentinels = SentinelWatch(
            address, moved=lambda: self._node.doubt(), clock=clock, counters=counters, limits=limits
        )
        super().__init__(address, locator=self._sentinels, clock=clock, counters=counters, limits=limits)

    async def start(self) -> None:
        self._sentinels.start()
        await super().start()

    async def close(self) -> None:
        await super().close()
        await self._sentinels.close()
