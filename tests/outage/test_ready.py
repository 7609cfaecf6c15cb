"""`room.ready` waits for every server of a room, and names the one that was not reached."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest

from greenroom import Greenroom
from greenroom.errors import EngineRefused, EngineUnavailable, InvalidInput, RoomClosed, RoomNotOpen
from tests.support.outage_helpers import Nowhere
from tests.support.patience import eventually, until
from tests.support.real_cluster import Cluster
from tests.support.real_servers import Server, valkey_binary

SOON = timedelta(seconds=1)
LONG = timedelta(minutes=1)

pytestmark = pytest.mark.one_kind


async def test_a_room_whose_server_answers_is_ready(server: Server) -> None:
    async with Greenroom(server.address) as room:
        await room.ready(LONG)
        assert room.unavailable is None


async def test_a_server_that_is_away_is_named_with_what_it_holds(server: Server) -> None:
    nowhere = Nowhere().address
    async with Greenroom(server.address, session_address=nowhere) as room:
        await until(lambda: nowhere in str(room.unavailable) and server.address not in str(room.unavailable))
        with pytest.raises(EngineUnavailable) as caught:
            await room.ready(SOON)
    message = str(caught.value)
    assert f"not ready after 1 s: sessions: {nowhere}: " in message
    assert server.address not in message


async def test_each_of_two_servers_that_are_away_is_named() -> None:
    caches, sessions = Nowhere().address, Nowhere().address
    async with Greenroom(caches, session_address=sessions) as room:
        with pytest.raises(EngineUnavailable) as caught:
            await room.ready(timedelta(milliseconds=1))
    assert f"caches: {caches}" in str(caught.value)
    assert f"sessions: {sessions}" in str(caught.value)


async def test_a_room_is_ready_when_its_last_server_has_come(tmp_path: Path) -> None:
    late = Server(valkey_binary(), tmp_path)
    try:
        async with Greenroom(late.address) as room:
            waiting = asyncio.create_task(room.ready(LONG))
            await asyncio.sleep(0)
            assert not waiting.done()
            late.spawn()
            await waiting
            live, token = await room.sessions.start()
            found = await room.sessions.read(token)
            assert found is not None
            assert found.session_id == live.session_id
    finally:
        late.kill()


async def test_a_wrong_password_is_told_at_once_with_the_remedy(server: Server) -> None:
    server.raw()("CONFIG", "SET", "requirepass", "right")
    async with Greenroom(f"valkey://:wrong@127.0.0.1:{server.port}") as room:
        began = monotonic()
        with pytest.raises(EngineRefused, match="correct the user and the password") as caught:
            await room.ready(timedelta(hours=1))
        assert monotonic() - began < 600
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


async def test_a_server_that_is_full_is_told_of_in_its_own_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = Server(valkey_binary(), tmp_path)
    full.start()
    try:
        raw = full.raw()
        assert raw("CONFIG", "SET", "maxclients", 1) == b"OK"
        said = "the server refuses the connection: ERR max number of clients reached"
        async with Greenroom(full.address) as room:
            await eventually(lambda: said in str(room.unavailable))
            assert f"{full.address} for cached values: {said}" in caplog.text
            assert "closed the connection" not in caplog.text
            assert raw("CONFIG", "SET", "maxclients", 100) == b"OK"
            await room.ready(LONG)
    finally:
        full.kill()


async def test_a_log_in_that_is_refused_with_a_hang_up_has_its_remedy() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
        writer.close()

    refusing = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with refusing, Greenroom(f"valkey://:p@127.0.0.1:{refusing.sockets[0].getsockname()[1]}") as room:
        with pytest.raises(EngineRefused, match=r"WRONGPASS .*; correct the user and the password"):
            await room.ready(LONG)


async def test_a_replica_at_the_address_is_not_ready(server: Server) -> None:
    server.raw()("REPLICAOF", "127.0.0.1", "1")
    async with Greenroom(server.address) as room:
        await until(lambda: "replica" in str(room.unavailable))
        with pytest.raises(EngineUnavailable, match="replica"):
            await room.ready(SOON)


async def test_a_cluster_is_ready_when_each_slot_has_an_owner_that_answers(cluster: Cluster) -> None:
    async with Greenroom(cluster.address) as room:
        await room.ready(LONG)


@pytest.mark.parametrize("timeout", [5, None, timedelta(0), "5 s"])
async def test_a_timeout_that_is_no_time_is_refused(timeout: object) -> None:
    with pytest.raises(InvalidInput, match="timeout"):
        await Greenroom().ready(timeout)  # type: ignore[arg-type]


async def test_a_room_that_is_not_open_says_so_at_once() -> None:
    room = Greenroom(Nowhere().address)
    with pytest.raises(RoomNotOpen):
        await room.ready(LONG)
    async with room:
        waiting = asyncio.create_task(room.ready(timedelta(days=1)))
        await asyncio.sleep(0)
    with pytest.raises(RoomClosed):
        await waiting
