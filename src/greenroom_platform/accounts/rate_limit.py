"""How often something may be done under one name, as an address: counted on the server, for all processes."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta

from greenroom.engine import Channel, Engine
from greenroom.engine.scripts import Script
from greenroom.engine.shapes import NUMBER
from greenroom.errors import CommandFailed
from greenroom.keyspace.derived_keys import derived_key
from greenroom.opened import Opened

ATTEMPT = Script.named("attempt", NUMBER, lambda left: left == 0)


@dataclass(frozen=True, slots=True)
class Bound:
    """At most `most` attempts in any `window`."""

    most: int
    window: timedelta


class RateLimit:
    """Attempts of one kind, bounded for each name.

    Arguments:
        prefix: the room's key prefix.
        kind: what is attempted, or under what kind of name: the same name of another kind is another.
        opened: of the room; after its end `RoomClosed` is raised.
    """

    def __init__(self, engine: Engine, prefix: str, kind: str, bound: Bound, *, opened: Opened | None = None) -> None:
        self._engine = engine
        self._prefix = prefix
        self._kind = kind
        self._bound = bound
        self._opened = opened or Opened()

    async def count(self, name: str) -> float:
        """Count an attempt, unless it may not be made: returns 0, or the seconds until one may be.

        Raises:
            EngineError: when it cannot be counted.
        """
        self._opened.check()
        # Repeated after a lost connection it may count twice, which only errs on the safe side.
        args = self._bound.most, self._bound.window // timedelta(milliseconds=1)
        return int(await self._engine.run(Channel.PLAIN, ATTEMPT, (self._key(name),), args)) / 1000

    async def take_back(self, name: str) -> None:
        """Uncount the last attempt, which was not made after all; raises as `count`."""
        self._opened.check()
        key = self._key(name)
        try:
            await self._engine.execute(Channel.PLAIN, key, "LTRIM", key, 1, -1)  # the newest is the first
        except CommandFailed as error:
            # Of another type it counts nothing, and the next attempt replaces it.
            if not error.of_another_type:
                raise

    async def forget(self, name: str) -> None:
        """Forget the attempts of a name; raises as `count`."""
        self._opened.check()
        key = self._key(name)
        await self._engine.execute(Channel.PLAIN, key, "DEL", key)

    def _key(self, name: str) -> str:
        """Hashed, so that neither names nor addresses stand in keys, and so that whatever is typed makes a key."""
        digest = hashlib.sha256(f"{self._kind}:{name}".encode("utf-8", "surrogatepass")).hexdigest()
        return derived_key(self._prefix, "attempts", digest[:32])


def network(address: str) -> str:
    """What counts as one address: of IPv6 the /64, since one client has them all."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
