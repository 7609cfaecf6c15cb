"""A primary that sentinels watch: it is found by them, followed wherever they put it, and believed by the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from greenroom import Greenroom, Outcome
from greenroom.engine import Address, Channel, engine_at
from greenroom.engine.scan import scan
from greenroom.engine.server.sentineled import Sentineled
from greenroom.errors import EngineError, EngineRefused, EngineUnavailable
from tests.support.episode_caches import EPISODE, Episode, Loads
from tests.support.outage_helpers import BOUND, Nowhere
from tests.support.patience import PATIENT, eventually, until
from tests.support.real_sentinels import NAME, Sentinel, Watched, address_of
from tests.support.real_servers import Server, valkey_binary
from tests.support.tls_proxy import WITH_OPENSSL, Authority, TlsProxy

LONG = timedelta(minutes=1)


@pytest.fixture
def watched(server: Server, tmp_path: Path) -> Iterator[Watched]:
    """A primary, a replica and their sentinels, of each kind of server at hand."""
    server.kill()
    with Watched(server._binary, tmp_path) as watched:
        yield watched


@pytest.fixture
def guarded(server: Server, tmp_path: Path) -> Iterator[Watched]:
    """The same, where the sentinels replace a primary that is dead."""
    server.kill()
    with Watched(server._binary, tmp_path, down_after=1000) as guarded:
        yield guarded


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Kills what a test has started."""
    with ExitStack() as stack:
        yield stack


def started(stack: ExitStack, server: Server) -> Server:
    server.start()
    stack.callback(server.kill)
    return server


def sentinel(stack: ExitStack, directory: Path, port: int, *lines: str, epoch: int = 0) -> Sentinel:
    one = Sentinel(valkey_binary(), directory, port, *lines, epoch=epoch)
    started(stack, one)
    return one


def plain(stack: ExitStack, directory: Path) -> Server:
    return started(stack, Server(valkey_binary(), directory))


def clients(server: Server) -> set[bytes]:
    """The names of the connections that a server has of a room."""
    raw = server.raw()
    lines = raw("CLIENT", "LIST").splitlines()
    raw.close()
    names = {field.partition(b"=")[2] for line in lines for field in line.split() if field.startswith(b"name=")}
    return names & {b"greenroom-tracked", b"greenroom-plain"}


BOTH = {b"greenroom-tracked", b"greenroom-plain"}


# A failover ------------------------------------------------------------------------------------------


async def test_a_planned_failover_leaves_sessions_and_drops_at_the_new_primary(watched: Watched) -> None:
    load = Loads()
    async with Greenroom(watched.address) as room:
        await room.ready(LONG)
        episodes = room.cache(EPISODE, load=load)
        await episodes.get("e1")
        _, token = await room.sessions.start(user_id="u1")
        raw = watched.primary.raw()
        assert raw("WAIT", 1, 10_000) == 1
        await asyncio.to_thread(watched.fail_over)
        await eventually(lambda: clients(watched.replica) == BOTH)
        await room.ready(LONG)
        found = await room.sessions.read(token)
        assert found is not None
        load.version = 2
        await episodes.invalidate("e1")
        assert await episodes.get("e1") == Episode("e1", 2)
        value = watched.replica.raw()("GET", "cache:episode:e1")
        assert b'"version":2' in value, "the new primary has it"


async def test_reads_go_on_while_the_primary_is_killed_and_replaced(guarded: Watched) -> None:
    load = Loads()
    async with Greenroom(guarded.address) as room:
        await room.ready(LONG)
        episodes = room.cache(EPISODE, load=load, near_for=timedelta(0))
        await episodes.get("e1")
        _, token = await room.sessions.start(user_id="u1")
        assert guarded.primary.raw()("WAIT", 1, 10_000) == 1
        guarded.primary.kill()
        promoted = asyncio.create_task(asyncio.to_thread(guarded.promoted))
        while not promoted.done():
            async with asyncio.timeout(BOUND):
                assert await episodes.get("e1") == Episode("e1")
            await asyncio.sleep(0.05)  # between two reads of the same time; it proves nothing
        await promoted
        await room.ready(LONG)
        assert clients(guarded.replica) == BOTH
        found = await room.sessions.read(token)
        assert found is not None
        await episodes.get("e2")
        assert (await episodes.get_result("e2")).outcome is Outcome.HIT


async def test_an_invalidation_that_the_old_primary_took_is_sent_to_the_new(guarded: Watched) -> None:
    load = Loads()
    async with Greenroom(guarded.address) as room:
        await room.ready(LONG)
        episodes = room.cache(EPISODE, load=load, near_for=timedelta(0))
        await episodes.get("e1")
        assert guarded.primary.raw()("WAIT", 1, 10_000) == 1
        # The replica hears no more: what is dropped now is there after the failover.
        with guarded.replica.frozen():
            load.version = 2
            await episodes.invalidate("e1")
            guarded.primary.kill()
        await asyncio.to_thread(guarded.promoted)
        await room.ready(LONG)
        assert await episodes.get("e1") == Episode("e1", 2)


