"""`greenroom audit`: each planted fault is found, nothing else is, and what is on its way is not told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from greenroom.client import Greenroom
from greenroom.engine import Address
from greenroom.engine.operator import Pace
from greenroom.inspection.audit import Audit
from greenroom.inspection.faults import Faulty
from greenroom.inspection.mending import mend
from greenroom.inspection.sampling import Bounds
from greenroom_platform.definitions import TOPIC as TOPICS_KEYSPACE
from greenroom_platform.domain.records import Records
from tests.support.operated import Operated
from tests.support.planted import INDEX, SNIPPET, TOPIC, audited, filled
from tests.support.real_cluster import Cluster

PATIENCE = 300
TOPIC_KEY, SNIPPET_KEY = f"cache:topic:{TOPIC}", f"cache:snippet:{SNIPPET}"


@pytest.fixture
async def records(operated: Operated, tmp_path: Path) -> AsyncIterator[Records]:
    """A record, whose caches are full on the server."""
    async with filled(operated.admin, tmp_path / "record.sqlite3") as records:
        operated.caught_up()
        yield records


def told(found: list[Faulty]) -> set[tuple[str, str]]:
    """Kinds and keys."""
    return {(fault.kind, fault.key) for fault in found}


def changed(operated: Operated, key: str, **members: Any) -> bytes:
    """What is stored under a key, with other members."""
    return msgspec.json.encode(msgspec.json.decode(operated.raw("GET", key)) | members)


async def test_nothing_is_found_where_all_is_as_declared(operated: Operated, records: Records) -> None:
    found, audit = await audited(operated.viewer, records)
    assert found == []
    (server,) = audit.servers
    assert server.at_replica, "the primary is left alone"
    assert server.looked == server.keys == operated.raw("DBSIZE")
    tallies = {name: (one.found > 0, one.compared, one.not_compared) for name, one in audit.keyspaces.items()}
    # The absent topic is compared as well.
    assert tallies["topic"] == (True, 2, 0)
    assert tallies["snippet"][1] == 20
    assert tallies["topics"][1] == tallies["snippet_page"][1] == 1
    assert tallies["session"] == (True, 0, 0)


PLANTED = [
    ("stale", TOPIC_KEY, ("SET", TOPIC_KEY, "changed", "KEEPTTL")),
    ("stale", "cache:topic:gone", ("SET", "cache:topic:gone", "another", "EX", 60)),
    ("stale", f"absent:{{{SNIPPET_KEY}}}", ("SET", f"absent:{{{SNIPPET_KEY}}}", "", "EX", 20)),
    ("foreign", "cache:topic:a:b", ("SET", "cache:topic:a:b", "1")),
    ("foreign", TOPIC_KEY, ("HSET", TOPIC_KEY, "topic_id", TOPIC)),
    ("foreign", "lease:{cache:topic:x}", ("RPUSH", "lease:{cache:topic:x}", "1")),
    ("undecodable", SNIPPET_KEY, ("SET", SNIPPET_KEY, '{"snippet_id": 7}', "KEEPTTL")),
    ("undecodable", "session:broken", ("SET", "session:broken", "{", "EX", 60)),
    ("immortal", TOPIC_KEY, ("PERSIST", TOPIC_KEY)),
    ("immortal", "absent:{cache:topic:none}", ("PERSIST", "absent:{cache:topic:none}")),
    ("overlong", SNIPPET_KEY, ("PEXPIRE", SNIPPET_KEY, 2_000_000)),
    ("orphan_lease", "lease:{cache:topic:y}", ("SET", "lease:{cache:topic:y}", "aa:bb")),
    ("orphan_lease", "lease:{cache:topic:z}", ("SET", "lease:{cache:topic:z}", "aa:bb", "PX", 90_000)),
]


@pytest.mark.parametrize(("kind", "key", "plant"), PLANTED, ids=[f"{kind}-{key}" for kind, key, _ in PLANTED])
async def test_a_planted_fault_is_found_and_no_other(
    operated: Operated, records: Records, kind: str, key: str, plant: tuple[Any, ...]
) -> None:
    plants = {
        "changed": changed(operated, TOPIC_KEY, description="Old."),
        "another": changed(operated, TOPIC_KEY, topic_id="gone"),
    }
    if plant[0] in ("HSET", "RPUSH"):
        operated.raw("DEL", key)
    operated.raw(*(plants.get(word, word) for word in plant))
    operated.caught_up()
    found, _ = await audited(operated.viewer, records)
    assert told(found) == {(kind, key)}
    for fault in found:
        assert fault.what.startswith(key)
        assert fault.mend


# What is on its way -----------------------------------------------------------------------------------


async def test_a_change_that_is_dropped_meanwhile_is_no_fault(operated: Operated, records: Records) -> None:
    operated.raw("SET", TOPIC_KEY, changed(operated, TOPIC_KEY, description="Old."), "KEEPTTL")
    operated.caught_up()

    async def dropped() -> None:
        operated.raw("DEL", TOPIC_KEY)

    assert (await audited(operated.viewer, records, meanwhile=dropped))[0] == []


async def test_a_record_that_changes_meanwhile_is_not_judged(operated: Operated, records: Records) -> None:
    """The first change was dropped late, and the second's drop is on its way."""
    operated.raw("SET", TOPIC_KEY, changed(operated, TOPIC_KEY, description="Old."), "KEEPTTL")
    operated.caught_up()
    topic = await records.topic(TOPIC)
    assert topic is not None

    async def changes() -> None:
        await records.store([msgspec.structs.replace(topic, description="Newest.")], [])

    assert (await audited(operated.viewer, records, meanwhile=changes))[0] == []


