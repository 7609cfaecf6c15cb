"""Ending all sessions of a user, as after a new password."""

from __future__ import annotations

from typing import Any

from greenroom.argument_types import type_name
from greenroom.errors import InvalidInput


def end_all(user: Any, *, but: Any = None) -> None:
    """End every session of a user of `django.contrib.auth`.

    Of a request that is under way what it changes is not saved any more. A log-in meanwhile is either ended too or
    goes on.

    Arguments:
        user: the user, or the primary key.
        but: `request.session` of the one that goes on.
    """
    from greenroom.integrations.django.sessions import stored_sessions  # needs the project's settings

    sessions, id_, spared = stored_sessions(), _id(user), _key(but)
    sessions.room.run(lambda _: sessions.end_all(id_, spared))


async def aend_all(user: Any, *, but: Any = None) -> None:
    """As `end_all`."""
    from greenroom.integrations.django.sessions import astored_sessions

    sessions, id_, spared = await astored_sessions(), _id(user), _key(but)
    await sessions.room.awaited(lambda: sessions.end_all(id_, spared))


def _id(user: Any) -> str:
    pk = getattr(user, "pk", user)
    if pk is None or pk == "":
        raise InvalidInput("user", "has no primary key", "give a saved user, or the primary key")
    return str(pk)


def _key(session: Any) -> str | None:
    if session is None:
        return None
    if not hasattr(session, "session_key"):
        raise InvalidInput("but", f"is {type_name(session)}, not a session", "give request.session")
    key = session.session_key
    return None if key is None else str(key)
