"""Hashes off the loop, two at a time, and the same work for a user who does not exist."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from argon2 import PasswordHasher, extract_parameters

from greenroom.errors import Overloaded
from greenroom_platform.accounts import Passwords
from tests.support.cheap_accounts import PASSWORD, Hasher

Make = Callable[..., Passwords]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes passwords, and closes them after the test."""
    opened: list[Passwords] = []

    def made(hasher: PasswordHasher | None = None, **options: int) -> Passwords:
        opened.append(Passwords(hasher or Hasher(), **options))
        return opened[-1]

    yield made
    for passwords in opened:
        await passwords.close()


class Held(Hasher):
    """A hasher that waits to be let go, and counts who is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.inside, self.most, self.threads = 0, 0, set[int]()
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.threads.add(threading.get_ident())
        self.go.wait(10)
        with self._lock:
            self.inside -= 1
        yield

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        with self.held():
            return super().verify(hash, password)


async def test_a_password_is_right_for_its_own_hash_only(make: Make) -> None:
    passwords = make()
    stored = await passwords.hashed(PASSWORD)
    assert stored.startswith("$argon2id$")
    assert PASSWORD not in stored
    assert stored != await passwords.hashed(PASSWORD)
    assert (await passwords.verify(stored, PASSWORD)).right
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), stored, "\ud800"):
        assert not (await passwords.verify(stored, wrong)).right


async def test_by_default_the_parameters_are_those_of_rfc_9106(make: Make) -> None:
    parameters = extract_parameters(await make(PasswordHasher()).hashed(PASSWORD))
    assert (parameters.time_cost, parameters.memory_cost, parameters.parallelism) == (3, 65536, 4)


async def test_a_user_who_does_not_exist_costs_the_same_and_is_never_right(make: Make) -> None:
    hasher = Hasher(time_cost=2)
    passwords = make(hasher)
    stored = await passwords.hashed(PASSWORD)
    for text in (stored, None):
        assert not (await passwords.verify(text, "a wrong password")).right
    one, none = hasher.verified
    assert one == stored
    assert none != stored
    assert extract_parameters(str(none)) == extract_parameters(stored)


async def test_an_outdated_hash_is_replaced_for_the_right_password_only(make: Make) -> None:
    old = await make(Hasher(time_cost=1)).hashed(PASSWORD)
    passwords = make(Hasher(time_cost=2))
    assert (await passwords.verify(old, "a wrong password")).rehash is None
    verified = await passwords.verify(old, PASSWORD)
    assert verified.right
    assert verified.rehash is not None
    assert extract_parameters(verified.rehash).time_cost == 2
    again = await passwords.verify(verified.rehash, PASSWORD)
    assert (again.right, again.rehash) == (True, None)


async def test_a_stored_text_that_is_no_hash_is_never_right(make: Make) -> None:
    for text in ("", "x", "$argon2id$v=19$broken", "$2b$12$" + "x" * 53):
        verified = await make().verify(text, PASSWORD)
        assert (verified.right, verified.rehash) == (False, None)


async def test_two_are_hashed_at_a_time_and_never_on_the_loop(make: Make) -> None:
    hasher = Held()
    passwords = make(hasher)
    stored = await passwords.hashed(PASSWORD)
    hasher.go.clear()
    tasks = [asyncio.create_task(passwords.verify(stored, PASSWORD)) for _ in range(10)]
    while hasher.inside < 2:
        await asyncio.sleep(0)  # the loop runs on while both threads are taken
    hasher.go.set()
    assert all(verified.right for verified in await asyncio.gather(*tasks))
    assert hasher.most == 2
    assert threading.get_ident() not in hasher.threads


async def test_sign_ups_leave_log_ins_a_thread_and_all_their_places(make: Make) -> None:
    go, held = threading.Event(), []

    class HeldSignUps(Hasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            if password == b"held":
                held.append(password)
                go.wait(10)
            return super().hash(password, salt=salt)

    passwords = make(HeldSignUps(), waiting=1, waiting_sign_ups=3)
    stored = await passwords.hashed(PASSWORD)
    sign_ups = [asyncio.create_task(passwords.hashed("held")) for _ in range(3)]
    while not held:
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await passwords.hashed(PASSWORD)
    assert (await passwords.verify(stored, PASSWORD)).right
    assert len(held) == 1
    go.set()
    await asyncio.gather(*sign_ups)


async def test_sign_ups_and_log_ins_together_are_hashed_two_at_a_time(make: Make) -> None:
    class HeldBoth(Held):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            with self.held():
                return super().hash(password, salt=salt)

    hasher = HeldBoth()
    passwords = make(hasher)
    stored = await passwords.hashed(PASSWORD)
    hasher.go.clear()
    sign_ups = [asyncio.create_task(passwords.hashed(PASSWORD)) for _ in range(5)]
    while hasher.inside < 1:
        await asyncio.sleep(0)
    begun: list[None] = []
    log_ins = [
        asyncio.create_task(passwords.verify(stored, PASSWORD, begun=lambda: begun.append(None))) for _ in range(5)
    ]
    while len(begun) < 2:
        await asyncio.sleep(0)
    hasher.go.set()
    await asyncio.gather(*sign_ups, *log_ins)
    assert hasher.most == 2


async def test_past_the_bound_a_password_is_not_waited_for(make: Make) -> None:
    hasher = Held()
    passwords = make(hasher, waiting=3)
    stored = await passwords.hashed(PASSWORD)
    hasher.go.clear()
    tasks = [asyncio.create_task(passwords.verify(stored, PASSWORD)) for _ in range(3)]
    while hasher.inside < 2:
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await passwords.verify(stored, PASSWORD)
    # Who gives up frees no thread, and so no place; who still waited for a thread does.
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    while passwords._log_ins.under_way > 2:
        await asyncio.sleep(0)
    assert (passwords._log_ins.under_way, hasher.inside) == (2, 2)
    hasher.go.set()
    while passwords._log_ins.under_way:
        await asyncio.sleep(0)
    assert (await passwords.verify(stored, PASSWORD)).right
