"""The lane between the callers of a torture and their engine makes no trouble of its own."""

from __future__ import annotations

import asyncio
import gc
import random
from types import SimpleNamespace
from typing import Any, cast

from greenroom.engine.protocol.errors import ConnectionLost
from torture.lane import LateLane


async def test_an_error_is_nobody_s_loss_when_its_caller_was_cancelled_at_once() -> None:
    loop = asyncio.get_running_loop()
    unretrieved: list[Any] = []
    loop.set_exception_handler(lambda _, context: unretrieved.append(context))
    sent: asyncio.Future[list[Any]] | None = loop.create_future()
    engine = SimpleNamespace(address=None, limits=None, call_budget=1.0, read=lambda *_: sent)
    woken = LateLane(cast(Any, engine), 0.0, random.Random(0)).read("k", ())
    assert woken is not None
    assert sent is not None
    woken.cancel()
    await asyncio.wait([woken])
    sent.set_exception(ConnectionLost("by the test"))
    await asyncio.sleep(0)
    engine.read = sent = woken = None
    gc.collect()
    await asyncio.sleep(0)
    assert unretrieved == []
