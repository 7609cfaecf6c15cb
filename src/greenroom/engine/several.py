"""Many calls at once, without a task for each: all leave in one write, and most are answered in one read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, NamedTuple

from greenroom.engine.commands import Channel, Command, Hook
from greenroom.engine.engine import Engine
from greenroom.engine.protocol.errors import ConnectionLost, NoReply, NotSent
from greenroom.errors import EngineError, EngineRefused, EngineUnavailable, OutcomeUnknown


class KeyCommands(NamedTuple):
    """What `Engine.execute_all` is given for one key."""

    key: str
    commands: tuple[Command, ...]
    hook: Hook | None = None


async def execute_each(
    engine: Engine, channel: Channel, calls: Sequence[KeyCommands], *, retry: bool = True
) -> list[list[Any] | EngineError]:
    """The replies to each call, or what `Engine.execute_all` would raise of it; returns when all have ended.

    Arguments:
        calls: of one command each, where `retry` is false.
        retry: whether a command may be repeated after a lost connection.
    """
    deadline = monotonic() + engine.call_budget
    sent = [_sent(engine, channel, call) for call in calls]
    results = list[list[Any] | EngineError]()
    again = list[int]()
    try:
        for number, one in enumerate(sent):
            result: Any = one
            if isinstance(one, asyncio.Future):
                try:
                    result = _told(await one)
                except EngineError as error:
                    result = _failed(engine, error, retry=retry)
            if result is None:
                again.append(number)
            results.append([] if result is None else result)
    except BaseException:
        for one in sent:
            if isinstance(one, asyncio.Future):
                one.cancel()  # nobody looks any more at how it ends
        raise

    async def repeated(call: KeyCommands) -> list[Any]:
        return await engine.execute_all(
            channel, call.key, call.commands, hook=call.hook, retry=retry, deadline=deadline
        )

    answers = await asyncio.gather(*(repeated(calls[number]) for number in again), return_exceptions=True)
    for number, answer in zip(again, answers, strict=True):
        if isinstance(answer, BaseException) and not isinstance(answer, EngineError):
            raise answer
        results[number] = answer
    return results


def _sent(engine: Engine, channel: Channel, call: KeyCommands) -> asyncio.Future[list[Any]] | EngineError | None:
    try:
        return engine.send(channel, call.key, call.commands, call.hook)
    except NotSent:
        return None
    except EngineError as error:
        return error


def _told(replies: list[Any]) -> list[Any] | EngineError | None:
    """The replies to one call, or the error among them; None where it was not carried out."""
    for reply in replies:
        if isinstance(reply, EngineError):
            # `execute_all` knows what to do about those, and tells whom a refusal concerns.
            return None if isinstance(reply, EngineUnavailable | EngineRefused) else reply
    return replies


def _failed(engine: Engine, error: EngineError, *, retry: bool) -> EngineError | None:
    """What a call without replies raises; None where it was not carried out, or may be repeated."""
    if isinstance(error, NotSent):
        return None
    if not isinstance(error, ConnectionLost | NoReply):
        return error
    if not retry:
        unknown = OutcomeUnknown(f"{engine.address}: {error}; it may have been carried out")
        unknown.__cause__ = error
        return unknown
    return None if isinstance(error, ConnectionLost) else error
