"""The contract between an engine and what stands on it, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom.engine import Address, Channel, Handover, Listener, Script, all_keys, engine_at
from greenroom.engine.commands import Command
from greenroom.engine.listener import Listeners
from greenroom.engine.unacknowledged import ReplayLog
from greenroom.errors import CommandFailed
from greenroom.testing.clock import ManualClock

ONE, TWO = Script("return 1"), Script("return 2")
RUN = ONE.call(("k",), ())


class Noted(Listener):
    """Writes down what it is told."""

    def __init__(self, name: str, told: list[tuple[str, str]]) -> None:
        self._name = name
        self._told = told

    def keys_invalidated(self, name: bytes | None) -> None:
        self._told.append((self._name, "invalidated"))

    def keys_lost(self, owns: Any) -> None:
        self._told.append((self._name, "lost"))

    def keys_gained(self, handover: Handover) -> None:
        self._told.append((self._name, "gained"))

    async def before_use(self, handover: Handover) -> None:
        self._told.append((self._name, "use"))

    async def before_serving(self, handover: Handover) -> None:
        self._told.append((self._name, "serving"))


class Answering:
    """A connection that answers what a test wants."""

    channel = Channel.TRACKED
    server = "the server"

    def __init__(self, *replies: Any) -> None:
        self._replies = list(replies)
        self.ran: list[Command] = []
        self.abandoned: list[str] = []
        self.ended = False

    def owns(self, key: str) -> bool:
        return True

    async def run(self, commands: Any) -> list[Any]:
        self.ran += commands
        return [self._replies.pop(0) for _ in commands]

    def queue(self, commands: Any, answered: Any) -> None:
        self.ran += commands
        answered([self._replies.pop(0) for _ in commands])

    def abandon(self, reason: str) -> None:
        self.abandoned.append(reason)


async def test_listeners_are_told_in_the_order_in_which_they_came() -> None:
    told: list[tuple[str, str]] = []
    listeners, handover = Listeners(), Answering()
    listeners.add(Noted("a", told), (ONE, TWO))
    listeners.add(Noted("b", told), (TWO,))
    listeners.keys_invalidated(b"k")
    listeners.keys_lost(all_keys)
    listeners.keys_gained(handover)
    await listeners.before_use(handover)
    await listeners.before_serving(handover)
    events = ("invalidated", "lost", "gained", "use", "serving")
    assert told == [(name, event) for event in events for name in "ab"]
    assert listeners.scripts == [ONE, TWO], "each is loaded once"


async def test_all_look_once_more_when_a_connection_is_about_to_serve() -> None:
    told: list[tuple[str, str]] = []
    listeners = Listeners()
    for name in "ab":
        listeners.add(Noted(name, told), ())
    await listeners.hand_over(Answering())
    assert told == [(name, event) for event in ("use", "serving", "gained") for name in "ab"]


@pytest.mark.parametrize("address", ["valkey://127.0.0.1:1", "valkey+cluster://127.0.0.1:1"])
async def test_nobody_listens_to_an_engine_that_has_started(address: str) -> None:
    engine = engine_at(Address.parse(address))
    engine.add_listener(Listener(), (ONE,))
    starting = asyncio.ensure_future(engine.start())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="before the engine is started"):
        engine.add_listener(Listener())
    starting.cancel()
    await asyncio.wait([starting])
    await engine.close()


async def test_a_connection_carries_each_command_once_and_the_script_of_it_first() -> None:
    log, handover = ReplayLog(ManualClock(), "an end"), Answering("sha", 1)
    log.keep(("k",), lambda _: RUN, 60)
    await log.send(handover)
    log.queue(handover)
    await log.send(handover)
    assert handover.ran == [("SCRIPT", "LOAD", ONE.source), RUN]
    assert log.unsent == 0


async def test_what_comes_while_others_are_carried_is_queued() -> None:
    log, handover = ReplayLog(ManualClock(), "a drop"), Answering(1, 1)
    log.keep(("a",), lambda key: ("DEL", key), 60)
    await log.send(handover)
    log.keep(("b",), lambda key: ("DEL", key), 60)
    log.queue(handover)
    assert handover.ran == [("DEL", "a"), ("DEL", "b")]
    assert log.unsent == 0


async def test_a_queued_command_that_is_refused_ends_the_connection() -> None:
    log, handover = ReplayLog(ManualClock(), "a drop"), Answering(CommandFailed("ERR no"))
    log.keep(("a",), lambda key: ("DEL", key), 60)
    log.queue(handover)
    assert handover.abandoned == ["it must carry a drop first: ERR no"]
    assert log.unsent == 1
