"""The users among the records: taken names, preferences kept, hashes replaced only by who knows them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from greenroom.errors import Conflict, RecordUnavailable
from greenroom_platform.domain.records import UserRecords
from greenroom_platform.http.control.acting import user_named
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import HeardPodcast
from greenroom_platform.storage import SqliteRecords, open_records
from greenroom_platform.testing.records_changes import NOON, about
from tests.support.cheap_accounts import user


@pytest.fixture
async def records(record_url: str) -> AsyncIterator[Any]:
    records = await open_records(record_url)
    yield records
    await records.close()


@pytest.fixture
def users(records: Any) -> UserRecords:
    users: UserRecords = records.users
    return users


async def test_a_user_is_found_by_name_and_by_id(users: UserRecords) -> None:
    ana = user("u1", "ana")
    await users.add_user(ana)
    assert await users.user_by_name("ana") == ana == await users.user("u1")
    assert await users.user_by_name("u1") is None
    assert await users.user("ana") is None


async def test_an_operator_who_names_an_id_gets_no_user_with_that_name(records: Any) -> None:
    ana, decoy, plain = user("a1" * 16, "ana"), user("b2" * 16, "a1" * 16), user("c3" * 16, "d4" * 16)
    capitals = user("Ana-7", "anna")  # by another program
    for one in (ana, decoy, plain, capitals):
        await records.users.add_user(one)
    state = ServiceState({"platform": SimpleNamespace(records=records)})
    assert await user_named(state, ana.user_id) == ana == await user_named(state, ana.user_id.upper())
    assert await user_named(state, "Ana") == ana
    assert await user_named(state, decoy.user_id) == decoy
    assert await user_named(state, "D4" * 16) == plain
    assert await user_named(state, "Ana-7") == capitals


async def test_a_taken_name_or_id_is_a_conflict_and_leaves_the_first_as_it_was(users: UserRecords) -> None:
    await users.add_user(user("u1", "ana", "first"))
    for second in (user("u2", "ana", "second"), user("u1", "bob", "second")):
        with pytest.raises(Conflict):
            await users.add_user(second)
    assert await users.user_by_name("ana") == user("u1", "ana", "first")
    assert await users.user("u2") is None


async def test_of_many_who_want_a_name_at_once_one_has_it(users: UserRecords) -> None:
    tries = (users.add_user(user(f"u{number}", "ana")) for number in range(20))
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [Conflict] * 19


async def test_preferences_set_earlier_and_written_later_are_not_kept(users: UserRecords) -> None:
    await users.add_user(user("u1", "ana"))
    assert await users.set_preferences("u1", {"round": 2}, NOON + timedelta(microseconds=1))
    assert not await users.set_preferences("u1", {"round": 1}, NOON)
    found = await users.user("u1")
    assert found is not None
    assert found.preferences == {"round": 2}


async def test_preferences_not_named_stay_and_each_has_a_time_of_its_own(users: UserRecords) -> None:
    await users.add_user(user("u1", "ana"))
    assert await users.set_preferences("u1", {"speed": 1, "topics": 1}, NOON)
    assert await users.set_preferences("u1", {"speed": 3}, NOON + timedelta(seconds=3))
    assert await users.set_preferences("u1", {"speed": 2, "topics": 2}, NOON + timedelta(seconds=2))
    assert not await users.set_preferences("u1", {"speed": 3, "topics": 2}, NOON + timedelta(seconds=2))
    found = await users.user("u1")
    assert found is not None
    assert found.preferences == {"speed": 3, "topics": 2}


async def test_preferences_are_kept_with_members_that_we_do_not_know(users: UserRecords) -> None:
    await users.add_user(user("u1", "ana"))
    preferences = {"preferred_topics": ["a"], "playback_speed_default": 1.0, "theirs": {"x": [1, None]}}
    assert await users.set_preferences("u1", preferences, NOON)
    found = await users.user("u1")
    assert found is not None
    assert found.preferences == preferences
    assert (found.username, found.password_hash, found.created_at) == ("ana", "hash", NOON)


async def test_of_a_user_who_does_not_exist_nothing_is_kept(users: UserRecords) -> None:
    assert not await users.set_preferences("u1", {}, NOON)
    assert not await users.replace_hash("u1", "hash", "new")
    assert await users.user("u1") is None


async def test_a_hash_is_replaced_only_over_the_one_that_was_verified(users: UserRecords) -> None:
    await users.add_user(user("u1", "ana", "of the new password"))
    assert not await users.replace_hash("u1", "of the old password", "of the old password, stronger")
    assert await users.replace_hash("u1", "of the new password", "of the new password, stronger")
    assert await users.user("u1") == user("u1", "ana", "of the new password, stronger")


async def test_changes_of_different_members_at_once_are_both_there(users: UserRecords) -> None:
    await users.add_user(user("u1", "ana"))
    for number in range(20):
        old, new = ("hash", "new") if number % 2 == 0 else ("new", "hash")
        first, second = (
            users.set_preferences("u1", {"round": number}, NOON + timedelta(seconds=number)),
            users.replace_hash("u1", old, new),
        )
        done = tuple(await asyncio.gather(first, second))
        assert done == (True, True)
        found = await users.user("u1")
        assert found is not None
        assert (found.preferences, found.password_hash) == ({"round": number}, new)


async def test_a_file_without_a_users_table_gets_it_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    records = await SqliteRecords.open(path)
    await records.put_topic("a", about("A"), NOON)
    await records.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE users")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    for _ in range(2):
        records = await SqliteRecords.open(path)
        assert [topic.topic_id for topic in await records.topics()] == ["a"]
        assert await records.users.user("u1") is None
        await records.close()


async def test_a_closed_record_has_no_users_either(records: Any) -> None:
    await records.close()
    with pytest.raises(RecordUnavailable):
        await records.users.user("u1")


def test_a_user_s_hash_and_name_are_not_shown() -> None:
    assert repr(user("u1", "ana", "secret-hash")) == "User(user_id='u1')"


def heard(podcast_id: str, seconds: int = 0, place: float | msgspec.UnsetType = msgspec.UNSET) -> HeardPodcast:
    return HeardPodcast(podcast_id=podcast_id, listened_at=NOON + timedelta(seconds=seconds), position_seconds=place)


def adding(one: HeardPodcast) -> Callable[[tuple[HeardPodcast, ...]], tuple[HeardPodcast, ...]]:
    return lambda before: (*before, one)


async def test_two_edits_of_a_history_at_once_are_both_kept(users: UserRecords) -> None:
    await users.add_user(user("u1", "ana"))
    edits = [users.edit_history("u1", adding(heard(f"p.{n}", n, 0.5))) for n in range(10)]
    assert await asyncio.gather(*edits) == [True] * 10
    found = await users.user("u1")
    assert found is not None
    assert isinstance(found.history, tuple)
    assert sorted(one.podcast_id for one in found.history) == [f"p.{n}" for n in range(10)]
    assert all(one.position_seconds == 0.5 for one in found.history)
    assert await users.edit_history("u1", lambda before: before)
    assert not await users.edit_history("nobody", lambda before: before)
    assert await users.set_preferences("u1", {"other": 1}, NOON)
    kept = await users.user("u1")
    assert kept is not None
    assert kept.history == found.history


async def test_a_deleted_user_leaves_nothing_and_the_name_is_free(users: UserRecords) -> None:
    ana = user("u1", "ana")
    await users.add_user(ana)
    assert not await users.delete_user("u1", "another hash")
    assert await users.set_feed("u1", "hash of a secret")
    assert await users.edit_history("u1", lambda _: (heard("p"),))
    assert await users.delete_user("u1", ana.password_hash)
    assert await users.user("u1") is None is await users.user_by_name("ana")
    assert not await users.edit_history("u1", lambda _: (heard("p"),))
    assert not await users.set_feed("u1", "hash of a secret")
    assert not await users.set_preferences("u1", {"other": 1}, NOON)
    assert not await users.delete_user("u1", ana.password_hash)
    await users.add_user(user("u2", "ana"))
    found = await users.user_by_name("ana")
    assert found is not None
    assert (found.user_id, found.history, found.feed_hash) == ("u2", msgspec.UNSET, msgspec.UNSET)
    assert await users.set_feed("u2", "x")
    assert await users.set_feed("u2", None)
    assert await users.user("u2") == found


async def test_an_edit_of_a_history_meets_the_deletion(users: UserRecords) -> None:
    ana = user("u1", "ana")
    await users.add_user(ana)
    edits = [users.edit_history("u1", adding(heard(str(n)))) for n in range(5)]
    *noted, deleted = await asyncio.gather(*edits, users.delete_user("u1", ana.password_hash))
    assert deleted
    assert await users.user("u1") is None, "whichever came first"
    assert len(noted) == 5
