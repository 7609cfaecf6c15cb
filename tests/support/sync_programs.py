"""Programs that use `greenroom.sync`, each run as a process that may leave nothing on its standard error."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache
from textwrap import dedent, indent

from tests.support.forked_scripts import Scripts

_STRICT = "-X", "dev", "-W", "error"

_BEGIN = """
import atexit, logging, os, signal, sys, threading, time
at_end = []
atexit.register(lambda: [one() for one in at_end])  # after the library's own, which is registered later
from concurrent.futures import ThreadPoolExecutor
from greenroom.sync import Greenroom, portal, portal_loop
from tests.support.sync_rooms import COUNT, EPISODE, Episode, Record
import uvloop
import greenroom.caching.declared_store, greenroom.engine.server.standalone  # imported when they are needed
"""

_THEN = """
if sys.argv[2] == "asyncio":
    sys.modules["uvloop"] = None
# What the library logs is no error of the process.
logging.getLogger("greenroom").addHandler(logging.NullHandler())
# asyncio's own debug mode tells of each step that a busy machine makes slow.
logging.getLogger("asyncio").addFilter(lambda record: "took" not in record.getMessage())
# Two programs that use one server share nothing.
room, record = Greenroom(sys.argv[1] or None, prefix=sys.argv[2] + ":"), Record()
episode = room.cached(EPISODE, groups=["episodes:{show_id}"])(record.load)
count = room.store(COUNT)

def in_child(what):
    "Run something in a forked child, which ends as any program; its status."
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    what()
    sys.exit(0)

def lost():
    "Connections that this process has lost."
    return sum(n for (_, event), n in room.counters.engine_events.items() if event == "lost")

"""


def run_clean(
    address: str, program: str, *, code: int = 0, imported: str = "greenroom", executed: bool = False
) -> list[str]:
    """What a program prints, with either event loop. It must end by itself, with this code and without a warning.

    Arguments:
        address: of its room's server; empty for an embedded one.
        program: Python; `room`, `episode`, `count`, `record`, `in_child` and `lost` are there.
        imported: a module that the program imports, and that takes long.
        executed: whether its process is executed, and not forked from one that has imported the library.
    """
    printed = [
        _run(address, program, loop, code, imported=imported, executed=executed) for loop in ("uvloop", "asyncio")
    ]
    return printed[0] if printed[0] == printed[1] else list(map(str, printed))


@cache
def _scripts(imported: str) -> Scripts:
    return Scripts(_STRICT, f"{_BEGIN}import {imported}\n")


def _run(address: str, program: str, loop: str, code: int, *, imported: str, executed: bool) -> list[str]:
    began = time.monotonic()
    then = _THEN + dedent(program)
    if executed:
        command = [sys.executable, *_STRICT, "-c", _BEGIN + then, address, loop]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    else:
        run = _scripts(imported).run(then, address, loop)
    told = f"with {loop}, after {time.monotonic() - began:.1f} s:\n{indent(run.stderr, '  ')}"
    assert (run.returncode, run.stderr) == (code, ""), told
    return run.stdout.splitlines()
