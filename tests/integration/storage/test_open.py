"""Opening the record: what is made, what is found again, what is refused and left as it was."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greenroom.errors import InvalidInput, RecordUnavailable
from greenroom_platform.storage import SqliteRecords, open_records
from greenroom_platform.storage.sqlite import database
from greenroom_platform.testing.records_changes import NOON, about, topic

NOBODY = 65534


async def test_what_was_stored_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "directory" / "record.sqlite3"
    first = await open_records(f"sqlite:{path}")
    change = (await first.put_topic("a", about("A"), NOON)).change
    await first.close()
    second = await open_records(path)
    try:
        assert await second.topics() == (topic("a", name="A"),)
        assert await second.pending() == (change,)
    finally:
        await second.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "r.sqlite3",
        "/r.sqlite3",
        "postgresql://h/n",
        "file:r",
        "sqlite:",
        "sqlite://host/r",
        "sqlite::memory:",
    ],
)
async def test_other_forms_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await open_records(text)
    assert caught.value.field == "database"
    assert "sqlite:" in caught.value.remedy


async def refusal(path: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        await SqliteRecords.open(path)
    assert caught.value.field == "database"
    assert str(path) in caught.value.reason
    return caught.value.reason


async def test_a_schema_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite3"
    await (await SqliteRecords.open(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "version 99" in await refusal(path)


@pytest.mark.parametrize("content", [b"Dear diary, today I wrote no database at all.\n" * 100, b"\0" * 5000])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "diary.txt"
    path.write_bytes(content)
    assert "not a database" in await refusal(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("version", [0, 1, 99])
async def test_another_program_s_database_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "bookmarks.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    content = path.read_bytes()
    assert "another program's" in await refusal(path)
    assert path.read_bytes() == content


async def test_a_directory_for_the_file_or_a_file_for_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    await refusal(tmp_path)
    await refusal(tmp_path / "file" / "record.sqlite3")
    await refusal(tmp_path / "file" / "below" / "record.sqlite3")


@contextmanager
def without_the_right_to_write(directory: Path) -> Iterator[None]:
    directory.chmod(0o555)
    root = os.geteuid() == 0  # whom permissions do not bind
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        directory.chmod(0o755)


async def test_a_directory_that_may_not_be_written_to_is_refused(tmp_path: Path) -> None:
    with without_the_right_to_write(tmp_path):
        await refusal(tmp_path / "record.sqlite3")
        await refusal(tmp_path / "below" / "record.sqlite3")


async def test_a_database_that_another_process_keeps_locked_is_busy_not_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_DEADLINE", 0.05)
    path = tmp_path / "record.sqlite3"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(RecordUnavailable, match="busy"):
            await SqliteRecords.open(path)
    finally:
        other.close()


async def test_a_new_file_that_another_process_is_making_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.sqlite3"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    connected, attempts = database._connected, []

    def counted(where: Path) -> sqlite3.Connection:
        attempts.append(where)
        if len(attempts) == 2:
            other.execute("ROLLBACK")
        return connected(where)

    monkeypatch.setattr(database, "_connected", counted)
    records = await SqliteRecords.open(path)
    try:
        assert len(attempts) == 2
        assert await records.is_empty()
    finally:
        await records.close()
        other.close()


async def test_a_connection_that_failed_is_tried_again_at_the_next_call(tmp_path: Path) -> None:
    there, away = tmp_path / "there", tmp_path / "away"
    records = await SqliteRecords.open(there / "record.sqlite3")
    try:
        there.rename(away)
        for call in (records.topics, records.ping, records.ping):
            with pytest.raises(RecordUnavailable):
                await call()
        with pytest.raises(RecordUnavailable):
            await records.put_topic("a", about("A"), NOON)
        away.rename(there)
        await records.put_topic("a", about("A"), NOON)
        assert len(await records.topics()) == 1
    finally:
        await records.close()


async def test_a_relative_path_is_that_of_the_directory_in_which_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    records = await SqliteRecords.open(Path("record.sqlite3"))
    try:
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert await records.is_empty()
        assert list((tmp_path / "elsewhere").iterdir()) == []
    finally:
        await records.close()
