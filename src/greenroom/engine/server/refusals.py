"""What a server refuses although it answers: trouble until it takes a write again.

A process whose server has become read-only, lacks replicas or memory, or denies one of its commands, is connected and
well by every other sign, while nobody can sign in.

Every reply of both connections is looked at, in the socket's reader and so in the order of the wire, and not only those
that a call waits for. Prevents: a log-out is refused · the next connection carries it before it serves, and so does
what was kept, queued or repeated · nobody writes for an hour · all the time the server is said to take no writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from greenroom.engine.commands import Command
from greenroom.engine.protocol.errors import NotNow
from greenroom.engine.scripts import Call
from greenroom.errors import CommandFailed, EngineError, EngineRefused, EngineUnavailable, OutOfMemory

_IN_MESSAGE = re.compile(r"run the '([A-Za-z|.]+)' command")
"""How a server names the command that it denies."""
_MOVING = "TRYAGAIN"
"""Says nothing of the server: a slot of a cluster is on its way."""
_ALL = frozenset({"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN"})
"""Refuse reads as well, so that any answer about data disproves them."""
_NO_DATA = frozenset({"ASKING", "CLIENT", "CLUSTER", "HELLO", "INFO", "PING", "READONLY", "SCRIPT", "SELECT", "TIME"})
"""Commands that a server answers in any state."""
_REPLICA = frozenset({"MASTERDOWN", "READONLY"})
"""Said by replicas alone."""
_NOT_WRITTEN = "MISCONF"
"""The server cannot write its file, and so takes no writes."""
_WRITES = frozenset({"DEL", "PEXPIRE", "SET", "ZREM"})
"""Commands whose success proves that writes are taken; that of SET alone proves that there is memory for more."""


# docs/decisions/0006-refusals-last-until-disproved.md
class Refusals:
    """What one server has refused last, until that is disproved.

    Arguments:
        written: called when a write was carried out while something was refused.
        doubted: called when the server has said that it is a replica.
    """

    __slots__ = ("_doubted", "_of_all", "_of_command", "_of_memory", "_of_writes", "_written", "some")

    def __init__(self, *, written: Callable[[], None], doubted: Callable[[], None]) -> None:
        self._written = written
        self._doubted = doubted
        self.some = False
        """Whether anything is refused: looked at for every reply."""
        self._of_all: EngineError | None = None
        self._of_writes: EngineError | None = None
        self._of_memory: EngineError | None = None
        self._of_command: dict[str | bytes | int, EngineError] = {}

    @property
    def error(self) -> EngineError | None:
        """What the server has said, as an error that tells what to do; None where nothing is refused."""
        denied = next(iter(self._of_command.values()), None)
        return denied or self._of_all or self._of_writes or self._of_memory

    def refused(self, command: Command, error: Exception) -> None:
        """A command was answered so."""
        if isinstance(error, EngineRefused):
            # docs/decisions/0005-refused-commands-are-remembered.md
            named = _named(error)
            # EVALSHA itself, or something that this script calls: each calls other commands.
            denied = command[1] if isinstance(command, Call) and named != command[0] else command[0]
            self._of_command[denied] = _denied(command, named)
        elif isinstance(error, OutOfMemory):
            self._of_memory = EngineUnavailable(str(error))
        elif isinstance(error, NotNow):
            if error.code in _REPLICA:
                self._doubted()
            if error.code in _ALL:
                self._of_all = error
            elif error.code != _MOVING:
                self._of_writes = error
        elif isinstance(error, CommandFailed) and error.code == _NOT_WRITTEN:
            self._of_writes = EngineUnavailable(str(error))
        self.some = self.error is not None

    def carried_out(self, command: Command, reply: Any) -> None:
        """A command was answered without an error. To be called while there is something to disprove."""
        if command[0] not in _NO_DATA:
            self._of_all = None
        self._of_command.pop(command[0], None)
        if isinstance(command, Call):
            self._of_command.pop(command[1], None)
        if isinstance(command, Call):
            took_memory = command.script.wrote(reply)
            wrote = took_memory or command.script.deleted(reply)
        else:
            took_memory, wrote = command[0] == "SET", command[0] in _WRITES
        if took_memory:
            self._of_memory = None
        if wrote:
            self._of_writes = None
        self.some = self.error is not None
        if wrote:
            self._written()

    def connected(self) -> None:
        """A new connection has logged in, perhaps with other permissions: what it is denied it will say again."""
        self._of_command.clear()
        self.some = self.error is not None

    def new_primary(self) -> None:
        """Another server is asked from now on, which is no replica."""
        if isinstance(self._of_writes, NotNow) and self._of_writes.code == "READONLY":
            self._of_writes = None
        self._of_all = None
        self.some = self.error is not None


def _named(error: EngineRefused) -> str | None:
    """The command that the server says it denies; Redis 7.0 does not say which of a script's commands it is."""
    match = _IN_MESSAGE.search(str(error))
    return None if match is None else match[1].upper()


def _denied(command: Command, named: str | None) -> EngineRefused:
    """The error that names what is denied, and not the user: strangers may read of it in `/health/ready`."""
    name = named or ("a command of a script" if isinstance(command, Call) else str(command[0]).upper())
    return EngineRefused(f"NOPERM: the server refuses {name}; give the user what `greenroom acl` prints")
