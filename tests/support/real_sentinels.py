"""Real sentinels for tests: three of them, a primary and its replica, and what happens to these."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.support.patience import wait_for
from tests.support.real_servers import Server

NAME = "mymaster"
"""What the sentinels call the primary."""
NEVER = 3_600_000
"""Milliseconds of silence that no test lasts."""


class Sentinel(Server):
    """One sentinel.

    Arguments:
        watched: the port of the primary that it knows at first.
        epoch: the number of the last failover that it knows of.
        down_after: milliseconds of silence after which it takes the primary for dead.
        lines: further lines of its file.
    """

    def __init__(
        self, binary: str, directory: Path, watched: int, *lines: str, epoch: int = 0, down_after: int = NEVER
    ) -> None:
        super().__init__(binary, directory)
        self._lines = (
            f"sentinel monitor {NAME} 127.0.0.1 {watched} 1",
            f"sentinel down-after-milliseconds {NAME} {down_after}",
            f"sentinel failover-timeout {NAME} 3000",
            f"sentinel config-epoch {NAME} {epoch}",
            *lines,
        )

    def spawn(self, *options: str) -> None:
        """Start it; returns at once."""
        file = self._directory / f"sentinel-{self.port}.conf"
        if not file.exists():  # it writes there what it learns
            file.write_text("\n".join((f"port {self.port}", "bind 127.0.0.1", *self._lines, "")))
        self._options = ("--sentinel",)
        super().spawn(*options)

    def _command(self) -> list[str]:
        return [self._binary, str(self._directory / f"sentinel-{self.port}.conf")]

    @property
    def names(self) -> int:
        """The port of the primary that it names."""
        raw = self.raw()
        try:
            return int(raw("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])
        finally:
            raw.close()

    def watch(self, port: int) -> None:
        """Have it watch another server under the same name, as an operator does."""
        raw = self.raw()
        assert raw("SENTINEL", "REMOVE", NAME) == b"OK"
        assert raw("SENTINEL", "MONITOR", NAME, "127.0.0.1", port, 1) == b"OK"
        assert raw("SENTINEL", "SET", NAME, "down-after-milliseconds", NEVER) == b"OK"
        raw.close()


def address_of(sentinels: Sequence[Server], *, login: str = "", options: str = "") -> str:
    """The address of a primary by these sentinels."""
    hosts = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
    return f"valkey+sentinel://{login}{hosts}/{NAME}{options}"


class Watched:
    """A primary, its replica, and three sentinels that watch both.

    Arguments:
        down_after: milliseconds of silence after which they replace the primary; by default `fail_over` alone does.
    """

    def __init__(self, binary: str, directory: Path, *, down_after: int = NEVER) -> None:
        self._stack = ExitStack()
        self.primary, self.replica = (Server(binary, directory) for _ in range(2))
        self._binary = binary
        self._directory = directory
        self._down_after = down_after
        self.sentinels: list[Sentinel] = []

    @property
    def address(self) -> str:
        """Of the primary, by its sentinels."""
        return address_of(self.sentinels)

    def __enter__(self) -> Watched:
        with ExitStack() as stack:
            for server in (self.primary, self.replica):
                server.start()
                stack.callback(server.kill)
            self.primary.raw()("CONFIG", "SET", "repl-diskless-sync-delay", 0)
            raw = self.replica.raw()
            raw("REPLICAOF", "127.0.0.1", self.primary.port)
            wait_for(lambda: b"master_link_status:up" in raw("INFO", "replication"))
            for _ in range(3):
                sentinel = Sentinel(self._binary, self._directory, self.primary.port, down_after=self._down_after)
                sentinel.start()
                stack.callback(sentinel.kill)
                self.sentinels.append(sentinel)
            wait_for(lambda: all(map(self._knows_all, self.sentinels)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fail_over(self) -> None:
        """A planned failover: the replica becomes the primary, and the primary its replica."""
        raw = self.sentinels[0].raw()
        wait_for(lambda: raw("SENTINEL", "FAILOVER", NAME) == b"OK")
        self.promoted()

    def promoted(self) -> None:
        """Return when every sentinel names the replica."""
        wait_for(lambda: all(one.names == self.replica.port for one in self.sentinels), 60)

    def _knows_all(self, sentinel: Sentinel) -> bool:
        raw = sentinel.raw()
        state = raw("SENTINEL", "MASTER", NAME)
        raw.close()
        told = dict(zip(state[::2], state[1::2], strict=True))
        return (told[b"num-slaves"], told[b"num-other-sentinels"]) == (b"1", b"2")
