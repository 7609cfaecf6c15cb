"""Argon2id, off the event loop: a hash takes as long as an attacker must not have time for."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from greenroom.callbacks import nothing
from greenroom.errors import Overloaded

T = TypeVar("T")

AT_A_TIME = 2
"""Hashes under way; each takes 64 MiB and a core or more."""
WAITING = 100
"""Log-ins waited for above which no more are taken on; the last has then waited for some seconds."""
WAITING_SIGN_UPS = 10
"""Sign-ups waited for above which no more are taken on."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a password was found to be.

    Arguments:
        right: whether it is the hash's.
        rehash: a hash with the parameters of today, where the stored one has others.
    """

    right: bool
    rehash: str | None = None


class _Queue:
    """Hashes of one purpose: threads of its own, and a bound on what is under way.

    Arguments:
        cores: shared by all queues, so that together they have no more under way than one alone.
    """

    def __init__(self, name: str, threads: int, max_waiting: int, cores: threading.Semaphore) -> None:
        self._pool = ThreadPoolExecutor(threads, f"greenroom-argon2-{name}")
        self._max_waiting = max_waiting
        self._cores = cores
        self.under_way = 0

    async def run(self, work: Callable[[], T], begun: Callable[[], None] = nothing) -> T:
        if self.under_way >= self._max_waiting:
            raise Overloaded(f"{self.under_way} passwords are waited for")
        self.under_way += 1
        done = self.submit(work, begun)
        # When it is done, not when its caller gives up: a thread that works is taken all the same. Before its caller
        # goes on: its place is free by then.
        loop = asyncio.get_running_loop()
        done.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(done, loop=loop)

    def submit(self, work: Callable[[], T], begun: Callable[[], None] = nothing) -> Future[T]:
        def held() -> T:
            begun()  # from here on it is done, also for a caller who has given up
            with self._cores:
                return work()

        return self._pool.submit(held)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _done(self) -> None:
        self.under_way -= 1


class Passwords:
    """Hashes and verifies passwords.

    Sign-ups have a queue and one thread of their own. Prevents: a client signs up a hundred users · each of them is
    hashed before the next log-in is.

    Arguments:
        hasher: with its parameters; by default those of RFC 9106 for machines without memory to spare.
        waiting: bound on the log-ins under way.
        waiting_sign_ups: bound on the sign-ups under way.
    """

    def __init__(
        self,
        hasher: PasswordHasher | None = None,
        *,
        waiting: int = WAITING,
        waiting_sign_ups: int = WAITING_SIGN_UPS,
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        cores = threading.Semaphore(AT_A_TIME)
        self._log_ins = _Queue("log-in", AT_A_TIME, waiting, cores)
        self._sign_ups = _Queue("sign-up", 1, waiting_sign_ups, cores)
        # Of a password that nobody knows. Made now: the first unknown user must not cost a hash more than the others.
        self._nobody = self._log_ins.submit(lambda: self._hasher.hash(secrets.token_urlsafe(32)))

    async def hashed(self, password: str) -> str:
        """The hash of a new user's password, its parameters and salt included.

        Raises:
            Overloaded: when too many are waited for.
        """
        return await self._sign_ups.run(lambda: self._hasher.hash(_bytes(password)))

    async def verify(self, stored: str | None, password: str, *, begun: Callable[[], None] = nothing) -> Verified:
        """Whether a password is that of a stored hash.

        Arguments:
            stored: None for a user who does not exist: it takes as long, and is wrong. Else how long the answer
                takes would tell which names are users.
            begun: called on a thread, when the password is about to be looked at.

        Raises:
            Overloaded: when too many are waited for.
        """
        return await self._log_ins.run(lambda: self._verified(stored, password), begun)

    async def replaced(
        self, stored: str, password: str, new: str, *, begun: Callable[[], None] = nothing
    ) -> str | None:
        """The hash of a user's new password; None where the old one is not that of the stored hash.

        Both in one place among the log-ins: who has waited for the first hash need not wait for the second.

        Arguments:
            begun: as `verify`.

        Raises:
            Overloaded: when too many are waited for.
        """

        def work() -> str | None:
            return self._hasher.hash(_bytes(new)) if self._verified(stored, password).right else None

        return await self._log_ins.run(work, begun)

    async def close(self) -> None:
        """Finish what is under way and let go of the threads; further calls fail."""
        for queue in (self._log_ins, self._sign_ups):
            await asyncio.to_thread(queue.close)

    def _verified(self, stored: str | None, password: str) -> Verified:
        try:
            self._hasher.verify(self._nobody.result() if stored is None else stored, _bytes(password))
        except (VerificationError, InvalidHashError):
            return Verified(False)
        if stored is None:
            return Verified(False)
        outdated = self._hasher.check_needs_rehash(stored)
        return Verified(True, self._hasher.hash(_bytes(password)) if outdated else None)


def _bytes(password: str) -> bytes:
    # JSON can hold half a surrogate pair, which is then simply not the password.
    return password.encode("utf-8", "surrogatepass")
