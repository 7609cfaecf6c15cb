"""Time that passes for a test: waiting for a condition, patience with held bytes, and a clock without jitter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple
from typing import Any

import pytest

from greenroom.engine import Engine, Limits
from greenroom.testing.clock import ManualClock

PATIENT = Limits(
    command_deadline=60, handshake_deadline=60, ping_after=60, ping_timeout=60, topology_interval=60, role_interval=60
)
"""For an engine whose bytes a test makes wait: on a busy machine that may take longer than a command may."""
_UNHURRIED = astuple(Limits(command_deadline=60, handshake_deadline=60, ping_timeout=60))
_UNTIL_HARM = pytest.MonkeyPatch()


def be_patient(monkeypatch: pytest.MonkeyPatch, *, limits: bool = True) -> None:
    """Let nothing be over because the test, a server or the machine stood still for some seconds.

    Arguments:
        limits: whether connections and leases are patient too, and not calls alone.

    Prevents: a server stands still for half a second · a call has its deadline, or the connection is taken for silent
    · what the test says of the answer is not so. And: a process stands still for a second · its lease lapses · another
    loads as well.
    """
    if monkeypatch is not _UNTIL_HARM:
        # Prevents: this one notes that calls are patient until harm · harm ends that · the end restores what was noted.
        _UNTIL_HARM.undo()
    monkeypatch.setattr(Engine, "call_budget", 60.0)
    if limits:
        monkeypatch.setattr(Limits.__init__, "__defaults__", _UNHURRIED)
        monkeypatch.setattr("greenroom.caching.lease.LIFE", 60.0)


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all tests of a folder whose conftest imports it, but for what the marks `own_budget` and `own_limits` say."""
    if request.node.get_closest_marker("own_budget") is None:
        be_patient(monkeypatch, limits=request.node.get_closest_marker("own_limits") is None)


@pytest.fixture(autouse=True)
def patience_until_harm() -> Iterator[None]:
    """For all tests of a folder whose conftest imports it: until the first harm, calls have as long as they need.

    Prevents: the machine stands still for half a second · what a test begins with has its deadline.
    """
    be_patient(_UNTIL_HARM, limits=False)
    yield
    _UNTIL_HARM.undo()


def harm() -> None:
    """Say that a server, or the way to one, is harmed: from now on calls have the product's own deadline."""
    _UNTIL_HARM.undo()


async def until(condition: Callable[..., Any], seconds: float = 30.0) -> None:
    """Return when a condition holds, while everything else goes on."""
    async with asyncio.timeout(seconds):
        asked = 0
        while not condition():
            # In each turn of the loop at first: nothing comes between. What takes long shall not keep a core busy.
            await asyncio.sleep(0 if asked < 200 else 0.001)
            asked += 1


def wait_for(condition: Callable[..., Any], seconds: float = 30.0, *, every: float = 0.005) -> None:
    """Return when a condition of the operating system holds; for what gives no event.

    Arguments:
        every: seconds between two looks; more where a look costs much.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(every)


async def eventually(condition: Callable[..., Any], seconds: float = 60.0) -> None:
    """Return when a condition of another process holds; asked on a thread, since it may block."""
    await asyncio.to_thread(wait_for, condition, seconds)


class SteadyClock(ManualClock):
    """A clock moved by hand that shortens no lifetime by chance."""

    def random(self) -> float:
        return 0.0
