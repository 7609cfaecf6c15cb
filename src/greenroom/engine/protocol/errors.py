"""Errors of the protocol: what a server answers, and how a connection ends."""

from __future__ import annotations

from greenroom.engine.protocol.hash_slot import SLOTS
from greenroom.errors import CommandFailed, EngineError, EngineRefused, EngineUnavailable, OutOfMemory

_REFUSED = frozenset({"NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO"})
# What NOPERM is called in a script, since Redis 7.2 and before.
_REFUSED_IN_SCRIPT = "ERR ACL failure in script: ", "ERR The user executing the script can't "
# Not executed, and worth another try: the server starts, follows, fails over, or a script blocks it.
_NOT_NOW = frozenset({"LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS"})


class ConnectionLost(EngineUnavailable):
    """The connection ended after the command was written; whether it was carried out is not known."""


class NoReply(EngineUnavailable):
    """No reply in time, though the connection is alive; whether the command was carried out is not known."""


class NotSent(EngineUnavailable):
    """The connection ended before the command was written: it was not carried out."""


class NotNow(EngineUnavailable):
    """The server answered that it cannot carry out a command at the moment; it has not done so.

    `code` is the first word of its answer.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.split(" ", 1)[0]


class NotHere(EngineUnavailable):
    """A node of a cluster answered that another has the key; it has not carried out the command.

    `host` is empty where it does not know the other's: that is then its own.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        _, slot, endpoint = message.split(" ")
        self.host, _, port = endpoint.rpartition(":")
        self.slot, self.port = int(slot), int(port)
        if not (
            0 <= self.slot < SLOTS and 0 < self.port < 65536 and (self.host.isprintable() and len(self.host) < 256)
        ):
            raise ValueError(message)


class Moved(NotHere):
    """The slot belongs to another node."""


class Ask(NotHere):
    """The slot is on its way to another node, and this key of it is there already, or nowhere."""


_NOT_HERE = {"MOVED": Moved, "ASK": Ask}


def reply_error(message: str) -> EngineError:
    """The exception for an error reply; what a caller may do about it is in its type."""
    code = message.split(" ", 1)[0]
    if code in _REFUSED:
        return EngineRefused(message)
    if message.startswith(_REFUSED_IN_SCRIPT):
        return EngineRefused(message.replace("ERR", "NOPERM", 1))
    if code in _NOT_NOW:
        return NotNow(message)
    if code == "OOM":
        return OutOfMemory(message)
    if code in _NOT_HERE:
        try:
            return _NOT_HERE[code](message)
        except ValueError:
            pass
    return CommandFailed(message)