# Where the primary is --------------------------------------------------------------------------------


async def test_an_old_primary_that_still_answers_is_left(tmp_path: Path, stack: ExitStack) -> None:
    old, new = plain(stack, tmp_path), plain(stack, tmp_path)
    sentinels = [sentinel(stack, tmp_path, old.port) for _ in range(2)]
    async with Greenroom(address_of(sentinels)) as room:
        await room.ready(LONG)
        assert clients(old) == BOTH
        for one in sentinels:
            one.watch(new.port)
        await eventually(lambda: clients(new) == BOTH)
        await eventually(lambda: not clients(old))
        await room.ready(LONG)


async def test_the_sentinel_that_knows_of_the_newest_failover_is_believed(tmp_path: Path, stack: ExitStack) -> None:
    old, new = plain(stack, tmp_path), plain(stack, tmp_path)
    behind = sentinel(stack, tmp_path, old.port, epoch=1)
    ahead = sentinel(stack, tmp_path, new.port, epoch=2)
    for order in ([behind, ahead], [ahead, behind]):
        async with Greenroom(address_of(order)) as room:
            await room.ready(LONG)
            assert clients(new) == BOTH
            assert not clients(old)


async def test_a_sentinel_that_is_behind_is_not_believed_alone(tmp_path: Path, stack: ExitStack) -> None:
    old, new = plain(stack, tmp_path), plain(stack, tmp_path)
    behind = sentinel(stack, tmp_path, old.port, epoch=1)
    ahead = [sentinel(stack, tmp_path, new.port, epoch=2) for _ in range(2)]
    async with Greenroom(address_of([behind, *ahead])) as room:
        await room.ready(LONG)
        await eventually(lambda: clients(new) == BOTH)
        for one in ahead:
            one.kill()
        new.kill()
        await eventually(lambda: "newest failover" in str(room.unavailable))
        assert not clients(old)


async def test_most_sentinels_may_be_behind_for_a_moment_after_a_failover(tmp_path: Path, stack: ExitStack) -> None:
    old, new = plain(stack, tmp_path), plain(stack, tmp_path)
    behind = [sentinel(stack, tmp_path, old.port, epoch=1) for _ in range(2)]
    ahead = sentinel(stack, tmp_path, new.port, epoch=2)
    engine = engine_at(Address.parse(address_of([*behind, ahead])))
    assert isinstance(engine, Sentineled)
    watch = engine._sentinels
    with behind[0].frozen():
        await watch.primary()
    assert watch.current is not None
    assert watch.current.hosts == (("127.0.0.1", new.port),)
    for _ in range(20):  # two that are behind answer first now and then
        assert (await watch.primary()).hosts == (("127.0.0.1", new.port),)
    await watch.close()


async def test_a_sentinel_that_hangs_keeps_nobody_waiting(tmp_path: Path, stack: ExitStack) -> None:
    primary = plain(stack, tmp_path)
    hanging, *others = [sentinel(stack, tmp_path, primary.port) for _ in range(3)]
    engine = engine_at(Address.parse(address_of([hanging, *others])), limits=PATIENT)
    with hanging.frozen():
        async with asyncio.timeout(30):  # PATIENT waits for a minute
            await engine.start()
            assert await engine.execute(Channel.PLAIN, "k", "SET", "k", "1") == b"OK"
    await engine.close()


async def test_a_sentinel_that_hangs_is_asked_one_question_at_a_time(tmp_path: Path, stack: ExitStack) -> None:
    primary = plain(stack, tmp_path)
    hanging, *others = [sentinel(stack, tmp_path, primary.port) for _ in range(3)]
    engine = engine_at(Address.parse(address_of([hanging, *others])), limits=PATIENT)
    assert isinstance(engine, Sentineled)
    watch = engine._sentinels
    with hanging.frozen():
        before = len(asyncio.all_tasks())
        for _ in range(20):
            assert (await watch.primary()).hosts == (("127.0.0.1", primary.port),)
        assert len(asyncio.all_tasks()) - before <= 3, "one question for each sentinel"
    await watch.close()
    assert len(asyncio.all_tasks()) == before


async def test_a_replica_that_is_named_as_the_primary_is_not_read(tmp_path: Path, stack: ExitStack) -> None:
    replica = plain(stack, tmp_path)
    replica.raw()("REPLICAOF", "127.0.0.1", 1)
    one = sentinel(stack, tmp_path, replica.port)
    async with Greenroom(address_of([one])) as room:
        said = "is said to be the primary, and is a replica"
        await until(lambda: said in str(room.unavailable))
        with pytest.raises(EngineUnavailable, match=said):
            await room.ready(timedelta(seconds=2))
        assert (await room.cache(EPISODE, load=Loads()).get_result("e1")).outcome is Outcome.BYPASSED


