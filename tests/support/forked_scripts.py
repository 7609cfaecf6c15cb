"""Python texts that run as programs, each in a process forked from one that has executed what they all begin with.

A program of a few lines spends four fifths of its CPU time on importing the library. What is forked here is the main
thread of a process that has done nothing but import: from there on it goes as in one that was executed, to the end of
the interpreter.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from subprocess import CompletedProcess
from typing import Any

_SERVE = "\nfrom tests.support.forked_scripts import forked\nexec(forked())\n"


class Scripts:
    """The process that they are forked from; it ends with the process that has made this.

    Arguments:
        options: of the interpreter.
        begin: what they all begin with, in Python.
    """

    def __init__(self, options: Sequence[str], begin: str) -> None:
        self._asked, theirs = socket.socketpair()
        self._answers = self._asked.makefile("r", encoding="utf-8")
        command = [sys.executable, *options, "-c", begin + _SERVE, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()

    def run(self, program: str, *arguments: str, seconds: float = 60) -> CompletedProcess[str]:
        """Run a program to its end, and to that of all who hold its output.

        Arguments:
            arguments: `sys.argv` from the second on.
        """
        pipes = [os.pipe() for _ in range(2)]
        told = json.dumps([program, *arguments]).encode() + b"\n"
        sent = socket.send_fds(self._asked, [told], [write for _, write in pipes])
        self._asked.sendall(told[sent:])
        for _, write in pipes:
            os.close(write)
        pid = int(self._answers.readline())
        try:
            output, errors = _read([read for read, _ in pipes], seconds)
        except TimeoutError:
            with suppress(ProcessLookupError):  # it may have ended, and another that holds its output has not
                os.kill(pid, signal.SIGKILL)
            raise
        finally:
            code = int(self._answers.readline())
            for read, _ in pipes:
                os.close(read)
        return CompletedProcess([program, *arguments], code, output.decode(), errors.decode())


def _read(files: list[int], seconds: float) -> list[bytes]:
    """What comes from each, to its end."""
    found: dict[int, bytes] = dict.fromkeys(files, b"")
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for one in files:
            selector.register(one, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(end - time.monotonic())
            if not ready:
                raise TimeoutError(f"it runs for more than {seconds} s; it has said: {found}")
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                found[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
    return list(found.values())


# The process -----------------------------------------------------------------------------------------


def forked() -> str:
    """Fork for each program that is asked for, one after another; returns the program, in each child."""
    # What is there now stays: a child that looked for garbage would write to each object, and so copy all of it.
    gc.collect()
    gc.freeze()
    asking = socket.socket(fileno=int(sys.argv[1]))
    while True:
        line, files, _, _ = socket.recv_fds(asking, 65536, 2)
        while line and not line.endswith(b"\n"):
            line += asking.recv(65536)
        if not line:
            os._exit(0)
        pid = os.fork()
        if not pid:
            asking.close()
            return _begun(json.loads(line), files)
        for one in files:
            os.close(one)
        asking.sendall(b"%d\n" % pid)
        asking.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _begun(told: list[Any], files: list[int]) -> str:
    os.setsid()
    for number, one in enumerate(files, 1):
        os.dup2(one, number)
        os.close(one)
    program, *arguments = told
    sys.argv[1:] = arguments
    return str(program)
