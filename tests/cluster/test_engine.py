"""The engine on a real cluster, while slots and nodes come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from greenroom.counters import Counters
from greenroom.engine import Address, Channel, Limits, Script
from greenroom.engine.cluster.cluster import Clustered
from greenroom.engine.protocol.hash_slot import SLOTS
from greenroom.engine.protocol.topology import Topology
from greenroom.errors import EngineError, EngineUnavailable, InvalidInput
from tests.support.cluster_slots import SOON, off_loop, port_of
from tests.support.patience import PATIENT, eventually, until, wait_for
from tests.support.proxy import ClusterProxy
from tests.support.real_cluster import Cluster, slot_of
from tests.support.real_servers import free_port

Connect = Callable[..., Awaitable[Clustered]]

BOTH = Script("return {redis.call('INCR', KEYS[1]), redis.call('INCR', KEYS[2]), ARGV[1]}")
INSISTING = Limits(command_deadline=20)


def events(counters: Counters, name: str) -> int:
    """How often something happened, on all nodes together."""
    return sum(number for (_, event), number in counters.engine_events.items() if event == name)


async def test_every_key_s_commands_go_to_its_owner(steady: Cluster, connect: Connect) -> None:
    steady.fresh()
    engine = await connect(steady, scripts=[BOTH])
    keys = [f"k{n}" for n in range(300)]
    await asyncio.gather(*(engine.execute(Channel.TRACKED, key, "SET", key, key) for key in keys))
    assert await asyncio.gather(*(engine.execute(Channel.PLAIN, key, "GET", key) for key in keys)) == [
        key.encode() for key in keys
    ]
    sizes = [one("DBSIZE") for one in steady.primaries]
    assert sum(sizes) == 300
    assert all(sizes)
    assert await engine.run(Channel.TRACKED, BOTH, ["{x}1", "{x}2"], ["z"]) == [1, 1, b"z"]
    future = engine.send(Channel.TRACKED, "k7", (("GET", "k7"),))
    assert future is not None
    assert await future == [b"k7"]


async def test_a_write_elsewhere_is_pushed_by_the_node_that_owns_the_key(steady: Cluster, connect: Connect) -> None:
    pushed: list[bytes | None] = []
    lost: list[list[str]] = []
    steady.fresh()
    one, two = (member.keys(1)[0] for member in steady.primaries[:2])
    engine = await connect(
        steady, on_invalidate=pushed.append, on_lost=lambda owns: lost.append([k for k in (one, two) if owns(k)])
    )
    lost.clear()  # every slot has been given an owner
    for key in (one, two):
        await engine.execute(Channel.TRACKED, key, "GET", key)
        steady.raw()("SET", key, "1")
    await until(lambda: set(pushed) == {one.encode(), two.encode()})
    steady.owner(two)("FLUSHALL")  # it concerns this node's part only
    await until(lambda: lost == [[two]])
    assert None not in pushed


async def test_a_cluster_is_found_by_any_of_its_nodes(steady: Cluster) -> None:
    nobody, replica = free_port(), steady.replicas[0].port
    engine = Clustered(Address.parse(f"valkey+cluster://127.0.0.1:{nobody},127.0.0.1:{replica}"))
    await engine.start()
    try:
        assert engine.unavailable is None
        assert len(engine._owners.nodes) == 3
    finally:
        await engine.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await engine.execute(Channel.PLAIN, "k", "GET", "k")


async def test_an_absent_cluster_fails_calls_at_once_and_is_found_when_it_is_up() -> None:
    nobody = Clustered(Address.parse(f"valkey+cluster://127.0.0.1:{free_port()}"), limits=Limits(probe_max=0.3))
    await nobody.start()
    try:
        await until(lambda: nobody._discovery._failures >= 3)
        assert "no node of valkey+cluster" in str(nobody.unavailable)
        call = asyncio.create_task(nobody.execute(Channel.PLAIN, "k", "GET", "k"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert isinstance(call.exception(), EngineUnavailable)
    finally:
        await nobody.close()


def test_one_server_is_no_cluster() -> None:
    with pytest.raises(InvalidInput):
        Clustered(Address.parse("valkey://h"))


async def test_after_a_move_a_slot_s_calls_are_redirected_once_only(cluster: Cluster, connect: Connect) -> None:
    counters = Counters()
    engine = await connect(cluster, counters=counters, limits=Limits(topology_interval=60))
    (key,) = cluster.primaries[0].keys(1)
    await engine.execute(Channel.PLAIN, key, "SET", key, "v")
    target = cluster.primaries[1]
    await off_loop(cluster.migrate, slot_of(key), target)
    replies = await asyncio.gather(*(engine.execute(Channel.PLAIN, key, "GET", key) for _ in range(50)))
    assert replies == [b"v"] * 50
    assert port_of(engine, key) == target.port
    moved = events(counters, "moved")
    assert 1 <= moved <= 50  # all were sent before the first was answered
    await engine.execute(Channel.PLAIN, key, "GET", key)
    assert events(counters, "moved") == moved


async def test_what_has_moved_of_a_slot_on_its_way_is_asked_for_where_it_is(cluster: Cluster, connect: Connect) -> None:
    counters = Counters()
    engine = await connect(cluster, counters=counters)
    source, target = cluster.primaries[:2]
    tag = source.keys(1)[0]
    here, there, nowhere = f"{{{tag}}}here", f"{{{tag}}}there", f"{{{tag}}}nowhere"
    for key in (here, there):
        await engine.execute(Channel.PLAIN, key, "SET", key, key)
    slot = slot_of(tag)
    cluster.begin_migration(slot, target)
    cluster.move_key(source, target, there)
    assert await engine.execute(Channel.PLAIN, here, "GET", here) == here.encode()
    assert events(counters, "ask") == 0
    seen: list[list[Any]] = []
    commands = ("PTTL", there), ("GET", there)
    found = await engine.execute_all(Channel.TRACKED, there, commands, hook=lambda replies, _: seen.append(replies))
    assert found == [-1, there.encode()]
    assert seen[-1] == [-1, there.encode()]
    assert await engine.execute(Channel.PLAIN, nowhere, "SET", nowhere, "new") == b"OK"
    assert events(counters, "ask") == 3 - 1  # the pair counts once
    assert port_of(engine, tag) == source.port  # an ASK is for this time only
    cluster.move_key(source, target, here)
    cluster.end_migration(slot, source, target)
    assert await engine.execute(Channel.PLAIN, nowhere, "GET", nowhere) == b"new"
    assert port_of(engine, tag) == target.port


async def test_multi_key_commands_wait_until_a_migrating_slot_is_together(cluster: Cluster, connect: Connect) -> None:
    engine = await connect(cluster, scripts=[BOTH], limits=INSISTING)
    source, target = cluster.primaries[:2]
    tag = source.keys(1)[0]
    one, two = f"{{{tag}}}1", f"{{{tag}}}2"
    await engine.run(Channel.PLAIN, BOTH, [one, two], ["x"])
    slot = slot_of(tag)
    cluster.begin_migration(slot, target)
    cluster.move_key(source, target, one)
    call = asyncio.create_task(engine.run(Channel.PLAIN, BOTH, [one, two], ["x"]))
    refused = source.raw()
    await until(lambda: b"errorstat_TRYAGAIN" in refused("INFO", "errorstats"))
    assert not call.done()
    cluster.move_key(source, target, two)
    cluster.end_migration(slot, source, target)
    assert await call == [2, 2, b"x"]


async def test_keys_of_a_slot_on_its_way_are_deleted_wherever_they_are(cluster: Cluster, connect: Connect) -> None:
    engine = await connect(cluster)
    source, target = cluster.primaries[:2]
    tag = source.keys(1)[0]
    names = [f"{{{tag}}}{n}" for n in range(3)]
    for name in names[:2]:
        await engine.execute(Channel.TRACKED, name, "SET", name, "v")
    cluster.begin_migration(slot_of(tag), target)
    cluster.move_key(source, target, names[0])
    await engine.execute_all(Channel.TRACKED, tag, (("DEL", *names),), urgent=True)
    assert [one("DBSIZE") for one in (source, target)] == [0, 0]


@pytest.mark.parametrize("how", ["classic", "atomic"])
async def test_nothing_written_is_lost_or_read_wrong_while_slots_move(
    cluster: Cluster, connect: Connect, how: str
) -> None:
    counters = Counters()
    engine = await connect(cluster, counters=counters, limits=INSISTING)
    source = cluster.primaries[0]
    tags = source.keys(4)
    wrong: list[Any] = []
    stop = asyncio.Event()
    written: dict[str, int] = {}

    async def client(number: int) -> None:
        key = f"{{{tags[number % 4]}}}{number}"
        value = 0
        while not stop.is_set():
            value += 1
            await engine.execute(Channel.TRACKED, key, "SET", key, value)
            found = await engine.execute(Channel.TRACKED, key, "GET", key)
            if found != str(value).encode():
                wrong.append((key, value, found))
            written[key] = value

    clients = [asyncio.create_task(client(number)) for number in range(16)]
    await until(lambda: len(written) == 16)
    for target in (cluster.primaries[1], source) if how == "classic" else (cluster.primaries[1],):
        for tag in tags:
            if how == "classic":
                await off_loop(cluster.migrate, slot_of(tag), target)
            else:
                await off_loop(cluster.move, [slot_of(tag)], target)
    stop.set()
    await asyncio.gather(*clients)
    assert wrong == []
    raw = cluster.raw()
    assert {key: int(raw("GET", key)) for key in written} == written
    assert events(counters, "moved") > 0


async def test_a_planned_failover_fails_no_call(cluster: Cluster, connect: Connect) -> None:
    engine = await connect(cluster, limits=SOON)
    primary = cluster.primaries[0]
    keys = [key for one in cluster.primaries for key in one.keys(2)]
    stop = asyncio.Event()
    rounds = 0

    async def client(key: str) -> None:
        nonlocal rounds
        number = 0
        while not stop.is_set():
            number += 1
            # Once and no more: what a demoted node had carried out without an answer would be an unknown outcome.
            assert await engine.execute(Channel.PLAIN, key, "INCR", key, retry=False) == number
            rounds += 1

    clients = [asyncio.create_task(client(key)) for key in keys]
    await until(lambda: rounds > 100)
    successor = await off_loop(cluster.fail_over, primary)
    await until(lambda: port_of(engine, keys[0]) == successor.port)
    before = rounds
    await until(lambda: rounds > before + 100)
    stop.set()
    await asyncio.gather(*clients)
    # Nobody asks the demoted one any more: it is left.
    await until(lambda: primary.port not in {node.address.hosts[0][1] for node in engine._owners.nodes})
    assert engine.unavailable is None


async def test_a_node_that_is_left_first_answers_what_it_was_sent(steady: Cluster, connect: Connect) -> None:
    steady.fresh()
    (key,) = steady.primaries[0].keys(1)
    async with ClusterProxy(steady, key) as proxy:
        engine = await connect(proxy, limits=PATIENT)
        held = proxy.hold("INCR", key)
        call = asyncio.create_task(engine.execute(Channel.PLAIN, key, "INCR", key, retry=False))
        await held.reached.wait()
        other = ("127.0.0.1", steady.primaries[1].port)
        engine._owners.adopt(
            Topology(((0, SLOTS - 1, other),), frozenset((other,)), frozenset((other,)), {}, frozenset(), 99)
        )
        held.release()
        assert await call == 1


async def test_a_cluster_down_for_one_shard_costs_one_call_its_deadline(cluster: Cluster, connect: Connect) -> None:
    engine = await connect(cluster, limits=Limits(probe_max=60, command_deadline=3))
    victim, well = cluster.primaries[:2]
    (key,) = well.keys(1)
    cluster.replica_of(victim).kill()
    victim.kill()
    await off_loop(wait_for, lambda: well.info["cluster_state"] == "fail", 30)
    with pytest.raises(EngineUnavailable, match="CLUSTERDOWN"):
        await engine.execute(Channel.TRACKED, key, "GET", key)
    well.ok("CONFIG", "RESETSTAT")
    for _ in range(5):
        with pytest.raises(EngineUnavailable, match="CLUSTERDOWN"):
            await engine.execute(Channel.TRACKED, key, "GET", key)
    assert b"errorstat_CLUSTERDOWN:count=5\r\n" in well("INFO", "errorstats")
    await off_loop(cluster.restart, victim)
    await off_loop(wait_for, lambda: well.info["cluster_state"] == "ok", 30)
    assert await engine.execute(Channel.TRACKED, key, "SET", key, "v") == b"OK"


async def test_a_killed_primary_costs_only_its_own_keys_and_only_for_a_while(
    cluster: Cluster, connect: Connect
) -> None:
    engine = await connect(cluster)
    victim, *others = cluster.primaries
    (lost,) = victim.keys(1)
    kept = [one.keys(1)[0] for one in others]
    await engine.execute(Channel.TRACKED, lost, "SET", lost, "v")
    replica = cluster.replica_of(victim)
    await eventually(lambda: replica("DBSIZE") == 1)
    stop = asyncio.Event()
    slowest = 0.0

    async def client(key: str) -> None:
        nonlocal slowest
        while not stop.is_set():
            began = monotonic()
            await engine.execute(Channel.TRACKED, key, "GET", key)  # it raises nothing
            slowest = max(slowest, monotonic() - began)
            await asyncio.sleep(0.002)  # it goes on for seconds, and more reads would prove no more

    clients = [asyncio.create_task(client(key)) for key in kept]
    victim.kill()
    began = monotonic()
    while True:
        try:
            if await engine.execute(Channel.TRACKED, lost, "GET", lost) == b"v":
                break
        except EngineError:
            assert engine.unavailable is not None
            assert monotonic() - began < 60
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*clients)
    assert port_of(engine, lost) == replica.port
    await until(lambda: engine.unavailable is None)
    print(f"served again after {monotonic() - began:.2f} s, slowest of the others {slowest * 1000:.0f} ms")  # noqa: T201


async def test_a_node_that_is_added_is_used_and_one_that_is_removed_is_left(cluster: Cluster, connect: Connect) -> None:
    engine = await connect(cluster, limits=SOON)
    source = cluster.primaries[0]
    keys = source.keys(3)
    for key in keys:
        await engine.execute(Channel.PLAIN, key, "SET", key, key)
    new = await off_loop(cluster.add)
    for key in keys:
        await off_loop(cluster.migrate, slot_of(key), new)
    await until(lambda: {port_of(engine, key) for key in keys} == {new.port})  # without a call
    assert [await engine.execute(Channel.PLAIN, key, "GET", key) for key in keys] == [key.encode() for key in keys]
    for key in keys:
        await off_loop(cluster.migrate, slot_of(key), source)
    await off_loop(cluster.remove, new)
    await until(lambda: new.port not in {node.address.hosts[0][1] for node in engine._owners.nodes}, 30)
    assert [await engine.execute(Channel.PLAIN, key, "GET", key) for key in keys] == [key.encode() for key in keys]
    assert engine.unavailable is None


async def test_a_frozen_node_slows_nobody_else_and_heals(steady: Cluster, connect: Connect) -> None:
    steady.fresh()
    engine = await connect(steady, limits=Limits(command_deadline=0.3, handshake_deadline=0.3, probe_max=0.3))
    victim, *others = steady.primaries
    (lost,) = victim.keys(1)
    kept = [key for one in others for key in one.keys(5)]
    with victim.frozen():
        calls = [engine.execute(Channel.TRACKED, lost, "GET", lost) for _ in range(20)]
        failing = asyncio.ensure_future(asyncio.gather(*calls, return_exceptions=True))
        served = 0
        while not failing.done():
            await asyncio.gather(*(engine.execute(Channel.TRACKED, key, "GET", key) for key in kept))
            served += len(kept)
        assert all(isinstance(result, EngineUnavailable) for result in await failing)
        assert served > 20 * len(kept)
        await until(lambda: engine.unavailable is not None)
    await until(lambda: engine.unavailable is None)
    assert await engine.execute(Channel.TRACKED, lost, "GET", lost) is None


async def test_a_slot_that_nobody_owns_is_an_error_and_the_others_are_served(
    cluster: Cluster, connect: Connect
) -> None:
    for one in cluster.members:
        one.ok("CONFIG", "SET", "cluster-require-full-coverage", "no")
    slot = slot_of("k1")
    for one in cluster.members:
        one("CLUSTER", "DELSLOTS", slot)
    engine = await connect(cluster)
    with pytest.raises(EngineUnavailable):
        await engine.execute(Channel.PLAIN, "k1", "GET", "k1")
    assert await engine.execute(Channel.PLAIN, "k2", "GET", "k2") is None
    assert engine.unavailable is not None
