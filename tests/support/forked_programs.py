"""`greenroom` forked from a process that has imported it already: imports are half of what a start costs.

Tests start it some two hundred times. What is forked runs `greenroom.cli.main` with arguments, environment and output
of its own, in a session of its own, as an executed program does. Started by `program` it is executed all the same.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn


class Forked:
    """A forked program, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, parent: Parent, pid: int) -> None:
        self._parent = parent
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._parent.ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("greenroom", timeout or 0.0)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Parent:
    """The process that they are forked from; it ends with the process that asks it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "tests.support.forked_programs", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self._lines = ours.makefile("rw", encoding="utf-8")
        self._lock = Lock()

    def ask(self, what: dict[str, Any]) -> Any:
        with self._lock:
            self._lines.write(json.dumps(what) + "\n")
            self._lines.flush()
            return json.loads(self._lines.readline())


_parent = cache(Parent)


def start(
    arguments: Sequence[str],
    env: dict[str, str],
    *,
    output: Path,
    errors: Path | None = None,
    given: Path | None = None,
    cheap_passwords: bool = False,
) -> Forked:
    """Start `greenroom` with these arguments.

    Arguments:
        output: where standard output goes, and standard error without `errors`.
        given: what it reads from standard input.
        cheap_passwords: whether its passwords cost little to hash. Each real hash takes a third of a second of both
            cores; `tests/integration/accounts` holds what they must cost.
    """
    told = {
        "arguments": list(arguments),
        "env": env,
        "files": [str(given or os.devnull), str(output), str(errors or output)],
        "cheap_passwords": cheap_passwords,
    }
    output.write_bytes(b"")  # there to be read at once
    parent = _parent()
    return Forked(parent, parent.ask(told))


# The process -----------------------------------------------------------------------------------------


def _serve(asking: socket.socket) -> dict[str, Any]:
    """Fork what is asked for; returns in each child, with what it was told."""
    lines = asking.makefile("rw", encoding="utf-8")
    for line in lines:
        told = json.loads(line)
        if "ended" in told:
            pid, status = os.waitpid(told["ended"], os.WNOHANG)
            answer: Any = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                return dict(told)
        lines.write(json.dumps(answer) + "\n")
        lines.flush()
    os._exit(0)


def _become(told: dict[str, Any]) -> None:
    os.setsid()
    given, output, errors = told["files"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    opened = [os.open(given, os.O_RDONLY), os.open(output, flags, 0o666)]
    opened.append(os.dup(opened[1]) if errors == output else os.open(errors, flags, 0o666))
    for number, one in enumerate(opened):
        os.dup2(one, number)
        os.close(one)
    os.environ.clear()
    os.environ.update(told["env"])
    sys.argv = ["greenroom", *told["arguments"]]


def _main(descriptor: int) -> NoReturn:
    from argon2 import PasswordHasher

    import greenroom.cli
    import greenroom_platform.cli.serve
    import greenroom_platform.http.worker  # noqa: F401
    from greenroom_platform.accounts import passwords

    asking = socket.socket(fileno=descriptor)
    told = _serve(asking)
    asking.close()
    _become(told)
    if told["cheap_passwords"]:
        cheap = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
        setattr(passwords, "PasswordHasher", cheap)  # noqa: B010
    greenroom.cli.main()
    raise AssertionError("it ends by itself")


if __name__ == "__main__":
    _main(int(sys.argv[1]))
