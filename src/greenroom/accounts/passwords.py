"""Argon2id, off the event loop: a hash takes as long as an attacker must not have time for."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from greenroom.errors import Overloaded

T = TypeVar("T")

AT_A_TIME = 2
"""Hashes under way; each takes 64 MiB and a core or more."""
WAITING = 100
"""Hashes waited for above which no more are taken on; the last has then waited for some seconds."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a password was found to be.

    Arguments:
        right: whether it is the hash's.
        rehash: a hash with the parameters of today, where the stored one has others.
    """

    right: bool
    rehash: str | None = None


class Passwords:
    """Hashes and verifies passwords.

    Arguments:
        hasher: with its parameters; by default those of RFC 9106 for machines without memory to spare.
        waiting: bound on what is under way.
    """

    def __init__(self, hasher: PasswordHasher | None = None, *, waiting: int = WAITING) -> None:
        self._hasher = hasher or PasswordHasher()
        self._pool = ThreadPoolExecutor(AT_A_TIME, "greenroom-argon2")
        self._most = waiting
        self._under_way = 0
        # Of a password that nobody knows. Made now: the first unknown user must not cost a hash more than the others.
        self._nobody = self._pool.submit(self._hasher.hash, secrets.token_urlsafe(32))

    async def hashed(self, password: str) -> str:
        """The hash of a password, its parameters and salt included.

        Raises:
            Overloaded: when too many are waited for.
        """
        return await self._run(lambda: self._hasher.hash(_bytes(password)))

    async def verify(self, stored: str | None, password: str) -> Verified:
        """Whether a password is that of a stored hash.

        Arguments:
            stored: None for a user who does not exist: it takes as long, and is wrong. Else how long the answer
                takes would tell which names are users.

        Raises:
            Overloaded: when too many are waited for.
        """
        return await self._run(lambda: self._verified(stored, password))

    async def close(self) -> None:
        """Finish what is under way and let go of the threads; further calls fail."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    def _verified(self, stored: str | None, password: str) -> Verified:
        try:
            self._hasher.verify(self._nobody.result() if stored is None else stored, _bytes(password))
        except (VerificationError, InvalidHashError):
            return Verified(False)
        if stored is None:
            return Verified(False)
        outdated = self._hasher.check_needs_rehash(stored)
        return Verified(True, self._hasher.hash(_bytes(password)) if outdated else None)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._under_way >= self._most:
            raise Overloaded(f"{self._under_way} passwords are waited for")
        self._under_way += 1
        done = self._pool.submit(work)
        # When it is done, not when its caller gives up: a thread that works is taken all the same. Before its caller
        # goes on: its place is free by then.
        loop = asyncio.get_running_loop()
        done.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(done, loop=loop)

    def _done(self) -> None:
        self._under_way -= 1


def _bytes(password: str) -> bytes:
    # JSON can hold half a surrogate pair, which is then simply not the password.
    return password.encode("utf-8", "surrogatepass")