async def test_a_lease_that_is_held_is_no_fault(operated: Operated, records: Records) -> None:
    operated.raw("SET", "lease:{cache:topic:x}", "aa:bb", "PX", 1000)
    operated.raw("SET", "lease:{cache:topic:y}", "failed:ValueError", "PX", 59_000)
    operated.caught_up()
    assert (await audited(operated.viewer, records))[0] == []


async def test_what_a_dropped_keyspace_has_left_is_no_fault(operated: Operated, records: Records) -> None:
    """No process of ours serves it: it bears another generation, or none."""
    operated.raw("SET", TOPIC_KEY, changed(operated, TOPIC_KEY, description="Old."), "KEEPTTL")
    async with Greenroom(operated.admin, sessions=False) as room:
        await room.drop_keyspace(TOPICS_KEYSPACE)
    operated.caught_up()
    assert (await audited(operated.viewer, records))[0] == []


# Bounds -----------------------------------------------------------------------------------------------


async def test_a_look_is_bounded_and_samples_are_fair(operated: Operated, records: Records) -> None:
    for number in range(2000):
        operated.raw("SET", f"cache:snippet:s{number}", "{", "EX", 600)
    operated.caught_up()
    found, audit = await audited(operated.viewer, None, "snippet", bounds=Bounds(keys=100_000, sample=50))
    (tally,) = audit.keyspaces.values()
    assert (tally.found, tally.sampled) == (2020, 50)
    assert 40 < len(found) <= 50
    _, audit = await audited(operated.viewer, None, "snippet", bounds=Bounds(keys=500, sample=50))
    (server,) = audit.servers
    assert 500 <= server.looked < 1000


async def test_without_a_record_all_but_stale_values_is_found(operated: Operated, records: Records) -> None:
    operated.raw("SET", TOPIC_KEY, changed(operated, TOPIC_KEY, description="Old."))
    operated.caught_up()
    found, audit = await audited(operated.viewer, None)
    assert told(found) == {("immortal", TOPIC_KEY)}
    assert audit.keyspaces["topic"].compared == 0


# Mending ----------------------------------------------------------------------------------------------


async def test_caches_are_mended_and_sessions_and_strangers_left(operated: Operated, records: Records) -> None:
    operated.raw("SET", TOPIC_KEY, changed(operated, TOPIC_KEY, description="Old."))
    operated.raw("SET", f"absent:{{{SNIPPET_KEY}}}", "")
    operated.raw("SET", "lease:{cache:topic:y}", "aa:bb")
    operated.raw("SET", "cache:topic:a:b", "1")
    operated.raw("SET", "session:broken", "{", "EX", 60)
    operated.caught_up()
    found, _ = await audited(operated.viewer, records)
    # The same server by another name, as the service's settings may have it.
    elsewhere = Address.parse(operated.service.replace("127.0.0.1", "localhost"))
    faults = await mend(found, INDEX, elsewhere, Pace(10_000))
    assert len(faults) == len(found)
    assert {one.key for one in faults if not one.mended} == {"cache:topic:a:b", "session:broken"}
    assert operated.raw("EXISTS", "cache:topic:a:b", "session:broken") == 2
    assert operated.raw("EXISTS", TOPIC_KEY, f"absent:{{{SNIPPET_KEY}}}", "lease:{cache:topic:y}") == 0
    operated.caught_up()
    found, _ = await audited(operated.viewer, records)
    assert {fault.key for fault in found} == {"cache:topic:a:b", "session:broken"}


async def test_on_a_cluster_each_shard_is_audited_and_mended(steady: Cluster, tmp_path: Path) -> None:
    steady.fresh()
    async with filled(steady.address, tmp_path / "record.sqlite3") as records:

        async def met(keyspace: str, number: int) -> tuple[list[Faulty], Audit]:
            """The first audit that meets so many values: replicas may be a moment behind."""
            for _ in range(PATIENCE):
                found, audit = await audited(steady.address, records)
                whole = all(one.at_replica for one in audit.servers)
                if whole and keyspace in audit.keyspaces and audit.keyspaces[keyspace].found == number:
                    return found, audit
                await asyncio.sleep(0.1)
            raise AssertionError((audit.servers, audit.keyspaces))

        found, audit = await met("snippet", 20)
        assert found == []
        assert len(audit.servers) == 3
        assert audit.keyspaces["snippet"].compared == 20
        raw = steady.raw()
        keys = {f"cache:topic:t{number}" for number in range(12)}
        for key in keys:
            raw("SET", key, "{")
        found, _ = await met("topic", 13)
        assert told(found) == {(kind, key) for key in keys for kind in ("immortal", "undecodable")}
        await mend(found, INDEX, Address.parse(steady.address), Pace(10_000))
        assert not any(raw("EXISTS", key) for key in keys)
