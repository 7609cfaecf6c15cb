"""A real server with the protocol of MongoDB, started on a free port, killed and started again: SecantusDB's wheel."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sysconfig
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

from tests.support.patience import wait_for
from tests.support.process_tree import stop
from tests.support.real_servers import free_port, listens

START = 60.0
"""Seconds that a start may take on a busy machine."""


def mongo_binary() -> str | None:
    """The server's program; None where its wheel is not installed."""
    return shutil.which("secantusd-py", path=sysconfig.get_path("scripts"))


class MongoServer:
    """One server process on a port of its own.

    Arguments:
        directory: where its files are; None for none that outlive it. With files, what it acknowledged is on the disk.
    """

    def __init__(self, directory: Path | None, log: Path, *options: str) -> None:
        binary = mongo_binary()
        assert binary is not None
        self.port = free_port()
        self._command = [binary, "--log-level", "WARNING", *options]
        self._command += ["--storage-path", ":memory:" if directory is None else str(directory)]
        self._command += [] if directory is None else ["--sync-on-commit"]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """As an address has it."""
        return f"127.0.0.1:{self.port}"

    def url(self, name: str, options: str = "") -> str:
        """The address of a database on it."""
        return f"mongodb://{self.host}/{name}{options}"

    def start(self, *, answers: bool = True) -> None:
        """Start it; returns when it answers, if that can be asked of it without a password."""
        with self._log.open("ab") as log:
            command = [*self._command, "--port", str(self.port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(self._answers if answers else self._listens, START)

    def kill(self) -> None:
        """End it at once, without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it; connections stay open and nothing is answered."""
        assert self._process is not None
        stop(self._process.pid)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _lives(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text("utf-8", "replace")[-2000:]

    def _answers(self) -> bool:
        self._lives()
        try:
            with pymongo.MongoClient[dict[str, object]](
                self.host, directConnection=True, serverSelectionTimeoutMS=200
            ) as client:
                client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    def _listens(self) -> bool:
        self._lives()
        return listens(self.port)
