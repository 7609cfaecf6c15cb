"""Servers as a deployment has them, with a replica and users, for tests of the commands that look at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from greenroom.acl import Role
from tests.support.acl_roles import address, allow
from tests.support.patience import wait_for
from tests.support.real_servers import Server

BOUND = 64 * 1024**2
"""Bytes of `maxmemory`."""


class Operated:
    """A primary that is set as docs/operations.md says, with a replica, and with users of the roles.

    Arguments:
        binary: the kind of server.
    """

    def __init__(self, binary: str, directory: Path) -> None:
        homes = directory / "primary", directory / "replica"
        for home in homes:
            home.mkdir()
        self.primary = Server(binary, homes[0], "--maxmemory", str(BOUND))
        self._binary, self._home = binary, homes[1]
        self.replica: Server | None = None

    def start(self) -> None:
        """Start both, and return when the replica follows."""
        self.primary.start()
        self.raw = self.primary.raw()
        self.set("appendonly", "yes")
        self.replica = Server(self._binary, self._home, "--replicaof", "127.0.0.1", str(self.primary.port))
        self.replica.start()
        wait_for(lambda: b"state=online" in self.raw("INFO", "replication"), 30)
        wait_for(lambda: b"aof_rewrite_in_progress:0" in self.raw("INFO", "persistence"), 30)
        following = self.replica.raw()
        for role in Role:
            allow(self.raw, role)
            allow(following, role)  # users are not replicated
        following.close()

    def fresh(self) -> None:
        """Make it as a test expects it."""
        self.raw("FLUSHALL")
        self.raw("CONFIG", "RESETSTAT")

    def stop(self) -> None:
        """End both."""
        for server in (self.replica, self.primary):
            if server is not None:
                server.kill()

    def set(self, name: str, value: str) -> None:
        """Set what the server is configured with."""
        assert self.raw("CONFIG", "SET", name, value) == b"OK", name

    @contextmanager
    def having(self, name: str, value: str) -> Iterator[None]:
        """Another setting while the block runs."""
        before = self.raw("CONFIG", "GET", name)[1].decode()
        self.set(name, value)
        try:
            yield
        finally:
            self.set(name, before)

    def caught_up(self) -> None:
        """Return when the replica has all that the primary has."""
        wait_for(lambda: self.raw("WAIT", 1, 1000) == 1, 30)

    @property
    def service(self) -> str:
        """Its address with the user of the service."""
        return address(self.primary, "service")

    @property
    def viewer(self) -> str:
        """Its address with the user who looks."""
        return address(self.primary, "viewer")

    @property
    def admin(self) -> str:
        """Its address with the default user, who may do everything."""
        return self.primary.address
