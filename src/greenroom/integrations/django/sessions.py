"""`SESSION_ENGINE = "greenroom.integrations.django.sessions"`.

A request saves the members that it has changed, and no others: of two at once neither loses the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
from django.contrib.sessions.backends.base import VALID_KEY_CHARS, CreateError, SessionBase, UpdateError
from django.contrib.sessions.serializers import JSONSerializer
from django.utils.crypto import get_random_string

from greenroom.errors import InvalidInput
from greenroom.integrations.django import rooms
from greenroom.integrations.django.stored_sessions import MemberChanges, SessionOver, StoredSessions
from greenroom.keyspace.codec import Codec
from greenroom.keyspace.mismatch import SchemaMismatch

T = TypeVar("T")

_KEY_LENGTH = 32
_EXPIRY = "_session_expiry"
_JSON: Codec[Any] = Codec(Any)


def stored_sessions() -> StoredSessions:
    """Those of this process."""
    return rooms.once("sessions", _stored)


async def astored_sessions() -> StoredSessions:
    """As `stored_sessions`, where an event loop runs."""
    return await rooms.aonce("sessions", _stored)


def _stored() -> StoredSessions:
    return StoredSessions(rooms.room())


class SessionStore(SessionBase):  # type: ignore[misc]
    """One request's session.

    A server that cannot be asked raises `greenroom.errors.EngineError`: nobody is signed out for it.
    """

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._session_key: str | None
        self._session_cache: dict[str, Any]
        self._loaded: Mapping[str, bytes] = {}
        """The members as this request has them from the server, or has saved them last."""
        self._was_there = False
        """Whether this request has seen the session on the server."""

    # Reads ------------------------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        """The members of the session; none, and no key any more, where it is over."""
        key = self.session_key
        return self._taken(None if key is None else stored_sessions().read_in_thread(key))

    async def aload(self) -> dict[str, Any]:
        """As `load`."""
        key = self.session_key
        return self._taken(None if key is None else await self._arun(lambda all_: all_.read(key)))

    def exists(self, session_key: str | None) -> bool:
        """Whether there is a session with this key."""
        return bool(session_key) and stored_sessions().read_in_thread(str(session_key)) is not None

    async def aexists(self, session_key: str | None) -> bool:
        """As `exists`."""
        return bool(session_key) and await self._arun(lambda all_: all_.read(str(session_key))) is not None

    # Writes -----------------------------------------------------------------------------------------

    def create(self) -> None:
        """Begin a session that holds nothing yet."""
        while True:
            self._session_key = _new_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    async def acreate(self) -> None:
        """As `create`."""
        while True:
            self._session_key = _new_key()
            try:
                await self.asave(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Store what this request has changed.

        Raises:
            UpdateError: when the session was ended meanwhile; it does not come back.
            CreateError: where one must be created, and there is one with this key.
            InvalidInput: naming a member that cannot be JSON.
        """
        created = must_create or self.session_key is None
        if self.session_key is None:
            self._session_key = _new_key()
        key, data = self.session_key, _json(self._get_session(no_load=created))
        try:
            self._saved(data, self._run(self._storing(key, data, created=created)))
        except SessionOver:
            raise UpdateError from None

    async def asave(self, must_create: bool = False) -> None:
        """As `save`."""
        created = must_create or self.session_key is None
        if self.session_key is None:
            self._session_key = _new_key()
        key, data = self.session_key, _json(await self._aget_session(no_load=created))
        try:
            self._saved(data, await self._arun(self._storing(key, data, created=created)))
        except SessionOver:
            raise UpdateError from None

    def cycle_key(self) -> None:
        """Go on under a new key, with what others have changed meanwhile; of a session that was ended with nothing."""
        data = _json(self._session)
        old, self._session_key = self.session_key, _new_key()
        try:
            self._run(self._moving(old, data))
        except SessionOver:
            self._session_cache = {}
            self.create()
        else:
            self._saved(data, True)
            self.modified = True

    async def acycle_key(self) -> None:
        """As `cycle_key`."""
        data = _json(await self._aget_session())
        old, self._session_key = self.session_key, _new_key()
        try:
            await self._arun(self._moving(old, data))
        except SessionOver:
            self._session_cache = {}
            await self.acreate()
        else:
            self._saved(data, True)
            self.modified = True

    def delete(self, session_key: str | None = None) -> None:
        """End this session, or the one with this key."""
        key = session_key or self.session_key
        if key is not None:
            self._run(lambda all_: all_.end(key))

    async def adelete(self, session_key: str | None = None) -> None:
        """As `delete`."""
        key = session_key or self.session_key
        if key is not None:
            await self._arun(lambda all_: all_.end(key))

    def flush(self) -> None:
        """End this session; what is set from now on is of a new one."""
        super().flush()
        self._forgotten()

    async def aflush(self) -> None:
        """As `flush`."""
        self.clear()
        await self.adelete()
        self._session_key = None
        self._forgotten()

    @classmethod
    def clear_expired(cls) -> None:
        """Nothing: the server lets sessions lapse."""

    @classmethod
    async def aclear_expired(cls) -> None:
        """As `clear_expired`."""

    # ------------------------------------------------------------------------------------------------

    def _taken(self, data: dict[str, Any] | None) -> dict[str, Any]:
        if data is None:
            self._session_key = None
            self._forgotten()
            return {}
        self._loaded, self._was_there = _encoded(data), True
        return data

    def _forgotten(self) -> None:
        self._loaded, self._was_there = {}, False

    def _saved(self, data: Mapping[str, Any], stored: bool) -> None:
        if not stored:
            raise CreateError
        # As this request has them: members of others, which it does not have, are then none that it has deleted.
        self._loaded, self._was_there = _encoded(data), True

    def _storing(
        self, key: str, data: dict[str, Any], *, created: bool
    ) -> Callable[[StoredSessions], Coroutine[Any, Any, bool]]:
        changes = self._changes(data)

        async def store(all_: StoredSessions) -> bool:
            if created:
                return await all_.create(key, data, self._lifetime)
            await all_.change(key, changes, self._lifetime)
            return True

        return store

    def _moving(self, old: str | None, data: dict[str, Any]) -> Callable[[StoredSessions], Coroutine[Any, Any, None]]:
        key, changes, was_there = self.session_key, self._changes(data), self._was_there

        async def move(all_: StoredSessions) -> None:
            if old is None or not was_there:
                await all_.create(key, data, self._lifetime)
            else:
                await all_.move(old, key, changes, self._lifetime)

        return move

    def _changes(self, data: Mapping[str, Any]) -> MemberChanges:
        encoded = _encoded(data)
        members = {name: data[name] for name, one in encoded.items() if self._loaded.get(name) != one}
        return MemberChanges(members, frozenset(self._loaded) - frozenset(encoded))

    def _lifetime(self, data: Mapping[str, Any]) -> timedelta:
        return timedelta(seconds=self.get_expiry_age(expiry=data.get(_EXPIRY)))

    def _run(self, make: Callable[[StoredSessions], Coroutine[Any, Any, T]]) -> T:
        all_ = stored_sessions()
        return all_.room.run(lambda _: make(all_))

    async def _arun(self, make: Callable[[StoredSessions], Coroutine[Any, Any, T]]) -> T:
        all_ = await astored_sessions()
        return await all_.room.awaited(lambda: make(all_))


def _new_key() -> str:
    return str(get_random_string(_KEY_LENGTH, VALID_KEY_CHARS))


def _encoded(data: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: msgspec.json.encode(one) for name, one in data.items()}


def _json(data: Mapping[str, Any]) -> dict[str, Any]:
    """The members as they are read again: Django's own serializer makes lists of tuples, and texts of numbers as names.

    Raises:
        InvalidInput: naming the member that cannot be JSON.
    """
    read: dict[str, Any] = {}
    serializer = JSONSerializer()
    for name, value in data.items():
        try:
            one = serializer.loads(serializer.dumps({name: value}))
            _JSON.round_trip(one)
        except (TypeError, ValueError, RecursionError, SchemaMismatch) as error:
            reason = f"cannot be JSON: {error}"
            raise InvalidInput(f"session[{name!r:.40}]", reason, "store texts, numbers, lists and dicts") from None
        read |= one
    return read
