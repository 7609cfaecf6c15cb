"""How often a password may be guessed, counted on a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from greenroom.engine.server.standalone import Standalone
from greenroom.errors import EngineError
from greenroom.rate_limit import Bound
from greenroom_platform.accounts import SCRIPTS, Attempts, TooManyAttempts
from tests.support.real_servers import Server

pytestmark = pytest.mark.on_cluster

Connect = Callable[..., Awaitable[Standalone]]
HOUR = timedelta(hours=1)
KEYS = "greenroom:attempts:{*}"


async def attempts(
    server: Server, connect: Connect, *, account: int = 100, address: int = 100, window: timedelta = HOUR
) -> Attempts:
    """Attempts with these bounds."""
    engine = await connect(server, scripts=SCRIPTS)
    return Attempts(engine, per_account=Bound(account, window), per_address=Bound(address, window))


async def made(attempts: Attempts, username: str, address: str) -> bool:
    """Whether the attempt may be made."""
    try:
        await attempts.count(username, address)
    except TooManyAttempts:
        return False
    return True


async def test_one_account_is_bounded_from_however_many_addresses(server: Server, connect: Connect) -> None:
    counted = await attempts(server, connect, account=3)
    assert [await made(counted, "ana", f"192.0.2.{number}") for number in range(5)] == [True] * 3 + [False] * 2
    assert await made(counted, "bob", "192.0.2.4")


async def test_one_address_is_bounded_over_however_many_accounts(server: Server, connect: Connect) -> None:
    counted = await attempts(server, connect, address=3)
    assert [await made(counted, f"user{number}", "192.0.2.1") for number in range(5)] == [True] * 3 + [False] * 2
    assert await made(counted, "user3", "192.0.2.2")


async def test_attempts_refused_by_address_do_not_count_for_the_account(server: Server, connect: Connect) -> None:
    counted = await attempts(server, connect, account=3, address=2)
    assert [await made(counted, "ana", "192.0.2.1") for _ in range(9)] == [True] * 2 + [False] * 7
    assert await made(counted, "ana", "192.0.2.2")


async def test_attempts_refused_by_account_do_not_count_for_the_address(server: Server, connect: Connect) -> None:
    counted = await attempts(server, connect, account=1, address=3)
    assert [await made(counted, "ana", "192.0.2.1") for _ in range(9)] == [True] + [False] * 8
    assert [await made(counted, f"user{number}", "192.0.2.1") for number in range(3)] == [True] * 2 + [False]


@pytest.mark.parametrize("error", [EngineError("away"), asyncio.CancelledError()], ids=["away", "cancelled"])
async def test_an_account_that_is_not_counted_costs_no_place_of_the_address(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    counted = await attempts(server, connect, address=2)

    async def fail(_: str) -> float:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(counted._account, "count", fail)
        for _ in range(9):
            with pytest.raises(type(error)):
                await counted.count("ana", "192.0.2.1")
    assert [await made(counted, "ana", "192.0.2.1") for _ in range(3)] == [True] * 2 + [False]


async def test_of_a_hundred_at_once_as_many_are_made_as_may_be(server: Server, connect: Connect) -> None:
    one, other = await attempts(server, connect, account=10), await attempts(server, connect, account=10)
    tries = [made(which, "ana", f"192.0.2.{number}") for number in range(50) for which in (one, other)]
    assert sum(await asyncio.gather(*tries)) == 10


async def test_whoever_waits_as_long_as_told_may_go_on(server: Server, connect: Connect) -> None:
    counted = await attempts(server, connect, account=2, window=timedelta(milliseconds=300))
    refused: TooManyAttempts | None = None
    while refused is None:  # not thrice: a window may end in between
        try:
            await counted.count("ana", "192.0.2.1")
        except TooManyAttempts as error:
            refused = error
    assert 0 < refused.retry_after <= 0.3
    await asyncio.sleep(refused.retry_after + 0.001)  # what the server said; its own clock counts
    await counted.count("ana", "192.0.2.1")


async def test_no_window_has_more_and_refused_ones_do_not_lengthen_it(server: Server, connect: Connect) -> None:
    counted = await attempts(server, connect, account=3, window=timedelta(milliseconds=200))
    times = list[tuple[float, float]]()
    while len(times) < 10:
        before = time.monotonic()
        if await made(counted, "ana", "192.0.2.1"):
            times.append((before, time.monotonic()))
    # From before the first of four to after the fourth there lies a window, but for the server's whole milliseconds.
    assert all(after - before >= 0.198 for (before, _), (_, after) in zip(times, times[3:], strict=False))


async def test_a_log_in_resets_the_account_s_attempts_but_not_the_address_s(server: Server, connect: Connect) -> None:
    counted = await attempts(server, connect, account=2, address=3)
    assert [await made(counted, "ana", "192.0.2.1") for _ in range(2)] == [True] * 2
    await counted.forgive("ana")
    assert [await made(counted, "ana", "192.0.2.1") for _ in range(2)] == [True, False]
    assert [await made(counted, "ana", "192.0.2.2") for _ in range(2)] == [True, False]


async def test_keys_carry_neither_names_nor_addresses_and_lapse_with_the_window(
    server: Server, connect: Connect
) -> None:
    counted = await attempts(server, connect)
    await counted.count("ana", "192.0.2.1")
    raw = server.raw()
    keys = raw("KEYS", "*")
    assert sorted(keys) == sorted(raw("KEYS", KEYS))
    assert len(keys) == 2
    for key in keys:
        assert b"ana" not in key
        assert b"192" not in key
        assert 0 < raw("PTTL", key) <= 3_600_000
        assert b"ana" not in b"".join(raw("LRANGE", key, 0, -1))


async def test_a_count_takes_no_more_room_than_its_bound(server: Server, connect: Connect) -> None:
    window = timedelta(milliseconds=100)
    counted = Attempts(
        await connect(server, scripts=SCRIPTS), per_account=Bound(5, window), per_address=Bound(5, window)
    )
    for _ in range(20):
        await made(counted, "ana", "192.0.2.1")
        await asyncio.sleep(0.025)  # so that each may be made, and keeps the key alive
    raw = server.raw()
    assert all(raw("LLEN", key) <= 5 for key in raw("KEYS", KEYS))


async def test_a_prefix_stands_before_the_key(server: Server, connect: Connect) -> None:
    counted = Attempts(await connect(server, scripts=SCRIPTS), "test:")
    await counted.count("ana", "192.0.2.1")
    assert len(server.raw()("KEYS", "test:" + KEYS)) == 2 == server.raw()("DBSIZE")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
        ("unix:one", "unix:two", False),
    ],
)
async def test_an_address_is_one_client_s_of_ipv6_its_whole_network(
    server: Server, connect: Connect, first: str, second: str, same: bool
) -> None:
    counted = await attempts(server, connect, address=1)
    assert await made(counted, "ana", first)
    assert await made(counted, "bob", second) != same


async def test_a_name_that_no_key_could_hold_is_counted_too(server: Server, connect: Connect) -> None:
    counted = await attempts(server, connect, account=1)
    for name in ("a:b{c}*", "", "ü" * 1000, "\ud800", "\x00"):
        assert [await made(counted, name, "192.0.2.1") for _ in range(2)] == [True, False], name


@pytest.mark.one_server
async def test_what_cannot_be_counted_may_not_be_made(server: Server, connect: Connect) -> None:
    counted = await attempts(server, connect)
    server.kill()
    with pytest.raises(EngineError):
        await counted.count("ana", "192.0.2.1")
