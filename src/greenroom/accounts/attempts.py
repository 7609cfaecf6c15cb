"""How often a password may be guessed: per account, and per address over all accounts, counted on the server.

Both bounds are needed: one account is guessed at from many addresses, and from one address many accounts with one
password each. An account's bound delays its owner too while it is under attack, and lapses with its window.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta

from greenroom.engine import Engine, Lane
from greenroom.engine.scripts import Script
from greenroom.errors import GreenroomError
from greenroom.keyspace.companions import companion_key

ATTEMPT = Script.named("attempt")
SCRIPTS = (ATTEMPT,)


class TooManyAttempts(GreenroomError):
    """The bound is reached, whether or not this password is right; `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many attempts to sign in; wait {retry_after:.0f} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Bound:
    """At most `most` attempts in any `window`."""

    most: int
    window: timedelta


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
        self._engine = engine
        self._prefix = prefix
        self._per_account = per_account
        self._per_address = per_address

    async def count(self, username: str, address: str) -> None:
        """Count an attempt before its password is looked at.

        Raises:
            TooManyAttempts: when it may not be made.
            EngineError: when it cannot be counted; it may then not be made either.
        """
        await self._count(self._key("address", _network(address)), self._per_address)
        await self._count(self._key("account", username), self._per_account)

    async def forgive(self, username: str) -> None:
        """Forget an account's attempts: its owner is here. An address's stay, or one's own account would clear them."""
        key = self._key("account", username)
        await self._engine.execute(Lane.PLAIN, key, "DEL", key)

    async def _count(self, key: str, bound: Bound) -> None:
        # Repeated after a lost connection it may count twice, which only errs on the safe side.
        args = bound.most, bound.window // timedelta(milliseconds=1)
        left = int(await self._engine.run(Lane.PLAIN, ATTEMPT, (key,), args))
        if left:
            raise TooManyAttempts(left / 1000)

    def _key(self, kind: str, name: str) -> str:
        """Hashed, so that neither names nor addresses stand in keys, and so that whatever is typed makes a key."""
        digest = hashlib.sha256(f"{kind}:{name}".encode("utf-8", "surrogatepass")).hexdigest()
        return companion_key(self._prefix, "attempts", digest[:32])


def _network(address: str) -> str:
    """What counts as one address: of IPv6 the /64, since one client has them all."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
