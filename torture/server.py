"""The server under test, which can come back as it was, empty, or as it had been some time before."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.real_servers import Server, valkey_binary


class LastingServer(Server):
    """A Valkey with an append-only file, which is in the kernel's hands before a command is answered.

    Arguments:
        node: what it is called in the history.
    """

    def __init__(self, directory: Path, node: str = "") -> None:
        self.node = node
        self._files = directory / f"server-{node}"
        self._files.mkdir()
        super().__init__(
            valkey_binary(),
            self._files,
            *("--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"),
        )

    def written(self) -> int:
        """How much has been written so far, for `go_back`."""
        return self._log().stat().st_size

    def go_back(self, written: int) -> None:
        """Forget what was written since, as a replica does that was behind; to be called while it is down."""
        log = self._log()
        with log.open("r+b") as file:
            file.truncate(min(written, log.stat().st_size))

    def empty(self) -> None:
        """Forget everything; to be called while it is down."""
        shutil.rmtree(self._files / "appendonlydir")

    def _log(self) -> Path:
        (log,) = self._files.glob("appendonlydir/*.incr.aof")
        return log
