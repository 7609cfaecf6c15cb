"""Hooks and instruments: who is told, and that nothing they raise goes any further."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest

from greenroom import Greenroom
from greenroom.counters import Counters
from greenroom.errors import InvalidInput
from greenroom.observe import CacheTrouble, EngineBatch, Event, EventHooks

TROUBLE = CacheTrouble("shop", "broken", "k")
BATCH = EngineBatch("valkey://h:1", "h", 1, ("GET",), 0, 0.1, None)


def failing(_: Event) -> None:
    raise ValueError("of the hook")


class Instrumented:
    """An instrument that fails where a test wants it to."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.steps: list[str] = []

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.fails:
            raise ValueError("of the instrument")

    def load(self, keyspace: str, keys: Sequence[str]) -> AbstractContextManager[None]:
        self._step("load")
        return self._around()

    @contextmanager
    def _around(self) -> Iterator[None]:
        self._step("enter")
        try:
            yield
        except LookupError:
            self.steps.append("raised")
            raise
        finally:
            self._step("exit")

    def batch(self, batch: EngineBatch) -> None:
        self._step("batch")


def test_each_hook_is_told_whatever_another_raises(caplog: pytest.LogCaptureFixture) -> None:
    hooks, told = EventHooks(), list[Event]()
    for hook in (failing, told.append, failing):
        hooks.add(hook)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            hooks.tell(TROUBLE)
    assert told == [TROUBLE] * 3
    assert hooks.failures == 6
    (line,) = caplog.records
    assert line.exc_info is not None
    assert "of the hook" in str(line.exc_info[1])


def test_a_cancellation_that_a_hook_raises_cancels_nobody() -> None:
    def cancelled(_: Event) -> None:
        raise asyncio.CancelledError

    hooks = EventHooks()
    hooks.add(cancelled)
    hooks.tell(TROUBLE)
    assert hooks.failures == 1


def test_a_hook_that_is_removed_is_told_no_more() -> None:
    hooks, told = EventHooks(), list[Event]()
    hooks.add(told.append)
    hook = hooks._hooks[0]
    hooks.remove(hook)
    hooks.tell(TROUBLE)
    assert (told, hooks.any) == ([], False)


@pytest.mark.parametrize("fails", ["load", "enter", "exit", "batch"])
def test_an_instrument_that_fails_keeps_no_load_and_no_other_instrument(fails: str) -> None:
    hooks, whole = EventHooks(), Instrumented()
    hooks.instrument(Instrumented(fails))
    hooks.instrument(whole)
    with hooks.around_load("shop", ["k"]):
        loaded = True
    hooks.answered(BATCH)
    assert loaded
    assert whole.steps == ["load", "enter", "exit", "batch"]
    assert hooks.failures == 1


@pytest.mark.parametrize("fails", ["", "exit"])
def test_what_a_loader_raises_passes_through_instruments_as_it_is(fails: str) -> None:
    hooks, instrument = EventHooks(), Instrumented(fails)
    hooks.instrument(instrument)
    error = LookupError("of the loader")
    with pytest.raises(LookupError) as caught, hooks.around_load("shop", ["k"]):
        raise error
    assert caught.value is error
    assert "raised" in instrument.steps
    assert hooks.failures == (1 if fails else 0)


async def asynchronous(_: Event) -> None:
    """A hook that nobody would await."""


class Callable:
    async def __call__(self, _: Event) -> None:
        """As above."""


@pytest.mark.parametrize("hook", [asynchronous, Callable(), 5])
def test_a_hook_that_cannot_be_called_is_refused_with_the_remedy(hook: object) -> None:
    with pytest.raises(InvalidInput, match=r"^on_event: .*give a plain function"):
        Greenroom(on_event=hook)  # type: ignore[arg-type]


def test_rooms_of_one_counters_have_the_hooks_of_all() -> None:
    counters, told = Counters(), list[Event]()
    Greenroom(counters=counters, on_event=told.append)
    Greenroom(counters=counters)
    counters.trouble("shop", "broken", "k")
    assert told == [TROUBLE]
    assert counters.errors == {("shop", "broken"): 1}
