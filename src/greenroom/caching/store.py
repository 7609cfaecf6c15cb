"""A store over one keyspace: values that the program writes itself, for what has no loader.

Reads are tracked, so that they may be answered from this process; writes go to the server and are never kept. Prevents,
of what a cache does with its drops: a delete is not acknowledged, and kept · a set is acknowledged · the server fails
over · the kept delete is sent again, and the set is lost.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from greenroom.argument_types import instance, span, whole_number
from greenroom.caching.invalidation import Backing
from greenroom.caching.keys_of_a_call import asked, asked_together
from greenroom.caching.near import Entry
from greenroom.caching.result import CacheResult
from greenroom.caching.store_tier import StoreTier
from greenroom.engine import Ask
from greenroom.errors import InvalidInput, Overloaded
from greenroom.keyspace import Keyspace
from greenroom.opened import Opened

T = TypeVar("T")

OPTIONS = frozenset({"ttl", "create"})
"""Names of arguments, which no part of a store's keys may have."""

_ATTEMPTS = 100
"""Conflicts of one `change` after which it gives up."""
_INTEGER = 2**63
_FINEST = timedelta(milliseconds=1)
_COUNTED: tuple[Any, ...] = int, Any
"""Types of values that may be counted in: a whole number in JSON is what the server counts in."""


