"""`Deployment`: where a program's servers and its record are, for the commands that operators run beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from greenroom.engine import EMBEDDED
from greenroom.findings import Check
from greenroom.keyspace import Keyspace


class RecordReader(Protocol):
    """Reads single values of the record, to be compared with what the caches hold."""

    def knows(self, keyspace: Keyspace[Any]) -> bool:
        """Whether the record has the values of a keyspace, which may have a prefix."""

    async def read(self, keyspace: Keyspace[Any], parts: Mapping[str, Any]) -> Any:
        """The value that a load would give now; None where there is none.

        Raises:
            Exception: when the record cannot be asked; the audit goes on without this value, and says so.
        """


class LoadedRecord:
    """A record that is read by the loaders of caches.

    Arguments:
        loaders: by the patterns of their keyspaces, without a prefix.
    """

    def __init__(self, loaders: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
        self._loaders = loaders

    def knows(self, keyspace: Keyspace[Any]) -> bool:
        """Whether there is a loader for it."""
        return keyspace.pattern.text in self._loaders

    async def read(self, keyspace: Keyspace[Any], parts: Mapping[str, Any]) -> Any:
        """What the loader gives; raises whatever that raises."""
        return await self._loaders[keyspace.pattern.text](**parts)


OpenRecord = Callable[[], AbstractAsyncContextManager[RecordReader]]
"""Opens the record for as long as the block lasts; raises `GreenroomError` where it cannot be opened."""


def _no_checks() -> Sequence[Check]:
    return ()


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where everything is that an operator's command looks at.

    Arguments:
        caches: the address of the server of the caches, with the user of the program; None where it is not known.
        sessions: that of the sessions, likewise.
        processes: how many of the program there are on this machine.
        record: opens the record; None where the caches cannot be compared with it.
        checks: what `greenroom doctor` looks at besides, of the program itself.
        service: the address of the program's own HTTP, as `http://127.0.0.1:8000`, where it has one.
        token: the bearer token that is sent there, so that it tells more than strangers are told.
    """

    caches: str | None = None
    sessions: str | None = None
    processes: int = 1
    record: OpenRecord | None = None
    checks: Callable[[], Sequence[Check]] = _no_checks
    service: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """A flag of an installed program that its operators' commands take as well.

    Arguments:
        name: as an argument, with underscores.
        form: what stands for its value in the help.
        help: with its default.
    """

    name: str
    form: str
    help: str


Flags = Mapping[str, str | None]
"""The command line's flags, by the names of their arguments; None for those that are not given."""
Deploy = Callable[[Flags], Deployment]
"""Makes the deployment from the flags and the program's own settings; raises `InvalidInput` for one that is wrong."""


def deployed_room(
    caches: Iterable[tuple[str, Callable[..., Awaitable[Any]]]], *, address: str, session_address: str
) -> Deploy:
    """The deployment of a room: its own addresses, unless the flags name others, and its caches' loaders.

    Arguments:
        caches: the pattern and the loader of each.
    """
    loaders = dict(caches)

    @asynccontextmanager
    async def record() -> AsyncIterator[RecordReader]:
        yield LoadedRecord(loaders)

    def deploy(flags: Flags) -> Deployment:
        named = named_servers(flags)
        return Deployment(
            caches=named.caches or _at(address),
            sessions=named.sessions or _at(session_address),
            record=record if loaders else None,
        )

    return deploy


def _at(address: str) -> str | None:
    """An address that others can reach; an embedded server of a room is its process's own."""
    return None if address == EMBEDDED else address


def named_servers(flags: Flags) -> Deployment:
    """The deployment that the flags name, of which nothing else is known."""
    both = flags.get("valkey_url")
    return Deployment(caches=flags.get("cache_url") or both, sessions=flags.get("session_url") or both)
