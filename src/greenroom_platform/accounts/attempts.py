"""How often a password may be guessed: per account, and per address over all accounts, counted on the server.

Both bounds are needed: one account is guessed at from many addresses, and from one address many accounts with one
password each. An account's bound delays its owner too while it is under attack, and lapses with its window.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from greenroom.detached import to_the_end
from greenroom.engine import Engine
from greenroom.errors import EngineError, GreenroomError
from greenroom.rate_limit import ATTEMPT, Bound, RateLimit
from greenroom_platform.accounts.networks import network

SCRIPTS = (ATTEMPT,)


class TooManyAttempts(GreenroomError):
    """The bound is reached, whether or not this password is right; `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many attempts to sign in; wait {retry_after:.0f} s")
        self.retry_after = retry_after


PER_ACCOUNT = Bound(10, timedelta(minutes=15))
PER_ADDRESS = Bound(50, timedelta(minutes=15))
"""Larger: behind one address may be a whole office."""


class Attempts:
    """Counts attempts to sign in.

    Arguments:
        prefix: the room's key prefix.
        per_account: for one user name, from wherever.
        per_address: for one client address, whatever the user name.
    """

    def __init__(
        self, engine: Engine, prefix: str = "", *, per_account: Bound = PER_ACCOUNT, per_address: Bound = PER_ADDRESS
    ) -> None:
        self._account = RateLimit(lambda: engine, prefix, "account", per_account)
        self._address = RateLimit(lambda: engine, prefix, "address", per_address)

    async def count(self, username: str, address: str) -> None:
        """Count an attempt before its password is looked at.

        Raises:
            TooManyAttempts: when it may not be made.
            EngineError: when it cannot be counted; it may then not be made either.
        """
        of_address = network(address)
        if left := await self._address.count(of_address):
            raise TooManyAttempts(left)
        try:
            left = await self._account.count(username)
        except (EngineError, asyncio.CancelledError):
            # Whether it counts for the account is not known. Uncounted there, it might be another's that is.
            await self._give_back(self._address, of_address)
            raise
        if left:
            # Prevents: an office signs in to an account under attack · the refusals fill the bound of the address ·
            # nobody of the office can sign in.
            await self._give_back(self._address, of_address)
            raise TooManyAttempts(left)

    async def take_back(self, username: str, address: str) -> None:
        """Uncount an attempt whose password was not looked at; one that cannot be uncounted counts.

        Prevents: a client keeps the hashing busy · ten log-ins of an owner end with 503 · the owner is locked out.
        """
        await self._give_back(self._account, username)
        await self._give_back(self._address, network(address))

    async def _give_back(self, rate: RateLimit, name: str) -> None:
        with suppress(EngineError):
            await to_the_end(lambda: rate.take_back(name))

    async def forgive(self, username: str) -> None:
        """Forget an account's attempts: its owner is here. An address's stay, or one's own account would clear them."""
        await self._account.forget(username)
