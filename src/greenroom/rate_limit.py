"""How often something may be done under one name, as an address: counted on the server, for all processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from greenroom.argument_types import span, text, whole_number
from greenroom.engine import Channel, Engine
from greenroom.engine.scripts import Script
from greenroom.engine.shapes import NUMBER
from greenroom.errors import CommandFailed, InvalidInput, OutcomeUnknown
from greenroom.keyspace.derived_keys import derived_key

ATTEMPT = Script.named("attempt", NUMBER, lambda left: left == 0)
_MOST = 1_000_000
"""The most attempts that are remembered of one name: each is a time in a list."""
COUNTED = "attempts", "*"
"""The companion keys in which is counted, as use and tag."""


@dataclass(frozen=True, slots=True)
class Bound:
    """At most `most` attempts in any `window`.

    Raises:
        InvalidInput: for a number below 1 or above 1,000,000, and a window below a millisecond.
    """

    most: int
    window: timedelta

    def __post_init__(self) -> None:
        whole_number("limit", self.most, 1, f"use a whole number from 1 to {_MOST:,}", maximum=_MOST)
        span("per", self.window, timedelta(milliseconds=1), "use a timedelta of a millisecond or more")


def check_same(kind: str, bound: Bound, known: Bound) -> None:
    """Refuse another bound of a kind than the one that is known: both would count in one place.

    Raises:
        InvalidInput: naming both.
    """
    if known != bound:
        reason = f"{kind!r} has another limit already: {known.most} in {known.window}"
        raise InvalidInput("kind", reason, "declare it once, or name the second one otherwise")


class RateLimit:
    """Attempts of one kind, bounded for each name: `if wait := await limit.count(user_id): ...` answer 429.

    Any time of the bound's length is looked at, not the calendar's: a bound of ten a minute lets nobody do twenty
    around the turn of the minute. What is refused is not counted.

    Arguments:
        engine: returns the engine of the server that counts; raises where the room is not open.
        prefix: the room's key prefix.
        kind: what is attempted, or under what kind of name: the same name of another kind is another.
    """

    def __init__(self, engine: Callable[[], Engine], prefix: str, kind: str, bound: Bound) -> None:
        self._engine = engine
        self._prefix = prefix
        self._kind = kind
        self.bound = bound
        """How many, in what time."""

    async def count(self, name: str) -> float:
        """Count an attempt, unless it may not be made: returns 0, or the seconds until one may be.

        Raises:
            EngineError: when it cannot be counted: whether it may be made then is for the caller to say.
            InvalidInput: for a name that is no text.
            RoomClosed, RoomNotOpen, RoomElsewhere: when the room is not open here.
        """
        engine = self._engine()
        # Repeated after a lost connection it may count twice, which only errs on the safe side.
        args = self.bound.most, self.bound.window // timedelta(milliseconds=1)
        return int(await engine.run(Channel.PLAIN, ATTEMPT, (self._key(name),), args)) / 1000

    async def take_back(self, name: str) -> None:
        """Uncount the last attempt, which was not made after all; raises as `count`.

        Where its reply is lost it stays as it is, counted or not. Prevents: the attempt is uncounted · the reply is
        lost · the command is repeated, and uncounts another's attempt.
        """
        engine = self._engine()
        key = self._key(name)
        try:
            await engine.execute(Channel.PLAIN, key, "LTRIM", key, 1, -1, retry=False)  # the newest is the first
        except OutcomeUnknown:
            return  # at worst it stays counted, which errs on the safe side
        except CommandFailed as error:
            # Of another type it counts nothing, and the next attempt replaces it.
            if not error.of_another_type:
                raise

    async def forget(self, name: str) -> None:
        """Forget the attempts of a name; raises as `count`."""
        engine = self._engine()
        key = self._key(name)
        await engine.execute(Channel.PLAIN, key, "DEL", key)

    def _key(self, name: str) -> str:
        """Hashed, so that neither names nor addresses stand in keys, and so that whatever is typed makes a key."""
        text("name", name, "name who does it, as a user's id")
        digest = hashlib.sha256(f"{self._kind}:{name}".encode("utf-8", "surrogatepass")).hexdigest()
        return derived_key(self._prefix, "attempts", digest[:32])
