"""One record has one set of caches: whoever comes with others is told, and an emptied server keeps nobody out."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from greenroom.errors import InvalidInput
from greenroom_platform.domain import shared_caches
from greenroom_platform.domain.known_caches import KnownCaches
from greenroom_platform.domain.records import Records
from greenroom_platform.platform import Platform, open_platform
from greenroom_platform.storage import open_records
from greenroom_platform.testing.records_changes import NOON, about
from tests.support.patience import until
from tests.support.proxy import proxy_of
from tests.support.real_servers import Server, valkey_binary

IDENTITY = "greenroom:identity:{caches}"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lives answers however busy the machine is; a test that wants no answer to come says so."""
    monkeypatch.setattr(shared_caches, "LOOK_INTERVAL", 0.02)
    monkeypatch.setattr(shared_caches, "ASK_INTERVAL", 0.05)
    monkeypatch.setattr(shared_caches, "ANSWER_TIMEOUT", 60.0)
    monkeypatch.setattr(shared_caches, "FURTHER_TIMEOUT", 0.1)
    monkeypatch.setattr(shared_caches, "LOCKED", 60.0)


@pytest.fixture
async def records(record_url: str) -> AsyncIterator[Records]:
    records = await open_records(record_url)
    yield records
    await records.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Server]:
    """Another server of caches."""
    directory = tmp_path / "other"
    directory.mkdir()
    server = Server(valkey_binary(), directory)
    server.start()
    yield server
    server.kill()


def opened(valkey: Server, records: Records | str, prefix: str = "") -> AbstractAsyncContextManager[Platform]:
    return open_platform(valkey.address, sessions=False, database=records, prefix=prefix)


def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_caches, "ANSWER_TIMEOUT", 0.1)


async def known(records: Records) -> KnownCaches:
    found: KnownCaches | None = await records.caches.known()  # type: ignore[attr-defined]
    assert found is not None
    return found


async def test_a_process_with_other_caches_than_a_living_one_is_refused(
    valkey: Server, other: Server, record_url: str, records: Records
) -> None:
    async with opened(valkey, records) as platform:
        written = await platform.topics.put("a", about("A"))
        first = await known(records)
        left = await records.put_topic("b", about("B"), NOON)  # as a killed process leaves it
        theirs = await open_records(record_url)
        with pytest.raises(InvalidInput) as refused:
            async with opened(other, theirs):
                raise AssertionError("it was opened")
        assert left.change.change_id not in [one.change_id for one in await theirs.pending(older_than=60)]
        await theirs.close()
        for said in (valkey.address, other.address, "--valkey-url", "--key-prefix"):
            assert said in str(refused.value)
        assert other.raw()("DBSIZE") == 0, "nothing was sent there"
        now = await known(records)
        assert (now.identity, now.address) == (first.identity, first.address)
        assert await platform.topics.get("a") == written.value


@pytest.mark.parametrize(("locked", "further"), [(0.0, 0.0), (60.0, 60.0)], ids=["a slow write", "a quick write"])
async def test_who_cannot_write_its_answer_is_waited_for_while_locked(
    valkey: Server, other: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: float, further: float
) -> None:
    """Prevents: a migration has the record locked · nobody can answer · a process with other caches takes over."""
    living, theirs = [await open_records(tmp_path / "record.sqlite3") for _ in range(2)]
    async with opened(valkey, living):
        nobody_answers(monkeypatch)
        monkeypatch.setattr(shared_caches, "LOCKED", locked)
        monkeypatch.setattr(shared_caches, "FURTHER_TIMEOUT", further)
        unlocked, asked, looked = asyncio.Event(), 0, 0
        answer, ask, look = living.caches.replace, theirs.caches.replace, theirs.caches.known  # type: ignore[attr-defined]

        async def answered(*args: KnownCaches) -> bool:
            await unlocked.wait()
            return bool(await answer(*args))

        async def written(*args: KnownCaches) -> bool:
            nonlocal asked
            asked += 1
            done = bool(await ask(*args))
            if asked > 2:
                unlocked.set()
            return done

        async def seen() -> KnownCaches | None:
            nonlocal looked
            looked += asked == 2
            if looked > 1:
                unlocked.set()
            found: KnownCaches | None = await look()
            return found

        monkeypatch.setattr(living.caches, "replace", answered)  # type: ignore[attr-defined]
        monkeypatch.setattr(theirs.caches, "replace", written)  # type: ignore[attr-defined]
        monkeypatch.setattr(theirs.caches, "known", seen)  # type: ignore[attr-defined]
        with pytest.raises(InvalidInput, match="is not where the other processes"):
            async with opened(other, theirs):
                raise AssertionError("it was opened")
    for one in (living, theirs):
        await one.close()


async def test_another_prefix_on_the_same_server_is_another_set_of_caches(valkey: Server, records: Records) -> None:
    async with opened(valkey, records):
        with pytest.raises(InvalidInput, match="'other:'"):
            async with opened(valkey, records, "other:"):
                raise AssertionError("it was opened")