class Store(Generic[T]):
    """Typed values of one keyspace, written by the program; made by `Greenroom.store`.

    Parts are given by keyword, or by position too where there is no value before them. Every call raises
    `InvalidInput` for parts that no key can hold, `RoomClosed`, `RoomNotOpen` and `RoomElsewhere` as a cache does, and
    `EngineError` when the server cannot be asked: there is no loader to go on with.

    Nothing is kept for a server that is away, and nothing sent twice whose repetition could differ: where `set`, `add`,
    `increment` or `compare_and_set` was sent and not answered, `OutcomeUnknown` says so. `delete` and `touch` are
    repeated within the time of a command.

    Arguments:
        keyspace: what the keys and values are; its `ttl` is the lifetime of a value that is given none.
        near_for: seconds for which a value is served from this process; 0 keeps nothing here.
    """

    def __init__(self, keyspace: Keyspace[T], *, near_for: float) -> None:
        self.keyspace = keyspace
        self._near_for = near_for
        self._turns = WeakValueDictionary[str, asyncio.Lock]()
        self._opened = Opened(begun=False)

    def open(self, backing: Backing, opened: Opened) -> None:
        """Begin to answer, from the caches' server of a room that was opened."""
        self._backing = backing
        self._tier = StoreTier(backing, self.keyspace, self._near_for)
        self._opened = opened
        self._turns = WeakValueDictionary()

    async def close(self) -> None:
        """Answer nothing until the room is open again."""
        self._opened.end()

    # Reads ------------------------------------------------------------------------------------------

    async def get(self, *args: object, **parts: object) -> T | None:
        """The value; None where there is none.

        Raises:
            BrokenValue: when what stands there does not fit the keyspace's type; `set` or `delete` replaces it.
        """
        return (await self.get_result(*args, **parts)).value

    async def get_result(self, *args: object, **parts: object) -> CacheResult[T]:
        """The value and where it came from; what `compare_and_set` takes.

        Its `ttl` is what is left of the value's lifetime, in seconds. Raises as `get`.
        """
        self._opened.check()
        return await self._tier.read(self.keyspace.key(*args, **parts))

    async def get_many(self, parts: Iterable[object]) -> list[T | None]:
        """The values of several keys, in the order asked, in one round trip for a thousand; raises as `get`.

        Arguments:
            parts: of each key a tuple or a mapping; bare values where the keys have one part.
        """
        self._opened.check()
        asked = asked_together(self.keyspace, parts)
        return await self.read_keys([self.keyspace.key(*args, **named) for args, named in asked])

    async def read_keys(self, keys: Sequence[str]) -> list[T | None]:
        """As `get_many`, by keys that `Keyspace.key` has made."""
        self._opened.check()
        return [result.value for result in await self._tier.read_many(keys)]

    @property
    def keeps_nothing_near(self) -> bool:
        """Whether every value is read from the server."""
        return not self._near_for

    def directly(self, ask: Ask, key: str) -> Entry | None:
        """See `StoreTier.directly`."""
        return self._tier.directly(ask, key)

    async def read_before(self, deadline: float, key: str) -> T | None:
        """As `get`, by a key that `Keyspace.key` has made, and until a moment of `time.monotonic`."""
        self._opened.check()
        return (await self._tier.read(key, deadline=deadline)).value

    # Writes -----------------------------------------------------------------------------------------

    async def set(self, value: T, /, *, ttl: timedelta | None = None, **parts: object) -> None:
        """Store a value, whatever was there.

        Arguments:
            ttl: its lifetime; by default the keyspace's, which this one may exceed.

        Raises:
            InvalidInput: for a lifetime that is none, and a value above the keyspace's `limit`.
            BrokenValue: for a value that does not fit the keyspace's type, or would be read differently.
            OutcomeUnknown: when the server did not answer; read it before you set it again, if others write it too.
        """
        self._opened.check()
        key = self.keyspace.key(**parts)
        await self._tier.send(key, ("SET", key, self._tier.encoded(key, value), "PX", self._lifetime(ttl)))

    async def set_many(self, values: Mapping[Any, T], *, ttl: timedelta | None = None) -> None:
        """Store several values, each as `set`, in one round trip for a thousand.

        Arguments:
            values: each under the parts of its key: a tuple, or the bare value where the keys have one part.

        Raises:
            As `set`: the first error, when all others have ended. What cannot be stored is refused before any is sent.
        """
        self._opened.check()
        instance("values", values, Mapping, "give a dict of parts to values")
        each = list[tuple[str, T]]()
        for one, value in values.items():
            args, parts = asked(self.keyspace, one)
            each.append((self.keyspace.key(*args, **parts), value))
        await self.write_keys(each, ttl=ttl)

    async def write_keys(self, values: Iterable[tuple[str, T]], *, ttl: timedelta | None = None) -> None:
        """As `set_many`, by keys that `Keyspace.key` has made."""
        self._opened.check()
        lifetime, encoded = self._lifetime(ttl), self._tier.encoded
        await self._tier.send_each([(key, ("SET", key, encoded(key, value), "PX", lifetime)) for key, value in values])

    async def add(self, value: T, /, *, ttl: timedelta | None = None, **parts: object) -> bool:
        """Store a value where there is none; returns whether it was stored. Arguments and errors are those of `set`."""
        self._opened.check()
        key = self.keyspace.key(**parts)
        reply = await self._tier.send(
            key, ("SET", key, self._tier.encoded(key, value), "PX", self._lifetime(ttl), "NX")
        )
        return reply is not None

    async def delete(self, *args: object, **parts: object) -> bool:
        """Delete a value; returns whether there was one.

        False may also mean that a first attempt has deleted it whose reply was lost.
        """
        self._opened.check()
        key = self.keyspace.key(*args, **parts)
        return bool(await self._tier.send(key, ("DEL", key), retry=True))

    async def delete_many(self, parts: Iterable[object]) -> int:
        """Delete several values, in one round trip for a thousand; returns how many there were.

        A number that is too low may also mean that a first attempt has deleted some whose reply was lost.

        Arguments:
            parts: as of `get_many`.
        """
        self._opened.check()
        asked = asked_together(self.keyspace, parts)
        return await self.delete_keys([self.keyspace.key(*args, **named) for args, named in asked])

    async def delete_keys(self, keys: Sequence[str]) -> int:
        """As `delete_many`, by keys that `Keyspace.key` has made."""
        self._opened.check()
        return await self._tier.delete_each(keys)

    async def touch(self, *args: object, ttl: timedelta | None = None, **parts: object) -> bool:
        """Let a value live for so long from now on; returns whether there is one.

        Arguments:
            ttl: by default the keyspace's.
        """
        self._opened.check()
        key = self.keyspace.key(*args, **parts)
        return bool(await self._tier.send(key, ("PEXPIRE", key, self._lifetime(ttl)), retry=True))

    async def increment(
        self, amount: int = 1, /, *, create: bool = True, ttl: timedelta | None = None, **parts: object
    ) -> int | None:
        """Add to a whole number; returns what it is then.

        Arguments:
            amount: may be negative.
            create: whether a number that is not there begins at 0; otherwise nothing is written, and None returned.
            ttl: the lifetime of one that is created; one that is there keeps its own.

        Raises:
            InvalidInput: for a keyspace whose type is neither `int` nor `Any`, and an amount that is none of 64 bits.
            BrokenValue: when what stands there is no whole number, or would pass 64 bits.
            OutcomeUnknown: when the server did not answer: it may have been added, or not.
        """
        self._opened.check()
        if self.keyspace.type not in _COUNTED:
            raise InvalidInput("keyspace", f"{self.keyspace} holds no numbers", "declare it with the type int or Any")
        whole_number("amount", amount, -_INTEGER, "use a whole number of 64 bits", maximum=_INTEGER - 1)
        return await self._tier.increment(self.keyspace.key(**parts), amount, self._lifetime(ttl), create=create)

    async def compare_and_set(
        self, result: CacheResult[T], new: T | None, /, *, ttl: timedelta | None = None, **parts: object
    ) -> bool:
        """Store a value if what was read is still there, byte for byte; returns whether it was.

        Arguments:
            result: of `get_result` for the same parts; of one without a value there must still be none.
            new: None deletes it.
            ttl: as of `set`.

        Raises:
            As `set`.
        """
        self._opened.check()
        instance("result", result, CacheResult, "give what `get_result` returned for the same parts")
        return await self._tier.compare_and_set(self.keyspace.key(**parts), result.body, new, self._lifetime(ttl))

    async def change(
        self, fn: Callable[[T | None], T | None], /, *, ttl: timedelta | None = None, **parts: object
    ) -> T | None:
        """Store what a function makes of the value, anew whenever another was faster; returns what was stored.

        A member that the keyspace's type does not have is not stored again: see docs/stores.md for new versions of it.

        Arguments:
            fn: is given the value, or None where there is none, perhaps several times. It returns a new value, and
                leaves the one that it is given as it is; None deletes it.
            ttl: as of `set`.

        Raises:
            InvalidInput: for a function that is async.
            Overloaded: when others, of other processes, were faster a hundred times.
            OutcomeUnknown, BrokenValue: as `set` and `get`.
            Whatever the function raises; nothing is stored then.
        """
        self._opened.check()
        key, lifetime = self.keyspace.key(**parts), self._lifetime(ttl)
        async with self._turn(key):
            for _ in range(_ATTEMPTS):
                result = await self._tier.read(key)
                new = fn(result.value)
                if inspect.iscoroutine(new):
                    new.close()  # nobody will await it
                    raise InvalidInput("fn", "is async", "read what it needs before, and give a plain function")
                if await self._tier.compare_and_set(key, result.body, new, lifetime):
                    return new
        raise Overloaded(f"{key} was changed by others {_ATTEMPTS} times meanwhile")

    # ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        """One change of a key at a time in this process, as long as none takes too long.

        Prevents: two hundred callers read one value · of each hundred attempts one is the fastest · the last hundred
        are `Overloaded`. A caller that has waited for the time of a call goes on without a turn, as those of other
        processes do: what is stored is compared all the same, and with a server that hangs nobody waits for all before
        him.
        """
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = asyncio.Lock()
        held = False
        with suppress(TimeoutError):
            async with asyncio.timeout(self._backing.engine.call_budget):
                held = await turn.acquire()
        try:
            yield
        finally:
            if held:
                turn.release()

    def _lifetime(self, ttl: timedelta | None) -> int:
        if ttl is None:
            return self.keyspace.lifetime.ttl_ms
        return span("ttl", ttl, _FINEST, "use a timedelta of a millisecond or more") // _FINEST

    def __repr__(self) -> str:
        return f"<store of {self.keyspace}>"
