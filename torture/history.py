"""What happens to caches and to the system: the events that every process writes down, each to its own file.

Times are seconds of CLOCK_MONOTONIC, which all processes of one machine share. Versions of one key only grow.
"""

from __future__ import annotations

import time
from typing import Literal

import msgspec

now = time.monotonic

How = Literal["near", "joined", "server", "bypassed"]
"""Where a read was answered from: this process's near cache; work for the key that was under way here when the read
began; the server, or a load that began after the read; a load without the server."""

DRIVER = -1
"""The process number of the one that starts the others."""


class Event(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Arguments:
    process: the number of the process that it happened in.
    began, ended: when.
    """

    process: int
    began: float
    ended: float


class Read(Event, frozen=True):
    """A read that was answered: `version` is what it saw, None where it was told that there is nothing.

    Arguments:
        others: the keys that the call asked for besides.
    """

    key: str
    how: How
    version: int | None
    others: tuple[str, ...] = ()


class Failed(Event, frozen=True):
    """A read that ended with an exception of type `error`; `others` are the keys that it asked for besides."""

    key: str
    error: str
    others: tuple[str, ...] = ()


class Write(Event, frozen=True):
    """A commit to the record: from now on the key has this version, and a value or not.

    Arguments:
        outbox: whether the commit left a row that says so; any process then sends the invalidation.
    """

    key: str
    version: int
    present: bool
    outbox: bool = False


class Held(Event, frozen=True):
    """The record's own word at the end: the newest version of a key."""

    key: str
    version: int


class Load(Event, frozen=True):
    """A call of a loader, for one of its keys; `error` is the type of its exception, empty where there was none."""

    key: str
    error: str = ""


class Drop(Event, frozen=True):
    """An invalidation of what a commit made stale.

    Arguments:
        version: what the commit wrote.
        acknowledged: whether it returned; otherwise it raised, or its caller was cancelled.
        group: whether the key was dropped as a member of its group.
        cancelled: whether its caller was cancelled.
        whole: whether its keyspace was dropped.
    """

    key: str
    version: int
    acknowledged: bool
    group: bool
    cancelled: bool = False
    whole: bool = False


class Served(Event, frozen=True):
    """A new connection carried what was kept, and serves from then on; on a cluster it is `node`'s."""

    node: str = ""


class Contact(Event, frozen=True):
    """A round trip on the tracked connection: every push sent before it began was read before it ended."""


class Stood(Event, frozen=True):
    """The process did not run: stopped, or without its share of the processor."""


class RolledBack(Event, frozen=True):
    """The server was killed, and came back with what it had held some time before.

    On a cluster `node` has taken its place; it may be itself again.

    Arguments:
        since: what was done after this moment may be lost; by default all may.
    """

    node: str = ""
    since: float = 0.0


class Emptied(Event, frozen=True):
    """A server lost everything."""

    node: str = ""


class Unsettled(Event, frozen=True):
    """Slots of a cluster were given to another node: until it ended not every node knew which."""


class Refused(Event, frozen=True):
    """The server answered reads, and refused every write."""


class Fault(Event, frozen=True):
    """What was done to the system, from its beginning until it was over."""

    text: str


class Killed(Event, frozen=True):
    """The process was killed, at some moment in between."""


class Crash(Event, frozen=True):
    """An exception that nobody expected."""

    text: str


class Final(Event, frozen=True):
    """What there is when all is quiet: `where` is the server, or the near cache or a read of one process."""

    key: str
    where: str
    version: int | None