async def test_any_number_of_processes_share_one_set_of_caches(valkey: Server, tmp_path: Path) -> None:
    records = [await open_records(tmp_path / "record.sqlite3") for _ in range(4)]
    opening = [opened(valkey, one) for one in records]
    await asyncio.gather(*(one.__aenter__() for one in opening))
    found = await known(records[0])
    assert (found.address, found.asked) == (valkey.address, 0)
    assert valkey.raw()("GET", IDENTITY) == found.identity.encode()
    for one in opening:
        await one.__aexit__(None, None, None)
    for record in records:
        await record.close()


# What a server that was emptied or replaced must not do ----------------------------------------------


async def test_an_emptied_server_keeps_no_process_from_starting(
    valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = await open_records(tmp_path / "record.sqlite3")
    async with opened(valkey, records):
        before = await known(records)
    valkey.raw()("FLUSHALL")
    nobody_answers(monkeypatch)
    async with opened(valkey, records) as platform:
        assert (await platform.topics.put("a", about("A"))).created
        after = await known(records)
        assert after.identity != before.identity
        assert valkey.raw()("GET", IDENTITY) == after.identity.encode()
    await records.close()


async def test_a_server_emptied_beneath_a_living_process_keeps_its_identity(valkey: Server, tmp_path: Path) -> None:
    records = await open_records(tmp_path / "record.sqlite3")
    async with opened(valkey, records):
        before = await known(records)
        valkey.raw()("FLUSHALL")
        async with opened(valkey, records):
            assert (await known(records)).identity == before.identity
            assert valkey.raw()("GET", IDENTITY) == before.identity.encode()
    await records.close()


async def test_what_a_server_held_is_dropped_when_it_takes_over(
    valkey: Server, other: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: caches A are used · then B, and a change · then A again, which still have the old value."""
    nobody_answers(monkeypatch)
    records = await open_records(tmp_path / "record.sqlite3")
    async with opened(valkey, records) as platform:
        await platform.topics.put("a", about("Old"))
        await platform.topics.get("a")
    async with opened(other, records) as platform:
        await platform.topics.put("a", about("New"))
    assert b"Old" in valkey.raw()("GET", "cache:topic:a")
    async with opened(valkey, records) as platform:
        found = await platform.topics.get("a")
        assert found is not None
        assert found.display_name == "New"
        assert (await known(records)).address == valkey.address
    await records.close()


async def test_a_place_is_not_taken_before_what_was_held_is_dropped(
    valkey: Server, other: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody_answers(monkeypatch)
    records = await open_records(tmp_path / "record.sqlite3")
    async with opened(valkey, records):
        pass
    places: list[str] = []

    async def drop(_: Platform) -> None:
        places.append((await known(records)).address)

    monkeypatch.setattr(Platform, "_drop_all", drop)
    async with opened(other, records):
        assert places == [valkey.address]
        assert (await known(records)).address == other.address
    await records.close()


# Found out later -------------------------------------------------------------------------------------


async def test_a_process_that_could_not_ask_at_its_start_is_told_later(
    valkey: Server, other: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = await open_records(tmp_path / "record.sqlite3")
    async with opened(valkey, records), proxy_of(other) as proxy:
        await proxy.all_down()
        async with open_platform(proxy.address, sessions=False, database=records):
            with caplog.at_level(logging.ERROR, "greenroom.domain"):
                await proxy.up()
                await until(lambda: any("old values may be served" in line for line in caplog.messages))
                asked = (await known(records)).asked
                while (await known(records)).asked < asked + 3:
                    await asyncio.sleep(0.01)
        assert sum("old values may be served" in line for line in caplog.messages) == 1, "once"
        assert (await known(records)).address == valkey.address
    await records.close()


async def test_a_process_whose_place_was_taken_while_it_stood_still_is_told(
    valkey: Server, other: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    still, records = [await open_records(tmp_path / "record.sqlite3") for _ in range(2)]
    awake, look = asyncio.Event(), still.caches.known  # type: ignore[attr-defined]
    awake.set()

    async def held() -> KnownCaches | None:
        await awake.wait()
        found: KnownCaches | None = await look()
        return found

    monkeypatch.setattr(still.caches, "known", held)  # type: ignore[attr-defined]
    async with opened(valkey, still):
        awake.clear()
        with monkeypatch.context() as patch:
            patch.setattr(shared_caches, "ANSWER_TIMEOUT", 0.1)
            opening = opened(other, records)
            await opening.__aenter__()
        assert (await known(records)).address == other.address
        with caplog.at_level(logging.ERROR, "greenroom.domain"):
            awake.set()
            await until(lambda: any("old values may be served" in line for line in caplog.messages))
        assert other.address in caplog.text
        await opening.__aexit__(None, None, None)
        nobody_answers(monkeypatch)
        async with asyncio.timeout(60):
            while (await known(records)).address != valkey.address:
                await asyncio.sleep(0.01)
    for one in (still, records):
        await one.close()


@pytest.mark.parametrize("document", [b"\xff{", b'{"identity":"\xff","address":""}'])
async def test_what_another_program_has_put_in_the_place_is_replaced(
    valkey: Server, tmp_path: Path, document: bytes
) -> None:
    records = await open_records(tmp_path / "record.sqlite3")
    with sqlite3.connect(tmp_path / "record.sqlite3") as outside:
        outside.execute("INSERT INTO caches VALUES (1, ?)", (document,))
    outside.close()
    async with opened(valkey, records):
        assert (await known(records)).address == valkey.address
    await records.close()
