"""Making users and signing in, on a real server and a real record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import extract_parameters

from greenroom.engine.server.standalone import Standalone
from greenroom.errors import Conflict, EngineError, EngineUnavailable, InvalidInput, Overloaded, RecordUnavailable
from greenroom.rate_limit import Bound
from greenroom_platform.accounts import SCRIPTS, Accounts, Attempts, Passwords, TooManyAttempts, WrongCredentials
from greenroom_platform.accounts.passwords import AT_A_TIME
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.testing.records_changes import NOON
from tests.support.cheap_accounts import PASSWORD, Hasher, user
from tests.support.real_servers import Server

HERE = "192.0.2.1"


class House:
    """Accounts and what they stand on."""

    def __init__(self, records: SqliteRecords, engine: Standalone) -> None:
        self.records = records
        self.hasher = Hasher()
        self.passwords = Passwords(self.hasher)
        self.attempts = Attempts(engine, per_account=Bound(5, timedelta(hours=1)))
        self.accounts = Accounts(records.users, self.passwords, self.attempts)


@pytest.fixture
async def house(server: Server, connect: Callable[..., Awaitable[Standalone]], tmp_path: Path) -> AsyncIterator[House]:
    records = await SqliteRecords.open(tmp_path / "record.sqlite3")
    house = House(records, await connect(server, scripts=SCRIPTS))
    yield house
    await house.passwords.close()
    await records.close()


async def test_a_user_signs_in_with_name_and_password(house: House) -> None:
    made = await house.accounts.create("ana", PASSWORD)
    assert len(made.user_id) == 32
    assert int(made.user_id, 16) >= 0
    assert await house.accounts.sign_in("ana", PASSWORD, address=HERE) == made


async def test_the_record_holds_no_password(house: House, tmp_path: Path) -> None:
    await house.accounts.create("ana", PASSWORD)
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("record.sqlite3*"))
    assert b"$argon2id$" in stored
    assert PASSWORD.encode() not in stored


async def test_names_differ_by_more_than_case(house: House) -> None:
    made = await house.accounts.create("Ana.Lee", PASSWORD)
    assert made.username == "ana.lee"
    with pytest.raises(Conflict, match=r"ana\.lee"):
        await house.accounts.create("aNA.lee", "another password")
    assert await house.accounts.sign_in("ANA.LEE", PASSWORD, address=HERE) == made


async def test_of_two_who_want_a_name_at_once_one_is_told_of_the_conflict(house: House) -> None:
    tries = (house.accounts.create("ana", f"{PASSWORD} {number}") for number in range(2))
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["Conflict", "User"]


@pytest.mark.parametrize("name", ["", "ab", "a" * 65, "an a", "a:b:c", "añа", "ana\n", "{ana}", "K\u0131ran"])
async def test_a_name_that_cannot_be_is_named(house: House, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await house.accounts.create(name, PASSWORD)
    assert caught.value.field == "username"


@pytest.mark.parametrize("name", ["0a" * 16, "0A" * 16])
async def test_a_name_in_the_form_of_an_id_is_refused_and_signs_in(house: House, name: str) -> None:
    with pytest.raises(InvalidInput, match="32 hexadecimal digits") as caught:
        await house.accounts.create(name, PASSWORD)
    assert (caught.value.field, caught.value.remedy) == ("username", "use another length, or another character in it")
    # In a record from before it was refused there may be one: its user keeps all that a user has.
    before = user("u1", name.lower(), await house.passwords.hashed(PASSWORD))
    await house.records.users.add_user(before)
    assert await house.accounts.sign_in(name, PASSWORD, address=HERE) == before
    await house.accounts.change_password("u1", PASSWORD, f"{PASSWORD} two", address=HERE)


@pytest.mark.parametrize("password", ["", "x" * 7, "x" * 257])
async def test_a_password_that_is_too_short_or_too_long_is_named_and_not_quoted(house: House, password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await house.accounts.create("ana", password)
    assert caught.value.field == "password"
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize("name", ["abc", "a" * 64, "a" * 31, "0" * 33, "A-Z.a_z~09"])
@pytest.mark.parametrize("password", ["x" * 8, "x" * 256, "ünïcödé\U0001f399", "\0" * 8])
async def test_names_and_passwords_at_their_limits_sign_in(house: House, name: str, password: str) -> None:
    made = await house.accounts.create(name, password)
    assert await house.accounts.sign_in(name, password, address=HERE) == made


async def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(house: House) -> None:
    made = await house.accounts.create("ana", PASSWORD)
    told = []
    for name, password in [("ana", "a wrong password"), ("bob", PASSWORD), ("a:b", PASSWORD), ("ana", "x" * 9999)]:
        house.hasher.verified.clear()
        with pytest.raises(WrongCredentials) as caught:
            await house.accounts.sign_in(name, password, address=HERE)
        (against,) = house.hasher.verified
        told.append((str(caught.value), extract_parameters(str(against))))
    assert told == [told[0]] * 4
    assert told[0][1] == extract_parameters(made.password_hash)


async def test_a_password_is_not_right_by_how_it_begins(house: House) -> None:
    await house.accounts.create("ana", "x" * 256)
    with pytest.raises(WrongCredentials):
        await house.accounts.sign_in("ana", "x" * 257, address=HERE)


async def test_past_the_bound_neither_password_is_looked_at(house: House) -> None:
    await house.accounts.create("ana", PASSWORD)
    for _ in range(5):
        with pytest.raises(WrongCredentials):
            await house.accounts.sign_in("ana", "a wrong password", address=HERE)
    house.hasher.verified.clear()
    for name, password in [("ana", "a wrong password"), ("ANA", PASSWORD)]:
        with pytest.raises(TooManyAttempts) as caught:
            await house.accounts.sign_in(name, password, address="192.0.2.2")
        assert 0 < caught.value.retry_after <= 3600
    assert house.hasher.verified == []


@pytest.mark.parametrize("password", ["password", "Password1", "QWERTYUIOP", "iloveyou", "12345678", "some.body"])
async def test_a_password_that_is_guessed_first_is_refused(house: House, password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await house.accounts.create("Some.Body", password)
    assert (caught.value.field, password in caught.value.reason) == ("password", False)


@pytest.mark.parametrize("error", [Overloaded("busy"), RecordUnavailable("away")], ids=["hashing", "record"])
async def test_a_log_in_whose_password_was_not_looked_at_does_not_count(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    made = await house.accounts.create("ana", PASSWORD)

    async def refuse(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        if isinstance(error, Overloaded):
            patch.setattr(house.passwords, "verify", refuse)
        else:
            patch.setattr(house.records.users, "user_by_name", refuse)
        for _ in range(20):
            with pytest.raises(type(error)):
                await house.accounts.sign_in("ana", PASSWORD, address=HERE)
    for _ in range(4):
        with pytest.raises(WrongCredentials):
            await house.accounts.sign_in("ana", "a wrong password", address=HERE)
    assert await house.accounts.sign_in("ana", PASSWORD, address=HERE) == made


@pytest.mark.parametrize("what", ["sign_in", "change_password"])
async def test_who_gives_up_before_the_password_is_looked_at_does_not_count(house: House, what: str) -> None:
    made = await house.accounts.create("ana", PASSWORD)
    go = threading.Event()
    held = [asyncio.wrap_future(house.passwords._log_ins.submit(lambda: go.wait(20))) for _ in range(AT_A_TIME)]
    try:
        for _ in range(9):
            if what == "sign_in":
                trying = asyncio.create_task(house.accounts.sign_in("ana", PASSWORD, address=HERE))
            else:
                changing = house.accounts.change_password(made.user_id, PASSWORD, f"{PASSWORD} too", address=HERE)
                trying = asyncio.create_task(changing)
            while not (house.passwords._log_ins.under_way or trying.done()):
                await asyncio.sleep(0)
            trying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await trying
            while house.passwords._log_ins.under_way:
                await asyncio.sleep(0)
    finally:
        go.set()
    await asyncio.gather(*held)
    assert await house.accounts.sign_in("ana", PASSWORD, address=HERE) == made


async def test_who_gives_up_while_the_password_is_looked_at_counts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.accounts.create("ana", PASSWORD)
    inside, go = threading.Event(), threading.Event()

    def verify(*_: object) -> bool:
        inside.set()
        return go.wait(20)

    with monkeypatch.context() as patch:
        patch.setattr(house.hasher, "verify", verify)
        for _ in range(5):
            inside.clear()
            go.clear()
            trying = asyncio.create_task(house.accounts.sign_in("ana", PASSWORD, address=HERE))
            await asyncio.to_thread(inside.wait, 20)
            trying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await trying
            go.set()
    with pytest.raises(TooManyAttempts):
        await house.accounts.sign_in("ana", PASSWORD, address=HERE)


async def test_names_that_do_not_exist_are_bounded_alike(house: House) -> None:
    for _ in range(5):
        with pytest.raises(WrongCredentials):
            await house.accounts.sign_in("nobody", PASSWORD, address=HERE)
    with pytest.raises(TooManyAttempts):
        await house.accounts.sign_in("nobody", PASSWORD, address=HERE)


async def test_the_right_password_forgives_the_wrong_ones_before_it(house: House) -> None:
    await house.accounts.create("ana", PASSWORD)
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(WrongCredentials):
                await house.accounts.sign_in("ana", "a wrong password", address=HERE)
        await house.accounts.sign_in("ana", PASSWORD, address=HERE)


async def test_signing_in_brings_a_hash_up_to_today_s_parameters(house: House) -> None:
    made = await house.accounts.create("ana", PASSWORD)
    stronger = Passwords(Hasher(time_cost=2))
    accounts = Accounts(house.records.users, stronger, house.attempts)
    await accounts.sign_in("ana", PASSWORD, address=HERE)
    stored = await house.records.users.user(made.user_id)
    assert stored is not None
    assert extract_parameters(stored.password_hash).time_cost == 2
    await accounts.sign_in("ana", PASSWORD, address=HERE)
    assert await house.records.users.user(made.user_id) == stored
    await stronger.close()


async def test_what_cannot_be_written_after_a_right_password_fails_no_log_in(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await house.accounts.create("ana", PASSWORD)

    async def unwritable(*_: object) -> None:
        raise RecordUnavailable("read-only")

    async def uncounted(*_: object) -> None:
        raise EngineUnavailable("away")

    monkeypatch.setattr(house.attempts, "forgive", uncounted)
    monkeypatch.setattr(house.records.users, "replace_hash", unwritable)
    stronger = Passwords(Hasher(time_cost=2))
    accounts = Accounts(house.records.users, stronger, house.attempts)
    assert (await accounts.sign_in("ana", PASSWORD, address=HERE)).user_id == made.user_id
    await stronger.close()


@pytest.mark.parametrize("what", ["before the change", "in the record", "it was changed meanwhile"])
async def test_a_change_that_fails_after_a_right_password_costs_no_attempt(
    house: House, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    made = await house.accounts.create("ana", PASSWORD)

    async def once_right() -> None:
        if what == "before the change":
            raise EngineUnavailable("the sessions cannot be ended")

    async def replace_hash(*_: object) -> bool:
        if what == "in the record":
            raise RecordUnavailable("read-only")
        return False

    new = "another battery staple"
    with monkeypatch.context() as patch:
        patch.setattr(house.records.users, "replace_hash", replace_hash)
        for _ in range(6):  # one more than the bound
            with pytest.raises((EngineUnavailable, RecordUnavailable, Conflict)):
                await house.accounts.change_password(made.user_id, PASSWORD, new, address=HERE, once_right=once_right)
    assert await house.accounts.sign_in("ana", PASSWORD, address=HERE) == made


async def test_preferences_are_there_at_the_next_sign_in(house: House) -> None:
    made = await house.accounts.create("ana", PASSWORD)
    preferences = {"preferred_topics": ["ocean_science"], "playback_speed_default": 1.5, "theirs": True}
    assert await house.accounts.keep_preferences(made.user_id, preferences, NOON)
    assert (await house.accounts.sign_in("ana", PASSWORD, address=HERE)).preferences == preferences
    assert not await house.accounts.keep_preferences("nobody", preferences, NOON)


async def test_without_the_server_that_counts_nobody_signs_in(house: House, server: Server) -> None:
    await house.accounts.create("ana", PASSWORD)
    server.kill()
    with pytest.raises(EngineError):
        await house.accounts.sign_in("ana", PASSWORD, address=HERE)
    assert house.hasher.verified == []


async def test_a_log_in_with_the_old_password_is_noticed_after_a_change(house: House) -> None:
    created = await house.accounts.create("ana", PASSWORD)
    signed_in = await house.accounts.sign_in("ana", PASSWORD, address="127.0.0.1")
    assert await house.accounts.still_right(signed_in, PASSWORD)
    await house.accounts.change_password(created.user_id, PASSWORD, "another battery staple", address="127.0.0.1")
    assert not await house.accounts.still_right(signed_in, PASSWORD)


async def test_of_two_changes_of_a_password_at_once_one_counts(house: House) -> None:
    user, accounts = await house.accounts.create("ana", PASSWORD), house.accounts
    first, second = "first battery staple", "second battery staple"

    async def meanwhile() -> None:
        await accounts.change_password(user.user_id, PASSWORD, first, address=HERE)

    with pytest.raises(Conflict, match="sign in again"):
        await accounts.change_password(user.user_id, PASSWORD, second, address=HERE, once_right=meanwhile)
    assert (await accounts.sign_in("ana", first, address=HERE)).user_id == user.user_id
    with pytest.raises(WrongCredentials):
        await accounts.sign_in("ana", second, address=HERE)


async def test_another_hash_of_the_same_password_is_no_change_of_it(house: House) -> None:
    await house.accounts.create("ana", PASSWORD)
    signed_in = await house.accounts.sign_in("ana", PASSWORD, address="127.0.0.1")
    again = await house.passwords.hashed(PASSWORD)
    assert await house.records.users.replace_hash(signed_in.user_id, signed_in.password_hash, again)
    assert await house.accounts.still_right(signed_in, PASSWORD)
