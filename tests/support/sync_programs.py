"""Programs that use `greenroom.sync`, each run as a process that may leave nothing on its standard error."""

from __future__ import annotations

import subprocess
import sys
import time
from textwrap import dedent, indent

_BEGIN = """
import atexit, logging, os, signal, sys, threading, time
at_end = []
atexit.register(lambda: [one() for one in at_end])  # after the library's own, which is registered later
if sys.argv[2] == "asyncio":
    sys.modules["uvloop"] = None
from concurrent.futures import ThreadPoolExecutor
from greenroom.sync import Greenroom
from tests.support.sync_rooms import COUNT, EPISODE, Episode, Record

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


def run_clean(address: str, program: str, *, code: int = 0) -> list[str]:
    """What a program prints, with either event loop. It must end by itself, with this code and without a warning.

    Arguments:
        address: of its room's server; empty for an embedded one.
        program: Python; `room`, `episode`, `count`, `record`, `in_child` and `lost` are there.
    """
    printed = [_run(address, program, loop, code) for loop in ("uvloop", "asyncio")]
    return printed[0] if printed[0] == printed[1] else list(map(str, printed))


def _run(address: str, program: str, loop: str, code: int) -> list[str]:
    began = time.monotonic()
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", _BEGIN + dedent(program), address, loop]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    told = f"with {loop}, after {time.monotonic() - began:.1f} s:\n{indent(run.stderr, '  ')}"
    assert (run.returncode, run.stderr) == (code, ""), told
    return run.stdout.splitlines()
