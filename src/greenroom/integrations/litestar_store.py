"""A store for what Litestar keeps itself: its response cache, its sessions, its rate limits. Extra `litestar`.

app = Litestar([...], plugins=[GreenroomPlugin(room)], stores={"response_cache": GreenroomStore(room)})
"""

from __future__ import annotations

import logging
import math
import secrets
from datetime import timedelta

from greenroom.argument_types import instance, type_name
from greenroom.caching import CacheResult
from greenroom.caching.result import seconds_left
from greenroom.client import Greenroom
from greenroom.errors import EngineError, InvalidInput, Overloaded
from greenroom.extras import needs_extra
from greenroom.keyspace import Keyspace, Text

with needs_extra("litestar", "a store for Litestar"):
    from litestar.stores.base import NamespacedStore

__all__ = ["GreenroomStore"]

log = logging.getLogger("greenroom.litestar")

_FOR_EVER = timedelta(days=3650)
"""How long a value lives that was given no time; whatever lives half as long or longer has none."""
_LIMIT = 64_000_000
"""Bytes of a value, in base64."""
_ATTEMPTS = 3
_SHORTEST = timedelta(milliseconds=1)

VALUES = Keyspace(
    "litestar:{space}:{generation}:{key}",
    bytes,
    parts={"space": Text(), "generation": Text(), "key": Text()},
    ttl=_FOR_EVER,
    limit=_LIMIT,
    name="litestar",
    purpose="what Litestar's stores hold",
)
GENERATIONS = Keyspace(
    "litestar-generation:{space}",
    str,
    parts={"space": Text()},
    ttl=_FOR_EVER,
    purpose="the generation of each namespace of Litestar's stores, which stands in its keys",
)


class GreenroomStore(NamespacedStore):
    """A store of Litestar in the server of a room's caches; answers while the room is open.

    What is read again is served from this process, until the server says that it has changed. `delete_all` takes one
    round trip: each namespace has a generation, which stands in the keys of it and of all below. What it deletes is
    unreachable at once, and takes its room on the server until its time is over.

    Arguments:
        room: whose server keeps the values.
        namespace: two stores of one namespace are one.
        misses: whether a server that cannot be asked counts as one that has nothing, as for a response cache: reads
            give None, and what is set is lost. Otherwise, and for `delete` and `delete_all` always, the error is
            raised, as sessions need it.

    Raises:
        InvalidInput: naming an argument of another type.
    """

    __slots__ = ("_above", "_generations", "_misses", "_room", "_values", "namespace")

    def __init__(self, room: Greenroom, namespace: str = "LITESTAR", *, misses: bool = False) -> None:
        self._room = instance("room", room, Greenroom, "give a Greenroom")
        if not isinstance(namespace, str) or not namespace:
            raise InvalidInput("namespace", f"is {namespace!r:.80}", "give a text that is not empty")
        self.namespace = namespace
        self._misses = instance("misses", misses, bool, "use True or False")
        self._above: tuple[str, ...] = ()
        self._values = room.store(VALUES)
        self._generations = room.store(GENERATIONS)

    def with_namespace(self, namespace: str) -> GreenroomStore:
        """A store of a namespace below this one: `delete_all` of this one empties it too."""
        if not isinstance(namespace, str) or not namespace:
            raise InvalidInput("namespace", f"is {namespace!r:.80}", "give a text that is not empty")
        child = type(self)(self._room, f"{self.namespace}_{namespace}", misses=self._misses)
        child._above = (*self._above, self.namespace)
        return child

    async def set(self, key: str, value: str | bytes, expires_in: int | timedelta | None = None) -> None:
        """Store a value.

        Arguments:
            expires_in: in seconds; None: for ever, which is ten years. What has no time left is deleted.

        Raises:
            InvalidInput: naming an argument of another type.
            OutcomeUnknown: when the server did not answer.
            EngineError: when it cannot be asked.
        """
        data = _data(value)
        lifetime = _FOR_EVER if expires_in is None else _span("expires_in", expires_in)
        if lifetime < _SHORTEST:
            await self.delete(key)
            return
        try:
            parts = await self._parts(key)
            await self._values.set(data, ttl=lifetime, **parts)
        except EngineError as error:
            self._missed(error)

    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        """A value; None where there is none.

        Arguments:
            renew_for: its time from now on, where it was given one. Between the look and this another process may have
                stored another value, which then lives for so long.
        """
        renewed = max(_span("renew_for", renew_for), _SHORTEST) if renew_for else None
        try:
            parts = await self._parts(key)
            result = await self._values.get_result(**parts)
            if result.value is not None and renewed is not None and _left(result) is not None:
                await self._values.touch(ttl=renewed, **parts)
        except EngineError as error:
            self._missed(error)
            return None
        return result.value

    async def delete(self, key: str) -> None:
        """Delete a value, if there is one."""
        await self._values.delete(**await self._parts(key))

    async def delete_all(self) -> None:
        """Delete every value of this namespace and of those below."""
        await self._generations.set(_generation(), space=self.namespace)

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return await self.get(key) is not None

    async def expires_in(self, key: str) -> int | None:
        """The seconds that a value has left, rounded up; None where there is none, or it lives for ever."""
        try:
            result = await self._values.get_result(**await self._parts(key))
        except EngineError as error:
            self._missed(error)
            return None
        return None if result.value is None else _left(result)

    # ------------------------------------------------------------------------------------------------

    async def _parts(self, key: str) -> dict[str, str]:
        generation = "-".join([await self._generation_of(space) for space in (*self._above, self.namespace)])
        return {"space": self.namespace, "generation": generation, "key": key}

    async def _generation_of(self, space: str) -> str:
        """The generation of a namespace, begun where there is none.

        By chance and no count. Prevents: the server evicts the generation · it begins at 1 again · what was deleted
        under generation 1 is there again.
        """
        for _ in range(_ATTEMPTS):
            generation = await self._generations.get(space=space)
            if generation is not None:
                return generation
            await self._generations.add(_generation(), space=space)
        raise Overloaded(f"the server loses the generation of {space} as fast as it is stored")

    def _missed(self, error: EngineError) -> None:
        if not self._misses:
            raise error
        log.debug("a store of Litestar counts as empty: %s", error)


def _generation() -> str:
    return secrets.token_hex(8)


def _span(name: str, given: int | timedelta) -> timedelta:
    """A time of at most `_FOR_EVER`."""
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(seconds):
        raise InvalidInput(name, f"is {type_name(given)}, no time", "give seconds, or a timedelta")
    return timedelta(seconds=max(0, min(seconds, _FOR_EVER.total_seconds())))


def _data(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes | bytearray | memoryview):  # a number would be so many zeros
        raise InvalidInput("value", f"is {type_name(value)}", "give bytes, or a text")
    return bytes(value)


def _left(result: CacheResult[bytes]) -> int | None:
    """The seconds that a value has left; None of one that was given no time."""
    if result.ttl is None or result.ttl > _FOR_EVER.total_seconds() / 2:
        return None
    return max(1, seconds_left(result.ttl))
