"""dogpile.cache: a backend over a room of `greenroom.sync`, registered as "greenroom" when this is imported. Extra
`dogpile`.

region = make_region().configure("greenroom", expiration_time=300, arguments={"room": room})
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from threading import Lock, get_ident
from typing import Any

from greenroom.argument_types import instance, span
from greenroom.errors import InvalidInput
from greenroom.extras import needs_extra
from greenroom.keyspace import Keyspace, Text
from greenroom.sync.client import Greenroom
from greenroom.sync.stores import Store

with needs_extra("dogpile", "a backend for dogpile.cache"):
    from dogpile.cache import register_backend
    from dogpile.cache.api import NO_VALUE, BytesBackend, CacheMutex

__all__ = ["GreenroomBackend"]

_LIMIT = 64_000_000
"""Bytes of a value, in base64."""
_KEPT = timedelta(days=1)
_LOCKED = timedelta(minutes=1)
_FINEST = timedelta(milliseconds=1)
_LOOK_EVERY = 0.05
"""Seconds between two looks of a thread that waits for a lock."""

VALUES = Keyspace(
    "dogpile:{key}",
    bytes,
    parts={"key": Text()},
    ttl=_KEPT,
    limit=_LIMIT,
    name="dogpile",
    purpose="what regions of dogpile.cache hold",
)
LOCKS = Keyspace(
    "dogpile-lock:{key}",
    str,
    parts={"key": Text()},
    ttl=_LOCKED,
    purpose="who makes a value of dogpile.cache at the moment",
)


class GreenroomBackend(BytesBackend):
    """Keeps a region's values, serialized by dogpile, in a store of a room.

    What is read again comes from this process, until the server says that it has changed. An outage raises
    `EngineError`, as other backends raise their client's errors.

    Arguments:
        arguments: `room`, a room of `greenroom.sync`, which opens itself in each process; `ttl`, how long the server
            keeps a value, a timedelta or seconds, by default a day; `distributed_lock`, whether one process at a time
            makes a value, and not one thread of each; `lock_timeout`, after how long a lock is free whose process has
            died, a timedelta or seconds, by default a minute. Others are passed over, as dogpile's contract has it.

    Raises:
        InvalidInput: naming the argument that cannot be.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        remedy = "give arguments={'room': greenroom.sync.Greenroom(…)}"
        given: Any = arguments.get("room")
        room = instance("room", given, Greenroom, remedy)
        self._ttl = _span("ttl", arguments.get("ttl", _KEPT))
        self._lock_timeout = _span("lock_timeout", arguments.get("lock_timeout", _LOCKED))
        locks = arguments.get("distributed_lock", False)
        self._distributed: bool = instance("distributed_lock", locks, bool, "use True or False")
        self._values = room.store(VALUES)
        self._locks = room.store(LOCKS)

    def has_lock_timeout(self) -> bool:
        """Whether a lock lapses while its holder lives."""
        return self._distributed

    def get_mutex(self, key: str) -> CacheMutex | None:
        """Who may make a value: None for a thread of this process; see `distributed_lock`."""
        return _Mutex(self._locks, key, self._lock_timeout) if self._distributed else None

    def get_serialized(self, key: str) -> Any:
        """A value; NO_VALUE where there is none."""
        value = self._values.get(key)
        return NO_VALUE if value is None else value

    def get_serialized_multi(self, keys: Iterable[str]) -> Sequence[Any]:
        """Several values in the order asked, in one round trip of each server that has some."""
        return [NO_VALUE if value is None else value for value in self._values.get_many(keys)]

    def set_serialized(self, key: str, value: bytes) -> None:
        """Store a value."""
        self._values.set(value, ttl=self._ttl, key=key)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        """Store several values."""
        if mapping:
            self._values.set_many(mapping, ttl=self._ttl)

    def delete(self, key: str) -> None:
        """Delete a value, in all processes, if there is one."""
        self._values.delete(key)

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Delete several values."""
        self._values.delete_many(keys)


class _Mutex(CacheMutex):
    """A lock of one key over all processes; it lapses if its holder dies, or takes longer than that.

    Prevents: A holds it, and is paused until it lapses · B takes it · A comes back, and its release frees B's lock. So
    each holder has a token, and a release deletes its own alone. The value of A, who has lost the lock, is stored all
    the same: a lock that lapses is for values that may be made twice.

    A region gives one of these to all its threads. Prevents, by a token for each thread: A frees the lock · B takes it,
    and notes its token · A clears the token · B's release frees nothing, and everybody waits until the lock lapses.
    """

    def __init__(self, locks: Store[str], key: str, timeout: timedelta) -> None:
        self._locks = locks
        self._key = key
        self._timeout = timeout
        self._tokens: dict[str, int] = {}  # of the threads that hold it or held it, the oldest first
        self._own = Lock()

    def acquire(self, wait: bool = True) -> bool:
        """Take it; waits until it is free, or returns False with `wait=False`."""
        token = f"{get_ident()}-{secrets.token_hex(8)}"
        while not self._locks.add(token, ttl=self._timeout, key=self._key):
            if not wait:
                return False
            time.sleep(_LOOK_EVERY)
        with self._own:
            self._tokens[token] = get_ident()
        return True

    def release(self) -> None:
        """Free it, if it is still held by this thread, or by the one that has left it to this."""
        token = self._own_token()
        if token is None:
            return
        try:
            held = self._locks.get_result(self._key)
            if held.value == token:
                self._locks.compare_and_set(held, None, key=self._key)
        except BaseException:
            with self._own:
                self._tokens[token] = get_ident()  # it is still held, and may be freed by another call
            raise

    def _own_token(self) -> str | None:
        """The newest token of this thread, which is taken.

        A runner of dogpile frees in a thread of its own what another has acquired: the oldest of all.
        """
        with self._own:
            mine = [token for token, holder in self._tokens.items() if holder == get_ident()]
            token = mine[-1] if mine else next(iter(self._tokens), None)
            if token is not None:
                del self._tokens[token]
            return token

    def locked(self) -> bool:
        """Whether anybody holds it."""
        return self._locks.get(self._key) is not None


def _span(name: str, given: Any) -> timedelta:
    remedy = "give seconds, or a timedelta"
    if isinstance(given, int | float) and not isinstance(given, bool):
        if not 0 < given < timedelta.max.total_seconds():  # nor NaN
            raise InvalidInput(name, f"is {given}", remedy)
        given = timedelta(seconds=given)
    return span(name, given, _FINEST, remedy)


register_backend("greenroom", __name__, "GreenroomBackend")  # type: ignore[no-untyped-call]
