"""Which keys are a server's to serve: all of them, or those of some slots of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from greenroom.engine.protocol.wire import Command
    from greenroom.engine.transport.connection import Connection
    from greenroom.errors import EngineUnavailable

KeyFilter = Callable[[str], bool]
"""Whether a key is meant."""


class Share(Protocol):
    """What a server has of all keys, as far as is known here."""

    def owns(self, key: str) -> bool:
        """Whether the server has this key now."""

    async def follow(self, connection: Connection, command: Command, error: EngineUnavailable) -> Any:
        """The reply to a command that the server of a connection not serving yet has turned away.

        A slot that is on its way to another server must not keep its old one from serving all others.

        Raises:
            EngineError: where nobody carries it out.
        """


class Everything:
    """The share of a server that has no others beside it."""

    def owns(self, key: str) -> bool:
        return True

    async def follow(self, connection: Connection, command: Command, error: EngineUnavailable) -> Any:
        raise error


EVERYTHING = Everything()


def all_keys(key: str) -> bool:
    """All keys are meant."""
    return True
