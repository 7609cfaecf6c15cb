"""Servers that one test after another has for itself: each is as new, or it is ended and another is started.

A start takes longer than most tests that need a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.real_servers import Raw, Server


class KeptServers:
    """One server of each kind, while nobody has it.

    Arguments:
        directory: where each has a directory of its own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._idle: dict[str, tuple[Server, Any]] = {}
        self._numbers = count()

    @contextmanager
    def lent(self, binary: str) -> Iterator[Server]:
        """A server of a kind, as new: to be used as if nobody had it before or after."""
        server, state = self._idle.pop(binary) if binary in self._idle else self._started(binary)
        try:
            yield server
        except BaseException:
            server.kill()
            raise
        # One is enough: a test may have two, and the second in its place would leave the first behind for good.
        if binary not in self._idle and _renewed(server, state):
            self._idle[binary] = server, state
        else:
            server.kill()

    def close(self) -> None:
        """End those that nobody has."""
        for server, _ in self._idle.values():
            server.kill()

    def _started(self, binary: str) -> tuple[Server, Any]:
        # Each has a directory of its own: a server loads what another has left there.
        directory = self._directory / str(next(self._numbers))
        directory.mkdir()
        server = Server(binary, directory)
        server.start()
        raw = server.raw()
        try:
            return server, _settings(raw)
        finally:
            raw.close()


def _renewed(server: Server, state: Any) -> bool:
    """Empty a server and cut its clients off; false where it is not what it was, or does not live."""
    if server.touched or server.process is None or server.process.poll() is not None:
        return False
    try:
        raw = server.raw()
        try:
            for command in _RENEWAL:
                if isinstance(raw(*command), Exception):
                    return False
            return bool(_settings(raw) == state and len(raw("CLIENT", "LIST").splitlines()) == 1)
        finally:
            raw.close()
    except OSError:
        return False


_RENEWAL = (
    ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
    ("CLIENT", "KILL", "TYPE", "pubsub"),
    ("CLIENT", "UNPAUSE"),
    ("FLUSHALL", "SYNC"),
    ("SCRIPT", "FLUSH", "SYNC"),
    ("FUNCTION", "FLUSH", "SYNC"),
    ("SLOWLOG", "RESET"),
    ("ACL", "LOG", "RESET"),
    ("CONFIG", "RESETSTAT"),
)
"""Clients first: one that still wrote would do so afterwards."""


def _settings(raw: Raw) -> Any:
    """What tests set: the configuration, the users, and whom it follows."""
    return raw("CONFIG", "GET", "*"), raw("ACL", "LIST"), raw("ROLE")[0], raw("MODULE", "LIST")
