"""A store as threads use it: near hits are read in the caller's thread, all else through the portal.

What is not kept near a thread may ask for by itself: see `direct_calls`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from greenroom.argument_types import instance
from greenroom.caching.keys_of_a_call import asked, asked_together
from greenroom.caching.result import CacheResult
from greenroom.caching.store import Store as AsyncStore
from greenroom.errors import EngineUnavailable
from greenroom.keyspace import Keyspace
from greenroom.sync.called_drops import CalledDrop
from greenroom.sync.near_reader import NearReader

if TYPE_CHECKING:
    from greenroom.sync.client import Greenroom

R = TypeVar("R")
T = TypeVar("T")


class Store(NearReader, Generic[T]):
    """Typed values of one keyspace, written by the program, from any thread; made by `Greenroom.store`.

    Every call is that of `greenroom.Store` without `await`, and raises what that one raises.

    Arguments:
        room: opens itself at the first call.
        declare: declares the store in the asynchronous room.
    """

    def __init__(self, room: Greenroom, declare: Callable[[], AsyncStore[T]]) -> None:
        self._room = room
        super().__init__(declare)
        self.asynchronous: AsyncStore[T]
        self.keyspace: Keyspace[T]

    # Reads ------------------------------------------------------------------------------------------

    def get(self, *args: object, **parts: object) -> T | None:
        """The value; None where there is none."""
        key = self._key(args, parts)
        entry = self._peek(key, self._now())
        # The marks are looked at after the entry: see `called_drops`.
        if entry is not None and key not in self._called_keys and not self._called_wide:
            value: T | None = entry.value
            if value is None and entry.body is not None:
                value = self.keyspace.decode(key, entry.body)  # of a type that callers could change
            if entry.frequency < 3:
                entry.frequency += 1
            self._local.cell.number += 1
            return value
        direct = self._direct
        if direct is not None and direct.alone():
            deadline = monotonic() + direct.patience
            with suppress(EngineUnavailable):
                entry = self.asynchronous.directly(direct.ask, key)
                if entry is not None:
                    (self._far_local if entry.body is not None else self._missed_local).cell.number += 1
                    answer: T | None = entry.value
                    return answer
            # Asked once more, if any time is left.
            return self._room.run(lambda _: self.asynchronous.read_before(deadline, key))
        return self._room.run(lambda _: self.asynchronous.get(*args, **parts))

    def get_result(self, *args: object, **parts: object) -> CacheResult[T]:
        """The value and where it came from; what `compare_and_set` takes."""
        return self._room.run(lambda _: self.asynchronous.get_result(*args, **parts))

    def get_many(self, parts: Iterable[object]) -> list[T | None]:
        """The values of several keys, in the order asked.

        Arguments:
            parts: of each key a tuple or a mapping; bare values where the keys have one part.
        """
        return self.read_keys([self._key(*one) for one in asked_together(self.keyspace, parts)])

    def read_keys(self, keys: Sequence[str]) -> list[T | None]:
        """As `get_many`, by keys that `Keyspace.key` has made."""
        now, peek, decode = self._now(), self._peek, self.keyspace.decode
        values = list[T | None]()
        far, places = list[str](), list[int]()
        for place, key in enumerate(keys):
            entry = peek(key, now)
            # As in `get`, after the entry.
            if entry is None or key in self._called_keys or self._called_wide:
                far.append(key)
                places.append(place)
                values.append(None)
                continue
            value: T | None = entry.value
            values.append(decode(key, entry.body) if value is None and entry.body is not None else value)
            if entry.frequency < 3:
                entry.frequency += 1
        if len(far) < len(keys):
            self._local.cell.number += len(keys) - len(far)
        if far:
            found = self._room.run(lambda _: self.asynchronous.read_keys(far))
            for place, value in zip(places, found, strict=True):
                values[place] = value
        return values

    # Writes -----------------------------------------------------------------------------------------

    def set(self, value: T, /, *, ttl: timedelta | None = None, **parts: object) -> None:
        """Store a value, whatever was there.

        Arguments:
            ttl: its lifetime; by default the keyspace's, which this one may exceed.
        """
        self._write(self.keyspace.key(**parts), lambda: self.asynchronous.set(value, ttl=ttl, **parts))

    def set_many(self, values: Mapping[Any, T], *, ttl: timedelta | None = None) -> None:
        """Store several values, each as `set`.

        Arguments:
            values: each under the parts of its key: a tuple, or the bare value where the keys have one part.
        """
        instance("values", values, Mapping, "give a dict of parts to values")
        keys = [self._key(*asked(self.keyspace, one)) for one in values]
        self.write_keys(list(zip(keys, values.values(), strict=True)), ttl=ttl)

    def write_keys(self, values: Sequence[tuple[str, T]], *, ttl: timedelta | None = None) -> None:
        """As `set_many`, by keys that `Keyspace.key` has made."""
        drop = CalledDrop([key for key, _ in values])
        self._room.drop(drop, lambda: self.asynchronous.write_keys(values, ttl=ttl))

    def add(self, value: T, /, *, ttl: timedelta | None = None, **parts: object) -> bool:
        """Store a value where there is none; returns whether it was stored."""
        return self._write(self.keyspace.key(**parts), lambda: self.asynchronous.add(value, ttl=ttl, **parts))

    def delete(self, *args: object, **parts: object) -> bool:
        """Delete a value; returns whether there was one."""
        return self._write(self.keyspace.key(*args, **parts), lambda: self.asynchronous.delete(*args, **parts))

    def delete_many(self, parts: Iterable[object]) -> int:
        """Delete several values; returns how many there were. It takes its keys as `get_many`."""
        return self.delete_keys([self._key(*one) for one in asked_together(self.keyspace, parts)])

    def delete_keys(self, keys: Sequence[str]) -> int:
        """As `delete_many`, by keys that `Keyspace.key` has made."""
        return self._room.drop(CalledDrop(keys), lambda: self.asynchronous.delete_keys(keys))

    def touch(self, *args: object, ttl: timedelta | None = None, **parts: object) -> bool:
        """Let a value live for so long from now on; returns whether there is one."""
        return self._write(self.keyspace.key(*args, **parts), lambda: self.asynchronous.touch(*args, ttl=ttl, **parts))

    def increment(
        self, amount: int = 1, /, *, create: bool = True, ttl: timedelta | None = None, **parts: object
    ) -> int | None:
        """Add to a whole number; returns what it is then.

        Arguments:
            create: whether a number that is not there begins at 0; otherwise nothing is written, and None returned.
            ttl: the lifetime of one that is created; one that is there keeps its own.
        """
        key = self.keyspace.key(**parts)
        return self._write(key, lambda: self.asynchronous.increment(amount, create=create, ttl=ttl, **parts))

    def compare_and_set(
        self, result: CacheResult[T], new: T | None, /, *, ttl: timedelta | None = None, **parts: object
    ) -> bool:
        """Store a value if what was read is still there, byte for byte; returns whether it was.

        Arguments:
            result: of `get_result` for the same parts; of one without a value there must still be none.
            new: None deletes it.
        """
        key = self.keyspace.key(**parts)
        return self._write(key, lambda: self.asynchronous.compare_and_set(result, new, ttl=ttl, **parts))

    def change(
        self, fn: Callable[[T | None], T | None], /, *, ttl: timedelta | None = None, **parts: object
    ) -> T | None:
        """Store what a function makes of the value, anew whenever another was faster; returns what was stored.

        Arguments:
            fn: is given the value, or None where there is none, perhaps several times. It runs in the room's event
                loop, and must neither wait nor call the room. It returns a new value; None deletes it.
        """
        return self._write(self.keyspace.key(**parts), lambda: self.asynchronous.change(fn, ttl=ttl, **parts))

    # ------------------------------------------------------------------------------------------------

    def _write(self, key: str, write: Callable[[], Coroutine[Any, Any, R]]) -> R:
        return self._room.drop(CalledDrop((key,)), write)

    def __repr__(self) -> str:
        return f"<store of {self.keyspace}>"
