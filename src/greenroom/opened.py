"""Whether a room is still open: what it has given out says so too."""

from __future__ import annotations

from greenroom.errors import RoomClosed


class Opened:
    """Asked before each operation of what a room has given out.

    Prevents: the room is closed · somebody who has kept a part of it asks for something · the answer is that a server
    or the database is away, and the caller tries again for ever.
    """

    __slots__ = ("_over",)

    def __init__(self) -> None:
        self._over = False

    def check(self) -> None:
        """Return while it is open; raises `RoomClosed` afterwards."""
        if self._over:
            raise RoomClosed

    def end(self) -> None:
        """It is closed, for good."""
        self._over = True
