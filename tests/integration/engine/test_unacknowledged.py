"""Invalidations that are kept: which of them a new connection carries first, and for how long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from greenroom.engine import Address, Channel, Command
from greenroom.engine import unacknowledged as module
from greenroom.engine.server.standalone import Standalone
from greenroom.engine.unacknowledged import RECENT, Kept, ReplayLog
from greenroom.errors import EngineError
from greenroom.testing.clock import ManualClock
from tests.support.listeners import listening
from tests.support.real_servers import Server

Connect = Callable[..., Awaitable[Standalone]]
HOUR = 3600.0


def keeper(clock: ManualClock | None = None) -> ReplayLog:
    return ReplayLog(clock or ManualClock(), "an invalidation")


def command(key: str) -> Command:
    return "DEL", key, f"lease:{{{key}}}"


def drop(kept: ReplayLog, key: str, lifetime: float = HOUR) -> Kept:
    return kept.keep((key,), command, lifetime)


def acknowledge(kept: ReplayLog, key: str) -> None:
    kept.acknowledged(drop(kept, key), (key,))


async def carried(server: Server, connect: Connect, kept: ReplayLog, *keys: str) -> set[str]:
    """Which of the keys are gone when a new connection has carried what is kept."""
    raw = server.raw()
    raw("FLUSHALL")
    for key in keys:
        raw("MSET", key, "old", f"lease:{{{key}}}", "old")

    await connect(server, before_serving=kept.send)
    for key in keys:
        assert raw("EXISTS", key) == raw("EXISTS", f"lease:{{{key}}}"), "dropped together"
    return {key for key in keys if not raw("EXISTS", key)}


async def test_what_no_server_has_acknowledged_is_carried_by_the_next_connection(
    valkey: Server, connect: Connect
) -> None:
    kept = keeper()
    drop(kept, "a")
    drop(kept, "b")
    assert kept.unsent == 2
    assert await carried(valkey, connect, kept, "a", "b", "c") == {"a", "b"}
    assert kept.unsent == 0


async def test_what_was_acknowledged_is_carried_again_for_a_while(valkey: Server, connect: Connect) -> None:
    clock = ManualClock()
    kept = keeper(clock)
    acknowledge(kept, "a")
    assert kept.unsent == 0
    clock.advance(RECENT - 1)
    assert await carried(valkey, connect, kept, "a") == {"a"}
    clock.advance(2)
    assert await carried(valkey, connect, kept, "a") == set()
    assert len(kept) == 0


async def test_what_was_not_acknowledged_is_kept_until_the_old_value_has_lapsed(
    valkey: Server, connect: Connect
) -> None:
    clock = ManualClock()
    kept = keeper(clock)
    drop(kept, "short", 60.0)
    drop(kept, "long", HOUR)
    clock.advance(61)
    assert await carried(valkey, connect, kept, "short", "long") == {"long"}


async def test_the_reply_to_an_earlier_invalidation_is_none_to_a_later_one(valkey: Server, connect: Connect) -> None:
    kept = keeper()
    earlier = drop(kept, "a")
    later = drop(kept, "a")
    assert len(kept) == 1
    kept.acknowledged(earlier, ("a",))
    assert kept.unsent == 1
    kept.acknowledged(later, ("a",))
    assert kept.unsent == 0


async def test_of_keys_dropped_together_what_is_left_is_carried(valkey: Server, connect: Connect) -> None:
    clock = ManualClock()
    kept = keeper(clock)
    together = kept.keep(("a", "b", "c"), command, HOUR)
    kept.acknowledged(together, ("a",))
    assert kept.unsent == 2
    clock.advance(RECENT + 2)
    assert await carried(valkey, connect, kept, "b", "c") == {"b", "c"}
    assert kept.unsent == 0
    clock.advance(RECENT - 1)
    assert await carried(valkey, connect, kept, "c") == {"c"}, "30 s from the last acknowledgement"
    clock.advance(2)
    assert await carried(valkey, connect, kept, "c") == set()


async def test_one_entry_is_kept_per_key_however_often_it_was_dropped() -> None:
    kept = keeper()
    for _ in range(1000):
        drop(kept, "a")
    assert len(kept) == kept.unsent == 1


async def test_nothing_is_kept_for_ever(valkey: Server) -> None:
    clock = ManualClock()
    kept = keeper(clock)
    for number in range(100):
        acknowledge(kept, f"k{number}")
        clock.advance(10)
    assert len(kept) <= 4


async def test_many_are_carried_all_the_same(valkey: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMMANDS_PER_WRITE", 7)
    kept = keeper()
    keys = {f"k{number}" for number in range(50)}
    for key in sorted(keys):
        drop(kept, key)
    assert await carried(valkey, connect, kept, *keys) == keys
    assert kept.unsent == 0


async def test_a_refused_resend_stays_pending_and_the_connection_is_not_used(valkey: Server) -> None:
    valkey.raw()("ACL", "SETUSER", "reader", "on", ">pass", "+@all", "-del", "~*")
    kept = keeper()
    drop(kept, "a")

    reader = Address.parse(valkey.address.replace("://", "://reader:pass@"))
    engine = listening(Standalone(reader), before_serving=kept.send)
    await engine.start()
    try:
        assert "NOPERM" in str(engine.unavailable)
        with pytest.raises(EngineError):
            await engine.execute(Channel.TRACKED, "a", "GET", "a")
        assert kept.unsent == 1
    finally:
        await engine.close()
