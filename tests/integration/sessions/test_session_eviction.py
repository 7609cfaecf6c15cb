"""A server that may evict sessions is told of when a room opens."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from greenroom import Greenroom
from tests.support.real_servers import Server


async def warnings(caches: Server, sessions: Server, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What opening a room says of its servers."""
    caplog.set_level(logging.WARNING, "greenroom.client")
    async with Greenroom(caches.address, session_address=sessions.address):
        return [record.message for record in caplog.records if "the sessions" in record.message]


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"])
async def test_a_bounded_server_that_may_evict_sessions_is_warned_of(
    server: Server, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    server.raw()("CONFIG", "SET", "maxmemory", "100mb")
    server.raw()("CONFIG", "SET", "maxmemory-policy", policy)
    (line,) = await warnings(server, server, caplog)
    assert f"maxmemory-policy is {policy}" in line
    assert "set noeviction" in line


@pytest.mark.parametrize(("bound", "policy"), [("0", "volatile-lru"), ("100mb", "noeviction"), ("0", "noeviction")])
async def test_a_server_that_evicts_nothing_is_not(
    server: Server, caplog: pytest.LogCaptureFixture, bound: str, policy: str
) -> None:
    server.raw()("CONFIG", "SET", "maxmemory", bound)
    server.raw()("CONFIG", "SET", "maxmemory-policy", policy)
    assert await warnings(server, server, caplog) == []


async def test_the_server_of_the_caches_may_evict(
    valkey: Server, lasting: Server, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    valkey.raw()("CONFIG", "SET", "maxmemory", "100mb")
    valkey.raw()("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    assert await warnings(valkey, lasting, caplog) == []
    assert len(await warnings(lasting, valkey, caplog)) == 1


async def test_a_server_that_does_not_tell_is_taken_as_it_is(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.raw()("CONFIG", "SET", "maxmemory", "100mb")
    server.raw()("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    server.raw()("ACL", "SETUSER", "default", "-info")
    assert await warnings(server, server, caplog) == []
