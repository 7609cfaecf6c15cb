"""A session as it was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from greenroom.errors import GreenroomError
from greenroom.sessions.raw_json import readable

T = TypeVar("T")


class SessionGone(GreenroomError):
    """The session has ended, or never was: sign in again."""


@dataclass(frozen=True, slots=True)
class SessionSnapshot(Generic[T]):
    """A session as it was read; its repr, which may reach a log, shows nothing of it.

    Arguments:
        session_id: its key's part; never to be shown to anyone.
        value: what it holds.
        body: its JSON, byte for byte.
        writable: False for the copy that a rotation leaves.
        touch_due: whether no write has been made for a touch interval, or since an anonymous session began.
        begun: when it began, as the server wrote it; empty for a copy.
    """

    session_id: str = field(repr=False)
    value: T = field(repr=False)
    body: bytes = field(repr=False)
    writable: bool = True
    touch_due: bool = False
    begun: bytes = b""

    @property
    def members(self) -> dict[str, Any]:
        """All that it holds, decoded anew: what others keep in it is not in `value`.

        A member that cannot be decoded, as 1e999 or a lone surrogate, is given as its JSON, a `msgspec.Raw`.
        """
        return readable(self.body)

    @property
    def started_at(self) -> datetime | None:
        """When it began, at the log-in and not at a later rotation, by the server's clock; None where not known."""
        try:
            return datetime.fromisoformat(self.begun.decode())
        except ValueError:  # a copy's, or another program has written it
            return None