async def test_sentinels_that_are_away_end_no_connection(tmp_path: Path, stack: ExitStack) -> None:
    primary = plain(stack, tmp_path)
    one = sentinel(stack, tmp_path, primary.port)
    engine = engine_at(Address.parse(address_of([one])), limits=PATIENT)
    assert isinstance(engine, Sentineled)
    await engine.start()
    connection = engine._node.connection(Channel.PLAIN)
    one.kill()
    for _ in range(3):
        with pytest.raises(EngineUnavailable, match="no sentinel says where the primary is"):
            await engine._sentinels.primary()
    assert engine._node.connection(Channel.PLAIN) is connection
    assert await engine.execute(Channel.PLAIN, "k", "PING") == b"PONG"
    await engine.close()


# Log-ins, and what is wrong --------------------------------------------------------------------------


async def test_sentinels_and_primary_have_passwords_of_their_own(tmp_path: Path, stack: ExitStack) -> None:
    primary = plain(stack, tmp_path)
    primary.raw()("CONFIG", "SET", "requirepass", "of-the-primary")
    one = Sentinel(valkey_binary(), tmp_path, primary.port, f"sentinel auth-pass {NAME} of-the-primary")
    started(stack, one)
    assert one.raw()("ACL", "SETUSER", "default", "resetpass", ">of-the-sentinel") == b"OK"
    right = address_of([one], login=":of-the-primary@", options="?sentinel_password=of-the-sentinel")
    async with Greenroom(right) as room:
        await room.ready(LONG)
    for wrong, words in (
        (right.replace("sentinel_password=of-the-sentinel", "sentinel_password=no"), "sentinel_password="),
        (right.partition("?")[0], "sentinel_password="),
        (right.replace(":of-the-primary@", ":no@"), "correct the user and the password"),
    ):
        async with Greenroom(wrong) as room:
            with pytest.raises(EngineRefused, match=words):
                await room.ready(LONG)


async def test_a_name_that_no_sentinel_knows_is_told_with_the_remedy(tmp_path: Path, stack: ExitStack) -> None:
    one = sentinel(stack, tmp_path, plain(stack, tmp_path).port)
    address = address_of([one]).replace(NAME, "other")
    async with Greenroom(address) as room:
        with pytest.raises(EngineRefused, match=r"no primary is named 'other'.*correct the name"):
            await room.ready(LONG)


async def test_sentinels_that_cannot_be_reached_are_named() -> None:
    hosts = [Nowhere().address.removeprefix("valkey://") for _ in range(2)]
    async with Greenroom(f"valkey+sentinel://{','.join(hosts)}/{NAME}") as room:
        with pytest.raises(EngineUnavailable) as caught:
            await room.ready(timedelta(milliseconds=1))
        await until(lambda: all(host in str(room.unavailable) for host in hosts))
    assert "caches and sessions" in str(caught.value)


async def test_a_server_that_is_no_sentinel_is_told_as_such(valkey: Server) -> None:
    engine = engine_at(Address.parse(f"valkey+sentinel://127.0.0.1:{valkey.port}/{NAME}"))
    await engine.start()
    try:
        with pytest.raises(EngineError, match="unknown command 'SENTINEL'"):
            await engine.execute(Channel.PLAIN, "k", "PING")
    finally:
        await engine.close()


@WITH_OPENSSL
async def test_sentinels_and_primary_are_reached_over_tls(tmp_path: Path, stack: ExitStack) -> None:
    authority = Authority(tmp_path)
    here = authority.signs("here", "IP:127.0.0.1")
    primary = stack.enter_context(TlsProxy(plain(stack, tmp_path), here))
    one = sentinel(stack, tmp_path, primary.port)
    front = stack.enter_context(TlsProxy(one, here))
    address = f"valkeys+sentinel://127.0.0.1:{front.port}/{NAME}?cacert={authority.cacert}"
    async with Greenroom(address) as room:
        await room.ready(LONG)
        assert front.taken
        assert primary.taken
        await room.sessions.start()


async def test_keys_are_looked_for_at_the_primary_that_sentinels_name(tmp_path: Path, stack: ExitStack) -> None:
    primary = plain(stack, tmp_path)
    one = sentinel(stack, tmp_path, primary.port)
    primary.raw()("SET", "cache:episode:e1", "{}")
    found = [key async for keys in scan(Address.parse(address_of([one])), "cache:*") for key in keys]
    assert found == ["cache:episode:e1"]
